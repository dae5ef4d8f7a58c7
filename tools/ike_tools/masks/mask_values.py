"""How the masks or annotations of a folder are read: as soft masks, or as labels.

A value alone does not say which: 1 is next to nothing in a soft mask of 0 to 255, and the object
where it is a label. So all files of a folder are read alike, by what is found in any of them: a
frame without the object is 0 everywhere, and says nothing.

- Palette images, as most tools for video object segmentation write them, are labels: any that is
  not 0 is object. 255 beside other labels is void, as in DAVIS-2017; alone it is the object of a
  binary mask. More values than there are labels, as of a grey image with a palette, are refused.
- Grey images are soft masks of 0 to 255 where any value is above 32, else labels. Of 16 bits they
  are soft masks of 0 to 65535 where any is above 255, labels up to 32, and refused between. Soft
  masks that are weaker everywhere hold no object at any usual threshold; those of our own modules
  stay soft masks, by the names of their folders.
- Colour images that hold nothing but grey are read as grey ones. Others, such as pictures and heat
  maps, are refused, and so is transparency: it may stand for the mask or mean nothing.

Annotations are never soft: any pixel that is not 0 is object. In them only void is looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ike_data.layout import is_own_images
from ike_data.runtime.errors import InputError
from ike_tools.masks.mask_file import COLOUR, PALETTE, Png, png_kind, read_map, read_png

MOST_LABELS = 32  # results of DAVIS-2017 have at most 20
VOID = 255
LABEL_THRESHOLD = 0.5  # any above 0 would do: labels are read as 0 and 1
_SHOWN_FOLDERS = 3


@dataclass(frozen=True)
class MaskValues:
    """How the files of one folder are read."""

    hard: bool = False  # labels, so that no threshold matters; else soft masks
    void: int | None = None  # the index of void pixels in palettes, if there are any
    note: str = ""  # the end of a sentence that begins "masks in FOLDER"; empty in the plain case

    def threshold(self, given: float) -> float:
        """Where `harden` cuts these masks: at the ``given`` threshold, if they are soft."""
        return LABEL_THRESHOLD if self.hard else given


class Annotation(NamedTuple):
    """An annotation; both are bool [height, width]."""

    object: np.ndarray
    void: np.ndarray | None  # pixels that do not count; never object


def mask_values(files: Sequence[Path]) -> MaskValues:
    """How the masks ``files`` of a folder, .pt or .png, are read.

    Reads no more of them than it takes: of grey soft masks usually the first.

    Raises:
        InputError: a file cannot be read, has transparent pixels or colours, or it is not certain
            what the values mean.
    """
    if files[0].suffix.lower() == ".pt" or is_own_images(files[0].parent):
        return MaskValues()
    palettes = _palettes(files)
    if not palettes:
        return _values_of_greys(files)
    if len(palettes) < len(files):
        raise InputError(
            f"{palettes[0]}: has a palette, others beside it have none; save all alike"
        )
    used = _used_indices(palettes)
    if np.count_nonzero(used[1:]) > MOST_LABELS:
        raise InputError(
            f"{palettes[0]}: with the others beside it, it has more than {MOST_LABELS} values of a "
            "palette; if they are soft masks, save them as grey, without a palette"
        )
    void = _void(used)
    note = f"{_labels(PALETTE)}{'' if void is None else f'; {void} is void, background'}"
    return MaskValues(hard=True, void=void, note=note)


def annotation_values(files: Sequence[Path]) -> MaskValues:
    """How the annotations ``files``, .png, are read; InputError where one cannot be read."""
    void = _void(_used_indices(_palettes(files)))
    note = "" if void is None else f"have void pixels ({void}), which are left out of the score"
    return MaskValues(hard=True, void=void, note=note)


def notes(what: str, folders: Iterable[tuple[Path, MaskValues]]) -> list[str]:
    """A line for each note, with the folders that it holds for; ``what`` they are of: masks."""
    found: dict[str, list[str]] = {}
    for folder, values in folders:
        names = found.setdefault(values.note, [])
        if str(folder) not in names:
            names.append(str(folder))
    lines = []
    for note, names in found.items():
        more = len(names) - _SHOWN_FOLDERS
        where = ", ".join(names[:_SHOWN_FOLDERS]) + (f" and {more} more folders" * (more > 0))
        lines += [f"{what} in {where} {note}"] if note else []
    return lines


def read_soft_mask(path: Path, height: int, width: int, values: MaskValues) -> np.ndarray:
    """Read a mask as float32 [height, width] in [0, 1]; labels are 0 and 1.

    A .png must have this size. A .pt holds [H, W, 1] or [H, W] of any size and is resized
    bilinearly, as the modules' own images are.

    Raises:
        InputError: the file cannot be read, is not a soft mask in [0, 1], or is a .png of another
            size or with transparent pixels.
    """
    if path.suffix.lower() == ".pt":
        return read_map(path, height, width)
    png = _read_mask(path)
    found_height, found_width = png.values.shape[:2]
    if (found_height, found_width) != (height, width):
        raise InputError(
            f"{path}: is {found_width} x {found_height} pixels, its frame or annotation is "
            f"{width} x {height}; save the mask at that size, or give the .pt folder"
        )
    if values.hard:
        return _object(png, values).astype(np.float32)
    return _as_grey(png, path).astype(np.float32) / np.float32(png.highest)


def read_annotation(path: Path, values: MaskValues) -> Annotation:
    """Read an annotation: any pixel that is neither 0 nor void is object.

    Palette images are read as their indices; of colour images a pixel with any non-zero channel
    is object, whatever its alpha.

    Raises:
        InputError: the file is not an image or is damaged.
    """
    png = read_png(path)
    has_void = values.void is not None and png.kind == PALETTE
    return Annotation(_object(png, values), png.values == values.void if has_void else None)


def harden(soft: np.ndarray, threshold: float) -> np.ndarray:
    """The hard mask, bool, of a float32 soft mask: object is where it is at least the threshold."""
    # In float32, as the mask is: a soft value of 0.7 is then not below a threshold of 0.7.
    return soft >= np.float32(threshold)


def _palettes(files: Sequence[Path]) -> list[Path]:
    return [path for path in files if png_kind(path) == PALETTE]


def _read_mask(path: Path) -> Png:
    png = read_png(path)
    if not png.opaque:
        raise InputError(
            f"{path}: has transparent pixels, which do not say whether they are object; save the "
            "mask as grey, 0 and 255, without an alpha channel"
        )
    return png


def _object(png: Png, values: MaskValues) -> np.ndarray:
    if png.kind == COLOUR:
        return (png.values != 0).any(axis=2)
    found = png.values != 0
    if png.kind == PALETTE and values.void is not None:
        found &= png.values != values.void
    return found


def _as_grey(png: Png, path: Path) -> np.ndarray:
    """[height, width]; InputError where a colour image holds more than grey."""
    if png.kind != COLOUR:
        return png.values
    grey = png.values[..., 0]
    if (png.values != grey[..., None]).any():
        raise InputError(
            f"{path}: has colours; a mask is grey, or has labels in a palette: save it so"
        )
    return grey


def _labels(kind: str) -> str:
    return f"are labels ({kind}), any that is not 0 is object"


def _used_indices(files: list[Path]) -> np.ndarray:
    """Which indices the palette images ``files`` use, bool [256]."""
    used = np.zeros(256, dtype=bool)
    for path in _bar(files):
        used |= np.bincount(read_png(path).values.ravel(), minlength=256) > 0
    return used


def _void(used: np.ndarray) -> int | None:
    """The index of void pixels among those that are used."""
    return VOID if used[VOID] and used[1:VOID].any() else None


def _values_of_greys(files: Sequence[Path]) -> MaskValues:
    top = 0
    for path in _bar(files):
        png = _read_mask(path)
        highest = int(_as_grey(png, path).max())
        if highest > (255 if png.highest == 65535 else MOST_LABELS):
            return MaskValues()
        top = max(top, highest)
    if top > MOST_LABELS:
        raise InputError(
            f"{files[0]}: has 16 bits, and as the others beside it no value above {top}; save them "
            "with 8 bits, or with values up to 65535"
        )
    return MaskValues(hard=True, note=_labels("grey")) if top else MaskValues()


def _bar(files: Sequence[Path]) -> tqdm[Path]:
    return tqdm(files, "values of masks", unit="file", delay=2, leave=False)
