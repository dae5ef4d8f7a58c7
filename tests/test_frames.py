"""ike_data.frames with real images and real videos, written here with Pillow, OpenCV and PyAV."""

from __future__ import annotations

import io
import itertools
import os
import re
import struct
import wave
import zlib
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from files import write_clip
from PIL import Image, PngImagePlugin

from ike_data.frame_times import frame_rate
from ike_data.frames import describe_frames, open_frames
from ike_data.images import read_image
from ike_data.runtime.errors import InputError

H, W = 48, 80


def grey_image(path: Path, value: int, size: tuple[int, int] = (7, 4)) -> None:
    Image.new("RGB", size, (value, value, value)).save(path)


def first_values(folder: Path) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in open_frames(folder)]


def refusal(path: Path) -> str:
    """The error of opening and reading ``path``: one line that names the file or folder."""
    with pytest.raises(InputError) as caught:
        list(open_frames(path))
    line = str(caught.value)
    assert "\n" not in line and str(path) in line
    return line


# Folders


def test_frames_are_sorted_by_number_and_not_as_text(tmp_path):
    for number in range(2, 12):
        grey_image(tmp_path / f"img{number}.png", 10 * number)
    frames = open_frames(tmp_path)
    assert first_values(tmp_path) == [10 * number for number in range(2, 12)]
    assert first_values(tmp_path) == [int(frame[0, 0, 0]) for frame in frames]
    assert (frames.count, frames.height, frames.width, frames.fps) == (10, 4, 7, None)
    assert describe_frames(frames) == (
        f"{tmp_path}: 10 frames, 7 x 4 (width x height), no frame rate, "
        f"{sum(path.stat().st_size for path in tmp_path.iterdir())} bytes"
    )


def test_names_that_are_no_frames_are_passed_over(tmp_path):
    for name in ("Thumbs.db", ".DS_Store", "._00000.jpg", ".partial-1.png", "notes 7.txt"):
        (tmp_path / name).write_bytes(b"not an image")
    (tmp_path / "00009").mkdir()
    grey_image(tmp_path / "0.PNG", 5)
    assert ": 1 frame, 7 x 4 (width" in describe_frames(open_frames(tmp_path))
    grey_image(tmp_path / "1.jpeg", 6)
    grey_image(tmp_path / "2.JPG", 7)
    assert first_values(tmp_path) == [5, 6, 7]


def test_folders_that_are_refused(tmp_path):
    assert refusal(tmp_path / "none").startswith(f"frames_path {tmp_path / 'none'}: no such folder")
    assert "holds no frame (jpg, png, tif, ...)" in refusal(tmp_path)


def test_an_image_is_no_video(tmp_path):
    pages = [Image.new("I;16", (7, 4), value) for value in (0, 500, 1000)]
    pages[0].save(tmp_path / "stack.TIF", save_all=True, append_images=pages[1:])
    line = refusal(tmp_path / "stack.TIF")
    assert "stack.TIF: is an image; give the folder of the frames, one image a file" in line


def test_frames_of_another_size(tmp_path):
    grey_image(tmp_path / "0.png", 0, (7, 4))
    grey_image(tmp_path / "1.png", 0, (4, 7))
    with pytest.raises(InputError, match=r"1\.png: is 4 x 7 pixels, 0\.png is 7 x 4; all frames"):
        open_frames(tmp_path)


def noise_bytes(suffix: str) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, {"jpg": "jpeg"}.get(suffix, suffix))
    return data.getvalue()


