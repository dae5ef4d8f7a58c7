"""tools/run_video.py: cycles, going on after a kill in any step, odd names, bad input."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import HEIGHT, N_FRAMES, WIDTH, frame, make_video, small_config
from stub_project import ALL, FLOW, GRAPH, MASKS, NETWORK, PICTURES, StubProject

from ike_data.command_line import PROJECT_CONFIG
from ike_data.config import read_config
from ike_data.frame_names import frame_names_of
from ike_data.soft_masks import read_soft_masks
from ike_tools.runs.steps import describe_inputs

ROOT = PROJECT_CONFIG.parent
SCRIPT = ROOT / "tools" / "run_video.py"
STEPS = (
    *("flow", "graph_1", "net_1", "graph_2", "net_2", "graph_3"),
    *("final_masks", "final_pictures"),
)
ODD_NAME = 'a video\'s "odd" näme; $HOME #1'


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True)


def results(out: Path) -> dict[str, bytes]:
    """The bytes of every mask of a run."""
    folders = *(f"graph_{n}/iter_2" for n in (1, 2, 3)), *(f"net_{n}/results_pt" for n in (1, 2))
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


def test_a_threshold_from_the_masks(whole, tmp_path):
    _, out, _ = whole
    results = out / "net_2/results_pt/epoch_00001"
    export = [sys.executable, str(ROOT / "tools" / "export_masks.py"), "--threshold=otsu"]
    export += [f"--frames={out.parent / 'frames'}", f"--results={results}", f"--out={tmp_path}/m"]
    done = subprocess.run(export, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "m").iterdir())) == N_FRAMES


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
    again = run(*arguments, out)
    assert again.returncode == 0, again.stderr
    assert [line for line in again.stdout.splitlines() if "done before" in line] == [
        f"{step}: done before" for step in STEPS
    ]
    assert times == {path: path.stat().st_mtime_ns for path in times}
    # The masks of cycle 2 changed by less than everything: there the exchange ends.
    ended = run(*arguments, out, "--threshold=1", "--cycles=5")
    assert "the exchange ends" in ended.stdout
    assert not (out / "net_3").exists()


def test_goes_on_after_a_kill_in_each_step(whole, tmp_path):
    arguments, expected, _ = whole
    arguments = [*arguments, "--cycles=1"]  # whose steps the other run has as well, but for the end
    out = tmp_path / "out"
    steps = [step for step in STEPS if step not in ("net_2", "graph_3")]
    begun, done = [out / "steps" / f"{step}.begun" for step in steps], len(steps)
    for step, mark in zip(steps, begun, strict=True):
        process = subprocess.Popen(
            command(*arguments, out), stdout=subprocess.PIPE, start_new_session=True
        )
        while not mark.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.2 if done % 2 else 0.9)  # while it loads, and while it works
        done -= 1
        with contextlib.suppress(ProcessLookupError):  # it was done before
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()  # until its command is gone too, and with it the lock
        assert process.returncode == -signal.SIGKILL or step == STEPS[-1]
    last = run(*arguments, out)
    assert last.returncode == 0, last.stderr
    made = results(out)
    assert len(made) == 4 * N_FRAMES
    final = {name for name in made if name.startswith("final")}
    assert len(final) == N_FRAMES
    undisturbed = results(expected)
    assert all(made[name] == undisturbed[name] for name in made.keys() - final)


# ------------------------------------------------- which steps are run, with commands that note it


@pytest.fixture
def stub(tmp_path) -> StubProject:
    make_video(tmp_path)
    return StubProject(tmp_path / "project")


def start(stub: StubProject, out: Path, *flags: object) -> subprocess.Popen[str]:
    script = stub.folder / "tools" / "run_video.py"
    frames = stub.folder.parent / "frames"
    return subprocess.Popen(
        [sys.executable, str(script), str(frames), str(out), "--cycles=1", *map(str, flags)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(stub: StubProject, out: Path, *flags: object) -> None:
    process = start(stub, out, *flags)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_what_has_changed_is_redone_and_nothing_else(stub, tmp_path):
    out, frames = tmp_path / "out", tmp_path / "frames"

    def rerun(*flags: object, **changes: str) -> list[list[str]]:
        finish(stub, out, f"--config={small_config(tmp_path, **changes)}", *flags)
        return stub.calls()

    def names(calls: list[list[str]]) -> list[str]:
        return [name for name, *_ in calls]

    assert names(rerun()) == ALL
    assert names(rerun()) == []
    assert names(rerun(learning_rate="0.02")) == ALL[2:]
    changes = {"learning_rate": "0.02", "lambda": "7"}
    assert names(rerun(**changes)) == ALL[1:]
    annotations = f"--annotations={tmp_path / 'annotations'}"
    assert names(rerun(annotations, **changes)) == [PICTURES]
    of_other_method = rerun(annotations, "--method=dis", "--max_side=100", **changes)
    assert names(of_other_method) == ALL
    assert {"--overwrite", "--max_side=100"} <= set(of_other_method[0])
    Image.fromarray(255 - frame(0)).save(frames / "00000.png")
    assert names(rerun(annotations, "--method=dis", **changes)) == ALL
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"1")
    model = (annotations, f"--models={weights}")
    assert names(rerun(*model, **changes)) == ALL
    weights.write_bytes(b"22")
    assert names(rerun(*model, **changes)) == ALL


def test_more_cycles_go_on(stub, tmp_path):
    out, config = tmp_path / "out", small_config(tmp_path)
    finish(stub, out, f"--config={config}")
    stub.calls()
    # The stubs' masks never change: 0 is not less than a threshold of 0, but than any other.
    finish(stub, out, f"--config={config}", "--cycles=3", "--threshold=0")
    assert stub.names() == [NETWORK, GRAPH, NETWORK, GRAPH, MASKS, PICTURES]
    assert (out / "cycles.csv").read_text().split() == [
        "cycle,mean_change",
        "2,0.000000",
        "3,0.000000",
    ]
    finish(stub, out, f"--config={config}", "--cycles=3", "--threshold=0.001")
    masks, pictures = stub.calls()
    assert f"--results={out}/graph_3/iter_2" in masks
    assert {f"{out}/net_2", f"{out}/graph_3"} <= set(pictures)
    assert not {f"{out}/net_3", f"{out}/graph_4"} & set(pictures)


def test_no_cycle_is_one_graph_that_a_longer_run_goes_on_from(stub, tmp_path):
    out, config = tmp_path / "out", f"--config={small_config(tmp_path)}"
    # Whose graph no network would tell anything: here there is none.
    finish(
        stub, out, f"--config={small_config(tmp_path, features_half_chain_size='-1')}", "--cycles=0"
    )
    assert stub.names() == [FLOW, GRAPH, MASKS, PICTURES]
    finish(stub, out, f"--config={small_config(tmp_path)}", "--cycles=0")
    _, masks, pictures = stub.calls()
    assert f"--results={out}/graph_1/iter_2" in masks
    assert f"{out}/graph_1" in pictures
    assert (out / "cycles.csv").read_text() == "cycle,mean_change\n"
    finish(stub, out, config, "--cycles=0")
    assert stub.names() == []
    finish(stub, out, config, "--cycles=1")
    assert stub.names() == ALL[2:]


def test_the_last_network_can_be_the_result(stub, tmp_path):
    finish(stub, tmp_path / "out", f"--config={small_config(tmp_path)}", "--result=network")
    *steps, masks, pictures = stub.calls()
    assert [name for name, *_ in steps] == [FLOW, GRAPH, NETWORK]
    assert f"--results={tmp_path}/out/net_1/results_pt/epoch_00001" in masks
    assert f"{tmp_path}/out/graph_2" not in pictures


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_command_and_no_mark(stub, tmp_path, number):
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored here, as under nohup")
    out, config = tmp_path / "out", f"--config={small_config(tmp_path)}"
    stub.hold(GRAPH)
    process = start(stub, out, config)
    command = stub.held()
    process.send_signal(number)
    _, stderr = process.communicate()
    assert process.returncode == 128 + number
    assert stderr.splitlines()[-1] == "error: stopped; run the same command again to go on"
    assert gone(command)
    assert not (out / "steps" / "graph_1").exists()
    stub.release(GRAPH)
    stub.calls()
    finish(stub, out, config)
    assert stub.names() == ALL[1:]
    assert not list(out.rglob(".partial-*"))


def test_how_an_interrupted_step_goes_on(stub, tmp_path):
    """The training with --resume; flow in place of other flow anew until all of it is there."""
    out, config = tmp_path / "out", small_config(tmp_path)

    def killed(name: str, *flags: object) -> list[str]:
        stub.hold(name)
        process = start(stub, out, f"--config={config}", *flags)
        os.kill(stub.held(), signal.SIGKILL)
        process.communicate()
        assert process.returncode == 128 + signal.SIGKILL
        stub.release(name)
        return stub.calls()[-1]

    assert "--resume=if_same" not in killed(NETWORK)
    assert "--resume=if_same" in killed(NETWORK)
    assert "--overwrite" in killed(FLOW, "--method=dis")
    assert "--overwrite" in killed(FLOW, "--method=dis")
    finish(stub, out, f"--config={config}", "--method=dis")
    calls = stub.calls()
    assert "--overwrite" in calls[0]
    assert "--resume=if_same" not in calls[2]


def test_a_run_that_is_killed_leaves_its_lock_to_its_command(stub, tmp_path):
    out, config = tmp_path / "out", f"--config={small_config(tmp_path)}"
    stub.hold(FLOW)
    process = start(stub, out, config)
    command = stub.held()
    process.kill()
    process.wait()
    second = start(stub, out, config)
    _, stderr = second.communicate()
    assert second.returncode == 2
    assert stderr == f"error: {out}: another run works on it; wait for its end\n"
    os.kill(command, signal.SIGKILL)
    stub.release(FLOW)
    while not gone(command):
        time.sleep(0.01)
    finish(stub, out, config)


def test_two_runs_on_one_out(whole):
    arguments, out, _ = whole
    import fcntl

    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = run(*arguments, out)
    assert second.returncode == 2
    assert second.stderr == f"error: {out}: another run works on it; wait for its end\n"


def test_without_locks_it_runs_all_the_same(stub, tmp_path, monkeypatch):
    """As on a network's file system; Python runs sitecustomize.py at its start."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import fcntl\ndef flock(*_): raise OSError(38, 'Function not implemented')\n"
        "fcntl.flock = flock\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    finish(stub, tmp_path / "out", f"--config={small_config(tmp_path)}")
    assert stub.names() == ALL


