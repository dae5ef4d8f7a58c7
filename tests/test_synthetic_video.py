"""The synthetic video: the same bytes again, its sizes, and that its motion is what it says."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import call
from files import contents
from PIL import Image

import make_synthetic_video
from ike_data.frames import open_frames
from ike_data.runtime.errors import InputError
from make_synthetic_video import synthetic_video


def run(out_path: Path, *flags: str) -> dict[str, bytes]:
    call(make_synthetic_video, f"--out_path={out_path}", *flags)
    return contents(out_path)


SMALL = ("--n_frames", "3", "--height", "48", "--width", "80")


def test_command_writes_frames_and_annotations(tmp_path, capsys):
    files = run(tmp_path / "video", *SMALL)
    assert list(files) == [
        *(f"annotations/{idx:05d}.png" for idx in range(3)),
        *(f"frames/{idx:05d}.jpg" for idx in range(3)),
    ]
    frames = open_frames(tmp_path / "video/frames")
    assert (frames.count, frames.height, frames.width) == (3, 48, 80)
    for idx in range(3):
        annotation = np.asarray(Image.open(tmp_path / f"video/annotations/{idx:05d}.png"))
        assert annotation.shape == (48, 80)
        assert set(np.unique(annotation)) == {0, 255}
    assert "3 frames of 80 x 48 pixels" in capsys.readouterr().out


def test_same_seed_same_bytes(tmp_path):
    first = run(tmp_path / "first", *SMALL, "--seed", "5")
    assert run(tmp_path / "again", *SMALL, "--seed", "5") == first
    other = run(tmp_path / "other", *SMALL, "--seed", "6")
    assert all(other[name] != first[name] for name in first)


@pytest.mark.parametrize(("height", "width"), [(60, 108), (120, 72)])
def test_object_covers_a_tenth_and_stays_inside(height: int, width: int):
    for frame in synthetic_video(150, height, width, seed=2):  # more than once round its way
        inside = frame.mask == 255
        assert 0.08 <= inside.mean() <= 0.12
        assert not inside[[0, -1]].any()
        assert not inside[:, [0, -1]].any()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_true_flow_against_dis_flow(seed: int):
    # DIS sees the images alone. Away from the object's edge, where any flow is blurred, it must
    # find the generator's own motion, on the object and on the background.
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    frames = list(synthetic_video(14, 240, 432, seed))
    for idx in (0, 6, 12):
        now, after = frames[idx], frames[idx + 1]
        grey = [cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY) for frame in (now, after)]
        found = dis.calc(grey[0], grey[1], np.zeros_like(now.flow))
        error = np.linalg.norm(found - now.flow, axis=-1)
        element = np.ones((25, 25), np.uint8)
        on_object = cv2.erode(now.mask, element, borderValue=0) > 0
        on_background = cv2.dilate(now.mask, element) == 0
        for region in (on_object, on_background):
            assert region.sum() > 2000
            assert np.median(error[region]) < 0.25  # pixels
        # They move differently, by DIS as by the generator: more than 2 pixels a frame apart.
        apart = found[on_object].mean(axis=0) - found[on_background].mean(axis=0)
        assert np.linalg.norm(apart) > 2


def whole(value: int):
    """A texture function that paints everything in one grey."""
    return lambda _, height, width: np.full((height, width, 3), value, np.float32)


def test_camera_never_sees_the_end_of_the_coast(monkeypatch):
    # What lies outside a texture is black. Camera and zoom together repeat after 10 rounds.
    monkeypatch.setattr(make_synthetic_video, "coast_texture", whole(255))
    for frame in synthetic_video(10 * make_synthetic_video.FRAMES_A_ROUND, 32, 50):
        assert frame.image[frame.mask == 0].min() > 0
        assert frame.image[[0, -1]].min() == frame.image[:, [0, -1]].min() == 255


def test_edge_is_one_soft_pixel(monkeypatch):
    # A white object on black shows the share of each pixel that it covers.
    size = 140  # pixels, more than the object's
    monkeypatch.setattr(make_synthetic_video, "coast_texture", whole(0))
    monkeypatch.setattr(
        make_synthetic_video, "pattern_texture", lambda rng, _: whole(255)(rng, size, size)
    )
    (frame,) = synthetic_video(1, 90, 150, seed=1)
    covered = frame.image[..., 0]
    np.testing.assert_array_equal(frame.mask == 255, covered >= 128)
    soft = (covered > 0) & (covered < 255)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    edge = cv2.dilate(frame.mask, cross) != cv2.erode(frame.mask, cross)
    assert soft.sum() > 100  # the object's outline is about 140 pixels long
    assert not (soft & ~edge).any()


@pytest.mark.parametrize(("height", "width"), [(32, 33), (33, 200)])
def test_smallest_frames(height: int, width: int):
    for frame in synthetic_video(2, height, width):
        assert frame.image.shape == (height, width, 3)
        assert np.isfinite(frame.flow).all()
        for region in (frame.mask == 255, frame.mask == 0):
            assert frame.image[region].std() > 15  # both have a texture


def test_existing_frames_are_not_touched(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/00000.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match="frames: exists; give another --out_path"):
        run(tmp_path, *SMALL)
    assert (tmp_path / "frames/00000.jpg").read_bytes() == b"mine"
    assert not (tmp_path / "annotations").exists()


@pytest.mark.parametrize(
    ("flag", "value"), [("--n_frames", "0"), ("--height", "31"), ("--width", "8"), ("--seed", "-1")]
)
def test_bad_numbers(tmp_path, capsys, flag: str, value: str):
    with pytest.raises(SystemExit) as caught:
        run(tmp_path / "video", flag, value)
    assert caught.value.code == 2
    assert f"{flag}: {value!r}: expected a whole number of at least" in capsys.readouterr().err
    assert not (tmp_path / "video").exists()


def test_a_frame_too_small_for_an_object():
    with pytest.raises(ValueError, match="at least 32, got 16, 64"):
        next(synthetic_video(1, 16, 64))


def test_more_frames_begin_with_the_same_frames():
    few, many = synthetic_video(2, 40, 64, 1), synthetic_video(9, 40, 64, 1)
    for short, long in zip(few, many, strict=False):
        np.testing.assert_array_equal(short.image, long.image)
        np.testing.assert_array_equal(short.mask, long.mask)


def test_memory_does_not_grow_with_the_length():
    def peak(n_frames: int) -> int:
        tracemalloc.start()
        for _ in synthetic_video(n_frames, 40, 64):
            pass
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(2)  # what is loaded once is not counted
    # 100 more frames would hold 100 x 40 x 64 x (3 + 1 + 8) bytes = 3 MB.
    assert peak(104) < peak(4) + 500_000