DAMAGE = {
    "empty": lambda data: b"",
    "cut after 10 bytes": lambda data: data[:10],
    "cut in the middle": lambda data: data[: len(data) // 2],
    "cut before the end": lambda data: data[: int(0.98 * len(data))],
    "text": lambda data: b"these are words\n" * 20,
}


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_images(tmp_path, suffix, damage):
    (tmp_path / f"00000.{suffix}").write_bytes(DAMAGE[damage](noise_bytes(suffix)))
    line = refusal(tmp_path)
    assert f"00000.{suffix}: cannot be read as an image (" in line
    assert line.endswith("; replace it")


def test_pngs_that_pillow_refuses_in_other_ways(tmp_path):
    path = tmp_path / "00000.png"
    data = bytearray(noise_bytes("png"))
    data[data.index(b"IDAT") + 10] ^= 255
    path.write_bytes(data)
    assert "00000.png: cannot be read as an image" in refusal(tmp_path)
    # A text too long for it: ValueError, and already when it reads the header.
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    Image.new("RGB", (7, 4)).save(path, pnginfo=text)
    assert "00000.png: cannot be read as an image" in refusal(tmp_path)
    path.unlink()
    path.mkdir()
    assert "00000.png: cannot be read as an image" in refusal(tmp_path)


# Modes. Expected colours are worked out by hand.


def saved(path: Path, mode: str, pixels: list) -> np.ndarray:
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    image.save(path)
    return read_image(path)


def test_grey_and_colour(tmp_path):
    png = tmp_path / "0.png"
    assert saved(png, "L", [0, 7, 255]).tolist() == [[[0] * 3, [7] * 3, [255] * 3]]
    assert saved(png, "1", [0, 255, 0]).tolist() == [[[0] * 3, [255] * 3, [0] * 3]]
    assert saved(png, "RGB", [(1, 2, 3), (4, 5, 6)]).tolist() == [[[1, 2, 3], [4, 5, 6]]]
    # Alpha is dropped, not blended: a transparent pixel keeps its colour.
    assert saved(png, "RGBA", [(1, 2, 3, 0), (4, 5, 6, 255)]).tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert saved(png, "LA", [(9, 0), (8, 255)]).tolist() == [[[9] * 3, [8] * 3]]


def test_palette(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([2, 0, 1])
    image.save(tmp_path / "0.png")
    expected = [[[70, 80, 90], [10, 20, 30], [40, 50, 60]]]
    assert read_image(tmp_path / "0.png").tolist() == expected
    image.save(tmp_path / "0.png", transparency=bytes([0, 255, 100]))
    assert read_image(tmp_path / "0.png").tolist() == expected


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pnm", ".PPM"])
def test_colour_of_other_formats(tmp_path, suffix):
    path = tmp_path / f"0{suffix}"
    pixels = np.array([[[1, 2, 3], [4, 5, 6]], [[255, 0, 9], [0, 255, 80]]], dtype=np.uint8)
    Image.fromarray(pixels).save(path, lossless=True)  # a .webp is blurred else
    (image,) = open_frames(tmp_path)
    assert image.tolist() == pixels.tolist()


def test_portable_maps_of_any_highest_value(tmp_path):
    path = tmp_path / "0.pgm"
    path.write_bytes(b"P5 3 1 100\n" + bytes([0, 50, 100]))
    assert read_image(path)[0, :, 0].tolist() in ([0, 127, 255], [0, 128, 255])
    path.write_bytes(b"P2\n# plain\n3 1\n4095\n0 1365 4095\n")
    assert read_image(path)[0, :, 0].tolist() == [0, 85, 255]  # 1365 = 4095 / 3
    path.write_bytes(b"P5 3 1 65535\n" + struct.pack(">3H", 0, 257 * 7, 65535))
    assert read_image(path)[0, :, 0].tolist() == [0, 7, 255]
    path.write_bytes(b"P6 1 1 65535\n" + struct.pack(">3H", 0, 257 * 7, 65535))
    assert read_image(path).tolist() == [[[0, 7, 255]]]


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 8), (255, 0, 0, 0)).save(tmp_path / "0.jpg", quality=100)
    cyan = read_image(tmp_path / "0.jpg")
    assert cyan.shape == (8, 16, 3)
    assert np.abs(cyan.astype(int) - [0, 255, 255]).max() <= 2


