"""tools/run_dataset.py and the Slurm script's arguments: several videos, one of them broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import make_video
from test_run_video import ROOT, small_config

SCRIPT = ROOT / "tools" / "run_dataset.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> tuple[Path, list[str]]:
    """Two good sequences and a broken one, and flags for a quick run."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("broken", "first one", "-second"):
        video = make_video(folder / "made" / name)
        (folder / "root").mkdir(exist_ok=True)
        (video / "frames").rename(folder / "root" / name)
    (folder / "root" / "broken" / "00001.png").unlink()
    config = small_config(folder, n_iterations="1", to_save_iterations="0", appearance_passes="0")
    return folder / "root", ["--method=dis", "--cycles=1", f"--config={config}"]


@pytest.fixture(scope="module")
def done(data_set) -> tuple[Path, list[subprocess.CompletedProcess[str]]]:
    """OUT after two runs at once, of two workers and of one, have worked on it."""
    root, flags = data_set
    out = root.parent / "out"
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(root), str(out), *flags, f"--workers={n}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in (2, 1)
    ]
    ended = []
    for process in processes:
        stdout, stderr = process.communicate()
        ended.append(subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr))
    return out, ended


def test_a_broken_video_stops_no_other(done):
    out, ended = done
    # A run that finds the broken video in the other's hands leaves it to that.
    failed = [run_ for run_ in ended if run_.returncode]
    assert failed
    for run_ in failed:
        assert run_.returncode == 1
        assert "failed: broken: " in run_.stderr
        assert "frame 1 is missing" in run_.stderr
        assert "Traceback" not in run_.stderr
    for name in ("first one", "-second"):
        assert len(list((out / name / "final" / "masks").iterdir())) == 6
    assert not (out / "broken" / "final").exists()


def test_no_video_is_done_twice(done):
    out, _ = done
    for name in ("first one", "-second"):
        log = (out / name / "run.log").read_text()
        assert log.count("$ python main.py") == 1
        assert log.count("$ python run_graph_module.py") == 1


def test_what_is_done_is_skipped(done, data_set):
    out, _ = done
    root, flags = data_set
    before = (out / "first one/final/report.html").stat().st_mtime_ns
    again = run(root, out, *flags, "--only=2")
    assert again.returncode == 0, again.stderr
    assert "1 of 1 done, 0 failed" in again.stdout
    assert (out / "first one/final/report.html").stat().st_mtime_ns == before


def test_list(data_set):
    listed = run(data_set[0], "unused", "--list")
    assert listed.stdout.splitlines() == ["0 -second", "1 broken", "2 first one"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only=3"], "has 3 sequences, numbered 0 to 2"),
        (["--workers=0"], "--workers 0: expected a whole number of at least 1"),
    ],
)
def test_bad_flags(flags, message, data_set, tmp_path):
    failed = run(data_set[0], tmp_path / "out", *flags)
    assert failed.returncode == 2
    assert message in failed.stderr


def test_bad_roots(data_set, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for root, message in (
        (tmp_path / "nowhere", "no such folder"),
        (empty, "holds no folder of frames and no video file"),
        (data_set[0] / "first one", "holds frames itself"),
    ):
        failed = run(root, tmp_path / "out")
        assert failed.returncode == 2
        assert message in failed.stderr


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
