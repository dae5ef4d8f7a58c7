"""Which sequences of a data set a command takes: of those asked for, the ones with results."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from ike_data.folders import folders_in
from ike_data.images import IMAGE_SUFFIXES
from ike_data.runtime.errors import InputError

_FLAG = "--sequences"


class Result(NamedTuple):
    """A result of a data set: its folder, and that of the masks inside each sequence's folder."""

    folder: Path
    stage: str  # empty: the sequence's folder itself

    def __str__(self) -> str:
        return str(self.folder / "*" / self.stage if self.stage else self.folder)

    def of(self, sequence: str) -> Path:
        return self.folder / sequence / self.stage


def add_sequences_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        _FLAG,
        nargs="+",
        action="extend",
        metavar="NAME_OR_FILE",
        help="of a data set, these sequences alone: names, or files such as DAVIS's "
        "ImageSets/2016/val.txt with a name or the path of a frame in each line (default: all)",
    )


def choose_sequences(asked: Sequence[str] | None, known: Iterable[str], where: Path) -> list[str]:
    """Those of the sequences ``known`` in ``where`` that --sequences asks for, in their order.

    ``asked`` has names, and files of names; None: all. InputError where one is not known, or a file
    names none.
    """
    known = list(known)
    if asked is None:
        return known
    names: dict[str, None] = {}  # in order
    for text in asked:
        path = Path(text).expanduser()
        is_file = text not in known and path.is_file()
        names.update(dict.fromkeys(_names_in(path) if is_file else [text]))
    unknown = [name for name in names if name not in known]
    if unknown:
        said = listed([f"{name} (the nearest is {_nearest(name, known)})" for name in unknown], 3)
        raise InputError(
            f"{_FLAG}: no sequence of {where}, nor a file of names: {said}; give names of its "
            "sequences"
        )
    return [name for name in known if name in names]


def in_all_results(
    results: Sequence[Result],
    names: Sequence[str],
    has_masks: Callable[[Path], bool],
    data_set: Path,
    done: str,
) -> tuple[list[str], list[str]]:
    """The sequences that every result has masks of, so that means over them can be compared.

    Args:
        names: sequences of ``data_set``.
        done: what is done with them, "scored" or "shown".

    Returns:
        Their names; and which masks are missing, a line for each result, none where all are there.

    Raises:
        InputError: a result has none of them, and so is another folder than the user means; or
            there is none that all have.
    """
    lacking = [_lacking(result, names, has_masks, data_set) for result in results]
    left = [name for name in names if not any(name in lack for lack in lacking)]
    if not left:
        pairs = zip(results, lacking, strict=True)
        said = "; ".join(f"{result} lacks {listed(lack, 5)}" for result, lack in pairs)
        raise InputError(f"--results: there is no sequence that all results have: {said}")
    lines = [
        f"{result}: has no masks of {len(lack)} of {len(names)} sequences: {listed(lack, 100)}"
        for result, lack in zip(results, lacking, strict=True)
        if lack
    ]
    if lines:
        which = "that all results have" if len(results) > 1 else "that it has"
        lines.append(f"{done}: only the {len(left)} of {len(names)} sequences {which}")
    return left, lines


def _lacking(
    result: Result, names: Sequence[str], has_masks: Callable[[Path], bool], data_set: Path
) -> list[str]:
    """Which of the sequences ``names`` a result does not have; InputError where it has none."""
    without = [name for name in names if not has_masks(result.of(name))]
    if len(without) < len(names):
        return without
    folders = [result.of(name) for name in names]
    looked = next((folder for folder in folders if folder.is_dir()), folders[0])
    if not looked.is_dir():
        found = "is not there"
    elif inside := [folder.name for folder in folders_in(looked)]:
        found = f"has only the folders {', '.join(inside[:5])}; --stage names one"
    else:
        found = "is empty"
    raise InputError(
        f"{result.folder}: has masks of no sequence of {data_set}: {looked} {found}; for masks of "
        f"one sequence, give that sequence in place of {data_set}"
    )


def listed(names: Sequence[str], most: int) -> str:
    """The first ``most`` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _names_in(path: Path) -> list[str]:
    names = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if "/" in line:  # of DAVIS-2016: a frame and its annotation
            frame = Path(line.split()[0])
            is_image = frame.suffix.lower() in IMAGE_SUFFIXES
            names.append(frame.parent.name if is_image else frame.name)
        elif line.strip():
            names.append(line.strip())
    if not names:
        raise InputError(f"{_FLAG} {path}: names no sequence; write a name in each line")
    return names


def _nearest(name: str, known: Iterable[str]) -> str:
    folded = {other.lower(): other for other in known}
    return folded[get_close_matches(name.lower(), folded, n=1, cutoff=0)[0]]
