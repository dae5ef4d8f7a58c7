"""tools/run_video.py for every sequence of a data set, by several workers.

Behind tools/run_dataset.sh. Several of these may work on one OUT, on several machines too: the lock
of its run claims a video, and what is done is passed over.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

from tqdm import tqdm

from ike_data.command_line import PROJECT_CONFIG
from ike_data.config import read_config
from ike_data.runtime.claim import NO_LOCKS, claim, inherited
from ike_data.runtime.command import path_argument, prepare_out_path, run_command
from ike_data.runtime.errors import InputError
from ike_tools.data_sets.layouts import (
    Annotations,
    Videos,
    annotations_beside,
    describe,
    find_annotations,
    find_videos,
)
from ike_tools.data_sets.sequences import add_sequences_flag, choose_sequences
from ike_tools.runs.data_set_report import score_and_report
from run_video import exchange_flags

EXIT_FAILED = 1


class Failure(NamedTuple):
    name: str
    reason: str


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_dataset.sh",
        description="Run tools/run_video.sh on every sequence of ROOT into OUT/SEQUENCE; what a "
        "run prints stands in OUT/SEQUENCE/run.log. A video that fails is reported at the end and "
        "stops no other; the exit status is then 1. With annotations the masks are scored at the "
        "end: a table, OUT/scores.csv and OUT/report.html.",
    )
    parser.add_argument(
        "root",
        type=path_argument,
        metavar="ROOT",
        help="a folder of folders of frames, a folder of video files, or a data set in the layout "
        "of DAVIS, YouTube-VOS, SegTrack v2 or FBMS, whose annotations are then scored",
    )
    parser.add_argument("out", type=path_argument, metavar="OUT", help="folder; made if needed")
    add_sequences_flag(parser)
    parser.add_argument(
        "--annotations",
        type=path_argument,
        help="a folder with a folder of annotations (.png) for each sequence, or a data set that "
        "has them (default: those of ROOT, if its layout has some)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="videos at a time (default: 1); the GPUs and the processor's cores are shared out",
    )
    parser.add_argument(
        "--only",
        type=int,
        metavar="INDEX",
        help="one sequence alone, by its number in --list: for an array of cluster jobs",
    )
    parser.add_argument(
        "--list", action="store_true", help="number the sequences from 0, and do nothing else"
    )
    exchange_flags(parser)
    return parser


def main() -> None:
    parser = get_args_parser()
    args = parser.parse_args()
    videos = find_videos(args.root, [args.out])
    annotations = annotations_of(videos, args.annotations)
    names = choose_sequences(args.sequences, videos.frames, args.root)
    said = describe(args.root, videos, annotations)
    print(said, file=sys.stderr if args.list else sys.stdout, flush=True)
    if args.list:
        for number, name in enumerate(names):
            print(number, name)
        return
    if args.workers < 1:
        raise InputError(f"--workers {args.workers}: expected a whole number of at least 1")
    if args.only is not None:
        if not 0 <= args.only < len(names):
            raise InputError(
                f"--only {args.only}: {args.root} has {len(names)} sequences, numbered 0 to "
                f"{len(names) - 1}"
            )
        names = [names[args.only]]
    read_config(args.config)  # what is wrong with it is said once, not for every video
    out = prepare_out_path(args.out)
    of = {} if annotations is None else annotations.of
    ended = run_all({name: videos.frames[name] for name in names}, of, out, args)
    try:
        done = [name for name in names if name in of and name in ended.done]
        missing = [name for name in names if name not in done]
        # Of an array of jobs none knows when the others are done.
        if annotations is not None and done and args.only is None:
            score_and_report(out, videos, annotations, done, missing)
    finally:
        ended.tell(out)
    if ended.failures:
        raise SystemExit(EXIT_FAILED)


def annotations_of(videos: Videos, given: Path | None) -> Annotations | None:
    """Those ``given``, or that the layout has; None where there are none.

    Raises:
        InputError: those given are of no video.
    """
    if given is None:
        return annotations_beside(videos)
    annotations = find_annotations(given)
    if not any(name in videos.frames for name in annotations.of):
        raise InputError(
            f"--annotations {given}: has none of a sequence of {videos.folder}; it has those of "
            f"{', '.join([*annotations.of][:3])}, the sequences are "
            f"{', '.join([*videos.frames][:3])}, ..."
        )
    return annotations


@dataclass
class Ended:
    """How the runs of the videos ended."""

    done: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)  # in the hands of another run
    failures: list[Failure] = field(default_factory=list)

    def tell(self, out: Path) -> None:
        n_videos = len(self.done) + len(self.elsewhere) + len(self.failures)
        print(
            f"{len(self.done)} of {n_videos} done, {len(self.failures)} failed; results in "
            f"{out}/SEQUENCE/final",
            flush=True,
        )
        if self.elsewhere:
            names = ", ".join(sorted(self.elsewhere))
            print(f"left to another run that works on them: {names}", flush=True)
        for failure in sorted(self.failures):
            print(f"failed: {failure.name}: {failure.reason}", file=sys.stderr)


def run_all(
    videos: Mapping[str, Path], annotations: Mapping[str, Path], out: Path, args: argparse.Namespace
) -> Ended:
    """Run tools/run_video.py on each video, with the ``annotations`` of those that have some."""
    flags = passed_on(args)
    free_gpus, n_workers = gpus(), min(args.workers, len(videos))
    environments = [environment(worker, n_workers, free_gpus) for worker in range(n_workers)]
    own = threading.local()
    runs = Runs()
    lock = threading.Lock()
    ended = Ended()

    def run(name: str) -> None:
        if not hasattr(own, "environment"):
            with lock:
                own.environment = environments.pop()
        more = (
            [f"--annotations={os.path.abspath(annotations[name])}"] if name in annotations else []
        )
        try:
            reason = run_one(videos[name], out / name, [*flags, *more], own.environment, runs)
        except OSError as error:  # of this video's own folder
            reason = f"{error.filename}: {error.strerror}"
        with lock:
            if reason is None:
                ended.elsewhere.append(name)
            elif reason:
                ended.failures.append(Failure(name, reason))
            else:
                ended.done.append(name)
            bar.set_postfix_str(f"{len(ended.failures)} failed")
            bar.update()

    with (
        tqdm(total=len(videos), desc=args.root.name, unit="video") as bar,
        ThreadPoolExecutor(n_workers) as pool,
    ):
        for _ in pool.map(run, videos):
            pass
    return ended


def passed_on(args: argparse.Namespace) -> list[str]:
    """The flags of run_video.py, with paths that hold in any folder."""
    flags = [
        f"--cycles={args.cycles}",
        f"--threshold={args.threshold!r}",
        f"--result={args.result}",
        f"--config={os.path.abspath(args.config)}",
    ]
    if args.models:
        flags.append(f"--models={os.path.abspath(args.models)}")
    for key in ("method", "max_side", "device"):
        if getattr(args, key) is not None:
            flags.append(f"--{key}={getattr(args, key)}")
    return [*flags, "--small"] if args.small else flags


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    # Below a GPU that is divided (MIG) stand its parts.
    cards = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(idx) for idx, _ in enumerate(cards)]


def environment(worker: int, n_workers: int, free_gpus: Sequence[str]) -> dict[str, str]:
    """The environment of a worker: one GPU, and its share of the cores."""
    variables = dict(os.environ)
    if len(free_gpus) > 1:
        variables["CUDA_VISIBLE_DEVICES"] = free_gpus[worker % len(free_gpus)]
    if n_workers > 1:
        n_cores = (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        )
        variables.setdefault("OMP_NUM_THREADS", str(max((n_cores or 1) // n_workers, 1)))
    return variables


class Runs:
    """The runs of run_video.py that go on; a signal that ends this program ends them, too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._going_on: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup has SIGHUP ignored.
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._stop)

    def run(self, command: Sequence[str], log: int, lock: int, variables: dict[str, str]) -> int:
        """The exit status of ``command``, which holds ``lock`` and writes into ``log``."""
        with self._lock:
            if self._stopped:
                return 128 + signal.SIGTERM
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=variables,
                pass_fds=inherited(lock),
            )
            self._going_on.add(process)
        status = process.wait()
        with self._lock:
            self._going_on.remove(process)
        return status

    def _stop(self, number: int, _: object) -> NoReturn:
        # The main thread, where signals arrive, takes this lock nowhere else.
        with self._lock:
            self._stopped = True
            for process in self._going_on:
                process.terminate()
        print("\nerror: stopped; run the same command again to go on", file=sys.stderr, flush=True)
        raise SystemExit(128 + number)


def run_one(
    video: Path, out: Path, flags: Sequence[str], variables: dict[str, str], runs: Runs
) -> str | None:
    """Why a video failed, the last error that its run printed; empty if it did not fail.

    None where another run works on it.
    """
    out.mkdir(exist_ok=True)
    lock = claim(out)
    if lock is None:
        return None
    script = PROJECT_CONFIG.parent / "tools" / "run_video.py"
    paths = [os.path.abspath(path) for path in (video, out)]
    command = [sys.executable, str(script), *flags, f"--lock={lock}", "--", *paths]
    try:
        with (out / "run.log").open("ab") as log:
            start = log.tell()
            status = runs.run(command, log.fileno(), lock, variables)
    finally:
        if lock != NO_LOCKS:
            os.close(lock)
    if status == 0:
        return ""
    with (out / "run.log").open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").replace("\r", "\n").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if line.startswith("error: ")]
    return (errors or said or [f"exit status {status}"])[-1].removeprefix("error: ")


if __name__ == "__main__":
    run_command(main)
