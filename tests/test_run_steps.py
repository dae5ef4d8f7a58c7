"""Which steps tools/run_video.py runs, with commands that only note how they were called."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import commands
import pytest
from PIL import Image
from small_run import frame, make_video, small_config
from stub_project import ALL, FLOW, GRAPH, MASKS, NETWORK, PICTURES, StubProject, gone

ODD_NAMES = [
    *('a video\'s "odd" näme; $HOME #1', "--out", "a\\b"),
    *("-clip", "видео 動画", "*", "$(touch x)"),
]


@pytest.fixture
def stub(tmp_path) -> StubProject:
    make_video(tmp_path)
    return StubProject(tmp_path / "project")


def start(stub: StubProject, *flags: object) -> subprocess.Popen[str]:
    place = stub.folder.parent
    paths = place / "frames", place / "out", "--cycles=1"
    return commands.start("tools/run_video.py", *paths, *flags, project=stub.folder)


def finish(stub: StubProject, *flags: object) -> list[list[str]]:
    """Run it to its end; what it has called."""
    process = start(stub, *flags)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return stub.calls()


def names(calls: list[list[str]]) -> list[str]:
    return [name for name, *_ in calls]


def test_what_has_changed_is_redone_and_nothing_else(stub, tmp_path):
    def rerun(*flags: object, **changes: object) -> list[list[str]]:
        return finish(stub, f"--config={small_config(tmp_path, **changes)}", *flags)

    assert names(rerun()) == ALL
    assert names(rerun()) == []
    assert names(rerun(learning_rate=0.02)) == ALL[2:]
    changes = {"learning_rate": 0.02, "lambda": 7}
    assert names(rerun(**changes)) == ALL[1:]
    annotations = f"--annotations={tmp_path / 'annotations'}"
    assert names(rerun(annotations, **changes)) == [PICTURES]
    of_other_method = rerun(annotations, "--method=dis", "--max_side=100", **changes)
    assert names(of_other_method) == ALL
    assert {"--overwrite", "--max_side=100"} <= set(of_other_method[0])
    Image.fromarray(255 - frame(0)).save(tmp_path / "frames/00000.png")
    assert names(rerun(annotations, "--method=dis", **changes)) == ALL
    weights = tmp_path / "weights.pth"
    for content in (b"1", b"22"):
        weights.write_bytes(content)
        assert names(rerun(annotations, f"--models={weights}", **changes)) == ALL


def test_another_setting_is_named_and_removes_what_was_made_with_the_old(stub, tmp_path):
    out = tmp_path / "out"

    def rerun(*flags: object, **changes: object) -> str:
        process = start(stub, f"--config={small_config(tmp_path, **changes)}", *flags)
        said, stderr = process.communicate()
        assert process.returncode == 0, stderr
        return said

    rerun("--method=dis", "--cycles=3", "--threshold=0")
    (out / "net_9").mkdir()  # no step has made it
    said = rerun("--method=dis", learning_rate=0.02)
    assert "net_1: was made with learning_rate = 0.01, now 0.02: made again\n" in said
    assert "removed, as made from the earlier net_1: graph_2, net_2, graph_3, net_3, gra" in said
    left = {path.name for path in out.iterdir() if path.is_dir()}
    assert left == {"flow", "graph_1", "net_1", "graph_2", "net_9", "final", "steps"}
    stub.hold(FLOW)
    killed = start(stub, f"--config={small_config(tmp_path, learning_rate=0.02)}")
    os.kill(stub.held(), signal.SIGKILL)
    stub.release(FLOW)
    assert "flow: was made with method = dis, now raft: made again\n" in killed.communicate()[0]
    assert (out / "graph_2").is_dir()  # all stays until the new flow is there
    assert "earlier flow: graph_1, net_1, graph_2\n" in rerun(learning_rate=0.02)
    assert "removed" not in rerun(learning_rate=0.02)


def test_more_cycles_go_on(stub, tmp_path):
    out, config = tmp_path / "out", f"--config={small_config(tmp_path)}"
    finish(stub, config)
    # The stubs' masks never change: 0 is not less than a threshold of 0, but than any other.
    calls = finish(stub, config, "--cycles=3", "--threshold=0")
    assert names(calls) == [NETWORK, GRAPH, NETWORK, GRAPH, MASKS, PICTURES]
    assert (out / "cycles.csv").read_text() == "cycle,mean_change\n2,0.000000\n3,0.000000\n"
    masks, pictures = finish(stub, config, "--cycles=3", "--threshold=0.001")
    assert f"--results={out}/graph_3/iter_2" in masks
    assert {f"{out}/net_2", f"{out}/graph_3"} <= set(pictures)
    assert not {f"{out}/net_3", f"{out}/graph_4"} & set(pictures)


def test_no_cycle_is_one_graph_that_a_longer_run_goes_on_from(stub, tmp_path):
    out = tmp_path / "out"
    # Whose graph no network would tell anything: here there is none.
    config = small_config(tmp_path, features_half_chain_size=-1)
    assert names(finish(stub, f"--config={config}", "--cycles=0")) == [FLOW, GRAPH, MASKS, PICTURES]
    config = f"--config={small_config(tmp_path)}"
    _, masks, pictures = finish(stub, config, "--cycles=0")
    assert f"--results={out}/graph_1/iter_2" in masks
    assert f"{out}/graph_1" in pictures
    assert (out / "cycles.csv").read_text() == "cycle,mean_change\n"
    assert finish(stub, config, "--cycles=0") == []
    assert names(finish(stub, config, "--cycles=1")) == ALL[2:]


def test_the_last_network_can_be_the_result(stub, tmp_path):
    """Then no graph need see it. And DIS flow needs no checkpoint of RAFT."""
    changes = {"features_half_chain_size": -1, "models": tmp_path / "nowhere.pth"}
    config = f"--config={small_config(tmp_path, **changes)}"
    *steps, masks, pictures = finish(stub, config, "--result=network", "--method=dis")
    assert names(steps) == [FLOW, GRAPH, NETWORK]
    assert f"--results={tmp_path}/out/net_1/results_pt/epoch_00001" in masks
    assert f"{tmp_path}/out/graph_2" not in pictures


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_command_and_no_mark(stub, tmp_path, number):
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored here, as under nohup")
    out, config = tmp_path / "out", f"--config={small_config(tmp_path)}"
    stub.hold(GRAPH)
    process = start(stub, config)
    command = stub.held()
    process.send_signal(number)
    _, stderr = process.communicate()
    assert process.returncode == 128 + number
    assert stderr.splitlines()[-1] == "error: stopped; run the same command again to go on"
    assert gone(command)
    assert not (out / "steps" / "graph_1").exists()
    stub.release(GRAPH)
    stub.calls()
    assert names(finish(stub, config)) == ALL[1:]
    assert not list(out.rglob(".partial-*"))


def test_how_an_interrupted_step_goes_on(stub, tmp_path):
    """The training with --resume; flow in place of other flow anew until all of it is there."""
    config = f"--config={small_config(tmp_path)}"

    def killed(name: str, *flags: object) -> list[str]:
        stub.hold(name)
        process = start(stub, config, *flags)
        os.kill(stub.held(), signal.SIGKILL)
        process.communicate()
        assert process.returncode == 128 + signal.SIGKILL
        stub.release(name)
        return stub.calls()[-1]

    assert "--resume=if_same" not in killed(NETWORK)
    assert "--resume=if_same" in killed(NETWORK)
    assert "--overwrite" in killed(FLOW, "--method=dis")
    assert "--overwrite" in killed(FLOW, "--method=dis")
    calls = finish(stub, config, "--method=dis")
    assert "--overwrite" in calls[0]
    assert "--resume=if_same" not in calls[2]


def test_a_run_that_is_killed_leaves_its_lock_to_its_command(stub, tmp_path):
    config = f"--config={small_config(tmp_path)}"
    stub.hold(FLOW)
    process = start(stub, config)
    command = stub.held()
    process.kill()
    process.wait()
    second = start(stub, config)
    _, stderr = second.communicate()
    assert second.returncode == 2
    assert stderr == f"error: {tmp_path / 'out'}: another run works on it; wait for its end\n"
    os.kill(command, signal.SIGKILL)
    stub.release(FLOW)
    while not gone(command):
        time.sleep(0.01)
    finish(stub, config)


def test_without_locks_it_runs_all_the_same(stub, tmp_path, monkeypatch):
    """As on a network's file system; Python runs sitecustomize.py at its start."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import fcntl\ndef flock(*_): raise OSError(38, 'Function not implemented')\n"
        "fcntl.flock = flock\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    assert names(finish(stub, f"--config={small_config(tmp_path)}")) == ALL


