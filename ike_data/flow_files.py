"""Middlebury .flo files: their names, reading, writing and checking.

``fwd_of/%05d_%05d.flo`` (idx, idx+1) is the flow from frame idx to frame idx+1;
``bwd_of`` holds, under the same file name, the flow from frame idx+1 to frame idx.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ike_data.foreign_flow import other_layout, other_names
from ike_data.runtime.atomic import atomic_file
from ike_data.runtime.errors import InputError

FORWARD, BACKWARD = "fwd_of", "bwd_of"
_BOTH = f"both {FORWARD} (from frame idx to idx+1) and {BACKWARD} (from idx+1 to idx)"
_MAGIC = np.float32(202021.25)
_HEADER_BYTES = 12
_UNKNOWN = 1e9  # Middlebury's mark of a pixel without a flow is any larger value


def flow_name(idx: int) -> str:
    """File name of the flow between frames ``idx`` and ``idx + 1``, in both folders."""
    return f"{idx:05d}_{idx + 1:05d}.flo"


def write_flow(path: Path, flow: np.ndarray) -> None:
    """Write ``flow``, float32 [height, width, 2], channels (u, v) in pixels, as a .flo file.

    Raises:
        OSError: the disk is full, or cannot be written.
        ValueError: ``flow`` has another shape, or a value that is unknown or not finite.
    """
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ValueError(f"flow should have shape [height, width, 2], got {list(flow.shape)}")
    if not is_known(flow):
        raise ValueError(f"flow for {path} has values that are unknown or not finite")
    height, width = flow.shape[:2]
    header = np.array([_MAGIC], "<f4").tobytes() + np.array([width, height], "<i4").tobytes()
    # Not cv2.writeOpticalFlow: on a full disk it says only that it failed, or not even that.
    with atomic_file(path) as partial, partial.open("wb") as file:
        file.write(header)
        file.write(np.ascontiguousarray(flow, dtype="<f4").data)


def read_flow(path: Path, height: int, width: int) -> np.ndarray:
    """Read a .flo file of the given size as float32 [height, width, 2], (u, v) in pixels.

    Raises:
        InputError: the file is missing, has a wrong magic number, is truncated or of another
            size, or holds a value that is not finite.
    """
    check_flow(path, height, width)
    # The values follow the header as they stand in memory. cv2.readOpticalFlow gives the same
    # array, but reads number by number: 100 times slower.
    flow = np.fromfile(path, "<f4", offset=_HEADER_BYTES).reshape(height, width, 2)
    if not is_known(flow):
        raise InputError(
            f"{path}: has values that are unknown or not finite; delete it and run "
            "extract_optical_flow.py again"
        )
    return flow


def check_flow(path: Path, height: int, width: int) -> None:
    """Check that ``path`` is a whole .flo file of the given size; reads only its header.

    Raises:
        InputError: as `read_flow`, except for values that are not finite.
    """
    again = "delete it and run extract_optical_flow.py again"
    if not path.is_file():
        raise InputError(f"{path}: is missing; run extract_optical_flow.py first")
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        n_bytes = file.seek(0, 2)
    if len(header) < _HEADER_BYTES:
        raise InputError(f"{path}: is truncated ({n_bytes} bytes); {again}")
    if np.frombuffer(header, "<f4", 1)[0] != _MAGIC:
        raise InputError(f"{path}: is not a .flo file (wrong magic number); {again}")
    file_width, file_height = (int(value) for value in np.frombuffer(header, "<i4", 2, offset=4))
    if (file_width, file_height) != (width, height):
        raise InputError(
            f"{path}: is a flow of {file_width} x {file_height} pixels, the frames are "
            f"{width} x {height}; extract the flow from these frames"
        )
    expected = _HEADER_BYTES + 8 * width * height
    if n_bytes != expected:
        what = "truncated" if n_bytes < expected else "too long"
        raise InputError(f"{path}: is {what} ({n_bytes} bytes, expected {expected}); {again}")


def is_known(flow: np.ndarray) -> bool:
    """Whether all values are finite and below Middlebury's mark of an unknown flow."""
    return bool((np.abs(flow) < _UNKNOWN).all())  # false for NaN as well


def check_flow_folders(
    fwd_folder: Path, bwd_folder: Path, n_frames: int, height: int, width: int
) -> None:
    """Check that both folders hold a whole flow file for each pair of neighbouring frames.

    Raises:
        InputError: as `check_flow`, or a folder is missing. Where there is flow of another tool,
            it says what there is and what is expected.
    """
    names = [flow_name(idx) for idx in range(n_frames - 1)]
    for folder, pair in ((fwd_folder, "frame 0 to 1"), (bwd_folder, "frame 1 to 0")):
        if not folder.is_dir():
            raise _no_folder(folder, names)
        if names and not (folder / names[0]).exists():
            found = other_names(folder, names, pair)
            if found is not None:
                lacking = "" if bwd_folder.is_dir() else f"; {_BOTH} are needed"
                raise InputError(f"{found}{lacking}")
        for name in names:
            check_flow(folder / name, height, width)


def _no_folder(folder: Path, names: Sequence[str]) -> InputError:
    start, above = f"{folder}: no such folder", folder.parent
    run = "run extract_optical_flow.py"
    if above.name in (FORWARD, BACKWARD):
        return InputError(f"{start}; give --of_path={above.parent}, above both")
    if folder.name not in (FORWARD, BACKWARD):  # named in config.ini
        return InputError(f"{start}; {run} first")
    if any((above / name).is_dir() for name in (FORWARD, BACKWARD)):
        return InputError(
            f"{start}; {_BOTH} are needed; {run} --out_path={above}, which makes what is missing"
        )
    return InputError(other_layout(above, folder.name, names, _BOTH) or f"{start}; {run} first")
