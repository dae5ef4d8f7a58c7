"""The report: one page with the pictures, curves and tables of one video or of a data set.

It is one file that holds all it shows: its pictures as base64, its curves as inline SVG. Texts that
come from the user are escaped where they enter the page.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from ike_data.layout import FLOW, GRAPH, NETWORK
from ike_tools.report.drawing import NEUTRAL, Colour, stage_colour
from ike_tools.report.findings import Findings, Panel
from ike_tools.report.html_table import table
from ike_tools.report.inputs import Video
from ike_tools.report.line_chart import Line, css_colour, line_chart
from ike_tools.report.stages import cycle_before, read_log, read_settings
from ike_tools.scores.davis_metrics import Statistics
from ike_tools.scores.score_table import OVER_FRAMES, OVER_SEQUENCES, Row, SequenceScore, table_rows

_PAGE, _VIDEO = (
    Template(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    for name in ("report_template.html", "report_video.html")
)
# What the settings of each kind of command are called, and their sections of config.ini.
_MODULES = {
    FLOW: ("Optical flow", ("Optical Flow",)),
    GRAPH: ("Graph module", ("General", "Graph Module")),
    NETWORK: ("Network module", ("General", "Network Module")),
}
_COMMAND = "command: "  # of the notes in a config.ini
_DELAY = 40, 500  # from one shown frame to the next while they play: least and most, milliseconds
_LONGEST_TICK = 9  # letters


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
    html: str


def read_made(video: Video) -> list[Made]:
    """The settings and logs of the flow and of each stage, as far as they are there.

    Raises:
        InputError: a config.ini or log.csv is damaged.
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
    n_shown, frames = len(findings.shown), video.frames
    shown = "" if n_shown == frames.count else f" ({n_shown} of them, evenly spaced, shown here)"
    html = _VIDEO.substitute(
        id=id_,
        heading=heading,
        name=escape(video.name),
        facts=escape(f"{frames.count} frames{shown}, {frames.width} x {frames.height}. {rule}"),
        panels="\n".join(_panel(panel, findings.shown_size) for panel in findings.panels),
        columns=_columns(len(findings.panels)),
        first_frame=findings.shown[0],
        last=n_shown - 1,
        data=_viewer_data(findings, fps),
        cards="\n".join(_cards(findings, made)),
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
    title = parts[0].name if data_set is None else _sequences(parts)
    overview = "" if data_set is None else _overview(data_set, parts, warnings)
    content = "\n".join([overview, *(part.html for part in parts)])
    return _PAGE.substitute(title=escape(f"{title} - IKE"), content=content)


def _columns(n_panels: int) -> int:
    """Of the panels on a wide screen: at most 4, and no row much shorter than the others."""
    n_rows = math.ceil(n_panels / 4)
    return math.ceil(n_panels / n_rows)


def _panel(panel: Panel, size: tuple[int, int]) -> str:
    height, width = size
    return (
        f"<figure><figcaption>{_named(panel.name, panel.colour)}"
        f'<span class="score"></span></figcaption><img alt="{escape(panel.alt)}" width="{width}" '
        f'height="{height}" src="data:image/webp;base64,{_base64(panel.pictures[0])}"></figure>'
    )


def _viewer_data(findings: Findings, fps: float) -> str:
    """What the page's script needs to move the panels together, as JSON."""
    shown = findings.shown
    in_real_time = 1000 * (shown[-1] - shown[0]) / max(len(shown) - 1, 1) / fps
    data = {
        "frames": shown,
        "delay": round(min(max(in_real_time, _DELAY[0]), _DELAY[1])),
        "panels": [
            {
                "pictures": [_base64(picture) for picture in panel.pictures],
                "soft": [_base64(picture) for picture in panel.soft],
                "scores": panel.scores,
            }
            for panel in findings.panels
        ],
    }
    return json.dumps(data)  # numbers and base64: nothing in it can end the script


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _cards(findings: Findings, made: list[Made]) -> Iterator[str]:
    """Tables and curves, as far as there is something to show."""
    panels = findings.stage_panels
    if findings.scores:
        rows = [
            [_named(panel.name, panel.colour), *map(_number, (*row.region, *row.boundary))]
            for panel, score in zip(panels, findings.scores, strict=True)
            for row in table_rows([score])
        ]
        groups = [("", 1), ("J, region", 3), ("F, boundary", 3)]
        scores = table("Scores", ["", *Statistics._fields * 2], rows, groups=groups)
        yield f'<div class="wide">{scores}</div>'
        lines = [
            Line(panel.name, panel.colour, list(zip(findings.scored, score.region, strict=True)))
            for panel, score in zip(panels, findings.scores, strict=True)
        ]
        chart = line_chart("J by frame", lines, "frame", y_range=(0, 1))
        yield f'<div class="over-frames">{chart}</div>'
    change = _logged(made, GRAPH, "iteration", "mean_change")
    yield line_chart("Mean change of the masks by iteration", change, "iteration", log=True)
    yield _changes(findings)
    yield line_chart("Loss by epoch", _logged(made, NETWORK, "epoch", "loss"), "epoch")
    yield _timings(made)


def _logged(made: list[Made], module: str, x: str, y: str) -> list[Line]:
    return [
        Line(m.name, m.colour, list(zip(m.log[x], m.log[y], strict=True)))
        for m in made
        if m.module == module and x in m.log and y in m.log
    ]


def _changes(findings: Findings) -> str:
    stages, changes = findings.video.stages, findings.changes
    numbers = range(1, len(stages))
    before = [(b, changes[b - 1, b]) for b in numbers]
    cycle = [(b, changes[a, b]) for b in numbers if (a := cycle_before(stages, b)) is not None]
    lines = [
        Line("from the stage before", NEUTRAL, before),
        Line("from this module a cycle before", NEUTRAL, cycle, dashed=True),
    ]
    names = [stage.name for stage in stages]
    if max(map(len, names)) > _LONGEST_TICK:
        names = [str(number) for number in range(1, len(names) + 1)]
    return line_chart("Mean change of the masks by stage", lines, "stage", x_names=names)


def _timings(made: list[Made]) -> str:
    """Steps and seconds from the logs, whose ``seconds`` count from the command's start."""
    rows, total = [], 0.0
    for m in made:
        if not m.log.get("seconds"):
            continue
        step, seconds = next(iter(m.log)), m.log["seconds"][-1]
        n_steps = len(m.log["seconds"])
        total += seconds
        steps = f"{n_steps} {step}{'s' if n_steps > 1 else ''}"
        rows.append([_named(m.name, m.colour), escape(steps), _duration(seconds)])
    if not rows:
        return ""
    rows.append(["all", "", _duration(total)])
    ran_on = sorted({note for m in made for note in m.notes if note.startswith("ran on")})
    where = "".join(f'<p class="facts">{escape(note)}</p>' for note in ran_on)
    return f"<div>{table('Time', ['', 'steps', 'time'], rows, n_totals=1)}{where}</div>"


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes} min {seconds - 60 * minutes:.0f} s" if minutes else f"{seconds:.1f} s"


