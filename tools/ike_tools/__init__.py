"""What the commands in tools/ are made of."""

from __future__ import annotations

import sys
from pathlib import Path


def begin() -> None:
    """Begin a command: find the project's packages, and end in one line on Ctrl-C.

    ``python tools/COMMAND.py`` finds what lies beside the command, not the folder above it. An
    editable install would find that too, but it would tie an environment, which several checkouts
    may share, to one of them.
    """
    # First: an ike_data of another checkout must not be found before this one's.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from ike_data.runtime.interrupt import end_on_ctrl_c

    end_on_ctrl_c()
