"""Where the sequences and annotations of data sets are found, in the layouts of published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ike_data.runtime.errors import InputError
from ike_tools.data_sets.layouts import annotations_beside, describe, find_annotations, find_videos

DAVIS = (
    "JPEGImages/480p/bear/00000.jpg",
    "JPEGImages/480p/cow/00000.jpg",
    "Annotations/480p/bear/00000.png",
    "ImageSets/2016/val.txt",
    "README.md",
)
YOUTUBE = (
    "train/JPEGImages/bear/00000.jpg",
    "train/JPEGImages/cow/00000.jpg",
    "train/Annotations/bear/00000.png",
    "train/meta.json",
)
SEGTRACK = (
    "JPEGImages/bear/bear_00000.png",
    "JPEGImages/cow/cow_00000.png",
    "GroundTruth/bear/1/bear_00000.png",
    "GroundTruth/cow/1/cow_00000.png",
    "GroundTruth/cow/2/cow_00000.png",
)
FBMS = (
    "Testset/bear/bear_0001.jpg",
    "Testset/bear/GroundTruth/bear_0001_gt.png",
    "Testset/cow/cow_0001.jpg",
)
KINDS = (("JPEGImages", "jpg"), ("Annotations", "png"))


def make(root: Path, files: Sequence[str]) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("files", "given", "frames", "annotations"),
    [
        (DAVIS, "", "JPEGImages/480p", "Annotations/480p/bear"),
        (DAVIS, "JPEGImages", "JPEGImages/480p", "Annotations/480p/bear"),
        (DAVIS, "JPEGImages/480p", "JPEGImages/480p", "Annotations/480p/bear"),
        (YOUTUBE, "", "train/JPEGImages", "train/Annotations/bear"),
        (YOUTUBE, "train", "train/JPEGImages", "train/Annotations/bear"),
        (SEGTRACK, "", "JPEGImages", "GroundTruth/bear/1"),
        (FBMS, "", "Testset", "Testset/bear/GroundTruth"),
        (FBMS, "Testset", "Testset", "Testset/bear/GroundTruth"),
        (("bear/0.jpg", "cow/0.png"), "", "", None),
    ],
)
def test_layouts(tmp_path, files, given, frames, annotations):
    videos = find_videos(make(tmp_path, files) / given)
    folder = tmp_path / frames
    assert videos.frames == {name: folder / name for name in ("bear", "cow")}
    found = annotations_beside(videos)
    expected = None if annotations is None else {"bear": tmp_path / annotations}
    assert (found and found.of) == expected
    if expected is not None and given not in ("JPEGImages", "JPEGImages/480p"):
        assert find_annotations(tmp_path / given).of == expected
    said = describe(tmp_path / given, videos, found)
    assert ("2 sequences" in said, "all but cow" in said) == (True, expected is not None)


def test_the_frames_alone_are_not_taken_for_annotations(tmp_path):
    make(tmp_path, ["JPEGImages/bear/0.png", "Testset/bear/0.png"])
    assert annotations_beside(find_videos(tmp_path)) is None
    with pytest.raises(InputError, match=r"is one sequence, with .* in .*bear/GroundTruth; give"):
        find_annotations(make(tmp_path / "bear", ["0.jpg", "GroundTruth/0.png"]))
    with pytest.raises(InputError, match="has JPEGImages, but neither Annotations nor GroundTruth"):
        find_annotations(tmp_path)


def test_a_folder_of_videos_and_of_results(tmp_path):
    make(tmp_path, ["a b.mp4", "c.MOV", "notes.txt", ".hidden/0.jpg", "results/out/c/0.pt"])
    (tmp_path / "broken").mkdir()
    videos = find_videos(tmp_path, [tmp_path / "results" / "out"])
    assert videos.frames == {
        "a b": tmp_path / "a b.mp4",
        "broken": tmp_path / "broken",  # its run says what is wrong
        "c": tmp_path / "c.MOV",
    }
    make(tmp_path, ["c/0.jpg"])
    with pytest.raises(InputError, match="has the name of c; rename one of them"):
        find_videos(tmp_path)


def test_resolutions(tmp_path):
    sizes = "480p", "1080p", "Full-Resolution"
    made = [[f"{kind}/{size}/bear/0.{end}" for size in sizes] for kind, end in KINDS]
    make(tmp_path, [*made[0], *made[1]])
    videos = find_videos(tmp_path)
    assert videos.folder == tmp_path / "JPEGImages/480p"
    assert "1080p, Full-Resolution; give" in describe(tmp_path, videos, annotations_beside(videos))
    other = annotations_beside(find_videos(tmp_path / "JPEGImages/1080p"))
    assert other is not None
    assert other.folder == tmp_path / "Annotations/1080p"
    for kind, _ in KINDS:
        (tmp_path / kind / "480p").rename(tmp_path / f"{kind} away")
    for find in (find_videos, find_annotations):
        with pytest.raises(InputError, match=r"several resolutions .*1080p, Full-.*; give one"):
            find(tmp_path)
    (tmp_path / "JPEGImages/1080p").rename(tmp_path / "away")
    assert find_videos(tmp_path).folder == tmp_path / "JPEGImages/Full-Resolution"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no folder of frames and no video file; looked for .*JPEGImages/RESOLUTION"),
        (["bear/frames/0.jpg"], "holds no folder of frames and no video file; looked for"),
        (["JPEGImages/480p/bear/0.gif"], "JPEGImages: holds no sequence; looked for .*480p"),
        (["0.jpg"], "holds frames itself"),
        (
            ["train/JPEGImages/a/0.jpg", "valid/JPEGImages/b/0.jpg"],
            r"several parts of a data set \(train, valid\); give one, e.g. .*/train",
        ),
    ],
)
def test_what_cannot_be_found(tmp_path, files, message):
    with pytest.raises(InputError, match=message):
        find_videos(make(tmp_path, files))
