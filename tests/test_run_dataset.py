"""tools/run_dataset.py and the Slurm script's arguments: several videos, one of them broken."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import commands
import pytest
from commands import ROOT
from small_run import make_video, small_config
from stub_project import FLOW, GRAPH, NETWORK, PICTURES, SCORES, StubProject, gone

import run_dataset
from ike_data.runtime.claim import claim
from ike_data.runtime.errors import InputError
from ike_tools.runs.workers import environment, gpus

SCRIPT = "tools/run_dataset.py"


def run(*arguments: object, project: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return commands.run(SCRIPT, *arguments, project=project)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> tuple[Path, list[str]]:
    """Two good sequences and a broken one, and flags for a quick run."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("broken", "first one", "-second"):
        make_video(folder, name)
    (folder / "frames/broken/00001.png").unlink()
    (folder / "empty").mkdir()
    return folder / "frames", ["--method=dis", "--cycles=1", f"--config={small_config(folder)}"]


@pytest.fixture
def stub(tmp_path) -> StubProject:
    return StubProject(tmp_path / "project")


def start(stub: StubProject, *arguments: object) -> subprocess.Popen[str]:
    return commands.start(SCRIPT, *arguments, project=stub.folder)


def test_two_runs_at_once_do_each_video_once_and_report_the_broken_one(data_set, stub, tmp_path):
    root, flags = data_set
    out = tmp_path / "out"
    processes = [start(stub, root, out, *flags, f"--workers={n}") for n in (2, 1)]
    said = [(*process.communicate(), process.returncode) for process in processes]
    # A run that finds the broken video in the other's hands leaves it to that.
    failed = [stderr for _, stderr, status in said if status]
    assert failed
    assert {status for _, _, status in said} <= {0, 1}
    for stderr in failed:
        assert "frame 1 is missing" in stderr.split("failed: broken: ")[1]
        assert "Traceback" not in stderr
    calls = stub.calls()
    for step in (FLOW, NETWORK):
        frames = sorted(flag for name, *rest in calls for flag in rest[:1] if name == step)
        assert frames == [f"--frames_path={root / name}" for name in ("-second", "first one")]
    for name in ("-second", "first one"):
        assert (out / name / "final" / "report.html").exists()
    assert not (out / "broken" / "final").exists()

    again = run(root, out, *flags, "--only=2", project=stub.folder)
    assert again.returncode == 0, again.stderr
    assert "1 of 1 done, 0 failed" in again.stdout
    assert stub.calls() == []

    more = ("--max_side=100", "--small", "--only=2")
    other = run(root, out, *flags, *more, project=stub.folder)
    assert other.returncode == 0, other.stderr
    assert {"--max_side=100", "--small", "--method=dis"} <= set(stub.calls()[0])


def test_a_video_in_other_hands_is_passed_over(data_set, stub, tmp_path):
    root, flags = data_set
    out = tmp_path / "out"
    stub.hold(GRAPH)
    first = start(stub, root, out, *flags, "--only=0")
    held = stub.held()
    log = (out / "-second" / "run.log").read_text()
    second = run(root, out, *flags, "--only=0", project=stub.folder)
    assert second.returncode == 0, second.stderr
    assert "left to another run that works on them: -second; after its end run the" in second.stdout
    assert (out / "-second" / "run.log").read_text() == log
    os.kill(held, signal.SIGKILL)
    assert first.wait() == 1
    first.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_that_was_started(data_set, stub, tmp_path, number):
    root, flags = data_set
    stub.hold(GRAPH)
    process = start(stub, root, tmp_path / "out", *flags)
    held = stub.held()
    process.send_signal(number)
    _, stderr = process.communicate()
    assert process.returncode == 128 + number
    # The last of it: the bar is not drawn again, with videos that have failed by the signal.
    assert stderr.endswith("\nerror: stopped; run the same command again to go on\n")
    assert "1 failed" not in stderr
    assert "Traceback" not in stderr
    assert gone(held)
    assert "first one" not in [path.name for path in (tmp_path / "out").iterdir()]


def test_what_stands_in_a_videos_place_stops_no_other(data_set, stub, tmp_path):
    root, flags = data_set
    out = tmp_path / "out"
    out.mkdir()
    (out / "-second").write_text("a file")
    failed = run(root, out, *flags, project=stub.folder)
    assert failed.returncode == 1
    assert f"failed: -second: {out / '-second'}: File exists" in failed.stderr
    assert "failed: broken: " in failed.stderr
    assert (out / "first one" / "final" / "report.html").exists()


