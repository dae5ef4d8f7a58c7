"""What a run leaves on disk: the stages of the exchange, their masks, settings and logs."""

from __future__ import annotations

import csv
import itertools
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ike_data.config import read_ini
from ike_data.flow_files import FORWARD
from ike_data.folders import files_of
from ike_data.layout import (
    CONFIG,
    FLOW,
    GRAPH,
    LOG,
    MAPS,
    NETWORK,
    epoch_of,
    iteration_of,
    module_and_cycle,
)
from ike_data.runtime.errors import InputError

EXPECTED = (
    "expected a folder of masks (00000.pt or 00000.png, ...), the out_path of run_graph_module.py "
    "(iter_N/) or of main.py (results_pt/epoch_N/), or a folder of a whole run (graph_1/, net_1/, "
    "graph_2/, ...)"
)
_MASKS = ".pt", ".png"
_NOTE = "# "  # of a config.ini that a command saved


@dataclass(frozen=True)
class Stage:
    """The masks that one step of the exchange gave."""

    name: str  # "graph 1", "net 1", ...
    masks: Path  # folder of %05d.pt or %05d.png
    out_path: Path | None = None  # of the command that made them; holds config.ini and log.csv
    module: str = ""  # GRAPH, NETWORK, or empty: unknown

    @property
    def folder_name(self) -> str:
        return self.name.replace(" ", "_")


def find_stages(path: Path, name: str | None = None) -> list[Stage]:
    """The stages that ``path`` holds, in the order of the exchange; see `EXPECTED`.

    In the out_path of a module it is the last iteration or epoch that was saved. A module of a
    whole run that has saved none yet is left out. A single stage is called ``name``, if given, and
    otherwise as its folder. InputError where nothing is found.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; {EXPECTED}")
    stages = _stages_in(path.resolve(), name)
    if not stages:
        raise InputError(f"{path}: holds no masks; {EXPECTED}")
    return stages


def has_stages(path: Path) -> bool:
    """Whether `find_stages` finds one in ``path``."""
    return path.is_dir() and bool(_stages_in(path.resolve(), None))


def _stages_in(path: Path, name: str | None) -> list[Stage]:
    stages = [stage for folder in _run_folders(path) if (stage := _last_saved(folder)) is not None]
    if not stages:
        only = _last_saved(path, name) or _folder_of_masks(path, name)
        stages = [] if only is None else [only]
    return stages


def find_all_stages(
    results: Sequence[Path], sequence: str | None, inside: Sequence[str] = ("",)
) -> list[Stage]:
    """The stages of several results, or of one ``sequence`` in each; no two have the same name.

    Where two would have, each name begins with the folders in which the results differ.

    Args:
        inside: the folders of the stages inside each result, or inside each sequence's folder.

    Raises:
        InputError: as `find_stages`, or two results cannot be told apart.
    """
    places = [(path.resolve(), Path(folder)) for path in results for folder in inside]
    found = []
    for path, stage in places:
        # A sequence's folder has the sequence's name; its stage gets the result's.
        name = " ".join(stage.parts) or (path.name if sequence else None)
        found.append(find_stages(path / (sequence or "") / stage, name))
    all_stages = list(itertools.chain(*found))
    if _twins(all_stages):
        common = os.path.commonpath([path for path, _ in places])
        all_stages = [
            replace(stage, name=_led_by(path.relative_to(common), stage))
            for (path, _), stages in zip(places, found, strict=True)
            for stage in stages
        ]
    if twins := _twins(all_stages):
        raise InputError(f"--results: {twins[0]} is named twice; give each result once")
    return all_stages


def _led_by(folders: Path, stage: Stage) -> str:
    """A stage's name after the folders that lead to it, less the last ones if it names them."""
    parts = list(folders.parts)
    while parts and f" {_spoken(parts[-1])} " in f" {stage.name} ":
        parts.pop()
    return " ".join([*parts, stage.name])