# EXIF orientation

# The image whose rows are 123 and 456. By EXIF 2.32 (tag 274) row 0 and column 0 of the file are
# shown at: 1 top, left; 2 top, right; 3 bottom, right; 4 bottom, left; 5 left, top; 6 right, top;
# 7 right, bottom; 8 left, bottom.
SHOWN = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}
CELL = 16  # pixels, of one number: of a JPEG's blocks


def oriented(path: Path, orientation: int, shape: tuple[int, ...] = (), gain: int = 40) -> Path:
    """Write the image whose rows are 123 and 456, in 16 bits where ``gain`` is more than 40."""
    stored = gain * np.kron(np.array(SHOWN[1]), np.ones((CELL, CELL), int))
    stored = np.broadcast_to(stored.reshape(*stored.shape, *[1] * len(shape)), stored.shape + shape)
    stored = stored.astype(np.uint16 if gain > 40 else np.uint8)
    if path.suffix == ".tif":
        path.write_bytes(tiff(stored, orientation))
        return path
    exif = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 274, 3, 1, orientation, 0, 0)
    if path.suffix != ".png":
        # Pillow takes the EXIF of a .webp without its mark, too.
        Image.fromarray(stored).save(path, quality=95, exif=b"Exif\0\0" + exif)
        return path
    _, encoded = cv2.imencode(".png", stored)
    png = encoded.tobytes()
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    path.write_bytes(png[:33] + chunk + png[33:])  # after IHDR
    return path


