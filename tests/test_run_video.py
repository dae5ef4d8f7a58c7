"""tools/run_video.py with the real commands: cycles, bad input."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import call, refused, run
from PIL import Image
from small_run import HEIGHT, N_FRAMES, WIDTH, make_video, small_config

import run_video
from ike_data.config import read_config
from ike_data.frame_names import frame_names_of
from ike_data.runtime.errors import InputError
from ike_data.soft_masks import read_soft_masks
from ike_tools.runs.steps import describe_inputs

SCRIPT = "tools/run_video.py"
STEPS = (
    *("flow", "graph_1", "net_1", "graph_2", "net_2", "graph_3"),
    *("final_masks", "final_pictures"),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[list[str], Path, str]:
    """Arguments, out and output of an undisturbed run of two cycles."""
    folder = make_video(tmp_path_factory.mktemp("runs") / 'a video\'s "odd" näme; $HOME #1')
    arguments = [
        *("--method=dis", "--cycles=2", "--threshold=0", f"--config={small_config(folder)}"),
        *(f"--annotations={folder / 'annotations'}", str(folder / "frames")),
    ]
    done = run(SCRIPT, *arguments, folder / "out")
    assert done.returncode == 0, done.stderr
    return arguments, folder / "out", done.stdout


def test_every_step_is_one_of_the_commands_and_is_printed(whole):
    _, out, printed = whole
    commands = [line.split()[2] for line in printed.splitlines() if line.startswith("$ python ")]
    assert commands == [
        "extract_optical_flow.py",
        *["run_graph_module.py", "main.py"] * 2,
        "run_graph_module.py",
        "tools/export_masks.py",
        "tools/visualize.py",
    ]
    assert f"report: {out / 'final' / 'report.html'}" in printed


def test_final_has_masks_video_and_report(whole):
    _, out, _ = whole
    masks = sorted((out / "final" / "masks").iterdir())
    assert [path.name for path in masks] == [f"{idx:05d}.png" for idx in range(N_FRAMES)]
    soft = torch.load(out / "graph_3/iter_2/00003.pt", weights_only=True)[..., 0]
    with Image.open(masks[3]) as image:
        assert (image.mode, image.size) == ("L", (WIDTH, HEIGHT))
        mask = np.asarray(image)
        # Bilinear to the frame's size, with Pillow in place of PyTorch, then cut at 0.5.
        expected = Image.fromarray(soft.numpy()).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    assert set(np.unique(mask)) <= {0, 255}
    assert ((mask == 255) == (np.asarray(expected) >= 0.5)).mean() > 0.97
    assert (out / "final" / "overlay.mp4").stat().st_size > 0
    assert frame_names_of(out / "final" / "masks") == [f"{idx:05d}.png" for idx in range(N_FRAMES)]
    report = (out / "final" / "report.html").read_text()
    assert all(name in report for name in ("graph 1", "net 1", "graph 2", "net 2", "graph 3"))


def test_the_networks_masks_are_the_next_graphs_feature(whole):
    _, out, _ = whole
    maps = [read_config(out / f"cycle_{n}.ini").graph_module.ike_features_paths for n in (1, 2, 3)]
    assert maps == [(), *((out / f"net_{n}" / "results_pt" / "epoch_00001",) for n in (1, 2))]


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
    said = re.search(r"cycle 2 changed the masks by ([0-9.]+)", printed)
    assert said is not None
    # Four digits: 0.54145 may be rounded either way.
    assert float(said[1]) == pytest.approx(change, abs=1e-4)


def test_a_second_run_does_nothing_and_more_cycles_go_on(whole):
    arguments, out, _ = whole
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.p*") if path.is_file()}
    # The masks of cycle 2 changed by less than everything: there the exchange ends.
    again = run(SCRIPT, *arguments, out, "--threshold=1", "--cycles=5")
    assert again.returncode == 0, again.stderr
    assert [line for line in again.stdout.splitlines() if "done before" in line] == [
        f"{step}: done before" for step in STEPS
    ]
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert "the exchange ends" in again.stdout
    assert not (out / "net_3").exists()


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cycles=-1"], "--cycles: '-1': expected a whole number from 0 to 1000"),
        (["--cycles=0", "--result=network"], "--cycles 0 makes no network; leave one of the two"),
        (["--threshold=2"], "--threshold: '2': expected a number from 0 to 1"),
        (["--config=nowhere.ini"], "nowhere.ini: no such file"),
        ({"to_save_iterations": -1}, "to_save_iterations saves the seed alone"),
        (
            {"features_half_chain_size": -1},
            "features_half_chain_size = -1: no graph would see the network's masks",
        ),
    ],
)
def test_bad_flags_and_settings(flags, message, tmp_path, capsys):
    if isinstance(flags, dict):
        flags = [f"--config={small_config(tmp_path, **flags)}"]
    with pytest.raises((InputError, SystemExit)) as caught:
        call(run_video, *flags, tmp_path, tmp_path / "out")
    assert message in f"{caught.value}{capsys.readouterr().err}"
    assert not (tmp_path / "out").exists()


def test_annotations_are_checked_before_any_work(tmp_path):
    annotations = make_video(tmp_path) / "annotations"
    flags = tmp_path / "frames", tmp_path / "out", f"--annotations={annotations}"
    Image.new("L", (8, 9)).save(annotations / "00000.png")
    refused("00000.png: is 8 x 9 pixels, the frames are 53 x 37", run_video, *flags)
    (annotations / "00005.png").rename(annotations / "00006.png")
    (annotations / "00004.png").unlink()
    refused("are not those of the 6 frames", run_video, *flags)
    assert not (tmp_path / "out").exists()


def test_frames_where_the_result_is_written_are_refused_at_once(tmp_path):
    frames = make_video(tmp_path / "final") / "frames"
    done = run(SCRIPT, "--method=dis", frames, tmp_path)
    error = f"error: {frames}: lies where the result is written; choose another OUT\n"
    assert (done.returncode, done.stderr) == (2, error)
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_a_folder_of_videos_is_a_data_sets(tmp_path):
    make_video(tmp_path)
    use = f"{tmp_path}: holds videos, such as .*/annotations; give one of them, or use tools/run_da"
    refused(use, run_video, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_out_is_not_the_folder_of_frames(tmp_path):
    frames = make_video(tmp_path) / "frames"
    refused(f"{frames}: holds the frames; choose another OUT", run_video, frames, frames)


def test_what_lies_beside_the_frames_does_not_count(tmp_path):
    """OUT may be a folder of FRAMES, and file managers leave hidden files."""
    (tmp_path / "00000.png").write_bytes(b"frame")
    before = describe_inputs(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    assert describe_inputs(tmp_path) == before
    (tmp_path / "00000.png").write_bytes(b"another frame")
    assert describe_inputs(tmp_path) != before
