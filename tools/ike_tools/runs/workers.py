"""Runs of many videos beside each other: who works on which, with which GPU and cores."""

from __future__ import annotations

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
from typing import NoReturn

from tqdm import tqdm

from ike_data.command_line import PROJECT_CONFIG
from ike_data.runtime.claim import NO_LOCKS, claim, inherited
from ike_data.runtime.interrupt import close_bars
from ike_tools.runs.exchange_flags import exchange_flags
from ike_tools.runs.steps import end_in_order, end_stopped


@dataclass
class Ended:
    """How the runs of the videos ended."""

    done: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)  # in the hands of another run
    failures: dict[str, str] = field(default_factory=dict)  # why, by name

    def tell(self, out: Path) -> None:
        n_videos = len(self.done) + len(self.elsewhere) + len(self.failures)
        print(
            f"{len(self.done)} of {n_videos} done, {len(self.failures)} failed; results in "
            f"{out}/SEQUENCE/final",
            flush=True,
        )
        if self.elsewhere:
            names = ", ".join(sorted(self.elsewhere))
            print(
                f"left to another run that works on them: {names}; after its end run the same "
                "command again, to have all of them scored",
                flush=True,
            )
        for name, reason in sorted(self.failures.items()):
            print(f"failed: {name}: {reason}", file=sys.stderr)


def run_all(
    videos: Mapping[str, Path], annotations: Mapping[str, Path], out: Path, args: argparse.Namespace
) -> Ended:
    """Run tools/run_video.py on each video, with the ``annotations`` of those that have some."""
    flags = exchange_flags(args)
    free_gpus, n_workers = gpus(), min(args.workers, len(videos))
    environments = [environment(worker, n_workers, free_gpus) for worker in range(n_workers)]
    runs, ended, lock = Runs(), Ended(), threading.Lock()

    def run(name: str) -> None:
        more = []
        if name in annotations:
            more = [f"--annotations={os.path.abspath(annotations[name])}"]
        with lock:
            variables = environments.pop()
        try:
            reason = run_one(videos[name], out / name, [*flags, *more], variables, runs)
        except OSError as error:  # of this video's own folder
            reason = f"{error.filename}: {error.strerror}"
        with lock:
            environments.append(variables)
            if reason is None:
                ended.elsewhere.append(name)
            elif reason:
                ended.failures[name] = reason
            else:
                ended.done.append(name)
            if reason is not None and not runs.stopped:
                bar.set_postfix_str(f"{len(ended.failures)} failed")
                bar.update()

    with (
        tqdm(total=len(videos), desc=args.root.name, unit="video") as bar,
        ThreadPoolExecutor(n_workers) as pool,
    ):
        for _ in pool.map(run, videos):
            pass
        # The other run may have ended by now. What it has done is not done again.
        elsewhere, ended.elsewhere = ended.elsewhere, []
        for _ in pool.map(run, elsewhere):
            pass
    return ended


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


class Runs:
    """The runs of run_video.py that go on; a signal that ends this program ends them, too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._going_on: set[subprocess.Popen[bytes]] = set()
        self.stopped = False
        end_in_order(self._stop)

    def run(self, command: Sequence[str], log: int, lock: int, variables: dict[str, str]) -> int:
        """The exit status of ``command``, which holds ``lock`` and writes into ``log``."""
        with self._lock:
            if self.stopped:
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
            self.stopped = True
            for process in self._going_on:
                process.terminate()
        close_bars()
        end_stopped(number)


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
