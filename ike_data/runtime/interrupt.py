"""Ctrl-C ends a command in one line, from its first moment on.

A command calls this before its other imports, which take a while. So it imports next to nothing
itself: signal and typing would leave 10 ms in which Ctrl-C still shows a traceback.
"""

from __future__ import annotations

import _signal  # what signal is made of
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

AGAIN = "run the same command again"
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell counts


def end_on_ctrl_c(remedy: str = AGAIN) -> None:
    """From now on Ctrl-C is one line on stderr and exit status 130, never a traceback.

    That line ends with ``remedy``: how to go on.
    """

    def end(_number: int, frame: FrameType | None) -> NoReturn:
        try:
            close_bars()
            message = f"error: interrupted; finished files are complete, {remedy}"
            print(message, file=sys.stderr, flush=True)
            # It unwinds every `with` block, so partial files are removed.
            raise SystemExit(EXIT_INTERRUPTED)
        finally:
            # But a library that is being imported may swallow it or turn it into another error.
            while frame is not None:
                if "importlib._bootstrap" in frame.f_code.co_filename:
                    sys.stdout.flush()
                    os._exit(EXIT_INTERRUPTED)
                frame = frame.f_back

    _signal.signal(_signal.SIGINT, end)


def close_bars() -> None:
    """End the lines of tqdm's bars: what is printed next has one of its own."""
    tqdm = sys.modules.get("tqdm")
    for bar in list(getattr(getattr(tqdm, "tqdm", None), "_instances", ())):
        bar.close()
