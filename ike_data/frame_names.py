"""frames.csv, beside results: which frame of a folder each of their numbers stands for.

Results are numbered from 0, whatever the frames are called.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ike_data.layout import FRAME_NAMES
from ike_data.runtime.atomic import write_csv
from ike_data.runtime.errors import InputError

_COLUMNS = ["index", "frame"]


def write_frame_names(out_path: Path, names: Sequence[str] | None) -> None:
    """Write ``out_path/frames.csv``: index and file name of each frame.

    ``names`` is None for a video file, whose frames have none; an older frames.csv then goes.
    """
    path = out_path / FRAME_NAMES
    if names is None:
        path.unlink(missing_ok=True)
        return
    write_csv(path, _COLUMNS, [*enumerate(names)])


def frame_names_of(masks: Path) -> list[str] | None:
    """The file names of the frames that a folder of masks is of; None where nothing says it.

    frames.csv is looked for in the folder and in the two above it: ``iter_19`` lies in the out_path
    of its command, ``results_pt/epoch_00005`` one level deeper.

    Raises:
        InputError: frames.csv is damaged.
    """
    masks = masks.resolve()
    for folder in (masks, *masks.parents[:2]):
        path = folder / FRAME_NAMES
        if path.is_file():
            return _read(path)
    return None


def _read(path: Path) -> list[str]:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""))
        numbers, names = [idx for idx, _ in rows], [name for _, name in rows]
        whole = header == _COLUMNS and numbers == list(map(str, range(len(rows))))
    except (csv.Error, ValueError):
        whole = False
    if not whole or not names:
        raise InputError(
            f"{path}: expected the line index,frame and then a line for each frame, counted from "
            "0; write it so, or delete it"
        )
    return names
