"""Which frame an annotation is of, in the ways that data sets name both; expected by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from ike_data.runtime.errors import InputError
from ike_tools.data_sets.frame_matching import annotated_frames


def matched(annotations: list[str], names: list[str] | None, n_frames: int) -> list[int]:
    files = [Path("a") / name for name in annotations]
    found = annotated_frames(files, names, n_frames, "give --frames")
    assert sorted(found.values()) == sorted(files)
    return [idx for name in annotations for idx, path in found.items() if path.name == name]


def named(pattern: str, numbers) -> list[str]:
    return [pattern.format(number) for number in numbers]


@pytest.mark.parametrize(
    ("annotations", "names", "expected"),
    [
        # YouTube-VOS: every frame, annotations of every 5th.
        (named("{:05d}.png", range(0, 20, 5)), named("{:05d}.jpg", range(20)), [0, 5, 10, 15]),
        # The same, and the frames are every 5th as well.
        (named("{:05d}.png", (10, 20)), named("{:05d}.jpg", range(0, 30, 5)), [2, 4]),
        # FBMS.
        (["marple1_020.png"], named("marple1_{:03d}.jpg", range(1, 31)), [19]),
        (["marple1_020_gt.png"], named("marple1_{:03d}.jpg", range(1, 31)), [19]),
        # The number of the frame counts, not its index.
        (["0002.png", "0003.png"], named("frame_{}.png", range(1, 5)), [1, 2]),
        (["IMG 9-00.png"], ["IMG 8-59.jpg", "IMG 9-00.jpg", "IMG 9-01.jpg"], [1]),
        # One for each frame: in their order, whatever they are called.
        (["1.png", "2.png", "3.png"], ["a 0.jpg", "a 1.jpg", "a 2.jpg"], [0, 1, 2]),
    ],
)
def test_annotations_are_matched_by_the_names_of_the_frames(annotations, names, expected):
    assert matched(annotations, names, len(names)) == expected


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        (named("{:05d}.png", (0, 5, 10)), [0, 5, 10]),
        (named("{:05d}.png", (5, 12)), [4, 11]),  # 12 is the last frame, counted from 1
        (named("{}.png", range(1, 13)), list(range(12))),
    ],
)
def test_without_names_by_number(annotations, expected):
    assert matched(annotations, None, 12) == expected


@pytest.mark.parametrize(
    ("annotations", "names", "message"),
    [
        (["7.png", "9.png"], ["5.jpg", "6.jpg", "7.jpg"], "a: its annotations, 7.png to 9.png,"),
        (["7.png", "9.png"], None, r"are not those of the 3 frames numbered 0 to 2; give --frames"),
        (["cat.png"], None, r"a: its annotations, cat.png to cat.png, are not those of"),
        (named("{}.png", range(4)), None, "a: holds 4 annotations, the video has 3 frames; is it"),
    ],
)
def test_annotations_of_other_frames_are_refused(annotations, names, message):
    with pytest.raises(InputError, match=message):
        matched(annotations, names, 3)
