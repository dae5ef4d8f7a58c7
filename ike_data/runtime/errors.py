"""What is told the user of the input: that it is wrong, or that something about it is odd."""

from __future__ import annotations

import sys


class InputError(Exception):
    """A file, key or value that the user gave cannot be used; not a defect of the program.

    The message is one line: it names the file, key or value and says what to do about it.
    """


def warn(*messages: str) -> None:
    """Print each as a warning on stderr, below what has been printed so far."""
    sys.stdout.flush()
    for message in messages:
        print(f"warning: {message}", file=sys.stderr, flush=True)
