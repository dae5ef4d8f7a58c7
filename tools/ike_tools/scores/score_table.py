"""Scores of sequences as rows, with their averages, and rows as a table and a CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ike_data.runtime.atomic import write_csv
from ike_tools.scores.davis_metrics import Statistics, statistics

OVER_SEQUENCES, OVER_FRAMES = "mean over sequences", "mean over frames"
CSV_COLUMNS = (
    "results", "sequence", "frames", "threshold",
    "J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay",
)  # fmt: skip


@dataclass(frozen=True)
class SequenceScore:
    """J and F of each scored frame of one sequence, in the order of the frames."""

    results: Path
    sequence: str
    threshold: float
    region: tuple[float, ...]
    boundary: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One line of the table: a sequence or an average."""

    results: Path
    name: str
    n_frames: int
    threshold: float | None  # None: an average
    region: Statistics
    boundary: Statistics


def table_rows(scores: Sequence[SequenceScore]) -> list[Row]:
    """A row for each sequence of one result; of several, also both averages.

    The average over sequences is DAVIS's own: each statistic's mean over the sequences. The one
    over frames counts each frame alike; decay has no meaning there (NaN).
    """
    rows = []
    for s in scores:
        region, boundary = statistics(s.region), statistics(s.boundary)
        rows.append(Row(s.results, s.sequence, len(s.region), s.threshold, region, boundary))
    if len(rows) > 1:
        n_frames = sum(row.n_frames for row in rows)
        over_sequences = (
            Statistics(*np.mean([row.region for row in rows], axis=0).tolist()),
            Statistics(*np.mean([row.boundary for row in rows], axis=0).tolist()),
        )
        over_frames = (
            statistics([j for s in scores for j in s.region])._replace(decay=math.nan),
            statistics([f for s in scores for f in s.boundary])._replace(decay=math.nan),
        )
        for name, both in ((OVER_SEQUENCES, over_sequences), (OVER_FRAMES, over_frames)):
            rows.append(Row(scores[0].results, name, n_frames, None, *both))
    return rows


def format_table(rows: Sequence[Row]) -> str:
    """The rows of one result as aligned text."""
    lines = [
        ["sequence", "frames", "threshold"]
        + [f"{measure} {name}" for measure in "JF" for name in Statistics._fields]
    ]
    for row in rows:
        threshold = "" if row.threshold is None else f"{row.threshold:.3f}"
        numbers = [three_digits(value) for value in (*row.region, *row.boundary)]
        lines.append([row.name, str(row.n_frames), threshold, *numbers])
    return _aligned(lines)


def format_comparison(groups: Sequence[Sequence[Row]]) -> str:
    """Mean J and F of several results side by side, numbered as they were given."""
    header = ["sequence"]
    header += [f"[{i}] {measure} mean" for i in range(1, len(groups) + 1) for measure in "JF"]
    lines = [header]
    for same_name in zip(*groups, strict=True):
        means = [value for row in same_name for value in (row.region.mean, row.boundary.mean)]
        lines.append([same_name[0].name, *map(three_digits, means)])
    return _aligned(lines)


def three_digits(value: float) -> str:
    """A measure as tables show it; "-" where it has no meaning."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    )


def write_scores(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows as a CSV with `CSV_COLUMNS`; what has no meaning is left empty."""
    lines = []
    for row in rows:
        threshold = "" if row.threshold is None else f"{row.threshold:.6g}"
        numbers = [
            "" if math.isnan(value) else f"{value:.6f}" for value in (*row.region, *row.boundary)
        ]
        lines.append([row.results, row.name, row.n_frames, threshold, *numbers])
    write_csv(path, CSV_COLUMNS, lines)