def test_dis_flow_needs_no_checkpoint_of_raft(stub, tmp_path):
    config = small_config(tmp_path, models=str(tmp_path / "nowhere.pth"))
    finish(stub, tmp_path / "out", f"--config={config}", "--method=dis")
    assert stub.names() == ALL


def test_annotations_are_checked_before_any_work(stub, tmp_path):
    flags = f"--config={small_config(tmp_path)}", f"--annotations={tmp_path}/annotations"

    def refused(message: str) -> None:
        process = start(stub, tmp_path / "out", *flags)
        _, stderr = process.communicate()
        assert process.returncode == 2
        assert message in stderr
        assert stub.calls() == []

    Image.new("L", (8, 9)).save(tmp_path / "annotations" / "00000.png")
    refused("00000.png: is 8 x 9 pixels, the frames are 53 x 37")
    (tmp_path / "annotations" / "00005.png").rename(tmp_path / "annotations" / "00006.png")
    (tmp_path / "annotations" / "00004.png").unlink()
    refused("are not those of the 6 frames")


def test_a_graph_that_cannot_see_the_network_does_not_end_the_exchange(stub, tmp_path):
    config = small_config(tmp_path, features_half_chain_size="-1")
    process = start(stub, tmp_path / "out", f"--config={config}")
    _, stderr = process.communicate()
    assert process.returncode == 2
    assert "features_half_chain_size = -1: no graph would see the network's masks" in stderr
    finish(stub, tmp_path / "out", f"--config={config}", "--result=network")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cycles=-1"], "--cycles: '-1': expected a whole number from 0 to 1000"),
        (["--cycles=0", "--result=network"], "--cycles 0 makes no network; leave one of the two"),
        (["--threshold=2"], "--threshold: '2': expected a number from 0 to 1"),
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


