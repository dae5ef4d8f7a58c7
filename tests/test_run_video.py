"""tools/run_video.py: cycles, going on after a kill in any step, odd names, bad input."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import HEIGHT, N_FRAMES, WIDTH, frame, make_video

from ike_data.command_line import PROJECT_CONFIG
from ike_data.config import read_config
from ike_data.soft_masks import read_soft_masks

ROOT = PROJECT_CONFIG.parent
SCRIPT = ROOT / "tools" / "run_video.py"
STEPS = ("flow", "graph_1", "net_1", "graph_2", "net_2", "final_masks", "final_pictures")
ODD_NAME = 'a video\'s "odd" näme; $HOME #1'


def small_config(folder: Path, **changes: str) -> Path:
    """The project's config.ini for a tiny video."""
    values = dict(
        working_h="24", working_w="32", n_epochs="1", to_save_epochs="1", base_channels="2",
        n_iterations="3", to_save_iterations="2", engine="torch", learning_rate="0.01",
    )  # fmt: skip
    values |= changes
    lines = []
    for line in PROJECT_CONFIG.read_text().splitlines():
        key = line.partition("=")[0].strip()
        lines.append(f"{key} = {values[key]}" if key in values else line)
    path = folder / "small.ini"
    path.write_text("\n".join(lines) + "\n")
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True)


def results(out: Path) -> dict[str, bytes]:
    """The bytes of every mask of a run."""
    folders = ("graph_1/iter_2", "graph_2/iter_2", "net_1/results_pt", "net_2/results_pt")
    files = [file for folder in (*folders, "final/masks") for file in (out / folder).rglob("*.*")]
    return {str(file.relative_to(out)): file.read_bytes() for file in files if file.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[list[str], Path, str]:
    """Arguments, out and output of an undisturbed run of two cycles."""
    folder = tmp_path_factory.mktemp("runs") / ODD_NAME
    folder.mkdir()
    make_video(folder)
    config = small_config(folder)
    arguments = [
        *("--method=dis", "--cycles=2", "--threshold=0", f"--config={config}"),
        f"--annotations={folder / 'annotations'}",
    ]
    arguments.append(str(folder / "frames"))
    done = run(*arguments, folder / "out")
    assert done.returncode == 0, done.stderr
    return arguments, folder / "out", done.stdout


def test_every_step_is_one_of_the_commands_and_is_printed(whole):
    _, out, printed = whole
    commands = [line.split()[2] for line in printed.splitlines() if line.startswith("$ python ")]
    assert commands == [
        "extract_optical_flow.py",
        *["run_graph_module.py", "main.py"] * 2,
        "tools/export_masks.py",
        "tools/visualize.py",
    ]
    assert f"report: {out / 'final' / 'report.html'}" in printed


def test_final_has_masks_video_and_report(whole):
    _, out, _ = whole
    masks = sorted((out / "final" / "masks").iterdir())
    assert [path.name for path in masks] == [f"{idx:05d}.png" for idx in range(N_FRAMES)]
    soft = torch.load(out / "net_2/results_pt/epoch_00001/00003.pt", weights_only=True)[..., 0]
    with Image.open(masks[3]) as image:
        assert (image.mode, image.size) == ("L", (WIDTH, HEIGHT))
        mask = np.asarray(image)
        # Bilinear to the frame's size, with Pillow in place of PyTorch, then cut at 0.5.
        expected = Image.fromarray(soft.numpy()).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    assert set(np.unique(mask)) <= {0, 255}
    assert ((mask == 255) == (np.asarray(expected) >= 0.5)).mean() > 0.97
    assert (out / "final" / "overlay.mp4").stat().st_size > 0
    report = (out / "final" / "report.html").read_text()
    assert all(name in report for name in ("graph 1", "net 1", "graph 2", "net 2"))


def test_the_networks_masks_are_the_next_graphs_feature(whole):
    _, out, _ = whole
    first, second = (read_config(out / f"cycle_{cycle}.ini").graph_module for cycle in (1, 2))
    assert first.ike_features_paths == ()
    assert second.ike_features_paths == (out / "net_1" / "results_pt" / "epoch_00001",)


def test_the_change_of_the_masks_is_recorded(whole):
    _, out, printed = whole
    before, after = (
        read_soft_masks(out / f"net_{cycle}/results_pt/epoch_00001", N_FRAMES, 24, 32)
        for cycle in (1, 2)
    )
    change = (before - after).abs().mean().item()
    with (out / "cycles.csv").open(newline="") as file:
        ((cycle, recorded),) = list(csv.reader(file))[1:]
    assert cycle == "2"
    assert float(recorded) == pytest.approx(change, abs=2e-6)
    assert f"cycle 2 changed the masks by {change:.4f}" in printed


def test_a_second_run_does_nothing_and_more_cycles_go_on(whole):
    arguments, out, _ = whole
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.p*") if path.is_file()}
    again = run(*arguments, out)
    assert again.returncode == 0, again.stderr
    assert [line for line in again.stdout.splitlines() if "done before" in line] == [
        f"{step}: done before" for step in STEPS
    ]
    assert times == {path: path.stat().st_mtime_ns for path in times}
    # The masks of cycle 2 changed by less than everything: there the exchange ends.
    ended = run(*arguments, out, "--threshold=1", "--cycles=5")
    assert "they are the result" in ended.stdout
    assert not (out / "graph_3").exists()


def test_goes_on_after_a_kill_in_each_step(whole, tmp_path):
    arguments, expected, _ = whole
    out = tmp_path / "out"
    begun, done = [out / "steps" / f"{step}.begun" for step in STEPS], len(STEPS)
    for step, mark in zip(STEPS, begun, strict=True):
        process = subprocess.Popen(
            command(*arguments, out), stdout=subprocess.DEVNULL, start_new_session=True
        )
        while not mark.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.2 if done % 2 else 0.9)  # while it loads, and while it works
        done -= 1
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (out / "steps" / "final_pictures").exists(), step
    last = run(*arguments, out)
    assert last.returncode == 0, last.stderr
    assert results(out) == results(expected)


