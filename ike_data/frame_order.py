"""The order of the frames of a folder: the natural order of their names, as file managers show it.

All numbers of a name count, from left to right: ``IMG 11-04-59.jpg`` comes before
``IMG 11-05-00.jpg``, and ``frame_9.png`` before ``frame_10.png``.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from ike_data.runtime.errors import InputError

_NUMBER = re.compile(r"(\d+)")
# 0.25, but no part of 2026.11.27.
_DECIMAL = re.compile(r"(?<![\d.])(\d+\.)(\d+)(?!\.?\d)")
_FIRST_TIME_STAMP = 10**12  # of 13 digits: milliseconds since 1970, from 2001 on
_SHARE_OF_GAPS = 0.1  # of an index's steps, at most: with more it is numbered unevenly


class OrderedFiles(NamedTuple):
    """The files of a folder in their order."""

    files: list[Path]
    note: str  # how they were ordered; empty where an evenly spaced index says it


def order_frames(files: Iterable[Path]) -> OrderedFiles:
    """The frames of a folder in their natural order.

    Where one number in the names counts the frames (`plain_index`), k is its most frequent step.
    The other steps are gaps, where frames are missing, if all are multiples of k and they are at
    most a tenth of the steps, or one. Other uneven numbers are taken as they are, and so are times
    and dates, such as 110459, 110500.

    Raises:
        InputError: a frame is missing, or as `natural_order`.
    """
    ordered = natural_order(files)
    index = _index(ordered)
    if len(ordered) == 1 or (index is not None and _is_even(index)):
        return OrderedFiles(ordered, "")
    note = f"ordered by name, {ordered[0].name} to {ordered[-1].name}"
    if index is None:
        return OrderedFiles(ordered, note)
    gap = _first_of_few_gaps(index)
    if gap is not None and not _is_time(index):
        raise _missing(ordered, index, gap, "add it, or number the frames without a gap")
    return OrderedFiles(ordered, f"{note}, numbered unevenly")


def order_masks(files: Iterable[Path]) -> list[Path]:
    """The masks of a folder in their natural order, one for each frame.

    Raises:
        InputError: a mask is missing, or as `natural_order`.
    """
    ordered = natural_order(files)
    index = _index(ordered)
    if index is not None and not _is_even(index):
        step = min(_steps(index))
        gap = next(i for i, other in enumerate(_steps(index)) if other != step)
        raise _missing(ordered, index, gap, "make all masks of the video")
    return ordered


def natural_order(files: Iterable[Path]) -> list[Path]:
    """Files sorted by all numbers of their names, from left to right, and the text between.

    Upper and lower case and the suffix do not count. Numbers such as 0.5 and 0.25 are compared as
    decimals.

    Raises:
        InputError: some names have a number and others not, two have the same numbers, or names
            of different words are in one order by name and in another by number.
    """
    files = list(files)
    names = _with_decimals_padded([path.stem.casefold() for path in files])
    parts = {path: _NUMBER.split(name) for path, name in zip(files, names, strict=True)}
    numbers = {path: tuple(map(int, split[1::2])) for path, split in parts.items()}
    unnumbered = sorted(path for path in files if not numbers[path])
    if unnumbered and len(unnumbered) < len(files):
        raise InputError(
            f"{unnumbered[0]}: the name has no number, others in the folder have; move it "
            "elsewhere, or number it like them"
        )
    first_with: dict[object, Path] = {}
    for path in sorted(files):
        same = first_with.setdefault(numbers[path] or path.stem.casefold(), path)
        if same is not path:
            raise InputError(
                f"{path}: has the same number as {same.name}; keep one of them in the folder, or "
                "give each series of frames a folder of its own"
            )

    def key(path: Path) -> list[str | int]:  # text, number, text, number, ...
        split = parts[path]
        return [int(part) if i % 2 else part for i, part in enumerate(split)]

    ordered = sorted(files, key=key)
    by_number = sorted(files, key=numbers.__getitem__)
    if not unnumbered and ordered != by_number:
        a, b = next(pair for pair in zip(ordered, by_number, strict=True) if pair[0] != pair[1])
        raise InputError(
            f"{a}: comes before {b.name} by name, and after it by number; name all frames alike, "
            "e.g. 00000.jpg, 00001.jpg, ..."
        )
    return ordered


def numbers_of(name: str) -> tuple[int, ...]:
    """All numbers in the name of a file without its suffix: (2, 7) for ``shot2_007``."""
    return tuple(int(number) for number in _NUMBER.findall(name))


def plain_index(names: Sequence[str]) -> list[int] | None:
    """The one number that differs between the names, of each: what counts the frames.

    None where no number differs, several do, or the names have different words or counts of
    numbers.
    """
    if len({_NUMBER.sub("0", name.casefold()) for name in names}) != 1:
        return None
    columns = list(zip(*map(numbers_of, names), strict=True))
    counting = [column for column in columns if len(set(column)) > 1]
    return list(counting[0]) if len(counting) == 1 else None


def _index(files: Sequence[Path]) -> list[int] | None:
    return plain_index(_with_decimals_padded([path.stem for path in files]))


def _with_decimals_padded(names: Sequence[str]) -> list[str]:
    """0.5 as 0.50 where another name has 0.25, so that their digits compare as decimals.

    Of 1.9 and 1.10 the second is no decimal: whoever writes decimals of any length ends none in 0.
    """
    places = [match[2] for name in names for match in _DECIMAL.finditer(name)]
    if any(len(digits) > 1 and digits.endswith("0") for digits in places):
        return list(names)
    width = max(map(len, places), default=0)
    return [_DECIMAL.sub(lambda match: match[1] + match[2].ljust(width, "0"), n) for n in names]


def _steps(index: Sequence[int]) -> list[int]:
    return [after - before for before, after in itertools.pairwise(index)]


def _is_even(index: Sequence[int]) -> bool:
    return len(set(_steps(index))) == 1


def _first_of_few_gaps(index: Sequence[int]) -> int | None:
    """The place before the first gap; None where the steps are too uneven to speak of gaps."""
    steps = _steps(index)
    counts = Counter(steps)
    step = min(counts, key=lambda k: (-counts[k], k))  # the most frequent one
    gaps = [place for place, other in enumerate(steps) if other != step]
    few = len(gaps) <= max(_SHARE_OF_GAPS * len(steps), 1)
    return gaps[0] if few and all(steps[place] % step == 0 for place in gaps) else None


def _is_time(index: Sequence[int]) -> bool:
    """Whether numbers with gaps are times or dates, and have fewer gaps when read so.

    From 110459 to 110500 is one second, from 20240131 to 20240201 one day. Time stamps of 13 digits
    and more are times, too: a camera that drops a frame leaves a gap in them.
    """
    if index[0] >= _FIRST_TIME_STAMP:
        return True
    n_gaps = _n_gaps(index)
    for read in (_clock, _date, _date_and_clock):
        for unit in (1, 1000):  # with milliseconds behind it
            times = [read(number // unit) for number in index]
            known = [time for time in times if time is not None]
            if len(known) == len(index) and len(set(known)) > 1 and _n_gaps(known) < n_gaps:
                return True
    return False


def _n_gaps(index: Sequence[int]) -> int:
    steps = Counter(_steps(index))
    return steps.total() - max(steps.values())


def _clock(number: int) -> int | None:
    """Seconds of HHMMSS; None where it is no time of day."""
    hours, minutes, seconds = number // 10_000, number // 100 % 100, number % 100
    inside = hours < 24 and minutes < 60 and seconds < 60
    return 3600 * hours + 60 * minutes + seconds if inside else None


def _date(number: int) -> int | None:
    """Days of YYYYMMDD; None where it is no date."""
    try:
        return date(number // 10_000, number // 100 % 100, number % 100).toordinal()
    except (ValueError, OverflowError):
        return None


def _date_and_clock(number: int) -> int | None:
    """Seconds of YYYYMMDDHHMMSS."""
    days, seconds = _date(number // 1_000_000), _clock(number % 1_000_000)
    return None if days is None or seconds is None else 86_400 * days + seconds


def _missing(files: Sequence[Path], index: Sequence[int], gap: int, remedy: str) -> InputError:
    """The error for what is missing after the file at place ``gap``."""
    step = min(_steps(index))
    return InputError(
        f"{files[0].parent}: frame {index[gap] + step} is missing (after {files[gap].name} comes "
        f"{files[gap + 1].name}); {remedy}"
    )
