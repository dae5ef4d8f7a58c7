"""What the three commands do the same way: flags, errors in one line, device, settings, out_path.

This module imports nothing heavy, so that ``--help``, a mistyped flag and Ctrl-C answer at once.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ike_data.atomic import remove
from ike_data.config import LEAST_MAX_SIDE, MOST_MAX_SIDE, Config, format_config, read_config
from ike_data.errors import InputError
from ike_data.frame_names import write_frame_names
from ike_data.interrupt import AGAIN, close_bars, end_on_ctrl_c
from ike_data.out_of_memory import cpu_is_full, gpu_is_full
from ike_data.saved_config import FLOW_PROGRAM, check_saved_config, save_config

if TYPE_CHECKING:
    import torch

    from ike_data.frames import Frames

EXIT_BAD_INPUT = 2
PROJECT_CONFIG = Path(__file__).resolve().parent.parent / "config.ini"


def run_command(
    main: Callable[[], None],
    memory_remedy: str = "set a smaller working_h and working_w, or cut the video into parts",
    interrupt_remedy: str = AGAIN,
) -> None:
    """Run ``main`` and turn whatever the user can mend into one line on stderr and exit status 2.

    A defect of the program still shows its traceback.

    Args:
        memory_remedy: what to change where the memory does not suffice.
        interrupt_remedy: how to go on after Ctrl-C.
    """
    end_on_ctrl_c(interrupt_remedy)
    # Read when PyTorch is loaded. Without it PyTorch's threads keep the cores busy with waiting,
    # where frames are shared among threads and where others work on the machine as well.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path that the terminal's encoding cannot show must not end a run.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        main()
    except InputError as error:
        _fail(str(error))
    except BrokenPipeError:
        # What is still to be flushed when Python ends has nowhere to go either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _fail(
            "the reader of the output has closed it; finished files are complete, run the same "
            "command again, with > FILE in place of the pipe"
        )
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        _fail(f"{error.filename or 'the disk'}: {error.strerror or error}")
    except Exception as error:
        if gpu_is_full(error):
            _fail(f"the GPU ran out of memory; use --device cpu, or {memory_remedy}")
        if not cpu_is_full(error):
            raise
        _fail(f"the memory does not suffice; {memory_remedy}")


def _open_closed_streams() -> None:
    """Open those of stdin, stdout and stderr that are closed, as a daemon's may be: on nothing.

    A progress bar could not be shown without stderr, and a result that is opened as its file would
    get what a library writes there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _fail(message: str) -> NoReturn:
    close_bars()
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    raise SystemExit(EXIT_BAD_INPUT)


def path_argument(text: str) -> Path:
    """A path on the command line; the shell leaves the ~ of ``--out_path=~/x`` as it is."""
    if not text:  # of a variable that is not set; as a path it would be the current folder
        raise argparse.ArgumentTypeError("is empty; give a path")
    return Path(os.path.expanduser(text))


def max_side_argument(text: str) -> int:
    """max_side of [Optical Flow], on the command line."""
    if text.isdecimal():
        pixels = int(text)
        if pixels == 0 or LEAST_MAX_SIDE <= pixels <= MOST_MAX_SIDE:
            return pixels
    raise argparse.ArgumentTypeError(
        f"{text}: expected a whole number from {LEAST_MAX_SIDE} to {MOST_MAX_SIDE}, or 0"
    )


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
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        help="auto is CUDA where PyTorch sees a GPU (default: device in config.ini)",
    )
    return parser


def announce(
    config: Config, frames: Frames, device: torch.device, out_path: Path, found: str = ""
) -> Callable[[Iterable[Path]], None]:
    """Print what was found, the frames and ``found``, and the resolved settings.

    Returns:
        What saves these as out_path/config.ini, and the frames' names beside it. To be called when
        all input has been read, so
        that a command which fails leaves the record of an older result; and with the results that
        are there: those made with other settings are removed, as they must not stand beside the
        record of this run.

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
        f"frames: {describe_frames(frames)}{found}",
        f"ran on {device.type} with PyTorch {torch.__version__}",
    ]
    print(*notes, "", settings, sep="\n", flush=True)

    def record(earlier: Iterable[Path]) -> None:
        saved = out_path / "config.ini"
        if saved.exists() and not _holds(saved, settings, without):
            for path in earlier:
                remove(path)
        write_frame_names(out_path, frames.names)
        save_config(config, out_path, notes, without)

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
            "--device cuda: PyTorch sees no CUDA GPU here; use --device cpu or --device auto"
        )
    return torch.device(name)


def prepare_out_path(path: Path) -> Path:
    """Create ``path`` if needed and prove that it can be written, before any work is done.

    Raises:
        InputError: the folder cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        reason = "not a folder" if isinstance(error, FileExistsError) else error.strerror
        raise InputError(
            f"out_path {path}: cannot be written ({reason}); choose another out_path"
        ) from error
    return path
