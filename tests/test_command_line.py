"""ike_data.command_line and step_log: what a user sees when a command ends, well or badly."""

from __future__ import annotations

import csv
import dataclasses
import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import commands
import pytest
import torch
from commands import ROOT
from tqdm import tqdm

from ike_data.command_line import PROJECT_CONFIG, announce, choose_device
from ike_data.config import fill_in, format_config, read_config
from ike_data.layout import LOG
from ike_data.runtime.command import prepare_out_path, run_command
from ike_data.runtime.errors import InputError
from ike_data.saved_config import SAVED_MARK
from ike_data.step_log import step_log

pytestmark = pytest.mark.usefixtures("pytests_own_ctrl_c")
COMMANDS = ["extract_optical_flow", "run_graph_module", "main"]


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


def last_words(main, capsys) -> str:
    """The one line on stderr of a command that ends with status 2."""
    with pytest.raises(SystemExit) as caught:
        run_command(main)
    out, err = capsys.readouterr()
    assert caught.value.code == 2 and out == ""
    assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1
    return err.removeprefix("error: ").rstrip("\n")


def test_success_is_silent(capsys):
    calls = []
    run_command(lambda: calls.append(1))
    assert calls == [1] and capsys.readouterr() == ("", "")


def test_input_error_is_one_line(capsys):
    error = InputError("a.png: is broken\n  (line 2);   replace it")
    assert last_words(raising(error), capsys) == "a.png: is broken (line 2); replace it"


def test_an_error_of_the_disk_names_the_file(capsys, tmp_path):
    line = last_words(lambda: (tmp_path / "none").open().close(), capsys)
    assert line == f"{tmp_path / 'none'}: No such file or directory"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert last_words(raising(full), capsys) == "the disk: No space left on device"


def test_an_error_has_a_line_of_its_own_below_a_progress_bar(capsys):
    def main() -> None:
        for _ in tqdm(range(3), desc="frames"):
            raise InputError("a.png: is broken")

    with pytest.raises(SystemExit):
        run_command(main)
    bar, error = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert "frames" in bar
    assert error == "error: a.png: is broken"


@pytest.mark.parametrize(
    "defect",
    [ZeroDivisionError("x"), RuntimeError("shapes"), OSError("of a library"), ValueError("x")],
)
def test_a_defect_of_the_program_is_not_hidden(defect, capsys):
    with pytest.raises(type(defect)) as caught:
        run_command(raising(defect))
    assert caught.value is defect and capsys.readouterr().err == ""


def run_python(code: str, *args: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


SLEEPING = """
import sys, time
from pathlib import Path
from ike_data.runtime.atomic import atomic_file, atomic_folder
from ike_data.runtime.command import run_command
def main():
    folder = Path(sys.argv[1])
    with atomic_folder(folder / "iter_0"), atomic_file(folder / "a.pth") as partial:
        partial.write_text("half")
        print("ready", flush=True)
        time.sleep(60)
run_command(main)
"""
IMPORTING = """
from ike_data.runtime.command import run_command
def main():
    print("ready", flush=True)
    import torch
    import time
    time.sleep(60)
run_command(main)
"""
INTERRUPTED = "error: interrupted; finished files are complete, run the same command again\n"


def test_ctrl_c_while_it_works_leaves_nothing_half(tmp_path):
    process = run_python(SLEEPING, str(tmp_path))
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, INTERRUPTED)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("delay", [0.02, 0.3, 0.8])
def test_ctrl_c_while_pytorch_loads(delay):
    process = run_python(IMPORTING)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, INTERRUPTED)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_does_not_load_pytorch(command):
    code = f"""
import sys
import {command}
sys.argv = ["{command}.py", "--help"]
try:
    {command}.main()
finally:
    print(sorted({{"torch", "torchvision", "av"}} & set(sys.modules)), file=sys.stderr)
"""
    process = run_python(code, env={"COLUMNS": "80"})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "[]\n")
    for flag in ("--frames_path", "--out_path", "--config", "--device {auto,cpu,cuda}"):
        assert flag in out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_path_ends_a_command_in_one_line(command, tmp_path):
    arguments = ["--frames_path=none", "--out_path=out"]
    arguments += {"run_graph_module": ["--of_path=of"], "main": ["--pseudo_gt_path=pt"]}.get(
        command, []
    )
    result = commands.run(f"{command}.py", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    start = f"error: frames_path {tmp_path / 'none'}: no such folder or video file; "
    assert result.stderr.startswith(start) and result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_the_terminal_cannot_show():
    code = (
        "from ike_data.runtime.command import run_command; run_command(lambda: print('/\\u6f22'))"
    )
    process = run_python(code, env={"PYTHONIOENCODING": "ascii"})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "/\\u6f22\n", "")


def test_choose_device():
    gpu = torch.cuda.is_available()
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if gpu else "cpu")
    if gpu:
        assert choose_device("cuda").type == "cuda"
    else:
        with pytest.raises(InputError, match=r"device = cuda in config\.ini: PyTorch sees no CUDA"):
            choose_device("cuda")


