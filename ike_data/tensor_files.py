"""Saving of .pt and .pth files, and loading, as they may come from anybody."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from ike_data.errors import InputError


def save_tensors(path: Path, content: Any) -> None:
    """``torch.save``; a full disk is an OSError, always."""
    with path.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # It wants to end the file even so, and complains of its length.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load_tensors(path: Path, remedy: str) -> Any:
    """What ``torch.load(weights_only=True)`` reads from ``path``, on the CPU.

    A file that would run code is refused, and the code does not run.

    Args:
        remedy: the end of the error message: what to do about a file that cannot be used.

    Raises:
        InputError: the file is missing, is damaged, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise InputError(f"{path}: is missing; {remedy}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that it then refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # On damaged bytes torch.load raises nearly anything, AssertionError and IndexError too.
        raise InputError(
            f"{path}: is damaged or holds more than tensors ({type(error).__name__}), and was "
            f"not loaded; {remedy}"
        ) from error
