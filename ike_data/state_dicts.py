"""Weights of a network as others save them: alone, in a training's checkpoint, as safetensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from ike_data.runtime.errors import InputError
from ike_data.tensor_files import is_plain, load_tensors

# Keys of a training's checkpoint that may hold the network, in the order in which they are tried. A
# running mean of the weights (EMA) goes before the last weights: it is evaluated and published.
_KEYS = (
    *("state_dict_ema", "model_state_dict_ema", "model_ema", "ema_state_dict", "params_ema", "ema"),
    *("state_dict", "model_state_dict", "model", "params", "network", "net", "module", "weights"),
)
# What DataParallel, torch.compile, sharding and training modules put before a name, in any order.
_PREFIXES = re.compile(
    r"(?:(?:module|_orig_mod|_fsdp_wrapped_module|_forward_module|model|network|net)\.)+"
)
_COUNT_OF_MEAN = "n_averaged"  # beside the weights in torch.optim.swa_utils.AveragedModel
_SHOWN_KEYS = 8


class _LeftOut:
    """In the place of settings and numbers beside the weights: takes anything and keeps nothing."""

    __slots__ = ()

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


# What training scripts save beside tensors. None of these is called, or even looked up: `_LeftOut`
# stands for each, so that such a file cannot do more than one that holds tensors alone.
_TO_LEAVE_OUT: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_LeftOut, name)
    for name in (
        "argparse.Namespace",
        *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
        *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")),
        *("numpy.dtype", "numpy.ndarray"),
        *(f"pathlib.{kind}" for kind in ("PosixPath", "WindowsPath")),
        *(f"pathlib._local.{kind}" for kind in ("PosixPath", "WindowsPath")),  # Python 3.13
    )
]


def read_state_dict(path: Path, remedy: str) -> dict[str, torch.Tensor]:
    """The weights of the network in ``path``: dense tensors of real numbers by name, on the CPU.

    They stand in the file itself or one level down, as in ``{"state_dict": ..., "epoch": 3}``.
    Where several networks do, the line that is printed says which is taken. Prefixes of wrappers
    (``module.``, ``_orig_mod.``, ``model.``, ...) are taken off the names.

    Args:
        path: saved by torch.save, or a safetensors file. A file that would run code is refused,
            and the code does not run.
        remedy: the end of the error message: what to do about a file that cannot be used.

    Raises:
        InputError: the file is missing, damaged, holds what only code could read, no weights, or
            several networks of which none is known to be meant.
    """
    if path.is_file() and _is_safetensors(path):
        content = _load_safetensors(path, remedy)
    else:
        with torch.serialization.safe_globals(_TO_LEAVE_OUT):
            content = load_tensors(path, remedy)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a state dict; {remedy}")
    weights = _without_prefixes(path, _choose(path, content, remedy))
    for name, tensor in weights.items():
        if not name.isprintable():  # an error message shows names as they are
            raise InputError(f"{path}: is damaged (a tensor's name is {name!r}); {remedy}")
        if not is_plain(tensor):
            raise InputError(f"{path}: {name} is not a dense tensor of real numbers; {remedy}")
    return weights


def check_weights(
    path: Path,
    weights: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    network: str,
    remedy: str,
) -> None:
    """Check that ``weights``, read from ``path``, have the names and shapes of ``expected``.

    Args:
        network: what they should be of, e.g. "the small RAFT".
        remedy: the end of the error message.

    Raises:
        InputError: one is missing, unknown or of another shape, or has a value that is not finite.
    """
    found = [
        f"{len(names)} {what}, as {min(names)}"
        for names, what in (
            (weights.keys() - expected.keys(), "unknown"),
            (expected.keys() - weights.keys(), "missing"),
        )
        if names
    ]
    if found:
        raise InputError(
            f"{path}: is not a state dict of {network} (tensors: {'; '.join(found)}); {remedy}"
        )
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise InputError(
                f"{path}: {name} has shape {list(tensor.shape)}, that of {network} has "
                f"{list(expected[name].shape)}; {remedy}"
            )
        if not torch.isfinite(tensor).all():
            raise InputError(f"{path}: {name} has values that are not finite; {remedy}")


def _is_safetensors(path: Path) -> bool:
    # It begins with the size of its header, 8 bytes, and the header with a brace.
    with path.open("rb") as file:
        start = file.read(9)
        n_bytes = file.seek(0, 2)
    by_content = start[8:] == b"{" and int.from_bytes(start[:8], "little") + 8 <= n_bytes
    return by_content or path.suffix.lower() == ".safetensors"


def _load_safetensors(path: Path, remedy: str) -> dict[str, torch.Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # SafetensorError, and others where PyTorch has no such numbers
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: is damaged ({reason}), and was not loaded; {remedy}") from error


def _choose(path: Path, content: dict[Any, Any], remedy: str) -> dict[str, torch.Tensor]:
    """The state dict of the network in what a file holds."""
    own = _named_tensors(content)
    inside = {
        key: tensors
        for key, value in content.items()
        if isinstance(value, dict) and (tensors := _named_tensors(value))
    }
    known = [key for key in _KEYS if key in inside]
    if not known and own:
        return own
    if not inside:
        raise InputError(f"{path}: holds {_shown(content)}, not a state dict; {remedy}")
    if not known and len(inside) > 1:
        raise InputError(
            f"{path}: holds several networks ({_shown(inside)}); save the state dict of the one "
            "that is meant"
        )
    taken = known[0] if known else next(iter(inside))
    if len(inside) > 1:
        print(f"{path}: holds {_shown(inside)}; the weights are those of {_shown([taken])}")
    return inside[taken]


def _named_tensors(content: dict[Any, Any]) -> dict[str, torch.Tensor]:
    """The tensors of a state dict, which are named layer.parameter; empty if it is none."""
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    return tensors if any("." in name for name in tensors) else {}


def _without_prefixes(path: Path, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    stripped: dict[str, torch.Tensor] = {}
    full_names: dict[str, str] = {}
    for full_name, tensor in weights.items():
        prefix = _PREFIXES.match(full_name)
        name = full_name[prefix.end() :] if prefix else full_name
        if name in stripped:
            raise InputError(
                f"{path}: holds several networks ({_shown([full_names[name], full_name])}); save "
                "the state dict of the one that is meant"
            )
        if name != _COUNT_OF_MEAN:
            stripped[name], full_names[name] = tensor, full_name
    return stripped


def _shown(keys: Iterable[object]) -> str:
    """Keys in one line, as anybody may have named them."""
    names = [
        key if isinstance(key, str) and key.isprintable() and len(key) < 80 else repr(key)[:80]
        for key in keys
    ]
    more = [f"... ({len(names)} in all)"] if len(names) > _SHOWN_KEYS else []
    return ", ".join([*names[:_SHOWN_KEYS], *more]) or "nothing"