def test_prepare_out_path(tmp_path):
    path = tmp_path / "made" / "on the way"
    assert prepare_out_path(path) == path and list(path.iterdir()) == []
    (path / "result").touch()
    prepare_out_path(path)
    assert [item.name for item in path.iterdir()] == ["result"]
    file = tmp_path / "file"
    file.write_text("mine")
    for wrong in (file, file / "below"):
        with pytest.raises(InputError) as caught:
            prepare_out_path(wrong)
        assert re.fullmatch(
            rf"out_path {re.escape(str(wrong))}: cannot be written \((not a folder|Not a directory)"
            r"\); choose another out_path",
            str(caught.value),
        )
    assert file.read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no folder here that refuses files")
def test_an_out_path_that_takes_no_files():
    with pytest.raises(InputError, match=r"out_path /proc/self/fd: cannot be written \("):
        prepare_out_path(Path("/proc/self/fd"))


def announce_for(program, folder, monkeypatch, digest="0a", **general):
    monkeypatch.setattr(sys, "argv", [program, "--frames_path=my clip"])
    config = fill_in(read_config(PROJECT_CONFIG), device="cpu", out_path=folder)
    config = dataclasses.replace(config, general=dataclasses.replace(config.general, **general))
    frames = SimpleNamespace(
        **dict(path="clip", count=3, width=4, height=2, fps=None, names=None, notes=[], n_bytes=9),
        digest=digest,
    )
    return config, announce(config, frames, torch.device("cpu"), folder, "; 2 kept")


def test_announce_prints_and_then_saves_the_same(tmp_path, capsys, monkeypatch):
    config, record = announce_for("main.py", tmp_path, monkeypatch)
    notes = [
        "command: python main.py '--frames_path=my clip'",
        "frames: clip: 3 frames, 4 x 2 (width x height), no frame rate, 9 bytes, digest 0a; 2 kept",
        f"ran on cpu with PyTorch {torch.__version__}",
    ]
    printed = capsys.readouterr().out
    assert printed == "\n".join([*notes, "", format_config(config, ["Optical Flow"]), ""])
    assert list(tmp_path.iterdir()) == []  # the input has not been read yet
    record([])
    saved = (tmp_path / "config.ini").read_text()
    assert saved.startswith(SAVED_MARK)
    assert [line for line in saved.split("\n") if line.startswith("# ")][1:] == [
        f"# {note}" for note in notes
    ]
    assert read_config(tmp_path / "config.ini") == config


def test_an_out_path_of_a_person_or_of_another_command_is_refused(tmp_path, capsys, monkeypatch):
    (tmp_path / "config.ini").write_text("; mine")
    with pytest.raises(InputError, match="would be overwritten"):
        announce_for("main.py", tmp_path, monkeypatch)
    (tmp_path / "config.ini").unlink()
    for name in ("log.csv", "frames.csv"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(InputError, match=rf"{name}: would be overwritten"):
            announce_for("main.py", tmp_path, monkeypatch)
        (tmp_path / name).unlink()
    _, record = announce_for("/somewhere/run_graph_module.py", tmp_path, monkeypatch)
    record([])
    capsys.readouterr()
    with pytest.raises(InputError, match=r"holds the results of run_graph_module\.py"):
        announce_for("main.py", tmp_path, monkeypatch)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("other", [dict(working_h=64), dict(digest="0b")])
def test_results_of_other_settings_or_frames_make_way_for_those_of_this_run(
    other, tmp_path, monkeypatch
):
    folder, file = tmp_path / "iter_19", tmp_path / "epoch_00005.pth"
    not_named = tmp_path / "iter_3"

    def make_results():
        folder.mkdir(exist_ok=True)
        (folder / "00000.pt").touch()
        file.touch()
        not_named.mkdir(exist_ok=True)

    make_results()
    announce_for("main.py", tmp_path, monkeypatch)[1]([folder, file])
    # As an earlier version has saved it.
    saved = (tmp_path / "config.ini").read_text()
    older = saved.replace("degree_normalisation", "even_links").replace("colour_jitter", "light")
    assert older != saved
    (tmp_path / "config.ini").write_text(older)
    announce_for("main.py", tmp_path, monkeypatch)[1]([folder, file])
    assert folder.exists()
    assert file.exists()
    announce_for("main.py", tmp_path, monkeypatch, **other)[1]([folder, file])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.ini", "iter_3"]


def test_step_log_writes_each_line_at_once(tmp_path):
    path = tmp_path / LOG
    path.write_text("an older log")
    with pytest.raises(KeyboardInterrupt), step_log(tmp_path, "epoch", "loss") as log:
        assert path.read_text() == "" or path.read_text().startswith("epoch")
        log(1, 0.12345678)
        assert path.read_text().count("\n") == 2
        log(2, 1e-9)
        assert path.read_text().count("\n") == 3
        raise KeyboardInterrupt
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["epoch", "loss", "seconds"]
    assert [row[:2] for row in rows[1:]] == [["1", "0.123457"], ["2", "1e-09"]]
    seconds = [float(row[2]) for row in rows[1:]]
    assert 0 <= seconds[0] <= seconds[1]
    assert all(re.fullmatch(r"\d+\.\d\d", row[2]) for row in rows[1:])
