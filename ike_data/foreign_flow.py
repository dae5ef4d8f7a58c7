"""Flow of other tools: what stands where ours is expected, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ike_data.folders import visible_in

_MIDDLEBURY = ".flo"
_OTHER_FORMATS = (
    *(".png", ".tif", ".tiff", ".exr", ".pfm", ".flo5"),
    *(".npy", ".npz", ".h5", ".mat", ".pt"),
)


def other_names(folder: Path, expected: Sequence[str], pair: str) -> str | None:
    """What ``folder`` holds, what it should, and the remedy; None if no file has another name.

    Args:
        expected: the names of all files of this direction.
        pair: the frames of the first of them, e.g. "frame 0 to 1".
    """
    files = _flow_files(folder)
    if {path.name for path in files} <= set(expected):
        return None
    first, *rest = expected
    wanted = _shown([f"{first} ({pair})", *rest])
    remedy = "rename them" if len(files) == len(expected) else "rename those of these frames"
    if not _is_middlebury(files):
        remedy = f"write them {_under_these_names(files)}"
    return f"{folder}: holds {_shown_files(files)}; expected {wanted}; {remedy}"


def other_layout(above: Path, folder: str, expected: Sequence[str], both: str) -> str | None:
    """The same for ``above``, which has no ``folder`` of one direction; None if it has no flow.

    Args:
        both: names the folders of both directions.
    """
    deeper = sorted(found.parent for found in above.glob(f"*/{folder}"))
    if deeper:
        choice = "" if len(deeper) == 1 else ", or the other folder there that is of this video"
        return f"{above}: holds no {folder}; give --of_path={deeper[0]}{choice}"
    if files := _flow_files(above):
        return (
            f"{above}: holds {_shown_files(files)}; {both} are needed, with {_shown(expected)} in "
            f"each; put the files there {_under_these_names(files)}"
        )
    folders = [path for path in visible_in(above) if _is_middlebury(_flow_files(path))]
    if folders:
        names = ", ".join(path.name for path in folders)
        return f"{above}: holds the folders {names}; {both} are needed; rename them"
    return None


def _under_these_names(files: Sequence[Path]) -> str:
    if _is_middlebury(files):
        return "under these names"
    return (
        "under these names in Middlebury's format (docs/usage.md, Files), or run "
        "extract_optical_flow.py"
    )


def _is_middlebury(files: Sequence[Path]) -> bool:
    return bool(files) and files[0].suffix.lower() == _MIDDLEBURY


def _flow_files(folder: Path) -> list[Path]:
    """The .flo files, else those of the format that most of them have, by the numbers in names."""
    by_suffix: dict[str, list[Path]] = {}
    for path in visible_in(folder):
        if path.is_file():
            by_suffix.setdefault(path.suffix.lower(), []).append(path)
    others = max((by_suffix.get(suffix, []) for suffix in _OTHER_FORMATS), key=len)
    files = by_suffix.get(_MIDDLEBURY, others)
    return sorted(files, key=lambda path: ([*map(int, re.findall(r"\d+", path.name))], path.name))


def _shown_files(files: Sequence[Path]) -> str:
    return _shown([path.name for path in files])


def _shown(names: Sequence[str]) -> str:
    if len(names) < 2:
        return names[0] if names else "no file"
    return f"{names[0]} ... {names[-1]} ({len(names)} files)"
