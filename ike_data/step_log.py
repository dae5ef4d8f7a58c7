"""log.csv in an out_path: one line for each step that a command has done."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ike_data.atomic import naming

LOG_NAME = "log.csv"


@contextmanager
def step_log(
    out_path: Path, *columns: str, start: float | None = None, n_kept: int = 0
) -> Iterator[Callable[..., None]]:
    """Yield a function that appends a line: the values of ``columns``, then the seconds so far.

    They count from ``start``, a time.perf_counter(), or from now. An older log is replaced, except
    for its first ``n_kept`` lines, whose seconds are counted on.

    Each line is written out at once, so that the log of an interrupted run ends with its last
    finished step.
    """
    start = time.perf_counter() if start is None else start
    path = out_path / LOG_NAME
    kept: list[list[str]] = []
    if n_kept and path.is_file():
        # A damaged log, of a disk that was full for example, is begun anew.
        with (
            suppress(ValueError, IndexError, csv.Error),
            path.open(newline="", encoding="utf-8") as file,
        ):
            lines = list(csv.reader(file))[1 : 1 + n_kept]
            start -= float(lines[-1][-1])
            kept = lines
    with naming(path), path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([[*columns, "seconds"], *kept])

        def log(*values: float) -> None:
            seconds = time.perf_counter() - start
            writer.writerow([*(f"{value:.6g}" for value in values), f"{seconds:.2f}"])
            file.flush()

        yield log
