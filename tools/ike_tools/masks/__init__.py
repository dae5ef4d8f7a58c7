"""Masks and annotations as files: which there are, what their values say, soft to hard."""