# --------------------------------------------------------------------- names, through the shell


@pytest.fixture
def shell(stub, tmp_path, monkeypatch):
    """Run a shell tool of the stub project from ``tmp_path``, with this Python."""
    venv = tmp_path / "a venv"
    (venv / "bin").mkdir(parents=True)
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    shutil.copy(ROOT / "requirements.txt", stub.folder)
    monkeypatch.setenv("IKE_VENV", str(venv))

    def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(stub.folder / "tools" / tool), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize(
    "odd", [ODD_NAME, "-clip", "--out", "видео 動画", "*", "a\\b", "$(touch x)"]
)
def test_odd_names_through_the_shell(shell, stub, odd, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "frames").rename(tmp_path / "root" / odd)
    flags = [f"--config={small_config(tmp_path)}", "--cycles=1"]
    out = f"{odd} out"
    done = shell("run_video.sh", *flags, f"root/{odd}", "--", out)
    assert done.returncode == 0, done.stderr
    calls = stub.calls()
    assert [name for name, *_ in calls] == ALL
    assert f"--frames_path={tmp_path / 'root' / odd}" in calls[0]
    assert (tmp_path / out / "final" / "report.html").exists()
    done = shell("run_dataset.sh", *flags, "root", "--", f"{odd} set")
    assert done.returncode == 0, done.stderr
    assert stub.names() == ALL
    assert (tmp_path / f"{odd} set" / odd / "final" / "report.html").exists()
    assert not (tmp_path / "x").exists()


def test_frames_where_the_result_is_written_are_refused_at_once(tmp_path):
    make_video(tmp_path / "final")
    done = run("--method=dis", tmp_path / "final/frames", tmp_path)
    assert done.returncode == 2
    frames = tmp_path / "final/frames"
    error = f"error: {frames}: lies where the result is written; choose another OUT\n"
    assert done.stderr == error
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


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
