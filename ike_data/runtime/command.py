"""Running a command: whatever the user can mend is one line and exit status 2.

This module imports nothing heavy, so that ``--help``, a mistyped flag and Ctrl-C answer at once.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ike_data.runtime.errors import InputError
from ike_data.runtime.interrupt import AGAIN, close_bars, end_on_ctrl_c
from ike_data.runtime.out_of_memory import cpu_is_full, gpu_is_full

EXIT_BAD_INPUT = 2


def run_command(
    main: Callable[[], None],
    memory_remedy: str = "cut the video into parts, or make its frames smaller",
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


def number_argument(
    low: float,
    high: float = math.inf,
    kind: type = float,
    or_zero: bool = False,
) -> Callable[[str], Any]:
    """The type of a flag: a number from ``low`` to ``high``.

    Args:
        kind: float or int.
        or_zero: 0 is allowed as well.
    """
    limits = f"from {low:g} to {high:g}" if high < math.inf else f"of at least {low:g}"
    expected = f"a {'whole ' if kind is int else ''}number {limits}{', or 0' if or_zero else ''}"

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high and not (or_zero and value == 0):
            raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
        return value

    return parse


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
