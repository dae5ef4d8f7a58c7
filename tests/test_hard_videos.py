"""Hard videos made of annotated ones: what is behind an object, its size, and its pauses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from commands import call
from files import write_frames
from PIL import Image

import make_hard_videos
from ike_data.runtime.errors import InputError
from make_hard_videos import N_MOVING, NOISE, paste, pause, without_object

HEIGHT, WIDTH = 120, 200


def texture(height: int, width: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4.0)
    return np.clip((smooth - 127) * 8 + 127, 0, 255).astype(np.uint8)


def known_video(n_frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, masks and the background alone: a camera pans by 3 and 1, a disc moves by -4."""
    wall, disc = texture(HEIGHT + n_frames, WIDTH + 3 * n_frames, 0), texture(HEIGHT, WIDTH, 1)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    backgrounds = np.stack(
        [wall[idx : idx + HEIGHT, 3 * idx : 3 * idx + WIDTH] for idx in range(n_frames)]
    )
    masks = np.stack([(y - 60) ** 2 + (x - 150 + 4 * idx) ** 2 < 15**2 for idx in range(n_frames)])
    return np.where(masks[..., None], disc, backgrounds), masks, backgrounds


def test_behind_the_object_is_what_the_other_frames_show():
    frames, masks, backgrounds = known_video(24)
    filled = without_object(frames, masks)
    error = np.abs(filled.astype(float) - backgrounds)
    # Homographies of frames this small are off by half a pixel or so.
    assert error[masks].mean() < 0.3 * np.abs(frames.astype(float) - backgrounds)[masks].mean()
    far = ~np.stack([cv2.dilate(m.astype(np.uint8), np.ones((23, 23))) > 0 for m in masks])
    assert (filled == frames)[far].all()


@pytest.mark.parametrize("scale", [0.5, 1.8])
def test_an_object_in_front_of_another_video(scale):
    frames, masks, _ = known_video(5)
    background = np.full((7, HEIGHT // 2, WIDTH // 2, 3), 77, np.uint8)
    pasted, pasted_masks = paste(frames, masks, background, scale)
    assert len(pasted) == len(pasted_masks) == 5
    areas = pasted_masks.sum(axis=(1, 2)) / masks.sum(axis=(1, 2))
    np.testing.assert_allclose(areas, scale**2, rtol=0.05)
    y, x = np.mean([np.argwhere(mask).mean(axis=0) for mask in pasted_masks], axis=0)
    assert (y, x) == pytest.approx((HEIGHT / 2, WIDTH / 2), abs=1)
    rim = cv2.dilate(pasted_masks[2].astype(np.uint8), np.ones((13, 13))) > 0
    assert (pasted[2][~rim] == 77).all()
    assert np.abs(pasted[2][pasted_masks[2]].astype(int) - 77).mean() > 20


@pytest.mark.parametrize("n_still", [16, 24])
def test_a_pause_shows_one_frame_under_a_camera_that_pans(n_still):
    frames, masks, _ = known_video(20)
    seen, seen_masks = pause(frames, masks, n_still)
    n_frames = N_MOVING + n_still
    assert len(seen) == len(seen_masks) == n_frames
    assert seen.shape[1] < HEIGHT and seen.shape[2] < WIDTH
    last = frames[N_MOVING - 1].astype(float)
    places = []
    for idx in range(N_MOVING - 1, n_frames):
        difference = cv2.matchTemplate(
            last.astype(np.float32), seen[idx].astype(np.float32), cv2.TM_SQDIFF
        )
        least, _, (left, top), _ = cv2.minMaxLoc(difference)
        assert np.sqrt(least / seen[idx].size) < 1.2 * NOISE
        window = masks[N_MOVING - 1][top : top + seen.shape[1], left : left + seen.shape[2]]
        assert (seen_masks[idx] == window).all()
        places.append((top, left))
    assert len(set(places)) > 8


def write_data_set(folder, *names):
    for number, name in enumerate(names):
        frames, masks, _ = known_video(3 + number)
        write_frames(folder / "JPEGImages/480p" / name, frames, ".jpg")
        write_frames(folder / "Annotations/480p" / name, masks.astype(np.uint8))


def run(data, out_path):
    call(make_hard_videos, f"--data={data}", f"--out_path={out_path}")


def test_command_writes_a_data_set(tmp_path):
    write_data_set(tmp_path / "data", "cat", "dog")
    run(tmp_path / "data", tmp_path / "out")
    expected = {
        "pause-cat": 19,
        "pause-dog": 20,
        "long-pause-cat": 51,
        "long-pause-dog": 52,
        "large-cat-on-dog": 3,
        "small-cat-on-dog": 3,
        "large-dog-on-cat": 3,
        "small-dog-on-cat": 3,
    }
    for parent, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        folders = {path.name: path for path in (tmp_path / "out" / parent / "480p").iterdir()}
        assert {name: len(list(path.iterdir())) for name, path in folders.items()} == expected
        assert all((path / f"00002.{suffix}").is_file() for path in folders.values())
    annotation = np.asarray(
        Image.open(tmp_path / "out/Annotations/480p/large-cat-on-dog/00001.png")
    )
    assert set(np.unique(annotation)) == {0, 255}


def test_stray_files_and_palettes(tmp_path):
    write_data_set(tmp_path / "data", "cat")
    (tmp_path / "data/JPEGImages/480p/.DS_Store").write_bytes(b"x")
    path = tmp_path / "data/Annotations/480p/cat/00001.png"
    palette = Image.fromarray(np.asarray(Image.open(path)) * 5, "P")
    palette.putpalette([0, 0, 0] * 256)
    palette.save(path)
    run(tmp_path / "data", tmp_path / "out")
    videos = sorted(path.name for path in (tmp_path / "out/Annotations/480p").iterdir())
    assert videos == ["long-pause-cat", "pause-cat"]  # no other sequence to paste it on
    annotation = Image.open(tmp_path / "out/Annotations/480p/pause-cat/00001.png")
    assert np.asarray(annotation).any()


def without_annotation(folder):
    (folder / "Annotations/480p/cat/00001.png").unlink()


def no_object(folder):
    for path in (folder / "Annotations/480p/cat").iterdir():
        Image.new("L", (WIDTH, HEIGHT)).save(path)


def two_frames(folder):
    for path in ("JPEGImages/480p/cat/00002.jpg", "Annotations/480p/cat/00002.png"):
        (folder / path).unlink()


@pytest.mark.parametrize("harm", [without_annotation, no_object, two_frames])
def test_sequences_that_cannot_be_used(harm, tmp_path):
    write_data_set(tmp_path / "data", "cat")
    harm(tmp_path / "data")
    with pytest.raises(InputError, match="480p/cat"):
        run(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="JPEGImages"):
        run(tmp_path, tmp_path / "out")
    write_data_set(tmp_path / "data", "cat")
    for out in ("data", "data/JPEGImages", "data/Annotations/480p/more"):
        with pytest.raises(InputError, match="in the data set"):
            run(tmp_path / "data", tmp_path / out)
    (tmp_path / "out/JPEGImages/480p").mkdir(parents=True)
    with pytest.raises(InputError, match="exists"):
        run(tmp_path / "data", tmp_path / "out")
