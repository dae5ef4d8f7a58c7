"""The report: its numbers, its page as a file, and what a browser makes of it."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import small_run
from commands import call
from PIL import Image
from small_run import HEIGHT, N_FRAMES, STAGES, WIDTH

import evaluate
import visualize
from ike_tools.report import drawing
from ike_tools.report.line_chart import Line, line_chart, nice_ticks

NASTY = '<b>&"x{{title}}'  # a name that tries to be markup
VOID = {"meta", "img", "input", "line", "circle", "polyline", "br"}
N_PANELS = 1 + 1 + len(STAGES) + 1  # frame, flow, stages, annotation


class Page(HTMLParser):
    """What a page holds; complains where its tags are not balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str]] = []
        self.data: list[dict] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.charts: dict[str, str] = {}
        self.tags: Counter[str] = Counter()
        self._text = ""
        self._row: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        self.tags[tag] += 1
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "img":
            self.images.append(attributes)
        elif tag == "a":
            self.links.append(attributes["href"])
        elif tag == "svg":
            self.charts[attributes["aria-label"].partition(": ")[0]] = attributes["aria-label"]
        elif tag == "tr":
            self._row = []
        self._text = ""

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "caption":
            self._rows = self.tables.setdefault(self._text, [])
        elif tag in ("th", "td"):
            self._row.append(self._text)
        elif tag == "tr":
            self._rows.append(self._row)
        elif tag == "script" and self._text.startswith("{"):
            self.data.append(json.loads(self._text))

    def handle_data(self, data):
        self._text += data


def decoded(image: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(image, validate=True)))


