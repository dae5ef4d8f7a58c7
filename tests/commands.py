"""Running the project's commands: in this process, or as a shell starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ike_data.command_line import PROJECT_CONFIG
from ike_data.runtime.errors import InputError

ROOT = PROJECT_CONFIG.parent


def call(command: ModuleType, *flags: object) -> None:
    """Run the main of a command in this process; its InputError comes through."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{command.__name__}.py", *map(str, flags)])
        command.main()


def refused(match: str, command: ModuleType, *flags: object) -> None:
    """The command ends in an InputError that matches."""
    with pytest.raises(InputError, match=match):
        call(command, *flags)


def run(
    script: str, *flags: object, project: Path = ROOT, **settings: Any
) -> subprocess.CompletedProcess[str]:
    """Run a script of the project to its end, as a shell does."""
    command = [sys.executable, str(project / script), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, **settings)


def start(script: str, *flags: object, project: Path = ROOT) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, str(project / script), *map(str, flags)], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