def tiff(pixels: np.ndarray, orientation: int) -> bytes:
    """A TIFF of grey or colour, not compressed."""
    data, channels = pixels.tobytes(), pixels.shape[2] if pixels.ndim == 3 else 1
    bits = struct.pack("<3H", *[8 * pixels.itemsize] * 3)
    tags = {256: pixels.shape[1], 257: pixels.shape[0], 258: 8 * pixels.itemsize, 259: 1}
    tags |= {262: 2 if channels == 3 else 1, 273: 14, 274: orientation, 277: channels}
    tags |= {278: pixels.shape[0], 279: len(data)}
    fields = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    if channels == 3:  # stands elsewhere
        fields[2] = struct.pack("<HHII", 258, 3, 3, 8)
    count, last = struct.pack("<H", len(fields)), bytes(4)
    return (
        b"II*\0" + struct.pack("<I", 14 + len(data)) + bits + data + count + b"".join(fields) + last
    )


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize(
    ("suffix", "shape", "gain"),
    [
        *((suffix, (), 40) for suffix in (".jpg", ".png", ".tif")),
        *((suffix, (3,), 40) for suffix in (".jpg", ".webp", ".tif")),
        *((suffix, shape, 257 * 40) for suffix in (".png", ".tif") for shape in ((), (3,))),
    ],
)
def test_a_frame_is_turned_as_its_exif_orientation_says(tmp_path, orientation, suffix, shape, gain):
    oriented(tmp_path / f"0{suffix}", orientation, shape, gain)
    frames = open_frames(tmp_path)
    (image,) = frames
    assert image.shape == (frames.height, frames.width, 3)
    cells = image[CELL // 2 :: CELL, CELL // 2 :: CELL].astype(int)
    assert np.abs(cells - 40 * np.array(SHOWN[orientation])[..., None]).max() <= 2


def test_frames_whose_size_is_one_when_they_are_turned(tmp_path):
    oriented(tmp_path / "0.jpg", 6)
    oriented(tmp_path / "1.png", 8)
    grey_image(tmp_path / "2.png", 0, (2 * CELL, 3 * CELL))
    frames = open_frames(tmp_path)
    assert (frames.height, frames.width) == (3 * CELL, 2 * CELL)
    assert [image.shape for image in frames] == 3 * [(3 * CELL, 2 * CELL, 3)]
    oriented(tmp_path / "1.png", 3)
    assert refusal(tmp_path) == (
        f"{tmp_path}/1.png: is 48 x 32 pixels, 0.jpg is 32 x 48 when turned as its EXIF "
        "orientation says; all frames must have one size"
    )


def test_an_orientation_behind_the_pixels_of_a_png(tmp_path):
    whole = oriented(tmp_path / "0.png", 6).read_bytes()
    chunk = whole[33 : 33 + 12 + int.from_bytes(whole[33:37], "big")]
    plain = whole.replace(chunk, b"")
    (tmp_path / "0.png").write_bytes(plain[:-12] + chunk + plain[-12:])  # before IEND
    assert read_image(tmp_path / "0.png").shape == (3 * CELL, 2 * CELL, 3)
    assert refusal(tmp_path) == (
        f"{tmp_path}/0.png: is 32 x 48 pixels when read to its end, and 48 x 32 by its beginning; "
        "save the frame anew, turned as it is to be shown and without an EXIF orientation"
    )


# More than 8 bits


def deep_frames(folder: Path, images: list[np.ndarray]) -> list[np.ndarray]:
    """What is read of 16-bit PNGs that OpenCV has written: of colour in BGR."""
    for idx, image in enumerate(images):
        assert cv2.imwrite(str(folder / f"{idx}.png"), image.astype(np.uint16))
    return list(open_frames(folder))


def spread(values: np.ndarray) -> tuple[np.ndarray, int, int]:
    """What is shown of 16-bit values, [..., H, W, 3] not yet rounded, and the ends of the scale."""
    low, high = np.percentile(values, [0.1, 99.9], method="inverted_cdf")
    expected = ((values - float(low)) / (high - low) * 255).clip(0, 255)
    return (expected if values.shape[-1] == 3 else np.stack([expected] * 3, axis=-1)), low, high


@pytest.mark.parametrize("shape", [(41, 50), (41, 50, 3), (41, 50, 4)])
@pytest.mark.parametrize(("offset", "gain"), [(600, 12), (29_000, 11), (0, 1)])
def test_values_of_fewer_bits_are_spread_over_the_whole_video(tmp_path, shape, offset, gain):
    """12 bits, centi-Kelvin, and 8 bits that were not multiplied."""
    rng = np.random.default_rng(0)
    images = [offset + gain * rng.integers(0, 100 * (idx + 1), shape) for idx in range(2)]
    images[0][0, 0], images[0][0, 1] = 65535, 0  # dead pixels
    read = deep_frames(tmp_path, images)
    values = np.stack(images)
    if len(shape) == 3:
        values = values[..., 2::-1]  # RGB without alpha
    expected, low, high = spread(values)
    assert f", values {low} to {high} become 0 to 255, " in describe_frames(open_frames(tmp_path))
    assert np.abs(np.stack(read) - expected).max() <= 0.5001
    # Frame 0 has half of frame 1's values: it keeps its place in the scale of both.
    assert np.median(read[0]) == pytest.approx(np.median(read[1]) / 2, abs=3)


@pytest.mark.parametrize(
    "images",
    [
        [np.linspace(0, 65535, 2000), np.linspace(9000, 20_000, 2000)],
        [257 * np.arange(90, 120), 257 * np.arange(100, 130)],  # 8 bits made into 16
        [np.full(30, 30_000)] * 2,  # nothing to spread
        [np.zeros(30)] * 2,
    ],
    ids=["16 bits", "8 bits", "constant", "black"],
)
def test_values_that_are_divided_by_257(tmp_path, images):
    images = [image.astype(np.uint16).reshape(5, -1) for image in images]
    read = deep_frames(tmp_path, images)
    assert np.abs(np.stack(read)[..., 0] - np.stack(images) / 257).max() <= 0.5
    assert "become" not in describe_frames(open_frames(tmp_path))


def test_an_object_smaller_than_the_dead_pixels_may_be(tmp_path):
    images = [np.full((50, 50), 700)] * 2
    images[1] = images[1].copy()
    images[1][3, 4], images[1][3, 5] = 900, 850
    (first, second) = deep_frames(tmp_path, images)
    assert not first.any()
    assert second[3, 3:7, 1].tolist() == [0, 255, 191, 0] and second.sum() == 3 * (255 + 191)


def test_frames_of_8_and_of_16_bits(tmp_path):
    images = [np.linspace(0, 65535, 40).astype(np.uint16).reshape(5, 8)] * 2
    cv2.imwrite(str(tmp_path / "2.png"), np.arange(40, dtype=np.uint8).reshape(5, 8))
    # Programs that write PNGs write a frame with 8 bits where these hold all of it.
    assert deep_frames(tmp_path, images)[2][..., 0].ravel().tolist() == list(range(40))
    for idx in range(2):
        cv2.imwrite(str(tmp_path / f"{idx}.png"), images[idx] // 16)
    assert refusal(tmp_path) == (
        f"{tmp_path}/2.png: has 8 bits a value, 0.png has 16 of which few are used, so that they "
        "have no scale in common; save all frames alike"
    )


@pytest.mark.parametrize("suffix", [".tif", ".ppm"])
@pytest.mark.parametrize("shape", [(41, 50), (41, 50, 3)])
def test_fewer_bits_in_a_tiff_and_in_a_portable_map(tmp_path, shape, suffix):
    values = np.random.default_rng(0).integers(1000, 3000, shape).astype(np.uint16)
    _, data = cv2.imencode(suffix if len(shape) == 3 else suffix.replace("ppm", "pgm"), values)
    (tmp_path / f"0{suffix}").write_bytes(data.tobytes())
    (image,) = open_frames(tmp_path)
    assert np.abs(image[..., ::-1] - spread(values)[0]).max() <= 0.5001


@pytest.mark.filterwarnings("ignore")  # Pillow's, about damaged metadata
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("keep", [0.5, 0.98])
@pytest.mark.parametrize("shape", [(H, W), (H, W, 3)])
def test_a_truncated_16_bit_frame(tmp_path, shape, keep, suffix):
    values = np.random.default_rng(0).integers(0, 4096, shape).astype(np.uint16)
    _, data = cv2.imencode(suffix, values)
    (tmp_path / f"0{suffix}").write_bytes(data.tobytes())
    (tmp_path / f"1{suffix}").write_bytes(data.tobytes()[: int(data.size * keep)])
    assert f"{tmp_path}/1{suffix}: cannot be read as an image (" in refusal(tmp_path)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int16, np.uint32])
