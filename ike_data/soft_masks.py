"""Soft masks: one .pt tensor and one grey .png for each frame, a folder for each result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import torch
import torch.nn.functional as F

from ike_data.runtime.atomic import atomic_folder
from ike_data.runtime.cores import do_on_cores
from ike_data.runtime.errors import InputError
from ike_data.tensor_files import load_tensor, save_tensors

HARD_THRESHOLD = 0.5  # where soft masks are cut into labels
ROUNDING = 1e-4  # by which a soft mask may leave [0, 1]


def mask_name(idx: int, suffix: str = ".pt") -> str:
    """File name of the mask of frame ``idx``."""
    return f"{idx:05d}{suffix}"


def write_soft_masks(folder: Path, masks: torch.Tensor) -> None:
    """Write ``masks``, [n, H, W] in [0, 1], as maps of one channel; see `write_feature_maps`."""
    write_feature_maps(folder, masks.unsqueeze(-1))


def write_feature_maps(folder: Path, maps: torch.Tensor) -> None:
    """Write ``maps``, [n, H, W, C], as ``%05d.pt``: float32 [H, W, C] each.

    The folder appears when all of its files are written.

    Raises:
        ValueError: a map has a value that is not finite.
    """
    if not torch.isfinite(maps).all():
        raise ValueError(f"maps for {folder} have values that are not finite")
    _write_folder(folder, ".pt", len(maps), lambda path, idx: save_map(path, maps[idx]))


def save_map(path: Path, frame_map: torch.Tensor) -> None:
    """Write a map [H, W, C] as float32."""
    # clone: torch.save writes the whole storage that a view belongs to.
    frame_map = frame_map.detach().to("cpu", torch.float32).contiguous().clone()
    save_tensors(path, frame_map)


def write_mask_images(folder: Path, masks: torch.Tensor, height: int, width: int) -> None:
    """Write ``masks``, [n, H, W] in [0, 1], as 8-bit grey ``%05d.png`` of height x width pixels.

    Resized bilinearly (align_corners=False). The folder appears when all files are written.
    """
    # The seed is one mask for all frames.
    same = encode_mask(masks[0], height, width) if masks.stride(0) == 0 else None

    def write(path: Path, idx: int) -> None:
        path.write_bytes(same or encode_mask(masks[idx], height, width))

    _write_folder(folder, ".png", len(masks), write)


def _write_folder(
    folder: Path, suffix: str, n_frames: int, write: Callable[[Path, int], object]
) -> None:
    """Have ``write`` make the file of each frame, given its path and the frame's index."""
    with atomic_folder(folder) as partial:

        def write_frame(idx: int) -> None:
            write(partial / mask_name(idx, suffix), idx)

        do_on_cores(write_frame, range(n_frames), torch.device("cpu"))


def encode_mask(mask: torch.Tensor, height: int, width: int) -> bytes:
    """A mask [H, W] in [0, 1] as the bytes of an 8-bit grey .png of height x width pixels."""
    image = resize_mask(mask.detach().to("cpu", torch.float32), height, width)
    grey = (image * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    # Runs of equal values are most of what there is to compress in a mask: half the time of the
    # default for a tenth fewer bytes.
    encoded, data = cv2.imencode(
        ".png", grey, [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    )
    assert encoded
    return bytes(data)


def resize_mask(mask: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize a mask [H, W] bilinearly to [height, width]."""
    return F.interpolate(
        mask[None, None], size=(height, width), mode="bilinear", align_corners=False
    )[0, 0]


def read_feature_maps(folder: Path, n_frames: int, height: int, width: int) -> torch.Tensor:
    """Read a folder of ``%05d.pt`` maps as one float32 tensor [n_frames, H, W, C].

    Raises:
        InputError: the folder or a file is missing, a file is not a tensor that
            ``torch.load(weights_only=True)`` accepts, has another shape, or is not finite.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; give a folder of .pt maps, one a frame, such as iter_19 or "
            "results_pt/epoch_00005"
        )
    for idx in range(n_frames):
        frame_map = _read_map(folder / mask_name(idx), n_frames, height, width)  # [H, W, C]
        if idx == 0:
            maps = torch.empty((n_frames, *frame_map.shape), dtype=torch.float32)
        if frame_map.shape != maps.shape[1:]:
            raise InputError(
                f"{folder / mask_name(idx)}: has shape {list(frame_map.shape)}, the first map of "
                f"the folder has {list(maps.shape[1:])}; make all maps of a folder alike"
            )
        maps[idx] = frame_map
    return maps


def read_soft_masks(folder: Path, n_frames: int, height: int, width: int) -> torch.Tensor:
    """Read a folder of ``%05d.pt`` soft masks as float32 [n_frames, H, W] in [0, 1].

    Values that leave [0, 1] by rounding, 1e-4 at most, are cut off.

    Raises:
        InputError: as `read_feature_maps`, or a map has several channels or leaves [0, 1].
    """
    maps = read_feature_maps(folder, n_frames, height, width)
    if maps.shape[-1] != 1:
        raise InputError(
            f"{folder}: its maps have {maps.shape[-1]} channels; a soft mask has 1, "
            f"[{height}, {width}, 1]"
        )
    for idx, mask in enumerate(maps):
        low, high = mask.min().item(), mask.max().item()
        if low < -ROUNDING or high > 1 + ROUNDING:
            of_bytes = ", divide it by 255 if it is of bytes" if high > 1.5 else ""
            raise InputError(
                f"{folder / mask_name(idx)}: has values from {low:.6g} to {high:.6g}; "
                f"a soft mask lies in [0, 1]{of_bytes}"
            )
    return maps[..., 0].clamp_(0, 1)


def _read_map(path: Path, n_frames: int, height: int, width: int) -> torch.Tensor:
    frame_map = load_tensor(
        path,
        f"the video has {n_frames} frames, so its folder needs {mask_name(0)} to "
        f"{mask_name(n_frames - 1)}, a tensor [{height}, {width}, 1] each",
    )
    if frame_map.ndim == 2:
        frame_map = frame_map.unsqueeze(-1)
    if frame_map.ndim != 3 or frame_map.shape[:2] != (height, width):
        raise InputError(
            f"{path}: has shape {list(frame_map.shape)}, expected [{height}, {width}, channels] "
            "(working_h and working_w of config.ini); make both the same"
        )
    frame_map = frame_map.to(torch.float32)
    if not torch.isfinite(frame_map).all():
        raise InputError(f"{path}: has values that are NaN or infinite; make it again")
    return frame_map