def _twins(stages: list[Stage]) -> list[str]:
    count = Counter(stage.folder_name for stage in stages)
    return [name for name, times in count.items() if times > 1]


def stages_without_masks(path: Path) -> list[str]:
    """The folders of a whole run that `find_stages` leaves out, as they hold no masks yet."""
    return [folder.name for folder in _run_folders(path) if _last_saved(folder) is None]


def find_flow(path: Path) -> Path | None:
    """flow/ of a whole run: the out_path of extract_optical_flow.py; None where there is none."""
    flow = path / FLOW
    return flow if (flow / FORWARD).is_dir() else None


def read_settings(out_path: Path) -> tuple[list[str], dict[str, dict[str, str]]]:
    """The notes at the top of ``out_path/config.ini``, and its sections; empty without a file.

    InputError where it is not a valid ini file.
    """
    path = out_path / CONFIG
    if not path.is_file():
        return [], {}
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    return [line.removeprefix(_NOTE) for line in lines if line.startswith(_NOTE)], read_ini(path)


def read_log(out_path: Path) -> dict[str, list[float]]:
    """The columns of ``out_path/log.csv`` (see `ike_data.step_log`); empty without a file.

    Raises:
        InputError: a value is not a finite number, or a line has too few or too many.
    """
    path = out_path / LOG
    if not path.is_file():
        return {}
    header: list[str] = []
    # What is not UTF-8 is no number either.
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        try:
            header, *lines = csv.reader(file)
            rows = [dict(zip(header, map(float, line), strict=True)) for line in lines]
            if not all(math.isfinite(value) for row in rows for value in row.values()):
                raise ValueError("not finite")
        except (ValueError, csv.Error) as error:
            names = " ".join(", ".join(header).split()) or "the columns"
            raise InputError(f"{path}: a line is not numbers for {names}; delete it") from error
    return {name: [row[name] for row in rows] for name in header}


def _run_folders(path: Path) -> list[Path]:
    """graph_1, net_1, graph_2, ... of a whole run, in this order."""
    cycles = [
        (found[1], found[0], folder)
        for folder in path.iterdir()
        if (found := module_and_cycle(folder)) and folder.is_dir()
    ]
    return [folder for _, _, folder in sorted(cycles)]  # "graph" sorts before "net"


def _last_saved(out_path: Path, name: str | None = None) -> Stage | None:
    """The last iteration or epoch in the out_path of a module; None where it has none.

    An older run may have left others: those that the config.ini in it names come first.
    """
    for module, folder, step_of, section, key in (
        (GRAPH, out_path, iteration_of, "Graph Module", "to_save_iterations"),
        (NETWORK, out_path / MAPS, epoch_of, "Network Module", "to_save_epochs"),
    ):
        saved = [
            (step, masks)
            for masks in (folder.iterdir() if folder.is_dir() else ())
            if (step := step_of(masks)) is not None and files_of(masks, *_MASKS)
        ]
        if saved:
            _, sections = read_settings(out_path)
            named = sections.get(section, {}).get(key, "").replace(",", " ").split()
            own = [pair for pair in saved if pair[0] >= 0 and str(pair[0]) in named] or saved
            return Stage(_spoken(name or out_path.name), max(own)[1], out_path, module)
    return None


def _folder_of_masks(folder: Path, name: str | None) -> Stage | None:
    if not files_of(folder, *_MASKS):
        return None
    for module, out_path, step_of in (
        (GRAPH, folder.parent, iteration_of),
        (NETWORK, folder.parent.parent, epoch_of),
    ):
        if step_of(folder) is not None:
            step = _spoken(folder.name)
            return Stage(f"{_spoken(out_path.name)} {step}", folder, out_path, module)
    return Stage(_spoken(name or folder.name), folder)


def _spoken(name: str) -> str:
    """graph_1 as "graph 1"; a name that a user chose stays as it is."""
    ways = module_and_cycle, iteration_of, epoch_of
    return name if all(way(Path(name)) is None for way in ways) else name.replace("_", " ")
