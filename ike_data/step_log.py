"""log.csv in an out_path: one line for each step that a command has done."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ike_data.layout import LOG
from ike_data.runtime.atomic import naming


@contextmanager
def step_log(
    out_path: Path, *columns: str, start: float | None = None, kept: Sequence[Sequence[str]] = ()
) -> Iterator[Callable[..., list[str]]]:
    """Yield a function that appends a line: the values of ``columns``, then the seconds so far.

    It returns the line. The seconds count from ``start``, a time.perf_counter(), or from now. An
    older log is replaced. The new one begins with the lines ``kept``, whose seconds are counted on.

    Each line is written out at once, so that the log of an interrupted run ends with its last
    finished step.
    """
    start = time.perf_counter() if start is None else start
    path = out_path / LOG
    if kept:
        start -= float(kept[-1][-1])
    with naming(path), path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([[*columns, "seconds"], *kept])

        def log(*values: float) -> list[str]:
            seconds = time.perf_counter() - start
            line = [*(f"{value:.6g}" for value in values), f"{seconds:.2f}"]
            writer.writerow(line)
            file.flush()
            return line

        yield log
