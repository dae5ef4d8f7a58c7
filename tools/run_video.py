"""The three commands on one video, cycle after cycle, until the masks stop changing.

A graph ends the exchange: what it makes of the last network's masks is on average better than
these (docs/results.md).

Behind tools/run_video.sh. What is done is not done again, see `steps`.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import csv
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from ike_data.command_line import PROJECT_CONFIG, max_side_argument
from ike_data.config import Config, read_config
from ike_data.flow_files import FORWARD
from ike_data.layout import FINAL, FLOW, GRAPH, NETWORK, epoch_masks, iteration_masks, run_folder
from ike_data.runtime.atomic import atomic_file, remove_leftovers
from ike_data.runtime.claim import NO_LOCKS, claim
from ike_data.runtime.command import path_argument, prepare_out_path, run_command
from ike_data.runtime.errors import InputError
from ike_tools.runs.steps import Steps, describe_inputs


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_video.sh",
        description="Run the exchange on a video: optical flow, then graph and network for each "
        "cycle. OUT/final has the masks (strict 0/255 PNGs), overlay.mp4 and report.html. Started "
        "again it goes on after the last finished step.",
    )
    parser.add_argument(
        "frames", type=path_argument, metavar="FRAMES_OR_VIDEO", help="folder of frames or a video"
    )
    parser.add_argument("out", type=path_argument, metavar="OUT", help="folder; made if needed")
    exchange_flags(parser)
    parser.add_argument(
        "--annotations", type=path_argument, help="annotations (.png), for scores in the report"
    )
    # A file descriptor with the lock of OUT, from run_dataset.py.
    parser.add_argument("--lock", type=int, help=argparse.SUPPRESS)
    return parser


def exchange_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that a data set's runs share."""
    parser.add_argument(
        "--cycles", type=_count, default=3, help="the most cycles that are run (default: 3)"
    )
    parser.add_argument(
        "--threshold",
        type=_share,
        default=0.01,
        help="end when a cycle changes the network's masks by less than this on average; 0: run "
        "all cycles (default: 0.01)",
    )
    parser.add_argument(
        "--config",
        type=path_argument,
        default=PROJECT_CONFIG,
        help="settings of all steps (default: the project's config.ini)",
    )
    parser.add_argument(
        "--result",
        choices=["graph", "network"],
        default="graph",
        help="whose masks are the result: of one more pass of the graph, which has seen the last "
        "network's (default), or of the last network, as in the paper",
    )
    parser.add_argument("--method", choices=["raft", "dis"], help="of the flow (default: config's)")
    parser.add_argument("--models", type=path_argument, metavar="CHECKPOINT", help="RAFT's weights")
    parser.add_argument("--small", action="store_true", help="the small RAFT")
    parser.add_argument(
        "--max_side",
        type=max_side_argument,
        metavar="PIXELS",
        help="the flow of larger frames is found at this size (default: config's)",
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="(default: config's)")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1 to 1000")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 0 to 1")
    return value


def main() -> None:
    args = get_args_parser().parse_args()
    config = read_config(args.config)
    frames = Path(os.path.abspath(args.frames))
    annotations = args.annotations and Path(os.path.abspath(args.annotations))
    if annotations:  # complains before any work is done
        describe_inputs(annotations)
        check_annotations(annotations, frames)
    if args.result == "graph" and config.graph_module.features_half_chain_size < 0:
        raise InputError(
            f"{args.config}: [Graph Module] features_half_chain_size = -1: no graph would see the "
            "network's masks; make it 0 or more, or use --result network"
        )
    iteration, epoch = last_saved(args.config, config)
    out = Path(os.path.abspath(prepare_out_path(args.out)))
    for given in (frames, annotations):
        if given and given.resolve().is_relative_to((out / FINAL).resolve()):
            raise InputError(f"{given}: lies where the result is written; choose another OUT")
    lock = args.lock or claim(out)
    if lock is None:
        raise InputError(f"{out}: another run works on it; wait for its end")
    for folder in (out, out / "steps") if lock != NO_LOCKS else ():
        remove_leftovers(folder)

    steps = Steps(out, frames, lock)
    flags = [f"--frames_path={frames}", *([f"--device={args.device}"] if args.device else [])]
    run_flow(steps, args, config, out, flags)
    exchange = Exchange(steps, config, out, flags, iteration, epoch)
    for cycle in range(1, args.cycles + 1):
        exchange.run_cycle()
        if cycle > 1:
            change = exchange.last_change
            print(f"cycle {cycle} changed the masks by {change:.4f} on average", flush=True)
            if change < args.threshold:
                print(f"that is less than {args.threshold:g}: the exchange ends", flush=True)
                break
    write_changes(out / "cycles.csv", exchange.changes)
    result = exchange.run_graph() if args.result == "graph" else exchange.networks[-1]
    show_result(steps, result, exchange.out_paths, out, frames, annotations)


def run_flow(
    steps: Steps, args: argparse.Namespace, config: Config, out: Path, flags: Sequence[str]
) -> None:
    flow_flags = [f"--method={args.method}"] if args.method else []
    flow_flags += [f"--models={os.path.abspath(args.models)}"] if args.models else []
    flow_flags += ["--small"] if args.small else []
    flow_flags += [] if args.max_side is None else [f"--max_side={args.max_side}"]
    method = args.method or config.optical_flow.method
    models = (args.models or config.optical_flow.models) if method == "raft" else None
    steps.run(
        "flow",
        ["extract_optical_flow.py", *flags, f"--out_path={out / FLOW}", *flow_flags],
        out / FLOW / FORWARD,
        dataclasses.replace(config, paths=type(config.paths)()),
        sections=["Optical Flow"],
        reads=[Path(os.path.abspath(models))] if models else [],
        # Flow of other settings or frames is not mixed with the new.
        when_changed=["--overwrite"],
    )


