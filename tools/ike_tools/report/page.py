"""The report: one page with the pictures, curves and tables of one video or of a data set.

It is one file that holds all it shows: its pictures as base64, its curves as inline SVG.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from ike_data.layout import FLOW, GRAPH, NETWORK
from ike_tools.report.drawing import NEUTRAL, Colour, stage_colour
from ike_tools.report.findings import Findings
from ike_tools.report.html import PARTS, fill
from ike_tools.report.inputs import Video
from ike_tools.report.line_chart import Line, line_chart
from ike_tools.report.stages import read_log, read_settings
from ike_tools.scores.davis_metrics import Statistics
from ike_tools.scores.score_table import (
    OVER_FRAMES,
    OVER_SEQUENCES,
    Row,
    SequenceScore,
    table_rows,
    three_digits,
)

# What the settings of each kind of command are called, and their sections of config.ini.
_MODULES = {
    FLOW: ("Optical flow", ("Optical Flow",)),
    GRAPH: ("Graph module", ("General", "Graph Module")),
    NETWORK: ("Network module", ("General", "Network Module")),
}
_COMMAND = "command: "  # of the notes in a config.ini
_DELAY = 40, 500  # from one shown frame to the next while they play: least and most, milliseconds
_MOST_COLUMNS = 4  # of the panels


@dataclass(frozen=True)
class Made:
    """What made a result: an out_path with the settings and the log that its command left."""

    name: str
    module: str  # FLOW, GRAPH or NETWORK
    colour: Colour
    notes: list[str]
    settings: dict[str, dict[str, str]]
    log: dict[str, list[float]]


@dataclass(frozen=True)
class VideoPart:
    """The part of the page about one video, and what the table over a data set says of it."""

    id: str
    name: str
    n_frames: int
    scores: dict[str, SequenceScore]  # by the name of the stage; empty without annotations
    html: Markup


def read_made(video: Video) -> list[Made]:
    """The settings and logs of the flow and of each stage, as far as they are there.

    InputError where a config.ini or log.csv is damaged.
    """
    made_by = [] if video.flow is None else [(FLOW, FLOW, NEUTRAL, video.flow)]
    made_by += [
        (stage.name, stage.module, stage_colour(i), stage.out_path)
        for i, stage in enumerate(video.stages)
        if stage.out_path is not None
    ]
    return [
        Made(name, module, colour, *read_settings(out_path), read_log(out_path))
        for name, module, colour, out_path in made_by
    ]


def video_part(
    findings: Findings, made: list[Made], number: int, *, rule: str, fps: float, heading: str
) -> VideoPart:
    """The part of video ``number``, under a heading "h1" or "h2".

    ``rule`` says how hard masks are made.
    """
    video, id_ = findings.video, f"video-{number}"
    n_shown, n_panels, frames = len(findings.shown), len(findings.panels), video.frames
    shown = "" if n_shown == frames.count else f" ({n_shown} of them, evenly spaced, shown here)"
    notes = [note for m in made for note in m.notes if note.startswith(_COMMAND)]
    html = fill(
        "video.html",
        id=id_,
        heading=heading,
        name=video.name,
        facts=f"{frames.count} frames{shown}, {frames.width} x {frames.height}. {rule}",
        panels=findings.panels,
        height=findings.shown_size[0],
        width=findings.shown_size[1],
        # On a wide screen; no row much shorter than the others.
        columns=math.ceil(n_panels / math.ceil(n_panels / _MOST_COLUMNS)),
        data=_viewer_data(findings, fps),
        cards=list(_cards(findings, made)),
        commands=[note.removeprefix(_COMMAND) for note in notes],
        settings=_settings(made),
    )
    scores = {
        stage.name: score for stage, score in zip(video.stages, findings.scores, strict=False)
    }
    return VideoPart(id_, video.name, frames.count, scores, html)


def report_page(
    parts: Sequence[VideoPart], data_set: Path | None, warnings: Sequence[str] = ()
) -> str:
    """The whole page; of a ``data_set`` (its frames) it starts with a table over its sequences.

    ``warnings`` say what is missing in that table.
    """
    n_parts = len(parts)
    return fill(
        "page.html",
        title=f"{n_parts} sequence{'s' * (n_parts > 1)}" if data_set else parts[0].name,
        parts=parts,
        data_set=data_set,
        warnings=list(warnings),
        overview=_overview(parts) if data_set else "",
    )


def _viewer_data(findings: Findings, fps: float) -> dict[str, object]:
    """What the page's script needs to move the panels together."""
    shown = findings.shown
    in_real_time = 1000 * (shown[-1] - shown[0]) / max(len(shown) - 1, 1) / fps
    return {
        "frames": shown,
        "delay": round(min(max(in_real_time, _DELAY[0]), _DELAY[1])),
        "panels": [
            {"pictures": panel.pictures, "soft": panel.soft, "scores": panel.scores}
            for panel in findings.panels
        ],
    }