def make_report(*flags: str | Path) -> str:
    call(visualize, "--report", *flags)
    return (Path(flags[-1]) / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    small_run.make_run(folder)
    small_run.make_video(folder)
    (folder / "frames").rename(folder / NASTY)
    return folder


@pytest.fixture(scope="module")
def html(run, tmp_path_factory) -> str:
    """The report of a whole run with annotations."""
    flags = "--frames", run / NASTY, "--results", run, "--annotations", run / "annotations"
    return make_report(*flags, "--out", tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


# The numbers


def test_scores_are_those_of_evaluate(run, page, tmp_path):
    results = ["graph_1/iter_2", "net_1/results_pt/epoch_00002"]
    results += ["graph_2/iter_1", "net_2/results_pt/epoch_00002"]
    flags = "--annotations", run / "annotations", "--out", tmp_path / "scores.csv"
    call(evaluate, "--results", *(run / name for name in results), *flags)
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = [f"{measure}_{name}" for measure in "JF" for name in ("mean", "recall", "decay")]
    expected = [[f"{float(row[column]):.3f}" for column in columns] for row in rows]
    shown = page.tables["Scores"][2:]
    assert [row[0] for row in shown] == list(STAGES)
    assert [row[1:] for row in shown] == expected
    assert len({row[1] for row in shown}) == 4  # the stages do differ
    # The viewer shows J of each frame but the first and the last.
    per_frame = page.data[0]["panels"][2]["scores"]
    assert per_frame[0] is per_frame[-1] is None
    assert np.mean(per_frame[1:-1]) == pytest.approx(float(rows[0]["J_mean"]), abs=1e-6)


def test_curve_of_a_log(page):
    assert page.charts["Loss by epoch"] == "Loss by epoch: net 1 from 0.9 to 0.6"


def test_timings_of_the_logs(page):
    assert page.tables["Time"][1:] == [
        ["flow", "5 pairs", "2.5 s"],
        ["graph 1", "3 iterations", "2.0 s"],
        ["net 1", "2 epochs", "2 min 0 s"],
        ["graph 2", "2 iterations", "1.0 s"],
        ["all", "", "2 min 6 s"],
    ]


def test_settings_of_each_stage(html, page):
    graph = page.tables["Graph module"]
    assert graph[0] == ["", "graph 1", "graph 2"]
    assert ["lambda", "100.0", "100.0"] in graph
    assert ["n_epochs", "5", "5"] in page.tables["Network module"]
    assert ["method", "raft"] in page.tables["Optical flow"]
    assert "<span>--note=&lt;i&gt;&amp;</span>" in html


def test_curve_in_the_picture():
    chart = line_chart(
        "J", [Line("a", (1, 2, 3), [(0, 0), (5, 1), (10, 0.5)])], "x", y_range=(0, 1)
    )
    # The plot is 46..390 wide and 184..8 high.
    assert '<polyline points="46.0,184.0 218.0,8.0 390.0,96.0"/>' in chart
    assert "--stage: rgb(1, 2, 3)" in chart
    assert re.findall(r'class="y"[^>]*>([^<]*)<', chart) == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_nothing_to_draw():
    assert line_chart("c", [Line("a", (1, 2, 3), [])], "x") == ""
    assert line_chart("c", [Line("a", (1, 2, 3), [(0, float("nan"))])], "x") == ""


@pytest.mark.parametrize(
    ("low", "high", "most", "smallest", "expected"),
    [
        (0, 1, 5, 0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.083, 5, 0, [0, 0.02, 0.04, 0.06, 0.08]),
        (1, 38, 8, 0, [5, 10, 15, 20, 25, 30, 35]),
        (0, 19, 8, 0, [0, 5, 10, 15]),
        (0.5, 1.5, 8, 1, [1]),
        (0, 4, 8, 1, [0, 1, 2, 3, 4]),
    ],
)
def test_ticks(low, high, most, smallest, expected):
    assert nice_ticks(low, high, most, smallest) == pytest.approx(expected)


# The page as a file


def test_the_page_is_well_formed(page):
    # Balanced tags: see Page.
    assert max(Counter(page.ids).values()) == 1
    assert page.tags["h1"] == 1
    assert page.tags["svg"] == 2


def test_the_page_needs_no_network(html):
    addresses = re.findall(r"""(?:https?:)?//[\w.]+""", re.sub(r'"[A-Za-z0-9+/=]{40,}"', "", html))
    # In scripts and commands // may stand, but no address.
    assert [a for a in addresses if a.startswith("http") or "." in a] == []
    assert not re.search(r"<link|@import|url\(", html)
    assert all(src.startswith("data:") for src in re.findall(r'src="([^"]*)"', html))
    assert "default-src 'none'" in html


def test_names_are_escaped(html, page):
    escaped = "&lt;b&gt;&amp;&#34;x{{title}}"
    assert f"{escaped}</h1>" in html
    assert f"<title>{escaped} - IKE</title>" in html
    assert "<b>" not in html


def test_embedded_pictures(page):
    assert len(page.images) == N_PANELS
    assert all(image["alt"] for image in page.images)
    assert len({image["alt"] for image in page.images}) == N_PANELS
    for image in page.images:
        prefix, _, data = image["src"].partition(",")
        assert prefix == "data:image/webp;base64"
        assert decoded(data).size == (WIDTH, HEIGHT) == (int(image["width"]), int(image["height"]))
    (data,) = page.data
    assert data["frames"] == list(range(N_FRAMES))
    assert len(data["panels"]) == N_PANELS
    for i, panel in enumerate(data["panels"]):
        assert len(panel["pictures"]) == N_FRAMES
        assert len(panel["soft"]) == (N_FRAMES if 2 <= i < 6 else 0)
        assert all(decoded(picture).size == (WIDTH, HEIGHT) for picture in panel["pictures"])


def test_pictures_show_their_frame(page):
    panels = page.data[0]["panels"]
    for idx in (0, 3):
        frame = np.asarray(decoded(panels[0]["pictures"][idx]), dtype=int)
        assert np.abs(frame - small_run.frame(idx)).mean() < 12  # lossy
        soft = np.asarray(decoded(panels[5]["soft"][idx]), dtype=int)
        assert soft[17, 8 + 3 * idx + 7] == pytest.approx([230] * 3, abs=12)
        assert soft[2, 2] == pytest.approx([26] * 3, abs=12)


def test_long_videos_show_evenly_spaced_frames(run, tmp_path, monkeypatch):
    monkeypatch.setattr(visualize, "SHOWN_OF_VIDEO", 3)
    flags = "--frames", run / NASTY, "--results", run / "graph_1", "--out", tmp_path
    html = make_report(*flags)
    (data,) = Page(html).data
    assert data["frames"] == [0, 2, 5]
    assert all(len(panel["pictures"]) == 3 for panel in data["panels"])
    assert "6 frames (3 of them, evenly spaced, shown here), 53 x 37" in html


def test_without_annotations_flow_settings_or_logs(run, tmp_path):
    shutil.copytree(run / "net_1/results_pt/epoch_00002", tmp_path / "masks")
    flags = "--frames", run / NASTY, "--results", tmp_path / "masks", "--threshold", "0.25"
    html = make_report(*flags, "--out", tmp_path / "out")
    page = Page(html)
    assert [image["alt"] for image in page.images] == ["frame", "frame with the mask of masks"]
    assert page.tables == {}
    assert page.charts == {}
    assert "Object is where the soft mask is at least 0.25." in html


def test_some_annotated_frames(run, tmp_path):
    for idx in (0, 3):  # the first does not count
        (tmp_path / "a").mkdir(exist_ok=True)
        shutil.copy(run / f"annotations/{idx:05d}.png", tmp_path / "a")
    flags = "--frames", run / NASTY, "--results", run / "graph_1", "--annotations", tmp_path / "a"
    html = make_report(*flags, "--out", tmp_path / "out")
    assert "2 frames are annotated." in html
    graph, annotation = Page(html).data[0]["panels"][1:]
    assert [score is not None for score in graph["scores"]] == [idx == 3 for idx in range(6)]
    assert len(set(annotation["pictures"])) == 3  # two of them, and a note for all others


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> tuple[Path, str]:
    """A report of three sequences, the last of them without its second stage."""
    folder = tmp_path_factory.mktemp("data_set")
    for name in (NASTY, "one", "two"):
        small_run.make_video(folder, name)
        small_run.make_run(folder / "results" / name)
    shutil.rmtree(folder / "results/two/net_1/results_pt")
    shutil.rmtree(folder / "results/two/graph_1")
    shutil.copytree(folder / "results/two/graph_2", folder / "results/two/graph_1")
    flags = "--frames", folder / "frames", "--results", folder / "results"
    out = "--out", folder / "out"
    return folder, make_report(*flags, "--annotations", folder / "annotations", *out)


def test_a_data_set_is_one_page(data_set):
    folder, html = data_set
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        NASTY,
        "one",
        "report.html",
        "two",
    ]
    page = Page(html)
    assert page.links == ["#video-1", "#video-2", "#video-3"]
    assert {"video-1", "video-2", "video-3"} <= set(page.ids)
    assert max(Counter(page.ids).values()) == 1
    assert (page.tags["h1"], page.tags["h2"]) == (1, 3)
    assert len(page.data) == 3
    assert "<b>" not in html


def test_table_over_a_data_set(data_set):
    rows = Page(data_set[1]).tables["Mean J and F"]
    assert rows[0] == ["", "graph 1", "net 1", "graph 2", "net 2"]
    *sequences, over_sequences, over_frames = rows[2:]
    assert [row[0] for row in sequences] == [NASTY, "one", "two"]
    assert sequences[2][4:6] == ["", ""]  # it has no net 1
    for column in (2, 3):
        mean = np.mean([float(row[column]) for row in sequences])
        assert float(over_sequences[column]) == pytest.approx(mean, abs=1e-3)
        assert over_frames[column] == over_sequences[column]  # all have as many frames
    assert float(sequences[0][2]) < float(sequences[2][2])
    assert over_sequences[4:6] == ["", ""]  # a mean over two of the three would mislead


# What a browser makes of it

# Chromium makes no window as narrow as a phone; a frame in a page is as narrow as one likes.
WRAPPER = """<!DOCTYPE html><title>wrapper</title><body style="margin: 0">
<iframe src="report.html" style="width: {width}px; height: 2300px; border: 0"></iframe>
<script>addEventListener("message", event => {{
  for (const [name, value] of event.data) document.body.setAttribute("data-" + name, value);
}});</script></body>"""
ACT = """<script>
const said = [];
const say = (name, value) => said.push([name, value]);
const picture = () => document.querySelectorAll("figure img")[3].src;
const first = picture();
const slider = document.querySelector("input[type=range]");
say("ready", document.querySelector(".viewer").dataset.frame);
slider.value = 2;
slider.dispatchEvent(new Event("input"));
document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
say("frame", document.querySelector(".viewer").dataset.frame);
say("score", document.querySelectorAll(".score")[3].textContent);
say("cursor", document.querySelector(".over-frames .cursor").getAttribute("x1"));
const hard = picture();
document.querySelector("input[type=checkbox]").click();
say("pictures", new Set([first, hard, picture()]).size);
document.querySelector("button").click();
say("button", document.querySelector("button").textContent);
document.querySelector("button").click();
document.querySelector("details").open = true;
say("window", innerWidth);
say("page", document.documentElement.scrollWidth);
for (const [name, what] of [["image", "figure img"], ["chart", ".over-frames svg"]]) {
  const box = document.querySelector(what).getBoundingClientRect();
  say(name, [box.left, box.top, box.right, box.bottom].map(Math.round).join(" "));
}
parent.postMessage(said, "*");
</script></body>"""


def chromium(*flags: str) -> str:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not on PATH: the report was not opened in a browser")
    # Its profile may still be written while it ends.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--disable-background-networking", "--disable-component-update"]
        command += ["--disable-sync", "--no-first-run", f"--user-data-dir={profile}"]
        command += ["--virtual-time-budget=3000"]
        result = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def open_in_browser(html: str, folder: Path, width: int, *, shot: Path | None) -> dict[str, str]:
    """What the page says of itself, ``width`` pixels wide, after its controls were used."""
    (folder / "report.html").write_text(html.replace("</body>", ACT), encoding="utf-8")
    (folder / "wrapper.html").write_text(WRAPPER.format(width=width), encoding="utf-8")
    window, address = "--window-size=1300,2300", (folder / "wrapper.html").as_uri()
    body = re.search(r"<body[^>]*>", chromium(window, "--dump-dom", address))
    assert body is not None
    if shot is not None:
        chromium(window, f"--screenshot={shot}", address)
    return dict(re.findall(r'data-(\w+)="([^"]*)"', body[0]))


def test_a_wide_table_scrolls_by_itself(data_set, tmp_path):
    says = open_in_browser(data_set[1], tmp_path, 390, shot=None)
    assert int(says["window"]) == int(says["page"]) == 390


@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser(html, tmp_path, width):
    shot = tmp_path / "shot.png"
    says = open_in_browser(html, tmp_path, width, shot=shot)
    assert says["ready"] == "0"
    assert says["frame"] == "3"
    assert re.fullmatch(r"J 0\.\d{3}", says["score"])
    # Frames 1 to 4 are scored; frame 3 is two thirds of the way along 46..390.
    assert float(says["cursor"]) == pytest.approx(46 + 344 * 2 / 3, abs=0.1)
    assert says["pictures"] == "3"
    assert says["button"] == "Pause"
    assert int(says["window"]) == int(says["page"]) == width  # nothing to scroll sideways
    screen = Image.open(shot).convert("RGB")
    image, chart = (
        np.asarray(screen, dtype=int)[top:bottom, left:right]
        for left, top, right, bottom in (
            map(int, says[name].split()) for name in ("image", "chart")
        )
    )
    assert image.std() > 20
    for colour in drawing.PALETTE[: len(STAGES)]:
        near = np.abs(chart - np.array(colour)).max(axis=2) < 30
        assert near.sum() > 20
