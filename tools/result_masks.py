"""The masks of a result beside the annotations of the same frames: finding, checking, reading."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import project_root  # noqa: F401
from PIL import Image

from ike_data.errors import InputError
from ike_data.frames import check_pixels, frame_number, numbered_images

# Of the modes of a grey PNG in Pillow; older releases open 16 bits as mode I.
_HIGHEST = {"1": 1, "L": 255, "I;16": 65535, "I": 65535}


@dataclass(frozen=True)
class AnnotatedSequence:
    """One sequence: its annotations and a result's masks, frame by frame in the same order."""

    name: str
    results: Path  # the result folder as the user gave it, with its stage
    annotation_files: tuple[Path, ...]
    mask_files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.annotation_files)

    def read(self, idx: int) -> tuple[np.ndarray, np.ndarray]:
        """The soft mask, float32 in [0, 1], and the annotation, bool, of frame ``idx``.

        Both are [height, width] of the annotation.

        Raises:
            InputError: see `read_annotation` and `read_soft_mask`.
        """
        annotation = read_annotation(self.annotation_files[idx])
        return read_soft_mask(self.mask_files[idx], *annotation.shape), annotation


def annotated_sequences(
    results: Path, annotations: Path, stage: str = ""
) -> list[AnnotatedSequence]:
    """Pair the masks of a result with the annotations of a sequence or of a whole data set.

    ``annotations`` holds the .png files of one sequence, and then ``results`` holds its masks; or
    it holds a folder for each sequence, and then ``results`` holds folders of the same names.
    Frames are matched by position after sorting by number. Only names are read here.

    Args:
        stage: folder of the masks inside ``results``, or inside each sequence's folder there.

    Raises:
        InputError: a folder or a mask is missing, or there are more masks than annotations.
    """
    for folder in (results, annotations):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
    if _files(annotations, ".png"):
        name = annotations.resolve().name
        return [_pair(name, results / stage, results / stage, annotations)]
    names = [folder.name for folder in _folders(annotations)]
    if not names:
        raise InputError(
            f"{annotations}: holds neither annotations (00000.png, 00001.png, ...) nor a folder of "
            "them for each sequence; give Annotations/480p or Annotations/480p/SEQUENCE"
        )
    for name in names:
        if not _files(annotations / name, ".png"):
            raise InputError(
                f"{annotations / name}: holds no annotation (00000.png, ...); each folder in "
                f"{annotations} should be a sequence; give Annotations/480p"
            )
        if not (results / name / stage).is_dir():
            raise InputError(
                f"{results}: has no folder {Path(name, stage)}; the annotations are a data set of "
                f"{len(names)} sequences, so its masks are expected in {results / name / stage}; "
                f"or give --annotations {annotations / name}"
            )
    label = results / "*" / stage if stage else results
    return [_pair(name, label, results / name / stage, annotations / name) for name in names]


def sequences_without_annotation(results: Path, annotations: Path) -> list[str]:
    """Folders of ``results`` that `annotated_sequences` leaves out, where it pairs a data set."""
    if _files(annotations, ".png"):
        return []
    return [folder.name for folder in _folders(results) if not (annotations / folder.name).is_dir()]