class Exchange:
    """Graph and network on a video in turn, each with the last masks of the other."""

    def __init__(
        self,
        steps: Steps,
        config: Config,
        out: Path,
        flags: Sequence[str],
        iteration: int,
        epoch: int,
    ) -> None:
        """``iteration``, ``epoch``: whose masks go on to the other; ``flags``: of both commands."""
        self._steps, self._config, self._out, self._flags = steps, config, out, flags
        self._iteration, self._epoch = iteration, epoch
        self.networks: list[Path] = []  # the masks of each so far
        self.out_paths: list[Path] = []  # of both, in the order of the exchange
        self.changes: list[str] = []  # from network to network

    @property
    def last_change(self) -> float:
        """Mean absolute difference between the masks of the last two networks."""
        return float(self.changes[-1])

    def run_cycle(self) -> None:
        """A graph, and a network that learns from it."""
        pseudo_gt = self.run_graph()
        cycle = len(self.networks) + 1
        network = run_folder(self._out, NETWORK, cycle)
        masks = epoch_masks(network, self._epoch)
        encoder = self._config.network_module.pretrained_encoder
        self._steps.run(
            network.name,
            ["main.py", *self._flags, f"--pseudo_gt_path={pseudo_gt}", f"--out_path={network}"],
            masks,
            self._config_of_cycle(),
            sections=["General", "Network Module"],
            reads=[encoder] if encoder else [],
            saved_as=f"cycle_{cycle}.ini",
            when_again=["--resume=if_same"],
        )
        self.networks.append(masks)
        self.out_paths.append(network)
        if cycle > 1:
            before = self.networks[-2]
            change = self._steps.value(
                f"change_{cycle}", lambda: f"{mean_change(before, masks):.6f}"
            )
            self.changes.append(change)

    def run_graph(self) -> Path:
        """A graph that sees the last network's masks; the folder of its own."""
        cycle = len(self.networks) + 1
        graph = run_folder(self._out, GRAPH, cycle)
        masks = iteration_masks(graph, self._iteration)
        flow = f"--of_path={self._out / FLOW}"
        self._steps.run(
            graph.name,
            ["run_graph_module.py", *self._flags, flow, f"--out_path={graph}"],
            masks,
            self._config_of_cycle(),
            sections=["General", "Graph Module"],
            reads=self._config.graph_module.ike_features_paths,
            saved_as=f"cycle_{cycle}.ini",
        )
        self.out_paths.append(graph)
        return masks

    def _config_of_cycle(self) -> Config:
        # The maps that the user gives are features in every cycle.
        settings = self._config.graph_module
        features = (*settings.ike_features_paths, *self.networks[-1:])
        return dataclasses.replace(
            self._config,
            paths=type(self._config.paths)(),
            graph_module=dataclasses.replace(settings, ike_features_paths=features),
        )


def show_result(
    steps: Steps,
    result: Path,
    stages: Sequence[Path],
    out: Path,
    frames: Path,
    annotations: Path | None,
) -> None:
    """OUT/final: the hard masks of ``result``, and pictures of all ``stages``."""
    final = out / FINAL
    video = f"--frames={frames}"
    steps.run(
        "final_masks",
        ["tools/export_masks.py", video, f"--results={result}", f"--out={final / 'masks'}"],
        final / "masks",
    )
    steps.run(
        "final_pictures",
        [
            "tools/visualize.py",
            *("--results", *map(str, stages), video, f"--flow={out / FLOW}", f"--out={final}"),
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


def last_saved(path: Path, config: Config) -> tuple[int, int]:
    """The last iteration and epoch that are saved: what goes on to the next step.

    Raises:
        InputError: no iteration after the seed is saved.
    """
    graph, network = config.graph_module, config.network_module
    iterations = graph.to_save_iterations or (graph.n_iterations - 1,)
    if iterations[-1] < 0:
        raise InputError(
            f"{path}: [Graph Module] to_save_iterations saves the seed alone; save the iteration "
            f"that the network learns from, e.g. {graph.n_iterations - 1}"
        )
    return iterations[-1], (network.to_save_epochs or (network.n_epochs,))[-1]


def check_annotations(annotations: Path, frames: Path) -> None:
    """Raises InputError where they are not .png of the frames, or of another size."""
    from ike_data.frames import open_frames
    from ike_data.images import read_header
    from ike_tools.report.inputs import annotation_files

    video = open_frames(frames)
    file = next(iter(annotation_files(annotations, video).values()))
    header = read_header(file)
    if (header.width, header.height) != (video.width, video.height):
        raise InputError(
            f"{file}: is {header.width} x {header.height} pixels, the frames are {video.width} x "
            f"{video.height}; give annotations of the frames' size"
        )


def mean_change(before: Path, after: Path) -> float:
    """Mean absolute difference between two folders of soft masks."""
    import torch

    from ike_data.soft_masks import mask_name

    n_masks = sum(1 for path in after.iterdir() if path.suffix == ".pt")
    total = 0.0
    for idx in range(n_masks):
        a, b = (
            torch.load(folder / mask_name(idx), weights_only=True) for folder in (before, after)
        )
        total += (a - b).abs().mean().item()
    return total / n_masks


def write_changes(path: Path, changes: Sequence[str]) -> None:
    """A line for each cycle from the second: how much it changed the network's masks."""
    with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["cycle", "mean_change"])
        writer.writerows(enumerate(changes, start=2))


if __name__ == "__main__":
    run_command(main)
