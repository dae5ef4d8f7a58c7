"""The config.ini that a command saves beside its results: how they were made, and of what."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from ike_data.config import Config, format_config
from ike_data.layout import CONFIG, FRAME_NAMES, LOG
from ike_data.runtime.atomic import atomic_file
from ike_data.runtime.errors import InputError, warn

if TYPE_CHECKING:
    from ike_data.frames import Frames

SAVED_MARK = "# Saved by an IKE command"
FLOW_PROGRAM = "extract_optical_flow.py"
PROGRAMS = (FLOW_PROGRAM, "run_graph_module.py", "main.py")
_SAVED_COMMAND = re.compile(r"^# command: (.*)", re.MULTILINE)
_SAVED_FRAMES = re.compile(r"^# frames: .*, (\d+) bytes(?:, digest ([0-9a-f]+))?", re.MULTILINE)


def check_saved_config(out_path: Path, program: str) -> None:
    """Raise InputError where a run of ``program`` may not replace the records in ``out_path``.

    It may not where a person wrote them, or another command saved them with its results.
    """
    path = out_path / CONFIG
    if not path.exists():
        for name in (LOG, FRAME_NAMES):
            if (out_path / name).exists():
                raise InputError(
                    f"{out_path / name}: would be overwritten, and no config.ini beside it says "
                    "that an IKE command wrote it; move it, or choose another out_path"
                )
        return
    if not _is_saved(path):
        raise InputError(
            f"{path}: was not saved by an IKE command and would be overwritten with the settings "
            "of this run; choose another out_path"
        )
    saved = saved_program(path)
    if saved in PROGRAMS and saved != program:
        raise InputError(
            f"{out_path}: holds the results of {saved}; choose another out_path for {program}"
        )


def _is_saved(path: Path) -> bool:
    """Whether a command saved ``path``."""
    # Bytes: what stands there may be anything.
    return path.is_file() and path.read_bytes().startswith(SAVED_MARK.encode())


def saved_program(path: Path) -> str | None:
    """The name of the command that saved the config.ini ``path``; None if it does not say."""
    command = _SAVED_COMMAND.search(path.read_text(encoding="utf-8", errors="replace"))
    try:
        _, script, *_ = shlex.split(command[1] if command else "")
    except ValueError:
        return None
    return Path(script).name


def save_config(
    config: Config, out_path: Path, notes: list[str], without: Collection[str] = ()
) -> None:
    """Write ``out_path/config.ini`` so that the result says how it was made.

    ``notes`` become comment lines at its top; see `format_config` for ``without`` and
    `check_saved_config` for what may be replaced.
    """
    header = [f"{SAVED_MARK}; give it to --config to run the same again."]
    header += [f"# {' '.join(note.split())}" for note in notes]
    text = "\n".join([*header, "", format_config(config, without)])
    with atomic_file(out_path / CONFIG) as partial:
        # A command line may name files whose names are no text.
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def is_of_other_frames(path: Path, frames: Frames) -> bool:
    """Whether the config.ini ``path`` tells of results from other frames than ``frames``.

    Of records without a digest, of earlier versions, the number of bytes is compared.
    """
    found = _SAVED_FRAMES.search(path.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return False
    n_bytes, digest = found.groups()
    return int(n_bytes) != frames.n_bytes or digest not in (None, frames.digest)


def warn_of_other_frames(folder: Path, frames: Frames) -> None:
    """Warn where ``folder``, of flow or masks, is of a run on other frames, as its record says."""
    for out_path in folder.resolve().parents[:2]:  # iter_19, fwd_of; results_pt/epoch_00005
        path = out_path / CONFIG
        if not _is_saved(path):
            continue
        if is_of_other_frames(path, frames):
            warn(f"{folder}: was made from other frames than {frames.path}; is it of this video?")
        return
