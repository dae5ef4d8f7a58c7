"""The exchange on one video: flow, then graph and network in turn, and what shows the result."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path

from ike_data.config import Config
from ike_data.flow_files import FORWARD
from ike_data.folders import files_of, folders_in
from ike_data.frame_folder import names_in
from ike_data.frame_names import write_frame_names
from ike_data.layout import (
    FINAL,
    FLOW,
    GRAPH,
    NETWORK,
    epoch_masks,
    iteration_masks,
    module_and_cycle,
    run_folder,
)
from ike_data.runtime.atomic import write_csv
from ike_tools.runs.exchange_flags import flow_flags
from ike_tools.runs.steps import Steps


class Exchange:
    """A run on ``frames`` in the folder ``out``: each module gets the last masks of the other."""

    def __init__(
        self,
        steps: Steps,
        config: Config,
        out: Path,
        frames: Path,
        device: str | None,
        saved: tuple[int, int],
    ) -> None:
        """``saved``: the iteration and the epoch whose masks go on to the other module."""
        self._iteration, self._epoch = saved
        self._steps, self._out, self._frames = steps, out, frames
        self._config = dataclasses.replace(config, paths=type(config.paths)())
        self._flags = [f"--frames_path={frames}", *([f"--device={device}"] if device else [])]
        self._flow = out / FLOW
        self._networks: list[Path] = []  # the masks of each so far
        self._out_paths: list[Path] = []  # of both, in the order of the exchange

    def run_flow(self, args: argparse.Namespace) -> None:
        """Find the flow, with the flags of `add_exchange_flags`."""
        settings = self._config.optical_flow
        is_raft = (args.method or settings.method) == "raft"
        models = (args.models or settings.models) if is_raft else None
        flags = [*self._flags, f"--out_path={self._flow}", *flow_flags(args)]
        self._steps.run(
            "flow",
            ["extract_optical_flow.py", *flags],
            self._flow / FORWARD,
            self._config,
            sections=["Optical Flow"],
            reads=[Path(os.path.abspath(models))] if models else [],
            # Flow of other settings or frames is not mixed with the new.
            when_changed=["--overwrite"],
            later=self._later(),
        )

    def run_cycles(self, cycles: int, threshold: float) -> None:
        """At most ``cycles`` of a graph and a network.

        It ends with a cycle whose network's masks differ on average by less than ``threshold`` from
        those of the cycle before.
        """
        changes: list[str] = []
        for cycle in range(1, cycles + 1):
            self._run_network(self._run_graph())
            if cycle == 1:
                continue
            measure = functools.partial(mean_change, *self._networks[-2:])
            change = self._steps.value(f"change_{cycle}", measure)
            changes.append(change)
            print(f"cycle {cycle} changed the masks by {float(change):.4f} on average", flush=True)
            if float(change) < threshold:
                print(f"that is less than {threshold:g}: the exchange ends", flush=True)
                break
        # How much each cycle from the second on changed the network's masks.
        columns = ["cycle", "mean_change"]
        write_csv(self._out / "cycles.csv", columns, [*enumerate(changes, start=2)])

    def show(self, result: str, annotations: Path | None) -> None:
        """OUT/final: the hard masks of the ``result``, "graph" or "network", and pictures of all.

        The graph's masks are those of one more graph, which sees the last network's masks.
        """
        masks = self._run_graph() if result == "graph" else self._networks[-1]
        final = self._out / FINAL
        video = f"--frames_path={self._frames}"
        self._steps.run(
            "final_masks",
            ["tools/export_masks.py", video, f"--results={masks}", f"--out_path={final / 'masks'}"],
            final / "masks",
        )
        # The masks' names tell only the index of their frame.
        write_frame_names(final, names_in(self._frames))
        self._steps.run(
            "final_pictures",
            [
                "tools/visualize.py",
                *("--results", *map(str, self._out_paths)),
                *(video, f"--of_path={self._flow}", f"--out_path={final}"),
                *([f"--annotations={annotations}"] if annotations else []),
                "--report",
            ],
            final / "report.html",
            reads=[annotations] if annotations else [],
        )
        print(
            f"\nmasks:  {final / 'masks'}\nvideo:  {final / 'overlay.mp4'}\n"
            f"report: {final / 'report.html'}"
        )

    def _run_graph(self) -> Path:
        """Run a graph that sees the last network's masks; gives the folder of its own masks."""
        graph = run_folder(self._out, GRAPH, len(self._networks) + 1)
        masks = iteration_masks(graph, self._iteration)
        self._run_module(
            graph,
            ["run_graph_module.py", *self._flags, f"--of_path={self._flow}"],
            masks,
            "Graph Module",
            reads=self._config.graph_module.ike_features_paths,
        )
        return masks

    def _run_network(self, pseudo_gt: Path) -> None:
        network = run_folder(self._out, NETWORK, len(self._networks) + 1)
        masks = epoch_masks(network, self._epoch)
        encoder = self._config.network_module.pretrained_encoder
        self._run_module(
            network,
            ["main.py", *self._flags, f"--pseudo_gt_path={pseudo_gt}"],
            masks,
            "Network Module",
            reads=[encoder] if encoder else [],
            when_again=["--resume=if_same"],
        )
        self._networks.append(masks)

    def _run_module(
        self,
        out_path: Path,
        command: list[str],
        masks: Path,
        section: str,
        reads: Sequence[Path],
        when_again: Sequence[str] = (),
    ) -> None:
        settings = self._config.graph_module
        # The maps that the user gives are features in every cycle.
        features = (*settings.ike_features_paths, *self._networks[-1:])
        config = dataclasses.replace(
            self._config, graph_module=dataclasses.replace(settings, ike_features_paths=features)
        )
        self._steps.run(
            out_path.name,
            [*command, f"--out_path={out_path}"],
            masks,
            config,
            saved_as=f"cycle_{len(self._networks) + 1}.ini",
            sections=["General", section],
            reads=reads,
            when_again=when_again,
            later=self._later(out_path),
        )
        self._out_paths.append(out_path)

    def _later(self, stage: Path | None = None) -> list[Path]:
        """The folders of graphs and networks in OUT that come after ``stage``; None: all."""

        def place(folder: Path) -> tuple[int, str]:
            module, cycle = module_and_cycle(folder) or ("", 0)
            return cycle, module  # in a cycle a graph comes before a network, in the alphabet too

        first = (0, "") if stage is None else place(stage)
        return sorted((path for path in folders_in(self._out) if place(path) > first), key=place)


def mean_change(before: Path, after: Path) -> str:
    """Mean absolute difference between two folders of soft masks, to six decimals."""
    import torch

    names = [path.name for path in files_of(after, ".pt")]
    total = 0.0
    for name in names:
        a, b = (torch.load(folder / name, weights_only=True) for folder in (before, after))
        total += (a - b).abs().mean().item()
    return f"{total / len(names):.6f}"