def test_other_settings_and_frames_redo_what_depends_on_them(tmp_path):
    make_video(tmp_path)
    out = tmp_path / "out"
    flow, weights = out / "flow/fwd_of/00000_00001.flo", out / "net_1/models/epoch_00001.pth"
    flags = [tmp_path / "frames", out, "--method=dis", "--cycles=1"]
    assert run(*flags, f"--config={small_config(tmp_path)}").returncode == 0
    before = flow.read_bytes()
    Image.fromarray(255 - frame(0)).save(tmp_path / "frames" / "00000.png")
    changed = run(*flags, f"--config={small_config(tmp_path, base_channels='3')}")
    assert changed.returncode == 0, changed.stderr
    assert flow.read_bytes() != before
    assert torch.load(weights, weights_only=True)["base_channels"] == 3


def test_two_runs_on_one_out(whole):
    arguments, out, _ = whole
    import fcntl

    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = run(*arguments, out)
    assert second.returncode == 3
    assert second.stderr == f"error: {out}: another run works on it; wait for its end\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cycles=0"], "expected a whole number from 1 to 1000"),
        (["--threshold=2"], "expected a number from 0 to 1"),
        (["--config=nowhere.ini"], "nowhere.ini: no such file"),
    ],
)
def test_bad_flags(flags, message, whole, tmp_path):
    done = run(whole[0][-1], tmp_path / "out", *flags)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_failed_step_ends_the_run_with_its_message(tmp_path):
    frames = make_video(tmp_path) / "frames"
    (frames / "00002.png").write_bytes(b"no image")
    out = tmp_path / "out"
    done = run(frames, out, "--method=dis", f"--config={small_config(tmp_path)}")
    assert done.returncode == 2
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "00002.png" in error
    assert not (out / "steps" / "flow").exists()
    assert not (out / "graph_1").exists()


def test_only_the_seed_is_saved(tmp_path):
    config = small_config(tmp_path, to_save_iterations="-1")
    done = run(make_video(tmp_path) / "frames", tmp_path / "out", f"--config={config}")
    assert done.returncode == 2
    assert "to_save_iterations saves the seed alone" in done.stderr
