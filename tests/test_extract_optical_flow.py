"""The command extract_optical_flow.py: directions, files, resume, settings, errors."""

from __future__ import annotations

import dataclasses
import os
import shutil
import struct
from pathlib import Path

import commands
import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from commands import ROOT, call, refused
from files import contents, write_clip, write_config, write_flow_folders, write_frames
from torchvision.models.optical_flow import raft_small

import extract_optical_flow
import RAFT.run
from ike_data.config import OpticalFlow, read_config
from ike_data.flow_files import FORWARD, flow_name, read_flow, write_flow
from ike_data.runtime.errors import InputError
from RAFT import DisFlow, ShrunkFlow, video_flow
from RAFT.frame_pairs import flows_of_pairs
from RAFT.run import load_method, write_flows

SHIFTS = ((3.25, -1.5), (-2.0, 2.75), (1.0, 4.5))  # (x, y) of frame idx -> idx + 1, pixels
HEIGHT, WIDTH = 96, 136


def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth pattern that can be read anywhere, so that sub-pixel shifts are exact."""
    rng = np.random.default_rng(8)
    value = np.zeros_like(x)
    for _ in range(40):
        fx, fy, phase = rng.uniform(-0.35, 0.35), rng.uniform(-0.35, 0.35), rng.uniform(0, 6.28)
        value += np.cos(fx * x + fy * y + phase)
    return np.clip(128 + 12 * value, 0, 255)


def shifted_frames(shifts=SHIFTS, height=HEIGHT, width=WIDTH) -> list[np.ndarray]:
    """The texture, moved by ``shifts[idx]`` between frames idx and idx + 1; uint8 RGB."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    frames, moved = [], np.zeros(2)
    for shift in [(0, 0), *shifts]:
        moved += shift
        grey = texture(x - moved[0], y - moved[1]).round().astype(np.uint8)
        frames.append(np.repeat(grey[..., None], 3, axis=2))
    return frames


@pytest.fixture
def video(tmp_path) -> Path:
    """Four frames numbered 8, 9, 10, 11 without zeros: as text 10 and 11 come before 8."""
    folder = write_frames(tmp_path / "frames", shifted_frames(), first=8)
    for path in folder.iterdir():
        path.rename(folder / path.name.lstrip("0"))
    return folder


@pytest.fixture
def dis(video, tmp_path) -> tuple[object, ...]:
    """Flags for the DIS flow of ``video``, into tmp_path / "flow"."""
    return "--frames_path", video, "--method", "dis", "--out_path", tmp_path / "flow"


@pytest.fixture
def run(capsys):
    def run_in_process(*flags: object) -> str:
        """Run the command; returns what it printed."""
        call(extract_optical_flow, *flags)
        return capsys.readouterr().out

    return run_in_process


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(raft_small().state_dict(), path)
    return path


def fails(match: str, *flags: object) -> None:
    refused(match, extract_optical_flow, *flags)


def flow_paths(out: Path) -> list[Path]:
    return sorted(out.glob("*/*"))


def flows(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(out).items() if "/" in name}


def make_old(out: Path) -> None:
    for path in flow_paths(out):
        os.utime(path, (1_000_000, 1_000_000))


def remade(out: Path) -> set[str]:
    return {name for name in flows(out) if (out / name).stat().st_mtime != 1_000_000}


# --- what is written


def test_dis_flow_has_the_direction_and_size_of_the_motion(run, dis, tmp_path):
    run(*dis)
    out = tmp_path / "flow"
    names = [f"{idx:05d}_{idx + 1:05d}.flo" for idx in range(3)]
    assert [str(path.relative_to(out)) for path in flow_paths(out)] == [
        f"{folder}/{name}" for folder in ("bwd_of", "fwd_of") for name in names
    ]
    from_python = video_flow(shifted_frames(), DisFlow())
    for idx, (name, shift) in enumerate(zip(names, SHIFTS, strict=True)):
        for folder, sign, flows in zip(("fwd_of", "bwd_of"), (1, -1), from_python, strict=True):
            flow = read_flow(out / folder / name, HEIGHT, WIDTH)
            np.testing.assert_array_equal(flows[idx].permute(1, 2, 0), flow)
            error = np.linalg.norm((flow - sign * np.array(shift))[12:-12, 12:-12], axis=-1)
            assert error.mean() < 0.15 and np.quantile(error, 0.95) < 0.4