def _cards(findings: Findings, made: list[Made]) -> Iterator[Markup]:
    """Tables and curves, as far as there is something to show."""
    panels = findings.stage_panels
    if findings.scores:
        rows = [
            [PARTS.named(panel), *map(three_digits, (*row.region, *row.boundary))]
            for panel, score in zip(panels, findings.scores, strict=True)
            for row in table_rows([score])
        ]
        groups = [("", 1), ("J, region", 3), ("F, boundary", 3)]
        scores = PARTS.table("Scores", ["", *Statistics._fields * 2], rows, groups=groups)
        yield Markup('<div class="wide">{}</div>').format(scores)
        lines = [
            Line(panel.name, panel.colour, list(zip(findings.scored, score.region, strict=True)))
            for panel, score in zip(panels, findings.scores, strict=True)
        ]
        chart = line_chart("J by frame", lines, "frame", y_range=(0, 1))
        yield Markup('<div class="over-frames">{}</div>').format(chart)
    losses = [
        Line(m.name, m.colour, list(zip(m.log["epoch"], m.log["loss"], strict=True)))
        for m in made
        if m.module == NETWORK and {"epoch", "loss"} <= m.log.keys()
    ]
    yield line_chart("Loss by epoch", losses, "epoch")
    yield _timings(made)


def _timings(made: list[Made]) -> Markup:
    """Steps and seconds from the logs, whose ``seconds`` count from the command's start."""
    rows, total = [], 0.0
    for m in made:
        if not m.log.get("seconds"):
            continue
        step, seconds = next(iter(m.log)), m.log["seconds"][-1]
        n_steps = len(m.log["seconds"])
        total += seconds
        steps = f"{n_steps} {step}{'s' if n_steps > 1 else ''}"
        rows.append([PARTS.named(m), steps, _duration(seconds)])
    if not rows:
        return Markup("")
    rows.append(["all", "", _duration(total)])
    ran_on = sorted({note for m in made for note in m.notes if note.startswith("ran on")})
    times = PARTS.table("Time", ["", "steps", "time"], rows, n_totals=1)
    facts = Markup().join(Markup('<p class="facts">{}</p>').format(note) for note in ran_on)
    return Markup("<div>{}{}</div>").format(times, facts)


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes} min {seconds - 60 * minutes:.0f} s" if minutes else f"{seconds:.1f} s"


def _settings(made: list[Made]) -> list[Markup]:
    """For each module a table: a row for a key, a column for a stage."""
    tables = []
    for module, (title, sections) in _MODULES.items():
        shown = [m for m in made if m.module == module and m.settings]
        # Of one program all have the same keys; dict.fromkeys keeps their order.
        keys = dict.fromkeys(
            (section, key)
            for m in shown
            for section in sections
            for key in m.settings.get(section, {})
        )
        rows = [
            [key, *(m.settings.get(section, {}).get(key, "") for m in shown)]
            for section, key in keys
        ]
        if shown:
            names = (PARTS.named(m) for m in shown)
            tables.append(PARTS.table(title, ["", *names], rows))
    return tables


def _overview(parts: Sequence[VideoPart]) -> Markup:
    """Mean J and F of each sequence and stage, with links; then the means over all sequences."""
    stages = dict.fromkeys(name for part in parts for name in part.scores)
    rows_of = {stage: _rows_by_name(stage, parts) for stage in stages}

    def row(heading: str, n_frames: str, name: str) -> list[str]:
        means = (text for rows in rows_of.values() for text in _means(rows.get(name)))
        return [heading, n_frames, *means]

    link = Markup('<a href="#{}">{}</a>')
    lines = [row(link.format(part.id, part.name), f"{part.n_frames}", part.name) for part in parts]
    averages = [
        row(name, "", name)
        for name in (OVER_SEQUENCES, OVER_FRAMES)
        if any(name in rows for rows in rows_of.values())
    ]
    return PARTS.table(
        "Mean J and F" if rows_of else "Sequences",
        ["", "frames", *["J", "F"] * len(rows_of)],
        [*lines, *averages],
        groups=[("", 2), *((stage, 2) for stage in rows_of)] if rows_of else [],
        n_totals=len(averages),
    )


def _rows_by_name(stage: str, parts: Sequence[VideoPart]) -> dict[str, Row]:
    """The rows of one stage; its averages only where all sequences have it."""
    scores = [part.scores[stage] for part in parts if stage in part.scores]
    rows = table_rows(scores)
    return {row.name: row for row in (rows if len(scores) == len(parts) else rows[: len(scores)])}


def _means(row: Row | None) -> tuple[str, str]:
    if row is None:
        return "", ""
    return three_digits(row.region.mean), three_digits(row.boundary.mean)
