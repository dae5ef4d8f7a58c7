"""Fill the disk under each command: one line, exit status 2, earlier results intact.

    sudo python tests/faults/disk_full.py

Mounts a tmpfs (needs root; says so and does nothing otherwise). Each of the three commands and
tools/run_video.py runs with room for a part of what it writes, from none to nearly all: on an empty
out_path, and over the finished results of an earlier run. It has to end with status 2 and one
error that names a file, without a traceback, and leave nothing half written; every file that
stands under a final name has to load, and of the earlier results none may be lost. With
room again, the same command has to give what an undisturbed run gives.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from kill import LEFTOVERS, Case, broken, contents, make_cases, run, start
from tqdm import tqdm

SHARES = (0.0, 0.1, 0.3, 0.6, 0.9)  # of what the command writes: room for it
BLOCK = 4096  # a tmpfs gives whole ones


def mounted(folder: Path) -> bool:
    folder.mkdir(exist_ok=True)
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


def fill(disk: Path, room: int) -> Path:
    """Leave so many bytes free."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free // BLOCK * BLOCK - room)
    return ballast


def try_full(
    case: Case, disk: Path, room: int, expected: dict[str, bytes], older: bool
) -> tuple[str, list[str]]:
    """How a run with ``room`` bytes ended, and what is wrong then.

    It may have had room enough where each older result made way for the new one.
    """
    before = contents(case.out)
    ballast = fill(disk, room // BLOCK * BLOCK)
    process = start(case)
    _, stderr = process.communicate()
    if older and process.returncode == 0:
        ballast.unlink()
        return "room", broken(case.out)
    lines = stderr.decode(errors="replace").replace("\r", "\n").splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    wrong = broken(case.out)
    if process.returncode != 2:
        wrong.append(f"exit status {process.returncode}")
    if len(errors) != 1 or any("Traceback" in line for line in lines):
        wrong.append("\n".join(lines[-12:]))
    elif "No space left" not in errors[0] or str(disk) not in errors[0]:
        wrong.append(errors[0])
    wrong += [f"left: {path}" for path in case.out.rglob("*") if path.name.startswith(LEFTOVERS)]
    wrong += [f"lost: {name}" for name in before if not (case.out / name).exists()]
    ballast.unlink()
    run(case.name, *case.command)
    found = contents(case.out)
    wrong += [f"unequal: {n}" for n in found | expected if found.get(n) != expected.get(n)]
    return "full", wrong


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        disk = Path(folder) / "disk"
        if not mounted(disk):
            print("skipped: a tmpfs can only be mounted by root, on Linux")
            return
        stack.callback(subprocess.run, ["umount", str(disk)], check=True)
        cases = [
            case._replace(
                command=[
                    re.sub(f"{re.escape(str(case.out))}$", str(disk / case.out.name), part)
                    for part in case.command
                ],
                out=disk / case.out.name,
            )
            for case in make_cases(Path(folder))
        ]
        table = []
        with tqdm(total=sum(len(SHARES) * (1 + case.over_older) for case in cases)) as bar:
            for case in cases:
                run(case.name, *case.command)
                expected, n_bytes = contents(case.out), shutil.disk_usage(disk).used
                earlier = Path(folder) / f"earlier {case.out.name}"
                shutil.copytree(case.out, earlier)
                shutil.rmtree(case.out)
                counts: Counter[tuple[str, bool]] = Counter()
                for older in (False, True)[: 1 + case.over_older]:
                    for share in SHARES:
                        if older:
                            shutil.copytree(earlier, case.out)
                        else:
                            case.out.mkdir()
                        how, wrong = try_full(case, disk, int(share * n_bytes), expected, older)
                        counts[how, older] += 1
                        counts["wrong", older] += bool(wrong)
                        for line in wrong:
                            tqdm.write(f"{case.name}, {share:.0%}, older: {older}: {line}")
                        shutil.rmtree(case.out)
                        bar.update()
                row = (counts["full", False], counts["full", True], counts["room", True])
                n_wrong = counts["wrong", False] + counts["wrong", True]
                table.append((f"`{case.name}`", n_bytes, *row, n_wrong))
    titles = ["command", "bytes that it writes", "full, empty out_path", "full, older results",
              "had room after all"]  # fmt: skip
    print("|", " | ".join([*titles, "wrong"]), "|")
    print("|---" * 6 + "|")
    for entry in table:
        print("|", " | ".join(map(str, entry)), "|")
    if any(entry[-1] for entry in table):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