def test_video_file_gives_the_flow_of_its_frames(run, dis, tmp_path):
    clip = write_clip(tmp_path / "video.mkv", shifted_frames(), "ffv1", pix_fmt="bgr0")
    run(*dis)
    run(*dis, "--frames_path", clip, "--out_path", tmp_path / "of the clip")
    assert flows(tmp_path / "flow") == flows(tmp_path / "of the clip")


def test_one_frame_makes_two_empty_folders_and_says_so(run, tmp_path):
    frames = write_frames(tmp_path / "frames", shifted_frames(()))
    out = tmp_path / "flow"
    # The default method; its weights are not there and not needed.
    printed = run("--frames_path", frames, "--out_path", out, "--models", tmp_path / "none.pth")
    assert "the video has one frame, so there is no flow" in printed
    names = ["bwd_of", "config.ini", "frames.csv", "fwd_of"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert flow_paths(out) == []


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (11, 11), (3, 200), (12, 40), (15, 300), (40, 5)])
def test_dis_takes_tiny_frames(size):
    # OpenCV's own calc refuses some of these sizes and crashes on 12 x 40 and 15 x 300.
    method = DisFlow()
    frames = map(method.encode, shifted_frames(((1, 0),), *size))
    for flow in method.flow_both_ways(*frames):
        assert flow.shape == (*size, 2) and flow.dtype == np.float32
        assert np.abs(flow).max() < 20


@pytest.mark.parametrize(
    ("size", "scale"),
    [((16, 40), 0), ((45, 45), 0), ((60, 90), 0), ((40, 1280), 0), ((1281, 40), 1)],
)
def test_dis_is_opencvs_at_the_whole_size_and_for_large_frames_at_half(size, scale):
    greys = [frame[..., 0] for frame in shifted_frames(((2, 1),), *size)]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(scale)
    expected, method = dis.calc(*greys, None), DisFlow()
    for _ in range(2):
        np.testing.assert_array_equal(method.flow_both_ways(*greys)[0], expected)


def test_settings_are_resolved_printed_and_saved(run, tmp_path, small_checkpoint):
    given = write_config(tmp_path / "given.ini", small="yes", iters=7)
    frames, out = write_frames(tmp_path / "frames", shifted_frames(SHIFTS[:1])), tmp_path / "flow"
    flags = ("--frames_path", frames, "--config", given)
    flags = (*flags, "--models", os.path.relpath(small_checkpoint))
    printed = run(*flags, "--out_path", out, "--iters", 1)
    saved = read_config(out / "config.ini")
    assert saved.optical_flow.models == small_checkpoint
    assert saved.optical_flow.small and saved.optical_flow.iters == 1
    assert not saved.optical_flow.mixed_precision
    assert saved.paths.frames_path == frames
    assert saved.paths.fwd_of_path == out / "fwd_of"
    assert saved.paths.bwd_of_path == out / "bwd_of"
    for line in ("iters = 1", "small = yes", f"FWD_OF_PATH = {out / 'fwd_of'}", "2 frames, 136 x"):
        assert line in printed
    assert len(flows(out)) == 2
    fails("holds the small RAFT; give --small", *flags, f"--out_path={tmp_path}/b", "--no-small")


# --- at a smaller size