def test_values_that_are_not_whole_or_have_a_sign(tmp_path, dtype):
    _, data = cv2.imencode(".tif", np.ones((4, 6), np.int16 if dtype == np.int16 else np.float32))
    if dtype in (np.int32, np.uint32):
        # Of the tag SampleFormat: 3 is of float, 2 of whole numbers with a sign, 1 without.
        tag, kind = struct.pack("<HHII", 339, 3, 1, 3), 2 if dtype == np.int32 else 1
        assert data.tobytes().count(tag) == 1
        data = np.frombuffer(
            data.tobytes().replace(tag, struct.pack("<HHII", 339, 3, 1, kind)), np.uint8
        )
    (tmp_path / "0.tif").write_bytes(data.tobytes())
    assert refusal(tmp_path) == (
        f"{tmp_path}/0.tif: has values with a sign, a decimal point or more than 16 bits; make 8 "
        "or 16 bits of all frames, in one scale"
    )


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_a_file_of_several_images(tmp_path, suffix):
    pictures = [Image.new("RGB", (6, 4), colour) for colour in ("red", "green")]
    pictures[0].save(tmp_path / f"0{suffix}", save_all=True, append_images=pictures[1:])
    assert refusal(tmp_path) == (
        f"{tmp_path}/0{suffix}: holds several images; save each as a file of its own, or all as a "
        "video file"
    )


