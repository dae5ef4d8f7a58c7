"""What the three commands do the same way: flags, device, and the settings that they record.

This module imports nothing heavy, so that ``--help``, a mistyped flag and Ctrl-C answer at once.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ike_data.config import (
    LEAST_MAX_SIDE,
    MOST_MAX_SIDE,
    Config,
    fill_in,
    format_config,
    read_config,
)
from ike_data.frame_names import write_frame_names
from ike_data.layout import CONFIG
from ike_data.runtime.atomic import remove
from ike_data.runtime.command import number_argument, path_argument
from ike_data.runtime.errors import InputError
from ike_data.saved_config import FLOW_PROGRAM, check_saved_config, is_of_other_frames, save_config

if TYPE_CHECKING:
    import torch

    from ike_data.frames import Frames

# max_side of [Optical Flow], on the command line.
max_side_argument = number_argument(LEAST_MAX_SIDE, MOST_MAX_SIDE, int, or_zero=True)
DEVICE_FLAG: dict[str, Any] = dict(
    choices=["auto", "cpu", "cuda"],
    help="auto is CUDA where PyTorch sees a GPU (default: device in config.ini)",
)
PROJECT_CONFIG = Path(__file__).resolve().parent.parent / "config.ini"


def common_flags() -> argparse.ArgumentParser:
    """The flags of all three commands, as a parent parser."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--frames_path",
        type=path_argument,
        help="folder of numbered frames (jpg, png, tif, ...) or a video file",
    )
    parser.add_argument(
        "--out_path", type=path_argument, help="folder for the results; made if needed"
    )
    parser.add_argument(
        "--config",
        type=path_argument,
        default=PROJECT_CONFIG,
        help="settings (default: the config.ini beside the commands)",
    )
    parser.add_argument("--device", **DEVICE_FLAG)
    return parser


def read_settings(args: argparse.Namespace, **paths: Path | None) -> Config:
    """config.ini with what `common_flags` and the flags of more ``paths`` give; see `fill_in`."""
    config = read_config(args.config)
    paths |= dict(frames_path=args.frames_path, out_path=args.out_path)
    return fill_in(config, device=args.device, **paths)


def announce(
    config: Config, frames: Frames, device: torch.device, out_path: Path, found: str = ""
) -> Callable[[Iterable[Path]], None]:
    """Print what was found, the frames and ``found``, and the resolved settings.

    Returns:
        A function that saves these as out_path/config.ini, and the frames' names beside it. Call it
        when all input has been read, so that a command which fails leaves the record of an older
        result. Its argument, the results that are there, is removed where the saved settings or
        frames differ: they must not stand beside this run's record.

    Raises:
        InputError: see `check_saved_config`.
    """
    import torch

    from ike_data.frames import describe_frames

    program = Path(sys.argv[0]).name
    check_saved_config(out_path, program)
    # How the flow was made stands with the flow: here its section would tell of defaults.
    without = () if program == FLOW_PROGRAM else ("Optical Flow",)
    settings = format_config(config, without)
    notes = [
        f"command: {shlex.join(['python', *sys.argv])}",
        f"frames: {describe_frames(frames)}, digest {frames.digest}{found}",
        f"ran on {device.type} with PyTorch {torch.__version__}",
    ]
    print(*notes, "", settings, sep="\n", flush=True)

    def record(earlier: Iterable[Path]) -> None:
        saved = out_path / CONFIG
        if saved.exists() and (
            is_of_other_frames(saved, frames) or not _holds(saved, settings, without)
        ):
            for path in earlier:
                remove(path)
        # The names last: a run that is killed in between would leave names, and no config.ini that
        # tells the next run that a command wrote them.
        save_config(config, out_path, notes, without)
        write_frame_names(out_path, frames.names)

    return record


def _holds(saved: Path, settings: str, without: Sequence[str]) -> bool:
    """Whether a saved config.ini, of an earlier version perhaps, has these settings."""
    try:
        return format_config(read_config(saved), without) == settings
    except InputError:  # damaged
        return False


def choose_device(name: str) -> torch.device:
    """Resolve ``auto``, ``cpu`` or ``cuda``; ``auto`` is CUDA where PyTorch sees a GPU.

    On a GPU float32 is then float32 in convolutions, too, not TensorFloat32.

    Raises:
        InputError: ``cuda`` was asked for and PyTorch sees none.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "--device cuda, or device = cuda in config.ini: PyTorch sees no CUDA GPU here; use "
            "--device cpu or --device auto"
        )
    return torch.device(name)