def test_flow_of_an_affine_motion_at_a_smaller_size(run, tmp_path):
    height, width = 150, 233  # found at 77 x 120
    move, shift = np.array([[1.03, -0.02], [0.01, 0.98]]), np.array([3.0, -5.0])
    here = np.stack(np.mgrid[0:height, 0:width][::-1], -1).astype(np.float64)  # (x, y) of pixels
    before = (here - shift) @ np.linalg.inv(move).T
    greys = (texture(*(at / 3).transpose(2, 0, 1)).round() for at in (here, before))
    frames = [np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2) for grey in greys]
    flags = ("--frames_path", write_frames(tmp_path / "frames", frames), "--method", "dis")
    printed = run(*flags, "--out_path", tmp_path / "flow", "--max_side", 120)
    assert "flow at 120 x 77" in printed
    assert read_config(tmp_path / "flow" / "config.ini").optical_flow.max_side == 120
    flow = read_flow(tmp_path / "flow" / "fwd_of" / flow_name(0), height, width)
    error = np.linalg.norm(flow - (here @ move.T + shift - here), axis=-1)[15:-15, 15:-15]
    assert error.mean() < 0.3
    run(*flags, "--out_path", tmp_path / "full")
    full = read_flow(tmp_path / "full" / "fwd_of" / flow_name(0), height, width)
    assert np.abs(flow - full).mean() > 0.01  # it was indeed found otherwise


class ZoomOfShrunkFrames:
    """The flow of frames of 37 x 500 pixels in which u = 0.1 x + 3 and v = -0.2 y + 1, shrunk."""

    def encode(self, frame: np.ndarray) -> tuple[int, ...]:
        return frame.shape

    def flow_both_ways(self, first: tuple[int, ...], _: object) -> tuple[np.ndarray, np.ndarray]:
        height, width, _ = first
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        # Pixels are squares: their centres are half a pixel from their borders.
        u = (0.1 * ((x + 0.5) * 500 / width - 0.5) + 3) * width / 500
        v = (-0.2 * ((y + 0.5) * 37 / height - 0.5) + 1) * height / 37
        return np.stack([u, v], -1), np.stack([-u, -v], -1)


def test_each_axis_has_its_own_factor():
    method = ShrunkFlow(ZoomOfShrunkFrames(), 100)  # to 7 x 100: by 37 / 7 = 5.29, and by 5
    encoded = method.encode(np.zeros((37, 500, 3), np.uint8))
    assert encoded.encoded == (7, 100, 3)
    forward, backward = method.flow_both_ways(encoded, encoded)
    y, x = np.mgrid[0:37, 0:500]
    expected = np.stack([0.1 * x + 3, -0.2 * y + 1], -1)
    inside = np.s_[3:-3, 3:-3]  # there is nothing beyond the outermost centres
    np.testing.assert_allclose(forward[inside], expected[inside], atol=1e-3)
    np.testing.assert_array_equal(backward, -forward)
    assert forward.dtype == np.float32 and forward.shape == (37, 500, 2)


