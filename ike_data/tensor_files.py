"""Saving of .pt and .pth files, and loading, as they may come from anybody."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ike_data.runtime.errors import InputError
from ike_data.runtime.out_of_memory import memory_is_full

_ZIP_START = b"PK\x03\x04"
_KEPT_OUT = re.compile(r"GLOBAL ([\w.]+)")  # in torch.load's message: what it would have called
_NUMBERS = {
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
}


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
        _check_not_compressed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that it then refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if memory_is_full(error):  # damaged bytes can promise a tensor of any size
            raise InputError(
                f"{path}: is damaged, or does not fit into the memory; {remedy}"
            ) from error
        # On damaged bytes torch.load raises nearly anything, AssertionError and IndexError too.
        kept_out = _KEPT_OUT.search(str(error))
        reason = kept_out[1] if kept_out else type(error).__name__
        raise InputError(
            f"{path}: is damaged or holds more than tensors ({reason}), and was not loaded; "
            f"{remedy}"
        ) from error


def load_tensor(path: Path, remedy: str) -> torch.Tensor:
    """The tensor, dense and of real numbers, that `load_tensors` reads from ``path``.

    Raises:
        InputError: as `load_tensors`, or it holds something else.
    """
    value = load_tensors(path, remedy)
    if not isinstance(value, torch.Tensor):
        raise InputError(f"{path}: holds a {type(value).__name__}, not one tensor; {remedy}")
    if not is_plain(value):
        raise InputError(f"{path}: is not a dense real tensor; save it as float32")
    return value.detach()


def is_plain(value: object) -> bool:
    """Whether ``value`` is a dense tensor of real numbers, all of which its file holds.

    Of other tensors even the shape may not be readable. And a few bytes can describe a tensor of
    any size by one value, which it repeats.
    """
    return (
        isinstance(value, torch.Tensor)
        and value.dtype in _NUMBERS
        and not (value.is_nested or value.is_meta)
        and value.layout == torch.strided
        and value.numel() * value.itemsize <= value.untyped_storage().nbytes()
    )


def is_state_of(value: object, expected: Mapping[str, torch.Tensor]) -> bool:
    """Whether ``value`` is a dict of the names of ``expected``, with finite tensors of its shapes.

    ``expected`` may be on the meta device, so that this can be asked before anything is built.
    """
    return (
        isinstance(value, dict)
        and value.keys() == expected.keys()
        and all(
            is_plain(tensor)
            and tensor.shape == expected[name].shape
            and bool(torch.isfinite(tensor).all())
            for name, tensor in value.items()
        )
    )


def _check_not_compressed(path: Path) -> None:
    # torch.save does not compress. A file that does can grow a thousandfold when it is read.
    with path.open("rb") as file:
        if file.read(len(_ZIP_START)) != _ZIP_START:
            return
    with zipfile.ZipFile(path) as archive:
        if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
            raise ValueError("compressed")