def test_a_failed_step_ends_the_run_with_its_message(stub, tmp_path):
    (tmp_path / "frames/00002.png").write_bytes(b"no image")
    process = start(stub, f"--config={small_config(tmp_path)}")
    _, stderr = process.communicate()
    assert process.returncode == 2
    (error,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert "00002.png" in error
    assert not (tmp_path / "out/steps/flow").exists()
    assert not (tmp_path / "out/graph_1").exists()


def test_odd_names_through_the_shell(stub, tmp_path, monkeypatch):
    """With this Python, from another folder than the project's."""
    python = tmp_path / "a venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    shutil.copy(commands.ROOT / "requirements.txt", stub.folder)
    monkeypatch.setenv("IKE_VENV", str(tmp_path / "a venv"))
    config = f"--config={small_config(tmp_path)}"

    def shell(tool: str, *arguments: str) -> list[list[str]]:
        command = ["bash", str(stub.folder / "tools" / tool), config, "--cycles=1", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return stub.calls()

    for odd in ODD_NAMES:
        shutil.copytree(tmp_path / "frames", tmp_path / "root" / odd)
    for odd in ODD_NAMES[:3]:
        calls = shell("run_video.sh", f"root/{odd}", "--", f"{odd} out")
        assert names(calls) == ALL
        assert f"--frames_path={tmp_path / 'root' / odd}" in calls[0]
        assert (tmp_path / f"{odd} out" / "final/report.html").exists()
    assert len(shell("run_dataset.sh", "root", "--", "-all of them")) == len(ALL) * len(ODD_NAMES)
    for odd in ODD_NAMES:
        assert (tmp_path / "-all of them" / odd / "final/report.html").exists()
    assert not (tmp_path / "x").exists()