def test_a_data_set_with_annotations_is_scored_at_the_end(data_set, stub, tmp_path):
    root, flags = data_set
    frames, annotations = tmp_path / "set/JPEGImages/480p", tmp_path / "set/Annotations/480p"
    for name in ("broken", "-second"):
        shutil.copytree(root / name, frames / name)
        shutil.copytree(root / "-second", annotations / name)
    out = tmp_path / "out"

    def run_again(*more: object) -> tuple[str, list[list[str]]]:
        done = run(tmp_path / "set", out, *flags, *more, project=stub.folder)
        assert "Traceback" not in done.stderr
        of_data_set = [call for call in stub.calls() if "--stage=final/masks" in call]
        return done.stdout + done.stderr, of_data_set

    assert run_again("--only=0")[1] == []  # of an array none knows when the others are done
    said, calls = run_again()
    assert "set: 2 sequences (JPEGImages/480p/SEQUENCE), annotations of all (Annota" in said
    assert "only the 1 of 2 sequences that are done and annotated; not broken" in said
    assert "1 of 2 done, 1 failed" in said
    shared = [f"--results={out}", "--stage=final/masks", f"--annotations={annotations}"]
    shared += ["--sequences=-second"]
    assert calls == [
        [SCORES, *shared, f"--out_path={out / 'scores.csv'}"],
        [PICTURES, f"--frames_path={frames}", *shared, f"--out_path={out}", "--report_only"],
    ]
    # The report is not made again; the table is printed each time.
    assert [call[0] for call in run_again()[1]] == [SCORES]
    assert "brocken (the nearest is broken)" in run_again("--sequences=brocken")[0]
    given = run_again(f"--annotations={root / '-second'}")[0]
    assert "is one sequence, with its annotations in" in given


def test_what_another_run_has_ended_in_the_meantime_is_scored(data_set, stub, tmp_path):
    root, flags = data_set
    annotations = tmp_path / "annotations"
    for name in ("-second", "first one"):
        shutil.copytree(root / name, annotations / name)
        shutil.copytree(root / name, tmp_path / "root" / name)
    arguments = tmp_path / "root", tmp_path / "out", *flags, f"--annotations={annotations}"
    (tmp_path / "out/-second").mkdir(parents=True)
    lock = claim(tmp_path / "out/-second")
    process = start(stub, *arguments)
    while not (tmp_path / "out/first one/run.log").exists():  # -second has been passed over
        assert process.poll() is None
        time.sleep(0.01)
    os.close(lock)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    (scores,) = [call for call in stub.calls() if call[0] == SCORES]
    assert not [flag for flag in scores if flag.startswith("--sequences")]  # all of them


def test_each_worker_has_a_gpu_and_its_share_of_the_cores(tmp_path, monkeypatch):
    fake = tmp_path / "nvidia-smi"
    fake.write_text(
        "#!/bin/sh\necho 'GPU 0: NVIDIA A100 (UUID: GPU-1)'\n"
        "echo '  MIG 1g.5gb Device 0: (UUID: MIG-1)'\necho 'GPU 1: NVIDIA A100 (UUID: GPU-2)'\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-2")
    assert gpus() == ["3", "GPU-2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus() == []
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    given = [environment(worker, 3, ["3", "5"]) for worker in range(3)]
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in given] == ["3", "5", "3"]
    assert {variables["OMP_NUM_THREADS"] for variables in given} == {"2"}


def test_list(data_set, capsys):
    names = "0 -second\n1 broken\n2 first one\n"
    out = data_set[0] / "again"
    for _ in range(2):
        commands.call(run_dataset, data_set[0], out, "--list")
        assert capsys.readouterr().out == names
        out.mkdir(exist_ok=True)  # the results of an earlier run
    out.rmdir()


@pytest.mark.parametrize(
    ("root", "flags", "message"),
    [
        ("", ["--only=3"], "has 3 sequences, numbered 0 to 2"),
        ("", ["--workers=0"], "--workers: '0': expected a whole number of at least 1"),
        ("nowhere", [], "no such folder"),
        ("../empty", [], "holds no folder of frames and no video file"),
        ("first one", [], "holds frames itself"),
    ],
)
def test_bad_flags_and_roots(root, flags, message, data_set, tmp_path, capsys):
    with pytest.raises((InputError, SystemExit)) as caught:
        commands.call(run_dataset, *flags, data_set[0] / root, tmp_path / "out")
    assert message in f"{caught.value}{capsys.readouterr().err}"


# ------------------------------------------------------------------------------- Slurm's script


def slurm(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "tools" / "slurm_array.sbatch")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "IKE"))}
    return subprocess.run(
        ["bash", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=kept | variables,
    )


def test_slurm_script_runs_the_sequence_of_its_task(tmp_path):
    """On a project whose run_dataset.sh tells what it is given."""
    project = tmp_path / "a project"
    (project / "tools").mkdir(parents=True)
    (project / "tools" / "run_dataset.sh").write_text('printf "%s|" "$OMP_NUM_THREADS" "$@"\n')
    told = slurm(
        *("the root", "the out", "--cycles=2"),
        SLURM_ARRAY_TASK_ID="4",
        SLURM_CPUS_PER_TASK="3",
        SLURM_SUBMIT_DIR=str(project),
    )
    assert told.stdout == "3|the root|the out|--cycles=2|--only|4|"
    other = slurm("r", "o", SLURM_ARRAY_TASK_ID="0", SLURM_SUBMIT_DIR="/", IKE_PROJECT=str(project))
    assert other.stdout == "1|r|o|--only|0|"


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["root"], {"SLURM_ARRAY_TASK_ID": "0"}, "ROOT OUT"),
        (["root", "out"], {}, "sbatch --array"),
        (["root", "out"], {"SLURM_ARRAY_TASK_ID": "0", "IKE_PROJECT": "/"}, "IKE_PROJECT"),
    ],
)
def test_slurm_script_errors(arguments, variables, message):
    failed = slurm(*arguments, **variables)
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ")
    assert message in failed.stderr