@pytest.mark.parametrize("method", ["dis", "raft"])
def test_half_the_size_is_the_mean_of_four_pixels(method, small_checkpoint):
    frames = shifted_frames(((4, -6),), 192, 272)
    settings = OpticalFlow(method=method, models=small_checkpoint, small=True, iters=2)
    at_half = load_method(dataclasses.replace(settings, max_side=136), torch.device("cpu"))
    halves = [(f.reshape(96, 2, 136, 2, 3).sum((1, 3), np.uint16) + 2) // 4 for f in frames]
    own = load_method(settings, torch.device("cpu"))
    expected = own.flow_both_ways(*(own.encode(half.astype(np.uint8)) for half in halves))
    found = at_half.flow_both_ways(*map(at_half.encode, frames))
    for flow, small in zip(found, expected, strict=True):
        small = torch.from_numpy(small.copy()).permute(2, 0, 1)[None]
        large = 2 * F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
        np.testing.assert_allclose(flow, large[0].permute(1, 2, 0).numpy(), atol=1e-4)


def test_frames_that_are_small_enough_are_left_alone(run, dis, tmp_path):
    run(*dis)
    limit = "--max_side", max(HEIGHT, WIDTH), "--out_path", tmp_path / "limited"
    assert "flow at" not in run(*dis, *limit)
    assert flows(tmp_path / "flow") == flows(tmp_path / "limited")


# --- going on where a run stopped


def test_run_goes_on_where_it_stopped(run, dis, tmp_path, monkeypatch):
    run(*dis, "--out_path", tmp_path / "undisturbed")
    out = tmp_path / "flow"
    find, calls = DisFlow.flow_both_ways, []

    def find_until_interrupted(*args):
        if calls:
            raise KeyboardInterrupt
        calls.append(args)
        return find(*args)

    monkeypatch.setattr(DisFlow, "flow_both_ways", find_until_interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(*dis)
    first = {f"{folder}/{flow_name(0)}" for folder in ("fwd_of", "bwd_of")}
    assert flows(out).keys() == first
    monkeypatch.setattr(DisFlow, "flow_both_ways", find)
    make_old(out)
    assert "2 of 6 .flo files kept" in run(*dis)
    assert remade(out) == flows(out).keys() - first
    assert flows(out) == flows(tmp_path / "undisturbed")


def test_only_missing_and_damaged_files_are_made_again(run, dis, tmp_path):
    out = tmp_path / "flow"
    run(*dis)
    before = flows(out)
    (out / "fwd_of" / flow_name(0)).unlink()
    with (out / "bwd_of" / flow_name(1)).open("r+b") as file:
        file.truncate(500)
    write_flow(out / "bwd_of" / flow_name(2), np.zeros((WIDTH, HEIGHT, 2), np.float32))
    make_old(out)
    printed = run(*dis)
    assert "3 of 6 .flo files kept" in printed and "wrote 3 .flo files" in printed
    assert remade(out) == {
        f"fwd_of/{flow_name(0)}",
        f"bwd_of/{flow_name(1)}",
        f"bwd_of/{flow_name(2)}",
    }
    assert flows(out) == before


def test_complete_folder_needs_no_weights(run, video, tmp_path):
    some = np.ones((3, HEIGHT, WIDTH, 2), np.float32)
    out = write_flow_folders(tmp_path / "flow", some, some)  # from another program: no config.ini
    make_old(out)
    printed = run("--frames_path", video, "--out_path", out, "--models", tmp_path / "none.pth")
    assert "6 of 6 .flo files kept" in printed and "all 6 .flo files were there" in printed
    assert remade(out) == set()


def test_overwrite_makes_all_again_but_only_once_the_weights_are_loaded(run, video, tmp_path):
    out = tmp_path / "flow"
    flags = ("--frames_path", video, "--out_path", out)
    run(*flags, "--method", "dis")
    before, config = flows(out), (out / "config.ini").read_bytes()
    make_old(out)
    fails("pth: is missing", *flags, "--models=none.pth", "--overwrite")
    assert remade(out) == set() and flows(out) == before
    assert (out / "config.ini").read_bytes() == config
    write_flow(out / "fwd_of" / flow_name(0), np.zeros((HEIGHT, WIDTH, 2), np.float32))
    printed = run(*flags, "--method", "dis", "--overwrite")
    assert "kept" not in printed and "wrote 6 .flo files" in printed
    assert remade(out) == flows(out).keys() and flows(out) == before


def test_interrupted_overwrite_leaves_no_older_flow_to_be_kept(run, dis, tmp_path, monkeypatch):
    run(*dis)

    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(DisFlow, "flow_both_ways", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(*dis, "--overwrite")
    assert flows(tmp_path / "flow") == {}


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (("--iters", 2), "iters = 1, now it is 2"),
        (("--mixed_precision",), "mixed_precision = no, now it is yes"),
        (("--method", "dis"), "method = raft, now it is dis"),
        (("--no-small",), "small = yes, now it is no"),
        (("--models", "other.pth"), "models = .*small.pth, now it is .*other.pth"),
        (("--frames_path", "copy"), "frames_path = .*frames, now it is .*copy"),
        (("--max_side", 100), "max_side = 0, now it is 100"),
    ],
)
def test_flow_of_other_settings_is_not_mixed_in(
    run, video, tmp_path, monkeypatch, changed, difference
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(video, "copy")
    flags = ("--frames_path", video, "--out_path", "flow", "--small", "--iters", 1)
    flags = (*flags, "--models", "small.pth")
    with monkeypatch.context() as patch:  # RAFT itself plays no part here
        patch.setattr(RAFT.run, "load_method", lambda *_: DisFlow())
        run(*flags)
    before, config = flows(Path("flow")), Path("flow/config.ini").read_bytes()
    fails(f"{difference}; give --overwrite", *(flags[:-2] if "dis" in changed else flags), *changed)
    assert flows(Path("flow")) == before and Path("flow/config.ini").read_bytes() == config
    # Nothing of the earlier run is left to be mixed in: then other settings are fine.
    for path in flow_paths(Path("flow")):
        path.unlink()
    fails("pth: is missing", *flags, "--models", "none.pth")


@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
def test_config_of_a_person_in_out_path_is_left_alone(run, dis, tmp_path, flags):
    out = tmp_path / "flow"
    run(*dis)
    shutil.copy(ROOT / "config.ini", out)
    before = flows(out)
    fails(r"config\.ini: was not saved by an IKE command", *dis, *flags)
    assert flows(out) == before
    assert (out / "config.ini").read_bytes() == (ROOT / "config.ini").read_bytes()


def test_a_record_that_this_version_cannot_read_names_what_to_do(run, dis, tmp_path):
    run(*dis)
    saved = tmp_path / "flow" / "config.ini"
    saved.write_text(saved.read_text().replace("max_side =", "of_a_newer_version ="))
    fails(r"flow/config\.ini: does not tell this version how.*; give --overwrite", *dis)
    assert "wrote 6 .flo files" in run(*dis, "--overwrite")


def test_settings_that_dis_does_not_use_may_change(run, dis):
    run(*dis)
    assert "6 of 6 .flo files kept" in run(*dis, "--iters", 3)


def test_settings_that_were_saved_before_there_was_max_side_set_no_limit(run, dis, tmp_path):
    run(*dis)
    saved = tmp_path / "flow" / "config.ini"
    text = saved.read_text(encoding="utf-8")
    assert "max_side = 0\n" in text
    saved.write_text(text.replace("max_side = 0\n", ""), encoding="utf-8")
    fails("max_side = 0, now it is 100; give --overwrite", *dis, "--max_side", 100)
    assert "6 of 6 .flo files kept" in run(*dis)


def test_flow_of_another_video_under_the_same_name_is_not_kept(run, dis, video, tmp_path):
    run(*dis)
    before = flows(tmp_path / "flow")
    for old, new in (("9", "tmp"), ("10", "9"), ("tmp", "10")):  # in another order
        (video / f"{old}.png").rename(video / f"{new}.png")
    fails(r"flow of other frames than.*--overwrite", *dis)
    assert flows(tmp_path / "flow") == before
    run(*dis, "--overwrite")
    assert flows(tmp_path / "flow") != before


def test_flow_of_another_origin_and_size_is_not_overwritten(run, dis, tmp_path):
    small = np.ones((1, HEIGHT // 2, WIDTH // 2, 2), np.float32)
    mine = write_flow_folders(tmp_path / "flow", small, []) / "fwd_of" / flow_name(0)
    before = mine.read_bytes()
    fails(rf"{mine.name}: is no flow of {WIDTH} x {HEIGHT} pixels", *dis)
    assert mine.read_bytes() == before
    run(*dis, "--overwrite")
    assert mine.read_bytes() != before


def test_flow_of_a_longer_video_is_not_left_lying(run, dis, video, tmp_path):
    out = tmp_path / "flow"
    run(*dis)
    (video / "11.png").unlink()
    fails(r"00002_00003\.flo: belongs to a longer video.*3 frames", *dis)
    assert len(flow_paths(out)) == 6
    mine = {"fwd_of/notes.txt", "fwd_of/00000_00005.flo"}
    for name in mine:
        (out / name).write_text("mine")
    run(*dis, "--overwrite")
    assert flows(out).keys() == mine | {
        f"{folder}/{flow_name(idx)}" for folder in ("fwd_of", "bwd_of") for idx in (0, 1)
    }


# --- streaming


class CountingMethod:
    """A frame is its own number; the flow from a to b is b - a in u and a in v."""

    def __init__(self) -> None:
        self.encoded: list[int] = []

    def encode(self, frame: np.ndarray) -> int:
        self.encoded.append(int(frame[0, 0, 0]))
        return self.encoded[-1]

    def flow_both_ways(self, first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
        return self.flow(first, second), self.flow(second, first)

    def flow(self, first: int, second: int) -> np.ndarray:
        return np.full((2, 3, 2), (second - first, first), np.float32)


def test_frames_are_read_one_by_one_and_encoded_once():
    produced: list[int] = []

    def frames():
        for number in range(20):
            produced.append(number)
            yield np.full((2, 3, 3), number, np.uint8)

    method, n_read = CountingMethod(), []
    for idx, forward, backward in flows_of_pairs(frames(), method, {1, 2, 7}):
        n_read.append((idx, len(produced)))
        assert forward[0, 0].tolist() == [1, idx] and backward[0, 0].tolist() == [-1, idx + 1]
    assert n_read == [(1, 3), (2, 4), (7, 9)]
    assert method.encoded == [1, 2, 3, 7, 8]
    assert len(produced) == 9  # nothing is read after the last pair that is wanted


@pytest.mark.parametrize("value", [np.nan, 2e9])
def test_flow_that_is_not_finite_or_means_unknown_is_not_written(tmp_path, value):
    method = CountingMethod()
    method.flow = lambda *_: np.full((2, 3, 2), value, np.float32)  # type: ignore[method-assign]
    frames = [np.zeros((2, 3, 3), np.uint8)] * 2
    with pytest.raises(InputError, match="frames 0 and 1: their flow is not finite"):
        write_flows(frames, tmp_path, {0: (FORWARD,)}, method)
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


# --- bad input


@pytest.mark.parametrize("place", ["flow", "flow/fwd_of", "flow/bwd_of"])
def test_out_path_that_cannot_be_made(dis, tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("a file in the place of the folder")
    fails(f"{place}: cannot be written", *dis)


@pytest.mark.parametrize("flag", ["--frames_path", "--out_path"])
def test_flag_that_is_left_out(dis, flag):
    at = dis.index(flag)
    fails(f"{flag}: is missing", *dis[:at], *dis[at + 2 :])


@pytest.mark.parametrize(
    ("flag", "expected", "values"),
    [
        ("--iters", "from 1 to 1000", ["0", "1001", "-3", "2.5", "many", ""]),
        ("--max_side", "from 64 to 65536, or 0", ["63", "65537", "-1", "416.0", ""]),
    ],
)
def test_a_number_that_is_none_or_out_of_range(run, capsys, flag, expected, values):
    for value in values:
        with pytest.raises(SystemExit) as caught:
            run(flag, value)
        assert caught.value.code == 2
        assert f"expected a whole number {expected}" in capsys.readouterr().err


# --- as a user runs it


def test_the_command_word_for_word_gives_the_authors_flow(shared, tmp_path):
    reference = shared / "reference" / "raft"
    frames, weights = tmp_path / "frames", tmp_path / "RAFT" / "models"
    frames.mkdir()
    weights.mkdir(parents=True)
    for idx in range(2):
        shutil.copy(reference / f"{idx:05d}.png", frames)
    shutil.copy(reference / "raft-things-random.pth", weights / "raft-things.pth")
    flags = "--frames_path=frames", "--out_path=flow", "--models=./RAFT/models/raft-things.pth"
    no_gpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = commands.run("extract_optical_flow.py", *flags, cwd=tmp_path, env=no_gpu)
    assert done.returncode == 0, done.stderr
    for direction in ("fwd", "bwd"):
        data = (tmp_path / "flow" / f"{direction}_of" / "00000_00001.flo").read_bytes()
        assert struct.unpack("<fii", data[:12]) == (202021.25, 214, 122)
        flow = np.frombuffer(data[12:], "<f4").reshape(122, 214, 2)
        expected = cv2.readOpticalFlow(str(reference / f"large_{direction}.flo"))
        assert np.linalg.norm(flow - expected, axis=-1).mean() <= 0.01


def test_cuda_that_is_not_there(run, video, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    flags = "--frames_path", video, "--out_path", tmp_path / "flow", "--device", "cuda"
    fails("^--device cuda, or .*: PyTorch sees no", *flags)
    assert not (tmp_path / "flow").exists()
    run(*flags, "--method", "dis")  # of no concern to it


def test_weights_for_dis_flow_are_refused(dis, tmp_path):
    fails("--models: DIS flow has no weights", *dis, "--models=any.pth")
    assert not (tmp_path / "flow").exists()