def _settings(made: list[Made]) -> str:
    """The commands, and for each module a table: a row for a key, a column for a stage."""
    commands = "".join(
        f"<li>{_command(note.removeprefix(_COMMAND))}</li>"
        for m in made
        for note in m.notes
        if note.startswith(_COMMAND)
    )
    listed = f"<h3>Commands</h3><ol>{commands}</ol>" if commands else ""
    tables = []
    for module, (title, sections) in _MODULES.items():
        with_settings = [m for m in made if m.module == module and m.settings]
        if not with_settings:
            continue
        # Of one program all have the same keys; dict.fromkeys keeps their order.
        keys = dict.fromkeys(
            (section, key)
            for m in with_settings
            for section in sections
            for key in m.settings.get(section, {})
        )
        rows = [
            [
                escape(key),
                *(escape(m.settings.get(section, {}).get(key, "")) for m in with_settings),
            ]
            for section, key in keys
        ]
        tables.append(table(title, ["", *(_named(m.name, m.colour) for m in with_settings)], rows))
    if not listed and not tables:
        return ""
    return (
        f"<details><summary>Settings</summary>{listed}"
        f'<div class="cards">{"".join(tables)}</div></details>'
    )


def _sequences(parts: Sequence[VideoPart]) -> str:
    return f"{len(parts)} sequence{'s' if len(parts) > 1 else ''}"


def _command(text: str) -> str:
    """A command line that breaks only between its arguments, if they are not too long."""
    return f"<code>{' '.join(f'<span>{escape(word)}</span>' for word in text.split())}</code>"


def _overview(data_set: Path, parts: Sequence[VideoPart], warnings: Sequence[str]) -> str:
    """Mean J and F of each sequence and stage, with links; then the means over all sequences."""
    stages = dict.fromkeys(name for part in parts for name in part.scores)
    rows_of = {stage: _rows_by_name(stage, parts) for stage in stages}
    lines = [
        [
            f'<a href="#{part.id}">{escape(part.name)}</a>',
            str(part.n_frames),
            *(text for rows in rows_of.values() for text in _means(rows.get(part.name))),
        ]
        for part in parts
    ]
    averages = [
        [name, "", *(text for rows in rows_of.values() for text in _means(rows.get(name)))]
        for name in (OVER_SEQUENCES, OVER_FRAMES)
        if any(name in rows for rows in rows_of.values())
    ]
    scores = table(
        "Mean J and F" if rows_of else "Sequences",
        ["", "frames", *["J", "F"] * len(rows_of)],
        [*lines, *averages],
        groups=[("", 2), *((escape(stage), 2) for stage in rows_of)] if rows_of else [],
        n_totals=len(averages),
    )
    facts = "".join(f'<p class="facts">{escape(line)}</p>' for line in (str(data_set), *warnings))
    return f'<section class="overview"><h1>{_sequences(parts)}</h1>{facts}{scores}</section>'


def _rows_by_name(stage: str, parts: Sequence[VideoPart]) -> dict[str, Row]:
    """The rows of one stage; its averages only where all sequences have it."""
    scores = [part.scores[stage] for part in parts if stage in part.scores]
    rows = table_rows(scores)
    return {row.name: row for row in (rows if len(scores) == len(parts) else rows[: len(scores)])}


def _means(row: Row | None) -> tuple[str, str]:
    return ("", "") if row is None else (_number(row.region.mean), _number(row.boundary.mean))


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _named(name: str, colour: Colour) -> str:
    """A name, after a dot in the colour of its mask."""
    dot = "" if colour == NEUTRAL else f'<span class="dot" style="{css_colour(colour)}"></span>'
    return f'<span class="name">{dot}{escape(name)}</span>'
