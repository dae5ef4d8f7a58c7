"""How the masks or annotations of a folder are read: as soft masks, or as labels.

A value alone does not say which: 1 is next to nothing in a soft mask of 0 to 255, and the object
where it is a label. So all files of a folder are read alike, by what is found in any of them: a
frame without the object is 0 everywhere, and says nothing.

- Palette images, as most tools for video object segmentation write them, are labels: any that is
  not 0 is object. 255 beside other labels is void, as in DAVIS-2017; alone it is the object of a
  binary mask. Only grey images that were saved with a palette are not labels. They have more values
  than there are labels, and the colour of each is the grey of that value.
- Grey images are soft masks of 0 to 255 (16 bits: 65535) where any value is above 32, else labels.
  Soft masks that are weaker everywhere hold no object at any usual threshold; those of our own
  modules stay soft masks, by the names of their folders.
- Colour images that hold nothing but grey are read as grey ones. Others are labels, as palettes
  turned into RGB are, if they have few colours and black, the background, is one of them. Pictures
  and heat maps are refused, and so is transparency: it may stand for the mask or mean nothing.

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
from ike_tools.masks.mask_file import COLOUR, GREY, PALETTE, Png, png_kind, read_map, read_png

MOST_LABELS = 32  # results of DAVIS-2017 have at most 20
VOID = 255
LABEL_THRESHOLD = 0.5  # any above 0 would do: labels are read as 0 and 1
_SHOWN_FOLDERS = 3


@dataclass(frozen=True)
class MaskValues:
    """How the files of one folder are read."""

    labels: frozenset[str] = frozenset()  # kinds of PNG, see `mask_file.Png`; others are soft masks
    hard: bool = False  # no file is a soft mask, so that no threshold matters
    void: int | None = None  # the index of void pixels in palettes, if there are any
    highest_of_16_bits: int = 65535  # what is surely object in a soft mask of 16 bits
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
        InputError: a file cannot be read, has transparent pixels, or is a picture.
    """
    if files[0].suffix.lower() == ".pt" or is_own_images(files[0].parent):
        return MaskValues()
    by_kind = _by_kind(files)
    palettes, greys, colours = (by_kind[kind] for kind in (PALETTE, GREY, COLOUR))
    labels, found, void, highest = set(), [], None, 65535
    if palettes:
        soft, void = _look_at_palettes(palettes)
        if soft:
            found.append("are soft masks of 0 to 255 (grey, with a palette)")
        else:
            labels.add(PALETTE)
            found.append(f"{_labels(PALETTE)}{'; 255 is void, background' if void else ''}")
    if colours and _are_coloured(colours):
        labels.add(COLOUR)
        found.append("are labels (colours), any that is not black is object")
    elif colours:
        greys = greys + colours
    if greys:
        grey_labels, highest, note = _look_at_greys(greys)
        labels |= {kind for kind in (GREY, COLOUR) if grey_labels}
        found += [note] if note else []
    hard = all(kind in labels for kind, paths in by_kind.items() if paths)
    return MaskValues(frozenset(labels), hard, void, highest, ", others ".join(found))


def annotation_values(files: Sequence[Path]) -> MaskValues:
    """How the annotations ``files``, .png, are read; InputError where one cannot be read."""
    palettes = _by_kind(files)[PALETTE]
    void = _look_at_palettes(palettes)[1] if palettes else None
    note = "" if void is None else f"have void pixels ({void}), which are left out of the score"
    return MaskValues(frozenset({PALETTE, GREY, COLOUR}), hard=True, void=void, note=note)


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
    if png.kind in values.labels:
        return _object(png, values).astype(np.float32)
    highest = values.highest_of_16_bits if png.highest == 65535 else png.highest
    return _as_grey(png).astype(np.float32) / np.float32(highest)


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


def _by_kind(files: Sequence[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {PALETTE: [], GREY: [], COLOUR: []}
    for path in files:
        found[png_kind(path)].append(path)
    return found


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


def _as_grey(png: Png) -> np.ndarray:
    return png.values[..., 0] if png.kind == COLOUR else png.values


def _labels(kind: str) -> str:
    return f"are labels ({kind}), any that is not 0 is object"


def _look_at_palettes(files: list[Path]) -> tuple[bool, int | None]:
    """Whether these are soft masks, and the index of void pixels if there are any."""
    seen, grey_ramp = np.zeros(256, dtype=bool), True
    for path in _bar(files):
        png = read_png(path)
        seen |= np.bincount(png.values.ravel(), minlength=256) > 0
        grey_ramp &= png.grey_ramp
        if grey_ramp and np.count_nonzero(seen[1:]) > MOST_LABELS:
            return True, None
        if not grey_ramp and seen[VOID] and seen[1:VOID].any():
            break
    return False, VOID if seen[VOID] and seen[1:VOID].any() else None


def _are_coloured(files: list[Path]) -> bool:
    """Whether these are labels by colour; otherwise they hold nothing but grey."""
    colours: set[int] = set()
    coloured: Path | None = None
    for path in _bar(files):
        red, green, blue = np.moveaxis(_read_mask(path).values.astype(np.int32), 2, 0)
        if (red != green).any() or (red != blue).any():
            coloured = coloured or path
        numbers = ((red * 256 + green) * 256 + blue).ravel()
        # Where a run of one colour begins: sorting all pixels would take longer than reading them.
        colours |= {*np.unique(numbers[np.diff(numbers, prepend=-1) != 0]).tolist()}
        if coloured and len(colours) > MOST_LABELS + 1:
            break
    if coloured and (len(colours) > MOST_LABELS + 1 or 0 not in colours):
        raise InputError(
            f"{coloured}: is not a mask: as in a picture or a heat map, its colours are many or do "
            "not include black; a mask is grey, has a palette, or has a colour for each object on "
            "black"
        )
    return coloured is not None


def _look_at_greys(files: list[Path]) -> tuple[bool, int, str]:
    """Whether these are labels, the value of 16 bits that is surely object, and a note."""
    top = 0
    for path in _bar(files):
        png = _read_mask(path)
        highest = int(_as_grey(png).max())
        if highest > (255 if png.highest == 65535 else MOST_LABELS):
            return False, 65535, ""
        top = max(top, highest)
    if top > MOST_LABELS:
        return False, 255, "are soft masks of 0 to 255 in 16 bits"
    return top > 0, 65535, _labels(GREY) if top else ""


def _bar(files: list[Path]) -> tqdm[Path]:
    return tqdm(files, f"{files[0].parent.name}: values", unit="file", delay=2, leave=False)
