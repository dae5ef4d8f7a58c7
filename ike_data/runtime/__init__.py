"""What any command that runs for long needs, whatever it computes.

Errors in one line, results that appear whole or not at all, locks, Ctrl-C, cores, memory. Nothing
here knows of frames, masks or settings.
"""
