"""The three commands on one video, cycle after cycle, until the masks stop changing.

Behind tools/run_video.sh. A finished step leaves OUT/steps/NAME, which holds a digest of its
command, its settings and the steps before it; it is done again only where that has changed.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import fcntl
import hashlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import project_root

from ike_data.atomic import atomic_file
from ike_data.command_line import PROJECT_CONFIG, path_argument, prepare_out_path, run_command
from ike_data.config import Config, format_config, read_config
from ike_data.errors import InputError

IN_USE = 3  # exit status: another run works on this OUT


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
    parser.add_argument("--method", choices=["raft", "dis"], help="of the flow (default: config's)")
    parser.add_argument("--models", type=path_argument, metavar="CHECKPOINT", help="RAFT's weights")
    parser.add_argument("--small", action="store_true", help="the small RAFT")
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
    inputs = describe_inputs(frames)
    if args.annotations is not None:
        inputs += describe_inputs(args.annotations)
    out = Path(os.path.abspath(prepare_out_path(args.out)))
    iteration, epoch = last_saved(args.config, config)
    steps = Steps(out, inputs)

    flow_flags = [f"--method={args.method}"] if args.method else []
    flow_flags += [f"--models={os.path.abspath(args.models)}"] if args.models else []
    flow_flags += ["--small"] if args.small else []
    device = [f"--device={args.device}"] if args.device else []
    common = [f"--frames_path={frames}", *device]
    steps.run(
        "flow",
        ["extract_optical_flow.py", *common, f"--out_path={out / 'flow'}", *flow_flags],
        out / "flow" / "fwd_of",
        dataclasses.replace(config, paths=type(config.paths)()),
        # Flow of other settings or frames is not mixed with the new.
        when_changed=["--overwrite"],
    )

    results: list[Path] = []
    own_features = config.graph_module.ike_features_paths
    for cycle in range(1, args.cycles + 1):
        # The maps that the user gives are features in every cycle.
        features = (*own_features, *results[-1:])
        cycle_config = dataclasses.replace(
            config,
            paths=type(config.paths)(),
            graph_module=dataclasses.replace(config.graph_module, ike_features_paths=features),
        )
        graph, network = out / f"graph_{cycle}", out / f"net_{cycle}"
        pseudo_gt = graph / f"iter_{iteration}"
        results.append(network / "results_pt" / f"epoch_{epoch:05d}")
        steps.run(
            f"graph_{cycle}",
            ["run_graph_module.py", *common, f"--of_path={out / 'flow'}", f"--out_path={graph}"],
            pseudo_gt,
            cycle_config,
            saved_as=f"cycle_{cycle}.ini",
        )
        steps.run(
            f"net_{cycle}",
            ["main.py", *common, f"--pseudo_gt_path={pseudo_gt}", f"--out_path={network}"],
            results[-1],
            cycle_config,
            saved_as=f"cycle_{cycle}.ini",
            when_again=["--resume"],
        )
        if cycle > 1:
            change = mean_change(*results[-2:])
            print(f"cycle {cycle} changed the masks by {change:.4f} on average", flush=True)
            if change < args.threshold:
                print(f"that is less than {args.threshold:g}: they are the result")
                break
    write_changes(out / "cycles.csv", results)

    final = out / "final"
    video = [f"--frames={frames}"]
    steps.run(
        "final_masks",
        ["tools/export_masks.py", *video, f"--results={results[-1]}", f"--out={final / 'masks'}"],
        final / "masks",
    )
    stages = [
        str(out / f"{module}_{cycle}")
        for cycle in range(1, len(results) + 1)
        for module in ("graph", "net")
    ]
    annotations = [f"--annotations={os.path.abspath(args.annotations)}"] if args.annotations else []
    steps.run(
        "final_pictures",
        [
            "tools/visualize.py",
            *("--results", *stages, *video, f"--flow={out / 'flow'}", f"--out={final}"),
            *annotations,
            "--report",
        ],
        final / "report.html",
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


def describe_inputs(path: Path) -> str:
    """Names, sizes and times of the files of a video: they tell if it has changed.

    Raises:
        InputError: there is nothing.
    """
    if not path.exists():
        raise InputError(f"{path}: no such folder or video file")
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    lines = []
    for file in files:
        found = file.stat()
        lines.append(f"{file.name} {found.st_size} {found.st_mtime_ns}")
    return "\n".join([str(path), *lines])


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


def write_changes(path: Path, results: Sequence[Path]) -> None:
    """A line for each cycle: how much it changed the network's masks."""
    with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["cycle", "mean_change"])
        for cycle in range(2, len(results) + 1):
            change = mean_change(results[cycle - 2], results[cycle - 1])
            writer.writerow([cycle, f"{change:.6f}"])


class Steps:
    """The steps of a run in OUT, one after the other; one run at a time."""

    def __init__(self, out: Path, inputs: str) -> None:
        """
        Raises:
            SystemExit: another run works on ``out``.
        """
        self._out, self._digest = out, inputs
        # Commands inherit the lock: what outlives a killed run still holds it.
        self._lock = os.open(out / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        os.set_inheritable(self._lock, True)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"error: {out}: another run works on it; wait for its end", file=sys.stderr)
            raise SystemExit(IN_USE) from None
        self._child: subprocess.Popen[bytes] | None = None
        signal.signal(signal.SIGTERM, self._stop)

    def run(
        self,
        name: str,
        command: list[str],
        makes: Path,
        config: Config | None = None,
        *,
        saved_as: str | None = None,
        when_changed: Sequence[str] = (),
        when_again: Sequence[str] = (),
    ) -> None:
        """Run a command, unless it is done.

        Args:
            command: a script of the project and its flags.
            makes: what is there when it is done.
            config: its settings, saved as OUT/``saved_as``, by default OUT/``name``.ini.
            when_changed: more flags where an earlier run has begun it with other settings.
            when_again: more flags where an earlier run with these settings has not finished it.

        Raises:
            SystemExit: it failed, with its exit status; it has said why.
        """
        settings = "" if config is None else format_config(config)
        text = "\0".join([self._digest, *command, settings])
        self._digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        begun, done = (self._out / "steps" / f"{name}{end}" for end in (".begun", ""))
        if _read(done) == self._digest and makes.exists():
            print(f"{name}: done before")
            return
        done.parent.mkdir(exist_ok=True)
        done.unlink(missing_ok=True)
        earlier = _read(begun)
        if earlier is not None:
            command = [*command, *(when_again if earlier == self._digest else when_changed)]
        _write(begun, self._digest)
        if config is not None:
            path = self._out / (saved_as or f"{name}.ini")
            _write(path, f"; Settings of this cycle, made by tools/run_video.sh.\n\n{settings}")
            command = [*command, f"--config={path}"]
        print(f"\n$ {shlex.join(['python', *command])}", flush=True)
        script, *flags = command
        self._child = subprocess.Popen(
            [sys.executable, str(project_root.PROJECT_ROOT / script), *flags],
            pass_fds=[self._lock],
        )
        try:
            status = self._child.wait()
        except BaseException:
            self._child.terminate()
            self._child.wait()
            raise
        if status:
            # A process that a signal has ended has a negative status.
            raise SystemExit(status if status > 0 else 128 - status)
        _write(done, self._digest)

    def _stop(self, *_: object) -> NoReturn:
        print("error: stopped; run the same command again to go on", file=sys.stderr)
        raise SystemExit(128 + signal.SIGTERM)


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
