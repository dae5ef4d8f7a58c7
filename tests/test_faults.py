"""Faults around the three commands: disk, damaged and vanishing files, Ctrl-C, other runs, names.

Each ends with status 2 (Ctrl-C: 130) and one line that names the file, and leaves earlier results
as they were. tests/faults has what takes longer: kills at random moments, a disk that is full.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import commands
import pytest
from commands import ROOT
from files import contents, results
from small_run import HEIGHT, N_FRAMES, WIDTH, make_video, small_config

import evaluate
import export_masks
import extract_optical_flow
import main as network
import run_graph_module as graph
import visualize
from ike_data.config import read_config
from ike_data.flow_files import read_flow
from ike_data.runtime.atomic import atomic_file, atomic_folder, remove_leftovers
from ike_data.runtime.claim import claim, claimed
from ike_data.runtime.command import run_command
from ike_data.runtime.errors import InputError
from ike_data.saved_config import check_saved_config

pytestmark = pytest.mark.usefixtures("pytests_own_ctrl_c")
COMMANDS = {"flow": extract_optical_flow, "graph": graph, "net": network}
TOOLS = sorted(path.stem for path in (ROOT / "tools").glob("*.py"))


def flags(folder: Path, name: str, out: Path) -> list[str]:
    """The flags of a command on the inputs in ``folder``."""
    own = {
        "flow": ["--method=dis"],
        "graph": [f"--of_path={folder / 'flow'}"],
        "net": [f"--pseudo_gt_path={folder / 'graph/iter_2'}"],
    }
    common = [f"--frames_path={folder / 'frames'}", f"--config={folder / 'small.ini'}"]
    return [*own[name], *common, "--device=cpu", f"--out_path={out}"]


def start(module, *arguments: str) -> None:
    """A command in this process, as the shell starts it."""
    before = sys.argv
    sys.argv = [str(ROOT / f"{module.__name__}.py"), *arguments]
    try:
        run_command(module.main)
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Frames, settings, and the out_paths flow/, graph/ and net/."""
    folder = tmp_path_factory.mktemp("made")
    make_video(folder)
    small_config(folder)
    for name, module in COMMANDS.items():
        start(module, *flags(folder, name, folder / name))
    return folder


@pytest.fixture
def work(made, tmp_path) -> Path:
    """A copy to be spoilt."""
    folder = tmp_path / "work"
    shutil.copytree(made, folder)
    for saved in folder.glob("*/config.ini"):  # results of other paths would make way
        saved.write_text(saved.read_text().replace(str(made), str(folder)))
    return folder


@pytest.fixture
def fails(capsys) -> Callable[..., str]:
    """Run a command that ends with status 2; gives the error line."""

    def run(module, *arguments: str) -> str:
        with pytest.raises(SystemExit) as caught:
            start(module, *arguments)
        printed = capsys.readouterr().err.replace("\r", "\n").split("\n")
        (error,) = [line for line in printed if line.startswith("error: ")]
        assert caught.value.code == 2
        assert printed[-2] == error
        return error

    return run


# ------------------------------------------------------------------------- files that are damaged


