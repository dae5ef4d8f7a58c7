"""The order of a folder's frames; what a file manager shows is written down by hand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from ike_data.frame_names import frame_names_of, write_frame_names
from ike_data.frame_order import natural_order, order_frames, order_masks
from ike_data.frames import describe_frames, open_frames
from ike_data.runtime.errors import InputError


def shuffled(names: list[str]) -> list[Path]:
    files = [Path("folder 9") / name for name in names]
    random.Random(0).shuffle(files)
    return files


def numbered(numbers: list[int], name: str = "{:05d}.jpg") -> list[Path]:
    return shuffled([name.format(number) for number in numbers])


# As file managers show them.
CLOCK = [f"IMG 11-{(15 + s) // 60 + 4:02d}-{(15 + s) % 60:02d}.jpg" for s in range(60)]
ORDERS = [
    CLOCK,
    ["img8.png", "img9.png", "img10.png", "img11.png"],
    ["7.JPEG", "8.jpg", "9.png"],
    ["Frame-98.png", "frame-99.png", "FRAME-100.png"],
    ["00000_640x480.jpg", "00001_640x480.jpg", "00002_640x480.jpg"],
    ["v1.5 take 003 x.jpg", "v1.5 take 004 x.jpg"],
    ["shot1_009.png", "shot1_010.png", "shot2_001.png"],
    ["t0.1.png", "t0.15.png", "t0.2.png", "t1.0.png"],
    ["t0.1.png", "t0.2.png", "t0.3.png", "t0.35.png"],
    ["1305031102.175304.png", "1305031102.211214.png", "1305031103.1.png"],
    ["1.8.png", "1.9.png", "1.10.png", "1.11.png"],
    ["2026.1.5.png", "2026.1.12.png", "2026.11.2.png"],
    ["a.png", "b.png", "c.png"],
    ["photo.png"],
]


@pytest.mark.parametrize("names", ORDERS, ids=lambda names: names[0])
def test_frames_are_in_the_natural_order_of_their_names(names):
    assert [path.name for path in order_frames(shuffled(names)).files] == names


@pytest.mark.parametrize(
    ("numbers", "unevenly"),
    [
        (range(4), False),
        (range(99_998, 100_003), False),
        (range(0, 100, 5), False),
        ([0, 1, 3, 5, 6], True),  # half of the steps are of 2
        ([0, 10, 20, 33, 43], True),  # 13 is no multiple of 10
    ],
)
def test_an_index_in_even_steps_says_its_order_itself(numbers, unevenly):
    note = order_frames(numbered(list(numbers))).note
    assert bool(note) == unevenly
    if unevenly:
        ends = f"{numbers[0]:05d}.jpg to {numbers[-1]:05d}.jpg"
        assert note == f"ordered by name, {ends}, numbered unevenly"


@pytest.mark.parametrize(
    ("numbers", "missing", "before", "after"),
    [
        ([0, 1, 2, 4], 3, 2, 4),
        ([0, 5, 6, 7, 8], 1, 0, 5),
        ([*range(0, 60, 5), *range(70, 125, 5)], 60, 55, 70),
        ([*range(20), *range(22, 32), *range(35, 45)], 20, 19, 22),
        ([0, 10**18, 3 * 10**18], 2 * 10**18, 10**18, 3 * 10**18),
    ],
)
# Six digits are no time of day only because they could be.
@pytest.mark.parametrize("name", ["{:05d}.jpg", "{:06d}.jpg", "cam 2, {} (640x480).jpg"])
def test_a_missing_frame_is_named(numbers, missing, before, after, name):
    with pytest.raises(InputError) as caught:
        order_frames(numbered(numbers, name))
    assert str(caught.value) == (
        f"folder 9: frame {missing} is missing (after {name.format(before)} comes "
        f"{name.format(after)}); add it, or number the frames without a gap"
    )


@pytest.mark.parametrize(
    "names",
    [
        [f"IMG_20240101_{11_04_15 + s + 40 * (s >= 45)}.jpg" for s in range(60)],
        ["Shot 105959.png", "Shot 110000.png", "Shot 110001.png", "Shot 110002.png"],
        ["20240130.tif", "20240131.tif", "20240201.tif", "20240202.tif"],
        ["20231231235958.jpg", "20231231235959.jpg", "20240101000000.jpg"],
        ["110459500.jpg", "110500500.jpg", "110501500.jpg"],
        # Since 1970, and one frame was dropped.
        [f"{1_403_636_579_763 + 50 * i}.png" for i in range(20) if i != 7],
        [f"{1_403_636_579_763_555_584 + 50_000_000 * i}.png" for i in range(20) if i != 7],
    ],
    ids=lambda names: names[0],
)
def test_times_and_dates_without_marks_between_are_no_index(names):
    ordered = order_frames(shuffled(names))
    assert [path.name for path in ordered.files] == names
    assert ordered.note == f"ordered by name, {names[0]} to {names[-1]}, numbered unevenly"


def test_an_order_that_several_numbers_give_is_said():
    assert order_frames(shuffled(CLOCK)).note == (
        "ordered by name, IMG 11-04-15.jpg to IMG 11-05-14.jpg"
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0.jpg", "1.jpg", "cover.jpg"], "cover.jpg: the name has no number, others in the"),
        (["1.jpg", "1.png"], "1.png: has the same number as 1.jpg; keep one of them"),
        (["1.jpg", "01.jpg"], "1.jpg: has the same number as 01.jpg; keep one of them"),
        (["left1.png", "right1.png"], "right1.png: has the same number as left1.png; keep one"),
        (["a2.png", "b1.png"], "a2.png: comes before b1.png by name, and after it by number"),
    ],
)
def test_names_that_give_no_order_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        order_frames(shuffled(names))


def test_masks_are_complete_or_in_even_steps():
    assert [path.stem for path in order_masks(numbered([2, 0, 1], "{:05d}.pt"))][-1] == "00002"
    assert len(order_masks(numbered([0, 5, 10]))) == 3
    assert len(order_masks(shuffled(["0.25.pt", "0.5.pt", "0.75.pt"]))) == 3
    with pytest.raises(InputError, match=r"frame 3 is missing .*; make all masks of the video"):
        order_masks(numbered([0, 1, 2, 4, 6, 7, 9]))
    # Annotations may be of any frames.
    assert len(natural_order(numbered([0, 1, 2, 4, 6, 7, 9]))) == 7


def test_the_order_of_a_folder_is_said_and_kept_beside_results(tmp_path):
    video, out = tmp_path / "video", tmp_path / "out"
    video.mkdir()
    for value, name in enumerate(['IMG "1", 9-50.png', 'IMG "1", 10-02.png']):
        Image.new("L", (4, 3), value).save(video / name)
    frames = open_frames(video)
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 1]
    said = ' no frame rate, ordered by name, IMG "1", 9-50.png to IMG "1", 10-02.png, '
    assert said in describe_frames(frames)
    masks = out / "results_pt" / "epoch_00001"
    masks.mkdir(parents=True)
    assert frame_names_of(masks) is None
    write_frame_names(out, frames.names)
    assert (out / "frames.csv").read_text() == (
        'index,frame\n0,"IMG ""1"", 9-50.png"\n1,"IMG ""1"", 10-02.png"\n'
    )
    assert frame_names_of(masks) == frames.names
    write_frame_names(out, None)
    assert frame_names_of(masks) is None


@pytest.mark.parametrize("text", ["", "index,frame\n", "index,frame\n1,a.jpg\n", "0,a.jpg\n", "\0"])
def test_a_damaged_list_of_frames_is_refused(tmp_path, text):
    (tmp_path / "frames.csv").write_text(text)
    with pytest.raises(InputError, match=r"frames\.csv: expected the line index,frame"):
        frame_names_of(tmp_path)


def test_names_that_are_no_text_are_kept(tmp_path):
    name = b"\xff 1.jpg".decode("utf-8", "surrogateescape")
    write_frame_names(tmp_path, [name])
    assert frame_names_of(tmp_path) == [name]
