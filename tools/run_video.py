"""The three commands on one video, cycle after cycle, until the masks stop changing.

A graph ends the exchange: what it makes of the last network's masks is on average better than
these (docs/results.md).

Behind tools/run_video.sh. A finished step leaves OUT/steps/NAME, which holds a digest of its
command, of the settings and files that it reads and of the steps before it; it is done again only
where that has changed.
"""

from __future__ import annotations

import project_root  # noqa: F401

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_data.interrupt import end_on_ctrl_c

    end_on_ctrl_c()

import argparse
import csv
import dataclasses
import hashlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ike_data.atomic import atomic_file, remove_leftovers
from ike_data.claim import NO_LOCKS, claim, inherited
from ike_data.command_line import (
    PROJECT_CONFIG,
    path_argument,
    prepare_out_path,
    run_command,
)
from ike_data.config import SECTIONS, Config, format_config, read_config
from ike_data.errors import InputError


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
    method = args.method or config.optical_flow.method
    models = (args.models or config.optical_flow.models) if method == "raft" else None
    out = Path(os.path.abspath(prepare_out_path(args.out)))
    for given in (frames, annotations):
        if given and given.resolve().is_relative_to((out / "final").resolve()):
            raise InputError(f"{given}: lies where the result is written; choose another OUT")
    iteration, epoch = last_saved(args.config, config)
    lock = args.lock or claim(out)
    if lock is None:
        raise InputError(f"{out}: another run works on it; wait for its end")
    for folder in (out, out / "steps") if lock != NO_LOCKS else ():
        remove_leftovers(folder)
    steps = Steps(out, frames, lock)

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
        sections=["Optical Flow"],
        reads=[Path(os.path.abspath(models))] if models else [],
        # Flow of other settings or frames is not mixed with the new.
        when_changed=["--overwrite"],
    )

    own_features = config.graph_module.ike_features_paths

    def run_graph(cycle: int, seen: Sequence[Path]) -> tuple[Config, Path]:
        """With the last network's masks; its settings and the folder of its masks."""
        # The maps that the user gives are features in every cycle.
        features = (*own_features, *seen[-1:])
        cycle_config = dataclasses.replace(
            config,
            paths=type(config.paths)(),
            graph_module=dataclasses.replace(config.graph_module, ike_features_paths=features),
        )
        graph = out / f"graph_{cycle}"
        masks = graph / f"iter_{iteration}"
        steps.run(
            f"graph_{cycle}",
            ["run_graph_module.py", *common, f"--of_path={out / 'flow'}", f"--out_path={graph}"],
            masks,
            cycle_config,
            sections=["General", "Graph Module"],
            reads=own_features,
            saved_as=f"cycle_{cycle}.ini",
        )
        return cycle_config, masks

    results: list[Path] = []
    changes: list[str] = []
    for cycle in range(1, args.cycles + 1):
        cycle_config, pseudo_gt = run_graph(cycle, results)
        network = out / f"net_{cycle}"
        results.append(network / "results_pt" / f"epoch_{epoch:05d}")
        steps.run(
            f"net_{cycle}",
            ["main.py", *common, f"--pseudo_gt_path={pseudo_gt}", f"--out_path={network}"],
            results[-1],
            cycle_config,
            sections=["General", "Network Module"],
            reads=[encoder] if (encoder := config.network_module.pretrained_encoder) else [],
            saved_as=f"cycle_{cycle}.ini",
            when_again=["--resume"],
        )
        if cycle > 1:
            latest = steps.value(
                f"change_{cycle}", lambda: f"{mean_change(results[-2], results[-1]):.6f}"
            )
            changes.append(latest)
            change = float(latest)
            print(f"cycle {cycle} changed the masks by {change:.4f} on average", flush=True)
            if change < args.threshold:
                print(f"that is less than {args.threshold:g}: the exchange ends")
                break
    write_changes(out / "cycles.csv", changes)
    stages = [
        str(out / f"{module}_{cycle}")
        for cycle in range(1, len(results) + 1)
        for module in ("graph", "net")
    ]
    result = results[-1]
    if args.result == "graph":
        _, result = run_graph(len(results) + 1, results)
        stages.append(str(result.parent))

    final = out / "final"
    video = [f"--frames={frames}"]
    steps.run(
        "final_masks",
        ["tools/export_masks.py", *video, f"--results={result}", f"--out={final / 'masks'}"],
        final / "masks",
    )
    steps.run(
        "final_pictures",
        [
            "tools/visualize.py",
            *("--results", *stages, *video, f"--flow={out / 'flow'}", f"--out={final}"),
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


def describe_inputs(path: Path) -> str:
    """Names, sizes and times of the files of an input: they tell if it has changed.

    Raises:
        InputError: there is nothing.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    files = [path]
    if path.is_dir():  # OUT may be one of its folders
        files = [
            file
            for file in sorted(path.iterdir())
            if file.exists() and not file.is_dir() and not file.name.startswith(".")
        ]
    lines = []
    for file in files:
        found = file.stat()
        lines.append(f"{file.name} {found.st_size} {found.st_mtime_ns}")
    return "\n".join([str(path), *lines])


def check_annotations(annotations: Path, frames: Path) -> None:
    """Raises InputError where there is not one .png for each frame."""
    from inputs import annotation_files

    from ike_data.frames import open_frames

    annotation_files(annotations, open_frames(frames).count)


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


class Steps:
    """The steps of a run in OUT, one after the other."""

    def __init__(self, out: Path, frames: Path, lock: int) -> None:
        """``lock``: see `claim`.

        Raises:
            InputError: there are no ``frames``.
        """
        self._out, self._digest, self._lock = out, describe_inputs(frames), lock
        self._busy, self._stopped_by = False, 0
        self._child: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup has SIGHUP ignored.
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._stop)

    def run(
        self,
        name: str,
        command: list[str],
        makes: Path,
        config: Config | None = None,
        *,
        saved_as: str | None = None,
        sections: Sequence[str] = (),
        reads: Sequence[Path] = (),
        when_changed: Sequence[str] = (),
        when_again: Sequence[str] = (),
    ) -> None:
        """Run a command, unless it is done.

        Args:
            command: a script of the project and its flags.
            makes: what is there when it is done, in a folder of OUT.
            config: its settings, saved as OUT/``saved_as``, by default OUT/``name``.ini.
            sections: of ``config``; it is done again where one of them has changed.
            reads: what it reads besides the frames and the steps before it.
            when_changed: more flags where an earlier run has begun it with other settings.
            when_again: more flags where an earlier run with these settings has not finished it.

        Raises:
            InputError: one of ``reads`` is not there.
            SystemExit: it failed, with its exit status; it has said why.
        """
        unread = [section for section in SECTIONS if section not in sections]
        settings = "" if config is None else format_config(config, unread)
        self._depend_on(*command, settings, *map(describe_inputs, reads))
        begun, done = (self._out / "steps" / f"{name}{end}" for end in (".begun", ""))
        if _read(done) == self._digest and makes.exists():
            print(f"{name}: done before")
            return
        done.parent.mkdir(exist_ok=True)
        done.unlink(missing_ok=True)
        earlier, mark = _read(begun), self._digest
        if earlier == self._digest:
            command = [*command, *when_again]
        elif earlier is not None and when_changed:
            command = [*command, *when_changed]
            # Until it is done: a run that is killed may leave some of the old.
            mark += " in place of another"
        _write(begun, mark)
        if earlier is not None and self._lock != NO_LOCKS:
            # No other may work on the folder.
            for folder, _, _ in os.walk(self._out / makes.relative_to(self._out).parts[0]):
                remove_leftovers(Path(folder))
        if config is not None:
            path = self._out / (saved_as or f"{name}.ini")
            text = (
                f"; Settings of this step, made by tools/run_video.sh.\n\n{format_config(config)}"
            )
            _write(path, text)
            command = [*command, f"--config={path}"]
        print(f"\n$ {shlex.join(['python', *command])}", flush=True)
        script, *flags = command
        self._busy = True
        self._child = subprocess.Popen(
            [sys.executable, str(PROJECT_CONFIG.parent / script), *flags],
            pass_fds=inherited(self._lock),
        )
        if self._stopped_by:
            self._child.terminate()
        status = self._child.wait()
        self._busy, self._child = False, None
        if self._stopped_by:
            self._end()
        if status:
            # A process that a signal has ended has a negative status.
            raise SystemExit(status if status > 0 else 128 - status)
        _write(done, self._digest)

    def value(self, name: str, compute: Callable[[], str]) -> str:
        """What ``compute`` makes of the steps so far, kept in OUT/steps/``name``."""
        path = self._out / "steps" / name
        digest, _, value = (_read(path) or "").partition(" ")
        if digest != self._digest:
            value = compute()
            _write(path, f"{self._digest} {value}")
        return value

    def _depend_on(self, *texts: str) -> None:
        text = "\0".join([self._digest, *texts])
        self._digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def _stop(self, number: int, _: object) -> None:
        # While a command is being started it is not known yet: `run` ends it then.
        self._stopped_by = number
        if self._child is not None:
            self._child.terminate()
        elif not self._busy:
            self._end()

    def _end(self) -> NoReturn:
        print("error: stopped; run the same command again to go on", file=sys.stderr, flush=True)
        raise SystemExit(128 + self._stopped_by)


def _read(path: Path) -> str | None:
    # A damaged mark is none that this run has made.
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