@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize(
    ("name", "damaged", "more"),
    [
        ("flow", "frames/00003.png", []),
        ("graph", "frames/00003.png", []),
        ("net", "frames/00003.png", []),
        ("graph", "flow/bwd_of/00001_00002.flo", []),
        ("net", "graph/iter_2/00004.pt", []),
        ("net", "net/models/epoch_00001.pth", ["--predict_only={}/net/models/epoch_00001.pth"]),
        ("net", "net/models/training.pth", ["--resume"]),
        ("flow", "small.ini", []),
    ],
)
def test_a_file_that_is_empty_or_cut(name, damaged, more, share, work, fails):
    # With damaged frames, flow that is there is another video's.
    applies = bool(more) and more[0].startswith("--predict_only")
    path, out = work / damaged, work / ("new" if name == "flow" or applies else name)
    if not path.exists():
        shutil.copy(work / "net/models/epoch_00001.pth", path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    before = contents(out)
    arguments = flags(work, name, out)
    more = [flag.format(work) for flag in more]
    if applies:
        arguments = [flag for flag in arguments if not flag.startswith("--pseudo")]
    assert str(path) in fails(COMMANDS[name], *arguments, *more)
    after = contents(out)
    if name == "flow":
        # What was made until then is whole, and kept by the next run.
        assert len(after) in (0, 3 + 4)
        for made_flow in out.rglob("*.flo"):
            read_flow(made_flow, HEIGHT, WIDTH)
    else:
        assert results(after) == results(before)


# --------------------------------------------------------------- files that vanish while it runs


@pytest.mark.parametrize(
    ("name", "vanishes"),
    [
        ("flow", "frames/00003.png"),
        ("graph", "frames/00003.png"),
        ("net", "frames/00003.png"),
        ("graph", "flow/fwd_of/00002_00003.flo"),
        ("net", "graph/iter_2/00004.pt"),
    ],
)
def test_a_file_that_vanishes_after_it_was_listed(name, vanishes, work, fails, monkeypatch):
    module, out = COMMANDS[name], work / "out"
    list_frames = module.open_frames

    def list_and_remove(path):
        frames = list_frames(path)
        (work / vanishes).unlink()
        return frames

    monkeypatch.setattr(module, "open_frames", list_and_remove)
    assert str(work / vanishes) in fails(module, *flags(work, name, out))
    assert not list(out.rglob(".*"))


# -------------------------------------------------------------------------------- several at once


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_run_on_one_out_path_is_refused(name, work, fails):
    before = contents(work / name)
    (work / name / ".partial-abcd1234").mkdir()  # the other run is writing
    with claimed_by_another(work / name):
        error = fails(COMMANDS[name], *flags(work, name, work / name))
        assert f"out_path {work / name}: another run works on it; wait for its end" in error
        assert (work / name / ".partial-abcd1234").is_dir()
    # When the other has been killed, what it left goes.
    start(COMMANDS[name], *flags(work, name, work / name))
    after = contents(work / name)
    assert not list((work / name).rglob(".*"))
    assert results(after) == results(before)


@contextmanager
def claimed_by_another(folder: Path) -> Iterator[None]:
    """Another process that holds the lock of a folder, and is killed."""
    code = "import sys; from pathlib import Path; from ike_data.runtime.claim import claim\n"
    code += "claim(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    command, pipe = [sys.executable, "-c", code, folder], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        yield
        process.kill()


def test_the_lock_is_given_back_however_the_block_ends(tmp_path):
    with pytest.raises(ZeroDivisionError), claimed(tmp_path):
        assert claim(tmp_path) is None
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    lock = claim(tmp_path)
    assert lock is not None
    os.close(lock)


def test_without_locks_nobodys_half_written_files_are_removed(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    partial = tmp_path / ".partial-abcd1234.flo"
    partial.touch()
    with claimed(tmp_path):
        assert partial.exists()


def test_leftovers_of_killed_runs(tmp_path):
    """They go; an older result that was moved aside comes back, and other names stay."""
    for name in ("iter_3", ".partial-abcd1234", ".old-abcd1234/iter_3", ".old-0123456_/iter_4"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "00000.pt").write_text(name)
    others = [".partial-", ".partial-mine", ".old-notes", ".oldest", "x.partial-abcd1234"]
    for name in (".partial-______09.flo", *others):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"iter_3", "iter_4", *others}
    assert (tmp_path / "iter_3/00000.pt").read_text() == "iter_3"
    assert (tmp_path / "iter_4/00000.pt").read_text() == ".old-0123456_/iter_4"
    remove_leftovers(tmp_path / "not there")


# ----------------------------------------------------------------------------------------- disks


@pytest.mark.parametrize(
    ("name", "limit"), [("flow", 9000), ("flow", 5), ("graph", 3800), ("net", 3800)]
)
def test_a_disk_that_takes_no_more(name, limit, work):
    """A limit on the size of a file stands for a full disk."""
    out = work / name
    shutil.rmtree(out / "fwd_of", ignore_errors=True)  # else there is no flow to make
    before = contents(out)
    done = commands.run(
        *(f"{COMMANDS[name].__name__}.py", *flags(work, name, out)),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    error = done.stderr.replace("\r", "\n").splitlines()[-1]
    assert error.startswith(f"error: {out}")
    assert error.endswith(": File too large")
    assert results(contents(out)) == results(before)
    assert not list(out.rglob(".*"))


def test_tensors_on_a_full_disk_are_an_error_of_the_disk_at_every_byte(tmp_path):
    code = """
import resource, sys, torch
from pathlib import Path
from ike_data.tensor_files import save_tensors
path, no_limit = Path(sys.argv[1]), resource.RLIM_INFINITY
for n_values in (10, 100_000):
    content = {"a": torch.zeros(n_values), "b": [torch.ones(2)] * 9}
    resource.setrlimit(resource.RLIMIT_FSIZE, (no_limit, no_limit))
    save_tensors(path, content)
    n = path.stat().st_size
    for limit in [*range(0, n - 700, n // 20), *range(n - 700, n, 33)]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, no_limit))
        try:
            save_tensors(path, content)
        except OSError:
            continue
        print(n_values, limit)
"""
    command = [sys.executable, "-c", code, tmp_path / "a.pth"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("atomic", [atomic_file, atomic_folder])
def test_a_full_disk_names_the_result(atomic, tmp_path):
    with (
        pytest.raises(OSError, match="No space left on device") as caught,
        atomic(tmp_path / "result"),
        open("/dev/full", "w") as file,
    ):
        file.write("x")
    assert caught.value.filename == str(tmp_path / "result")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no other disk here")
def test_an_out_path_on_another_disk(made, tmp_path_factory):
    folder = Path("/dev/shm") / tmp_path_factory.mktemp("out").name
    folder = folder.with_name(f"{folder.name}-{os.getpid()}")
    try:
        for name, module in COMMANDS.items():
            start(module, *flags(made, name, folder / name))
            start(module, *flags(made, name, folder / name))  # and over these
            assert results(contents(folder / name)) == results(contents(made / name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_out_path_under_a_file(name, made, fails):
    error = fails(COMMANDS[name], *flags(made, name, made / "small.ini" / "out"))
    assert f"out_path {made / 'small.ini' / 'out'}: cannot be written (Not a directory)" in error


# ----------------------------------------------------------------------------------------- Ctrl-C


@pytest.mark.parametrize("module", ["argparse", "ike_data.runtime.command"])
@pytest.mark.parametrize(
    "script",
    [*(f"{module.__name__}.py" for module in COMMANDS.values()), *(f"tools/{t}.py" for t in TOOLS)],
)
def test_ctrl_c_while_a_command_starts(script, module):
    """Sent by the command itself, as it begins to import ``module``."""
    code = f"""
import os, runpy, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv = [{script!r}, "--help"]
sys.path[0] = os.path.dirname(os.path.abspath({script!r}))
runpy.run_path({script!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        130,
        "error: interrupted; finished files are complete, run the same command again\n",
    )


# ------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize("odd", ["-x", 'it\'s 50%(a)s "q" $HOME `x` [PATHS] k = v; # ünïcödé 漢'])
def test_odd_names_through_all_commands_and_their_saved_settings(odd, made, tmp_path, monkeypatch):
    work = tmp_path / odd
    work.mkdir()
    for name in ("frames", "annotations"):
        shutil.copytree(made / name, work / name)
    shutil.copy(made / "small.ini", work)
    monkeypatch.chdir(tmp_path)
    # Relative, so that the odd name stands at the front.
    for name, module in COMMANDS.items():
        start(module, *flags(Path(odd), name, Path(odd, name)))
        before = contents(work / name)
        assert read_config(work / name / "config.ini").paths.out_path == work / name
        shutil.move(work / name / "config.ini", tmp_path / "again.ini")
        shutil.rmtree(work / name)
        start(module, f"--config={tmp_path / 'again.ini'}")
        assert results(contents(work / name)) == results(before)
    masks = [f"--results={odd}/graph/iter_2", f"--annotations={odd}/annotations"]
    start(evaluate, *masks, f"--out={odd}/scores.csv")
    start(visualize, *masks, f"--frames={odd}/frames", f"--out={odd}/pictures", "--report")
    assert (work / "scores.csv").is_file()
    assert (work / "pictures" / "report.html").is_file()


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("odd", ["two\nlines", "end\u2028", "last "])
def test_names_that_no_config_can_hold_are_refused_in_one_line(name, odd, made, fails, tmp_path):
    frames = tmp_path / odd
    shutil.copytree(made / "frames", frames)
    arguments = [*flags(made, name, tmp_path / "out"), f"--frames_path={frames}"]
    error = fails(COMMANDS[name], *arguments)
    assert "cannot be written into a config.ini; rename it" in error
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_video_and_pictures_whose_names_look_like_addresses(tmp_path, made, monkeypatch):
    """FFmpeg takes what stands before a colon for a protocol."""
    monkeypatch.chdir(tmp_path)
    masks = [f"--results={made / 'graph/iter_2'}"]
    start(visualize, f"--frames={made / 'frames'}", *masks, "--out=data:1")
    shutil.copy("data:1/overlay.mp4", "http:clip.mp4")
    start(visualize, "--frames=http:clip.mp4", *masks, "--out=again:")
    assert Path("again:", "overlay.mp4").stat().st_size > 0


def test_who_saved_a_config_is_known_wherever_the_project_lies(tmp_path):
    (tmp_path / "config.ini").write_text(
        "# Saved by an IKE command; x\n# command: python '/my project/it'\"'\"'s/main.py' --a=b\n"
    )
    check_saved_config(tmp_path, "main.py")
    with pytest.raises(InputError, match=r"holds the results of main\.py"):
        check_saved_config(tmp_path, "run_graph_module.py")


# ------------------------------------------------------------------ folders and streams of the user


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("frames", "is a folder of the input"),
        ("graph/iter_2", "is a folder of the input"),
        ("graph", "holds config.ini, and is replaced as a whole"),
        ("small.ini", "is a file"),
    ],
)
def test_hard_masks_replace_nothing_but_hard_masks(out, why, work, fails):
    before = contents(work)
    masks = f"--results={work / 'graph/iter_2'}"
    error = fails(export_masks, f"--frames={work / 'frames'}", masks, f"--out={work / out}")
    assert f"--out_path {work / out}: {why}" in error
    assert contents(work) == before


def test_hard_masks_replace_earlier_ones(work):
    out = work / "masks"
    out.mkdir()
    (out / "00099.png").touch()
    masks = f"--results={work / 'graph/iter_2'}"
    start(export_masks, f"--frames={work / 'frames'}", masks, f"--out={out}")
    assert sorted(path.name for path in out.iterdir()) == [f"{i:05d}.png" for i in range(N_FRAMES)]


def test_hard_masks_into_the_current_folder(work, monkeypatch):
    (work / "masks").mkdir()
    monkeypatch.chdir(work / "masks")
    start(
        export_masks, f"--frames={work / 'frames'}", f"--results={work / 'graph/iter_2'}", "--out=."
    )
    assert len([*(work / "masks").iterdir()]) == N_FRAMES


@pytest.mark.parametrize("dangling", [False, True])
def test_results_that_are_links_make_way_and_what_they_name_stays(dangling, work):
    masks, moved = work / "graph/iter_2", work / "moved"
    masks.rename(moved)
    masks.symlink_to(work / "nothing" if dangling else moved)
    before = contents(moved)
    config = work / "small.ini"
    config.write_text(config.read_text().replace("lambda = 100", "lambda = 10"))
    start(graph, *flags(work, "graph", work / "graph"))
    assert masks.is_dir() and not masks.is_symlink()
    assert contents(masks).keys() == before.keys() and contents(masks) != before
    assert contents(moved) == before


@pytest.mark.parametrize("module", COMMANDS)
def test_closed_streams_are_none_of_its_business(module, made, tmp_path):
    arguments = flags(made, module, tmp_path / "out")
    script = str(ROOT / f"{COMMANDS[module].__name__}.py")
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    done = subprocess.run([*closed, sys.executable, script, *arguments], timeout=300)
    assert done.returncode == 0
    assert results(contents(tmp_path / "out")) == results(contents(made / module))


def test_a_reader_that_has_gone_is_said_to_have_gone(made, tmp_path):
    arguments = flags(made, "flow", tmp_path / "out")
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, str(ROOT / "extract_optical_flow.py"), *arguments],
        stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=300,
    )  # fmt: skip
    os.close(write_end)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: the reader of the output has closed it")
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
def test_a_pipe_under_the_name_of_an_annotation_is_not_waited_for(work, fails):
    path = work / "annotations/00002.png"
    path.unlink()
    os.mkfifo(path)
    masks = f"--results={work / 'graph/iter_2'}"
    error = fails(evaluate, masks, f"--annotations={path.parent}", f"--out={work / 'scores.csv'}")
    assert f"{path}: is not a file" in error


def test_an_empty_path_is_not_the_current_folder(made, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        start(extract_optical_flow, f"--frames_path={made / 'frames'}", "--out_path=")
    assert caught.value.code == 2
    assert "argument --out_path: is empty; give a path" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
