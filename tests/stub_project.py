"""A copy of the project whose commands only note how they were called: for tests of what runs them.

Each writes a file where the next step looks for one. The flow reads the frames first.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import torch
from small_run import WORKING

from ike_data.command_line import PROJECT_CONFIG

FLOW, GRAPH, NETWORK = "extract_optical_flow", "run_graph_module", "main"
MASKS, PICTURES, SCORES = "export_masks", "visualize", "evaluate"
ALL = [FLOW, GRAPH, NETWORK, GRAPH, MASKS, PICTURES]  # of one cycle, which a graph ends
# What each makes, in its out_path.
_MAKES = {
    FLOW: "fwd_of/00000_00001.flo",
    GRAPH: "iter_2/00000.pt",
    NETWORK: "results_pt/epoch_00001/00000.pt",
    MASKS: "00000.png",
    PICTURES: "report.html",
    SCORES: "",
}
_STUB = """
import json, os, shutil, sys, time
from pathlib import Path
project, name = Path({project!r}), {name!r}
sys.path.insert(0, str(project))
from ike_data.runtime.command import run_command

def main():
    flags = dict(flag[2:].partition("=")[::2] for flag in sys.argv[1:] if flag.startswith("--"))
    if name == "extract_optical_flow":
        from ike_data.frames import open_frames
        open_frames(Path(flags["frames_path"]))
    with (project / "calls").open("a") as calls:
        calls.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
    made = Path(flags["out_path"]) / {makes!r}
    made.parent.mkdir(parents=True, exist_ok=True)
    if (project / ("hold " + name)).exists():
        (made.parent / ".partial-leftover").touch()
        (project / "held").write_text(str(os.getpid()))
        time.sleep(60)
    shutil.copy(project / "mask.pt", made)

run_command(main)
"""


class StubProject:
    """The copy in ``folder``; its tools are the project's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root = PROJECT_CONFIG.parent
        for name in ("tools", "ike_data"):
            shutil.copytree(
                root / name, folder / name, ignore=shutil.ignore_patterns(".*", "__pycache__")
            )
        shutil.copy(PROJECT_CONFIG, folder)
        torch.save(torch.zeros(*WORKING, 1), folder / "mask.pt")
        for name, makes in _MAKES.items():
            place = folder / "tools" if name in (MASKS, PICTURES, SCORES) else folder
            text = _STUB.format(project=str(folder), name=name, makes=makes)
            (place / f"{name}.py").write_text(text)

    def calls(self) -> list[list[str]]:
        """Name and flags of each command since the last time that this was asked."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def names(self) -> list[str]:
        return [name for name, *_ in self.calls()]

    def hold(self, name: str) -> None:
        """Let this command wait for its end in the midst of its work."""
        (self.folder / f"hold {name}").touch()

    def release(self, name: str) -> None:
        (self.folder / f"hold {name}").unlink()

    def held(self) -> int:
        """Wait until a command is held; its process id."""
        path, deadline = self.folder / "held", time.monotonic() + 60
        while not (path.exists() and path.read_text()):
            assert time.monotonic() < deadline, "no command is held"
            time.sleep(0.02)
        process = int(path.read_text())
        path.unlink()
        return process


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False