def _folders(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _files(folder: Path, suffix: str) -> list[Path]:
    """The files of ``folder`` with ``suffix``, by name; hidden ones are left out."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() == suffix and not path.name.startswith(".")
    )


def _pair(name: str, results: Path, masks: Path, annotations: Path) -> AnnotatedSequence:
    annotation_files, mask_files = _png_files(annotations), _mask_files(masks)
    n_annotations, n_masks = len(annotation_files), len(mask_files)
    if n_masks != n_annotations:
        frames = [frame_number(path) for path in annotation_files]
        numbers = [frame_number(path) for path in mask_files]
        counts = f"{masks}: holds {n_masks} masks for the {n_annotations} annotations of"
        if n_masks < n_annotations:
            missing = sorted(set(frames) - set(numbers))
            raise InputError(
                f"{counts} {annotations}; {_some(missing)} missing; make all masks of the video"
            )
        extra = sorted(set(numbers) - set(frames))
        raise InputError(
            f"{counts} {annotations}; {_some(extra)} too many; is it the same video, not cut?"
        )
    return AnnotatedSequence(name, results, tuple(annotation_files), tuple(mask_files))


def _some(numbers: list[int]) -> str:
    names = ", ".join(f"{number:05d}" for number in numbers[:5])
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"frame {names} is" if len(numbers) == 1 else f"frames {names}{more} are"


def _mask_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    maps, images = _files(folder, ".pt"), _files(folder, ".png")
    if maps and images:
        raise InputError(f"{folder}: holds both .pt and .png masks; keep one kind")
    if images:
        return _png_files(folder)
    if maps:
        return _without_gap(maps)
    inside = [path.name for path in _folders(folder)]
    hint = " in it"
    if inside:
        hint = f" directly in it, not in its folders {', '.join(inside[:5])}; --stage names one"
    raise InputError(
        f"{folder}: holds no mask; expected 00000.pt, 00001.pt, ... or 00000.png, 00001.png, ..."
        f"{hint}"
    )


def _png_files(folder: Path) -> list[Path]:
    files = numbered_images(folder)
    for path in files:
        if path.suffix.lower() != ".png":
            raise InputError(f"{path}: a mask is a .png; jpg blurs its values")
    return files


def _without_gap(maps: list[Path]) -> list[Path]:
    """Sort .pt files by number, as `numbered_images` does images."""
    files = sorted(maps, key=frame_number)
    for before, after in itertools.pairwise(files):
        if frame_number(after) == frame_number(before):
            raise InputError(f"{after}: has the same number as {before.name}; keep one of them")
        if frame_number(after) != frame_number(before) + 1:
            raise InputError(
                f"{after.parent}: frame {frame_number(before) + 1} is missing (after {before.name} "
                f"comes {after.name}); make all masks of the video"
            )
    return files


def read_annotation(path: Path) -> np.ndarray:
    """Read an annotation as bool [height, width]: any non-zero pixel is object.

    Palette images are read as their indices; of colour images a pixel with any non-zero channel
    is object, whatever its alpha.

    Raises:
        InputError: the file is not an image or is damaged.
    """
    with _open_png(path) as image:
        if image.mode in ("LA", "RGBA"):
            image = image.convert("RGB")
        pixels = np.asarray(image)
    return pixels != 0 if pixels.ndim == 2 else (pixels != 0).any(axis=2)


def read_soft_mask(path: Path, height: int, width: int) -> np.ndarray:
    """Read a mask as float32 [height, width] in [0, 1].

    A grey .png is scaled by its highest value (255) and must have this size. A .pt holds [H, W, 1]
    or [H, W] of any size and is resized bilinearly, as the modules' own images are.

    Raises:
        InputError: the file cannot be read, is not a grey image or a soft mask in [0, 1], or is a
            .png of another size.
    """
    if path.suffix.lower() == ".pt":
        return _read_map(path, height, width)
    with _open_png(path) as image:
        if image.size != (width, height):
            raise InputError(
                f"{path}: is {image.width} x {image.height} pixels, its annotation is "
                f"{width} x {height}; save the mask at that size, or give the .pt folder"
            )
        if image.mode not in _HIGHEST:
            raise InputError(
                f"{path}: is an image of mode {image.mode}; a mask is grey (mode L, 0 to 255)"
            )
        return np.asarray(image).astype(np.float32) / np.float32(_HIGHEST[image.mode])


def _open_png(path: Path) -> Image.Image:
    if not path.is_file():  # a pipe would be waited for
        raise InputError(f"{path}: is not a file; make it again")
    try:
        image = Image.open(path, formats=("PNG",))
        check_pixels(image)
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow reports a broken PNG chunk as SyntaxError.
        raise InputError(f"{path}: cannot be read as an image ({error}); make it again") from error
    return image


def _read_map(path: Path, height: int, width: int) -> np.ndarray:
    # Not at the top: loading PyTorch takes seconds, and only .pt masks need it.
    import torch

    from ike_data.soft_masks import resize_mask
    from ike_data.tensor_files import is_plain, load_tensors

    mask = load_tensors(path, "make it again")
    if not isinstance(mask, torch.Tensor):
        raise InputError(f"{path}: holds a {type(mask).__name__}; it must hold one tensor")
    if not is_plain(mask):
        raise InputError(f"{path}: is not a dense real tensor; save it as float32")
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]  # [H, W]
    if mask.ndim != 2 or 0 in mask.shape:
        raise InputError(f"{path}: has shape {list(mask.shape)}; a soft mask is [H, W, 1]")
    mask = mask.detach().to(torch.float32)
    if not bool(((mask >= 0) & (mask <= 1)).all()):  # false for NaN as well
        raise InputError(f"{path}: has values outside [0, 1]; a soft mask lies in [0, 1]")
    return resize_mask(mask, height, width).numpy()
