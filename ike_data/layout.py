"""Where results lie: the names that the commands leave, and that others look for.

GRAPH/   iter_{idx}/%05d.pt               soft masks of an iteration; -1 is the seed
         iter_{idx}_images/%05d.png       the same at the frames' own size
NET/     models/epoch_%05d.pth            a checkpoint; epochs count from 1
         models/training.pth              the state of a training that is not done
         results_pt/epoch_%05d/%05d.pt    soft masks of an epoch
         results_images/epoch_%05d/       the same at the frames' own size
FLOW/    fwd_of/, bwd_of/                 see `flow_files`
each     config.ini, log.csv, frames.csv  settings, steps with their times, the frames' names
RUN/     flow/, graph_1/, net_1/, graph_2/, ..., final/
"""

from __future__ import annotations

import re
from pathlib import Path

from ike_data.folders import visible_in

CONFIG, LOG, FRAME_NAMES = "config.ini", "log.csv", "frames.csv"
MODELS, MAPS, IMAGES = "models", "results_pt", "results_images"
FLOW, FINAL = "flow", "final"  # of a whole run
GRAPH, NETWORK = "graph", "net"  # the modules, as the folders of a run name them
SEED_ITERATION = -1
_ITERATION = re.compile(r"iter_(-?\d+)")
_EPOCH = re.compile(r"epoch_(\d+)")
_RUN_FOLDER = re.compile(rf"({GRAPH}|{NETWORK})_(\d+)")
_OF_EPOCH = re.compile(r"epoch_\d+(\.pth)?")
_OF_ITERATION = re.compile(r"iter_-?\d+(_images)?")
_OWN_IMAGES = re.compile(rf".*/(iter_-?\d+_images|{IMAGES}/epoch_\d+)")


def iteration_masks(out_path: Path, idx: int) -> Path:
    """The folder of a graph's soft masks after iteration ``idx``."""
    return out_path / f"iter_{idx}"


def iteration_images(out_path: Path, idx: int) -> Path:
    """The same as pictures."""
    return out_path / f"iter_{idx}_images"


def iteration_of(folder: Path) -> int | None:
    """The iteration whose soft masks ``folder`` holds by its name; None: it has another name."""
    match = _ITERATION.fullmatch(folder.name)
    return None if match is None else int(match[1])


def saved_iterations(out_path: Path) -> list[Path]:
    """What there is of any iteration in the out_path of a graph: masks and pictures."""
    return [path for path in out_path.iterdir() if _OF_ITERATION.fullmatch(path.name)]


def epoch_name(epoch: int) -> str:
    return f"epoch_{epoch:05d}"


def epoch_masks(out_path: Path, epoch: int) -> Path:
    """The folder of a network's soft masks after ``epoch``."""
    return out_path / MAPS / epoch_name(epoch)


def epoch_images(out_path: Path, epoch: int) -> Path:
    """The same as pictures."""
    return out_path / IMAGES / epoch_name(epoch)


def epoch_of(folder: Path) -> int | None:
    """The epoch whose soft masks ``folder`` holds by its name; None: it has another name."""
    match = _EPOCH.fullmatch(folder.name)
    return None if match is None else int(match[1])


def checkpoint_path(out_path: Path, epoch: int) -> Path:
    return out_path / MODELS / f"{epoch_name(epoch)}.pth"


def state_path(out_path: Path) -> Path:
    """The state of a training that is not done."""
    return out_path / MODELS / "training.pth"


def saved_epochs(out_path: Path) -> list[Path]:
    """What there is of any epoch in the out_path of a network: checkpoints, masks and pictures."""
    found = (path for name in (MODELS, MAPS, IMAGES) for path in visible_in(out_path / name))
    return [path for path in found if _OF_EPOCH.fullmatch(path.name)]


def saved_checkpoints(out_path: Path) -> list[Path]:
    return [path for path in saved_epochs(out_path) if path.suffix == ".pth"]


def is_own_images(folder: Path) -> bool:
    """Whether a folder has the name of a module's pictures of its soft masks."""
    return _OWN_IMAGES.fullmatch(folder.resolve().as_posix()) is not None


def run_folder(run: Path, module: str, cycle: int) -> Path:
    """The out_path of `GRAPH` or `NETWORK` in a whole run."""
    return run / f"{module}_{cycle}"


def module_and_cycle(folder: Path) -> tuple[str, int] | None:
    """Of which module and cycle of a whole run ``folder`` is by its name; None: of none."""
    match = _RUN_FOLDER.fullmatch(folder.name)
    return None if match is None else (match[1], int(match[2]))
