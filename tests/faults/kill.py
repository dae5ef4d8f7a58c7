"""Kill the commands at random moments, run them again, and compare with undisturbed runs.

    python tests/faults/kill.py [--kills 50] [--minutes M] [--seed 0] [--signal KILL]

The three commands and tools/run_video.py (what run_video.sh calls; two cycles) each run once
undisturbed on a small synthetic video. Then, as often as asked in all, one of them is started in a
process group of its own, the whole group gets the signal at a random moment of the undisturbed
duration, and the command runs again in the same out_path. Half of the kills of the graph and the
network meet the finished results of an earlier run, which the killed run was about to replace.

Right after the kill every file under a final name has to load and every folder of masks has to be
complete. After the second run all files have to be those of the undisturbed run, byte for byte, and
no `.partial-*`, `.old-*` or lock may be left. Not compared: comments of a saved config.ini (the
second run has other flags, or kept some flow), the seconds in log.csv, the flow's log.csv (it has
the pairs of the last run) and report.html (it shows these times).

With --signal INT (Ctrl-C) or TERM, the killed run also has to end with status 128 + signal or by
the signal, and without a traceback.

On a busy machine a kill and the run after it may take minutes. --minutes makes the series shorter
then: from that time on it ends once each command has been killed.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from files import write_config

from ike_data.command_line import PROJECT_CONFIG
from ike_data.config import read_config

ROOT = PROJECT_CONFIG.parent
N_FRAMES, HEIGHT, WIDTH = 16, 120, 160
SETTINGS = {
    "working_h": "48", "working_w": "64", "n_iterations": "6", "to_save_iterations": "-1, 2, 5",
    "n_epochs": "4", "to_save_epochs": "1, 2, 3, 4", "base_channels": "4", "learning_rate": "0.001",
    "engine": "torch",
}  # fmt: skip
LEFTOVERS = (".partial-", ".old-")
FLOW = ("f", "flow")  # names of its out_path here and in a run of run_video.py


class Case(NamedTuple):
    """A command, its out_path, and whether half of its kills meet older results."""

    name: str
    command: list[str]
    out: Path
    over_older: bool


def make_cases(folder: Path) -> list[Case]:
    run("tools/make_synthetic_video.py", f"--out_path={folder}", f"--n_frames={N_FRAMES}",
        f"--height={HEIGHT}", f"--width={WIDTH}")  # fmt: skip
    config = write_config(folder / "small.ini", **SETTINGS)
    frames, flow, graph, network = folder / "frames", *(folder / name for name in ("f", "g", "n"))
    common = [f"--config={config}", "--device=cpu"]
    inputs = [f"--frames_path={frames}", *common]
    masks = folder / "masks"  # out_paths are emptied
    cases = [
        Case("extract_optical_flow.py", [*inputs, "--method=dis", f"--out_path={flow}"],
             flow, False),
        Case("run_graph_module.py", [*inputs, f"--of_path={folder}/flow", f"--out_path={graph}"],
             graph, True),
        Case("main.py", [*inputs, f"--pseudo_gt_path={masks}", f"--out_path={network}"],
             network, True),
        Case("tools/run_video.py", [str(frames), str(folder / "v"), "--cycles=2", "--threshold=0",
             "--method=dis", *common], folder / "v", False),
    ]  # fmt: skip
    run(cases[0].name, *cases[0].command)
    flow.rename(folder / "flow")
    run(cases[1].name, *cases[1].command)
    shutil.copytree(graph / "iter_5", masks)
    shutil.rmtree(graph)
    return cases


def start(case: Case) -> subprocess.Popen[bytes]:
    # Who reads its output to the end has waited for all of its processes.
    return subprocess.Popen(
        [sys.executable, str(ROOT / case.name), *case.command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def run(script: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{script} ended with status {done.returncode}:\n{done.stderr}")


def contents(out: Path) -> dict[str, bytes]:
    """What of each file has to be the same in every run."""
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name, data = str(path.relative_to(out)), path.read_bytes()
        if path.name == "report.html" or (path.name == "log.csv" and path.parent.name in FLOW):
            data = b""
        elif path.name == "log.csv":
            rows = csv.reader(io.StringIO(data.decode()))
            data = repr([row[:-1] for row in rows]).encode()
        elif path.name == "config.ini":
            data = b"".join(line for line in data.splitlines(True) if not line.startswith(b"#"))
        found[name] = data
    # A folder that is left may be empty.
    found |= {str(path): b"" for path in out.rglob(".*") if path.is_dir()}
    return found


def times(out: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in out.rglob("*") if path.name != ".lock"}


def broken(out: Path) -> list[str]:
    """What stands under a final name and cannot be read, or is not complete."""
    wrong = []
    for path in out.rglob("*"):
        parts = path.relative_to(out).parts
        if any(part.startswith(LEFTOVERS) for part in parts):
            continue
        try:
            if path.is_dir():
                if path.name.startswith(("iter_", "epoch_")):
                    assert len(list(path.iterdir())) == N_FRAMES, "not complete"
            elif path.suffix in (".pt", ".pth"):
                torch.load(path, weights_only=True)
            elif path.suffix == ".flo":
                assert cv2.readOpticalFlow(str(path)).shape == (HEIGHT, WIDTH, 2)
            elif path.suffix == ".png":
                np.asarray(Image.open(path))
            elif path.suffix == ".ini":
                read_config(path)
            elif path.suffix == ".mp4":
                assert cv2.VideoCapture(str(path)).read()[0], "no frame"
            elif path.suffix == ".html":
                assert path.read_text().rstrip().endswith("</html>"), "cut"
        except Exception as error:
            wrong.append(f"{path}: {error!r}")
    return wrong


def kill(case: Case, delay: float, number: int) -> tuple[str, list[str]]:
    """When the kill came (before, within or after the writing), and what it spoilt."""
    before = times(case.out)
    process = start(case)
    time.sleep(delay)
    when = "after" if process.poll() is not None else "within"
    if when == "within":
        os.killpg(process.pid, number)
    _, stderr = process.communicate()
    if when == "within" and times(case.out) == before:
        when = "before"
    wrong = broken(case.out)
    if number != signal.SIGKILL and when != "after":
        if process.returncode not in (0, -number, 128 + number):
            wrong.append(f"exit status {process.returncode}")
        if b"Traceback" in stderr or b"Exception ignored" in stderr:
            wrong.append(stderr.decode(errors="replace"))
    return when, wrong


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50, help="default: 50")
    parser.add_argument("--minutes", type=float, default=math.inf, help="default: no limit")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--signal", default="KILL", choices=["KILL", "INT", "TERM"])
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    number = signal.Signals[f"SIG{args.signal}"]
    rng, end = random.Random(args.seed), time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(Path(folder))
        seconds, expected = {}, {}
        counts: Counter[tuple[str, str]] = Counter()
        for case in cases:
            begin = time.monotonic()
            run(case.name, *case.command)
            seconds[case.name] = time.monotonic() - begin
            expected[case.name] = contents(case.out)
            shutil.copytree(case.out, case.out.with_name(f"older {case.out.name}"))
            shutil.rmtree(case.out)
        for idx in tqdm(range(args.kills), unit="kill"):
            if idx >= len(cases) and time.monotonic() > end:
                tqdm.write(f"{args.minutes:g} minutes are over: {idx} of {args.kills} kills")
                break
            case = cases[idx % len(cases)]
            older = case.over_older and idx // len(cases) % 2 == 1
            if older:
                shutil.copytree(case.out.with_name(f"older {case.out.name}"), case.out)
            else:
                case.out.mkdir()
            delay = rng.uniform(0, seconds[case.name])
            when, wrong = kill(case, delay, number)
            counts[case.name, when] += 1
            counts[case.name, "broken"] += bool(wrong)
            run(case.name, *case.command)
            found, wanted = contents(case.out), expected[case.name]
            unequal = [name for name in found | wanted if found.get(name) != wanted.get(name)]
            counts[case.name, "unequal"] += bool(unequal)
            for line in (*wrong, *(f"unequal: {name}" for name in unequal)):
                tqdm.write(f"{case.name}, {args.signal} after {delay:.2f} s ({when}): {line}")
            shutil.rmtree(case.out)
    columns = ("before", "within", "after", "broken", "unequal")
    titles = ["command", "seconds undisturbed", "kills", "before it wrote", "while it wrote",
              "after its end", "broken after the kill", "unequal after the next run"]  # fmt: skip
    print("|", " | ".join(titles), "|")
    print("|---" * len(titles) + "|")
    for case in cases:
        values = [counts[case.name, column] for column in columns]
        row = [f"`{case.name}`", f"{seconds[case.name]:.1f}", sum(values[:3]), *values]
        print("|", " | ".join(map(str, row)), "|")
    if any(counts[case.name, what] for case in cases for what in ("broken", "unequal")):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