# Videos


def pictures(n: int) -> list[np.ndarray]:
    """Four flat quarters, one of which brightens with time."""
    images = []
    for idx in range(n):
        image = np.zeros((H, W, 3), dtype=np.uint8)
        image[: H // 2, : W // 2] = (200, 40, 40)
        image[: H // 2, W // 2 :] = (40, 180, 60)
        image[H // 2 :, : W // 2] = (50, 60, 200)
        image[H // 2 :, W // 2 :] = 20 + 200 * idx // max(n - 1, 1)
        images.append(image)
    return images


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_video_gives_back_what_was_written(tmp_path, suffix, capsys):
    images = pictures(9)
    path = write_clip(tmp_path / f"clip 100% #1{suffix}", images, rate=12, bit_rate=8_000_000)
    frames = open_frames(path)
    assert (frames.count, frames.height, frames.width) == (9, H, W)
    assert frames.fps == pytest.approx(12, rel=1e-3)  # .mkv has milliseconds
    assert f"{suffix}: 9 frames, 80 x 48 (width x height), 12 fps, " in describe_frames(frames)
    decoded = list(frames)
    assert len(decoded) == 9
    for image, written in zip(decoded, images, strict=True):
        assert image.dtype == np.uint8 and image.shape == written.shape
        # Middles of the quarters, away from where chroma is shared between neighbours.
        for y, x in ((10, 15), (10, 60), (36, 15), (36, 60)):
            assert np.abs(image[y, x].astype(int) - written[y, x]).max() <= 8
    again = list(frames)
    assert all(np.array_equal(one, two) for one, two in zip(decoded, again, strict=True))
    assert capsys.readouterr().err == ""


def test_frame_rate_that_is_no_whole_number(tmp_path):
    frames = open_frames(write_clip(tmp_path / "a.mp4", pictures(5), rate=Fraction(30000, 1001)))
    assert frames.fps == pytest.approx(29.97003)
    assert " 30 fps, " in describe_frames(frames)


@pytest.mark.parametrize(
    ("name", "codec", "b_frames"),
    [
        ("b.mp4", "mpeg4", 2),
        ("b.avi", "mpeg4", 2),  # has no time to show a frame at, only one to decode it at
        ("b.ts", "mpeg2video", 2),  # starts later than 0
        ("raw.m4v", "mpeg4", 0),  # has no times
        ("a.gif", "gif", 0),
        ("one.mp4", "mpeg4", 0),
    ],
)
def test_frame_rate_of_what_has_few_times_or_odd_ones(tmp_path, name, codec, b_frames):
    images = pictures(1 if name.startswith("one") else 11)
    pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
    path = write_clip(tmp_path / name, images, codec, pix_fmt=pix_fmt, max_b_frames=b_frames)
    frames = open_frames(path)
    assert (frames.count, frames.fps) == (len(images), pytest.approx(25, rel=1e-3))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([7.0, 7.5, 8.0], 2),
        ([0, 0.1, 0.2, 1.6], 3 / 1.6),
        ([0, 0, 1, 1, 2], 2),
        ([0, 0.2, 0.1, 0.3, 0.5, 0.4, 0.6], 10),
        ([None, 0, None, 2, None], 1),
        ([-1, 0, 1, 0, 1, 2], 1),  # a second recording, joined to the first
        ([0, 1, 1e5, 1e5 + 1], 1),
        ([3, 3, 3], 50),  # of the header
        ([3], 50),
        ([None] * 3, 50),
        ([3, 2], 50),
        ([], 50),
    ],
)
def test_frame_rate_of_any_times(times, expected):
    assert frame_rate(times, 50.0) == pytest.approx(expected)


@pytest.mark.parametrize("by_header", [None, 0.0, -1.0, 90_000.0, float("inf"), float("nan")])
def test_a_header_that_tells_no_frame_rate(by_header):
    assert frame_rate([None, None], by_header) is None
    assert frame_rate([0, 0.5], by_header) == 2


@pytest.mark.parametrize("suffix", [".mp4", ".txt", ".log", ".md"])
def test_a_text_file_is_no_video(tmp_path, suffix):
    path = tmp_path / f"notes{suffix}"
    path.write_text("what to film tomorrow\n" * 50)
    assert re.search("cannot be decoded as a video|has no video stream", refusal(path))


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(struct.pack("<800h", *range(800)))
    assert refusal(path) == f"{path}: has no video stream; give a video or a frame folder"


# The matrix of an mp4 track: ISO/IEC 14496-12 section 6.2.2, (a, b, u, c, d, v, x, y, w) with
# x' = a x + c y + x, y' = b x + d y + y; 16.16 fixed point, u, v and w 2.30.
ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "quarter_turns"),
    [
        ((ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30), 0),
        ((0, ONE, 0, -ONE, 0, 0, H * ONE, 0, 1 << 30), -1),  # (x, y) -> (H - y, x): clockwise
        ((-ONE, 0, 0, 0, -ONE, 0, W * ONE, H * ONE, 1 << 30), 2),
        ((0, -ONE, 0, ONE, 0, 0, 0, W * ONE, 1 << 30), 1),  # (x, y) -> (y, W - x)
    ],
    ids=["as it is", "clockwise", "half", "counterclockwise"],
)
def test_a_video_is_turned_as_players_turn_it(tmp_path, matrix, quarter_turns):
    path = write_clip(tmp_path / "a.mp4", pictures(2))
    lying = next(iter(open_frames(path)))
    data = bytearray(path.read_bytes())
    # tkhd, version 0: flags, two times, track, reserved, duration, reserved, four shorts, matrix
    at = data.index(b"tkhd") + 4 + 4 + 8 + 4 + 4 + 4 + 8 + 8
    assert struct.unpack(">9i", data[at : at + 36]) == (ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    frames = open_frames(path)
    image = next(iter(frames))
    assert (frames.height, frames.width) == image.shape[:2]
    assert np.array_equal(image, np.rot90(lying, quarter_turns))
    assert image.flags.c_contiguous
    ok, bgr = cv2.VideoCapture(str(path)).read()  # OpenCV turns by itself
    assert ok and bgr.shape == image.shape
    assert np.abs(bgr[..., ::-1].astype(int) - image).max() <= 3


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc to count open files in")
def test_a_reading_that_is_given_up_closes_its_file(tmp_path):
    path = write_clip(tmp_path / "a.mp4", pictures(9))

    def n_open() -> int:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return sum(link.is_symlink() and os.readlink(link) == str(path) for link in links)

    frames = open_frames(path)
    assert n_open() == 0
    reading = iter(frames)
    next(reading)
    assert n_open() == 1
    del reading
    assert n_open() == 0
    for _ in zip(frames, range(3)):  # noqa: B905  # stops half-way
        pass
    assert n_open() == 0


@pytest.mark.filterwarnings("ignore")  # Pillow's, about damaged metadata
def test_a_tiff_whose_tags_are_of_another_type(tmp_path):
    whole = tiff(np.zeros((2, 3), np.uint8), 6)
    refused = set()
    for tag, kind in itertools.product((256, 257, 258, 273, 274, 278, 279), range(14)):
        at = whole.index(struct.pack("<HH", tag, 4))
        (tmp_path / "0.tif").write_bytes(
            whole[:at] + struct.pack("<HH", tag, kind) + whole[at + 4 :]
        )
        try:
            (image,) = open_frames(tmp_path)
            assert image.shape == (3, 2, 3) or tag == 274
        except InputError as error:
            assert f"{tmp_path}/0.tif: " in str(error)
            refused.add(tag)
    assert refused >= {256, 257, 273}
