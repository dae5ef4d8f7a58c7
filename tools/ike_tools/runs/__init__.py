"""Whole runs: the steps of one video, and many videos beside each other."""
