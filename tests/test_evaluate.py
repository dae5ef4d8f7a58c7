"""The evaluation command: what it reads, how it hardens soft masks, what it writes and refuses."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import commands
import numpy as np
import pytest
import torch
from commands import call
from files import write_frames
from PIL import Image

import evaluate
from ike_data.frame_names import write_frame_names
from ike_data.runtime.errors import InputError
from ike_data.soft_masks import write_soft_masks
from ike_tools.masks.mask_values import harden

H, W = 12, 20


def columns(n: int, value: int = 255) -> np.ndarray:
    """The first n columns are object: J of columns(a) with columns(b) is min / max of a, b."""
    mask = np.zeros((H, W), dtype=np.uint8)
    mask[:, :n] = value
    return mask


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the command in tmp_path; the rows of its CSV."""

    def run_evaluate(results, annotations: Path, *flags: object) -> list[dict[str, str]]:
        """``results``: a folder, or several."""
        monkeypatch.chdir(tmp_path)
        folders = [results] if isinstance(results, Path) else results
        call(evaluate, "--results", *folders, "--annotations", annotations, *flags)
        lines = (tmp_path / "results.csv").read_text().splitlines()
        (tmp_path / "results.csv").unlink()
        return list(csv.DictReader(lines))

    return run_evaluate


def refused(run, match: str, results, annotations: Path, *flags: object) -> None:
    with pytest.raises(InputError, match=match):
        run(results, annotations, *flags)
    assert not Path("results.csv").exists()


@pytest.fixture(name="annotations")
def annotation_folder(tmp_path) -> Path:
    return write_frames(tmp_path / "annotations", [columns(10)] * 4)


def test_csv_of_one_sequence(run, tmp_path, annotations, capsys):
    # Scored are frames 1 and 2, with J = 5/10 and 8/10. Recall: one of the two is above 0.5.
    # Decay of two frames: the first bin is the first frame, the last bin the second one.
    # F: the diagonal is 23.3 pixels, so boundaries match within ceil(0.19) = 1 pixel; they are
    # lines at columns 4, 7 and 9, so F = 0.
    results = write_frames(tmp_path / "net", [columns(0), columns(5), columns(8), columns(0)])
    (row,) = run(results, annotations)
    assert row == {
        "results": str(results),
        "sequence": "annotations",
        "frames": "2",
        "threshold": "0.5",
        "J_mean": "0.650000",
        "J_recall": "0.500000",
        "J_decay": "-0.300000",
        "F_mean": "0.000000",
        "F_recall": "0.000000",
        "F_decay": "0.000000",
    }
    printed = capsys.readouterr().out
    assert "0.650" in printed
    assert "object is where the soft mask >= 0.5" in printed
    assert printed.rstrip().endswith("results.csv")


def test_all_frames_counts_the_first_and_the_last(run, tmp_path, annotations):
    results = write_frames(tmp_path / "net", [columns(0), columns(10), columns(9), columns(0)])
    (row,) = run(results, annotations, "--all-frames")
    assert row["frames"] == "4"
    assert float(row["J_mean"]) == pytest.approx((0 + 1 + 0.9 + 0) / 4)
    # Columns 8 and 9 are within one pixel, so F is 1 for both; an empty mask has F = 0.
    assert float(row["F_mean"]) == pytest.approx(0.5)


def test_pt_soft_png_and_strict_png_give_the_same(run, tmp_path):
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (5, H, W), dtype=np.uint8)
    levels[:, 0, :2] = 127, 128  # just below and above the threshold
    truth = rng.random((5, H, W)) > 0.4
    annotations = write_frames(tmp_path / "a", list(truth.astype(np.uint8) * 255))
    strict = (levels > 127).astype(np.uint8) * 255
    soft = torch.from_numpy(levels).to(torch.float32) / 255
    write_soft_masks(tmp_path / "pt", soft)
    (tmp_path / "pt_2d").mkdir()
    for idx, mask in enumerate(soft):
        torch.save(mask.clone(), tmp_path / f"pt_2d/{idx:05d}.pt")
    folders = [
        tmp_path / "pt",
        tmp_path / "pt_2d",
        write_frames(tmp_path / "soft", list(levels)),
        write_frames(tmp_path / "strict", list(strict)),
        write_frames(tmp_path / "16_bit", list(levels.astype(np.uint16) * 257)),
        write_frames(tmp_path / "1_bit", list(strict > 0)),
    ]
    rows = run(folders, annotations)
    hard = levels > 127
    intersection = (hard & truth)[1:-1].sum(axis=(1, 2))
    union = (hard | truth)[1:-1].sum(axis=(1, 2))
    for row in rows:
        assert float(row["J_mean"]) == pytest.approx((intersection / union).mean(), abs=1e-6)
    assert len(rows) == 6
    assert len({(row["J_mean"], row["F_mean"], row["J_decay"]) for row in rows}) == 1


@pytest.mark.parametrize(("threshold", "n_columns"), [(0.5, 4), (0.3, 5), (0.1, 6)])
def test_pt_is_resized_before_the_threshold(run, tmp_path, threshold, n_columns):
    # Two columns 1, 0 brought to eight, bilinearly (align_corners=False), are
    # 1, 1, 0.875, 0.625, 0.375, 0.125, 0, 0: 4 columns are >= 0.5, 5 are >= 0.3, 6 are >= 0.1.
    (tmp_path / "net").mkdir()
    for idx in range(3):
        torch.save(torch.tensor([[[1.0], [0.0]]] * 3), tmp_path / f"net/{idx:05d}.pt")
    truth = np.zeros((6, 8), dtype=np.uint8)
    truth[:, :4] = 255
    annotations = write_frames(tmp_path / "a", [truth] * 3)
    (row,) = run(tmp_path / "net", annotations, "--threshold", threshold)
    assert float(row["J_mean"]) == pytest.approx(4 / n_columns, abs=1e-6)


def test_threshold_includes_the_value_itself():
    soft = np.arange(256, dtype=np.float32) / np.float32(255)
    assert harden(soft, 0.2).sum() == 256 - 51  # 51 / 255 = 0.2
    assert harden(soft, 0.0).all()
    assert harden(soft, 1.0).sum() == 1
    assert harden(np.array([0.7], np.float32), 0.7).all()  # as float32, 0.7 is below 0.7


def test_annotations_of_any_non_zero_value(run, tmp_path):
    palette = Image.fromarray(columns(10, value=1)).convert("P")
    palette.putpalette([0, 0, 0, 0, 0, 0])  # both indices are black
    (tmp_path / "a").mkdir()
    palette.save(tmp_path / "a/00000.png")
    Image.fromarray(columns(10, value=1)).save(tmp_path / "a/00001.png")
    Image.fromarray(columns(10, value=7)).convert("RGBA").save(tmp_path / "a/00002.png")
    results = write_frames(tmp_path / "net", [columns(10)] * 3)
    (row,) = run(results, tmp_path / "a", "--all-frames")
    assert row["J_mean"] == "1.000000"


def make_data_set(tmp_path: Path) -> tuple[Path, Path]:
    # Scored J, short: 1 frame of 5/10. long: 3 frames of 10/10, 9/10, 8/10.
    write_frames(tmp_path / "a/short", [columns(10)] * 3)
    write_frames(tmp_path / "a/long", [columns(10)] * 5)
    write_frames(tmp_path / "net/short", [columns(5)] * 3)
    write_frames(tmp_path / "net/long", [columns(n) for n in (0, 10, 9, 8, 0)])
    return tmp_path / "net", tmp_path / "a"


def test_stages_inside_the_folders_of_a_data_set_are_compared(run, tmp_path, capsys):
    for name in ("cat", "dog"):
        write_frames(tmp_path / "annotations" / name, [columns(10)] * 3)
        write_frames(tmp_path / "out" / name / "graph_1" / "iter_19", [columns(5)] * 3)
        write_frames(tmp_path / "out" / name / "net_1", [columns(8)] * 3)
    stages = ("graph_1/iter_19", "net_1")
    folders = (tmp_path / "out", tmp_path / "annotations")
    rows = run(*folders, "--stage", *stages)
    assert [(row["results"], row["J_mean"]) for row in rows if row["sequence"] == "cat"] == [
        (str(tmp_path / "out" / "*" / "graph_1/iter_19"), "0.500000"),
        (str(tmp_path / "out" / "*" / "net_1"), "0.800000"),
    ]
    assert "[2] J mean" in capsys.readouterr().out
    absent = "out: has masks of no sequence of .*: .*out/cat/net_7 is not there"
    refused(run, absent, *folders, "--stage", "net_1", "net_7")


def test_a_stage_of_a_single_sequence(run, tmp_path, annotations):
    write_frames(tmp_path / "out" / "net_1", [columns(8)] * 4)
    (row,) = run(tmp_path / "out", annotations, "--stage", "net_1")
    assert (row["results"], row["J_mean"]) == (str(tmp_path / "out" / "net_1"), "0.800000")
    refused(run, "holds no mask.*in a folder inside it.* give that", tmp_path / "out", annotations)


def test_data_set_has_both_averages(run, tmp_path, capsys):
    results, annotations = make_data_set(tmp_path)
    write_frames(results / "unknown", [columns(1)])
    rows = {row["sequence"]: row for row in run(results, annotations)}
    assert list(rows) == ["long", "short", "mean over sequences", "mean over frames"]
    assert float(rows["long"]["J_mean"]) == pytest.approx(0.9)
    assert float(rows["short"]["J_mean"]) == pytest.approx(0.5)
    # Over sequences (0.9 + 0.5) / 2; over frames (0.5 + 1.0 + 0.9 + 0.8) / 4.
    assert float(rows["mean over sequences"]["J_mean"]) == pytest.approx(0.7)
    assert float(rows["mean over frames"]["J_mean"]) == pytest.approx(0.8)
    assert float(rows["mean over sequences"]["J_recall"]) == pytest.approx(0.5)
    assert float(rows["mean over frames"]["J_recall"]) == pytest.approx(0.75)
    # Decay of long, n = 3: linspace(1, 3, 5) = 1, 1.5, 2, 2.5, 3, rounded 1, 2, 2, 3, 3; the first
    # bin is frames 1-2, the last frame 3: 0.95 - 0.8. Of short: 0. Over frames it has no meaning.
    assert float(rows["mean over sequences"]["J_decay"]) == pytest.approx(0.15 / 2)
    assert rows["mean over frames"]["J_decay"] == ""
    assert rows["mean over frames"]["frames"] == "4"
    assert "not scored, as they have no annotation: unknown" in capsys.readouterr().err


def test_two_results_side_by_side(run, tmp_path, capsys):
    results, annotations = make_data_set(tmp_path)
    rows = run([results, annotations], annotations)
    assert [row["results"] for row in rows] == [str(results)] * 4 + [str(annotations)] * 4
    assert [row["J_mean"] for row in rows[4:]] == ["1.000000"] * 4
    lines = [re.sub(" +", " ", line) for line in capsys.readouterr().out.splitlines()]
    header = lines.index("sequence [1] J mean [1] F mean [2] J mean [2] F mean")
    # F: columns 9 and 8 are 0 and 1 pixels from 9, column 7 is 2: (1 + 1 + 0) / 3.
    assert lines[header + 1] == "long 0.900 0.667 1.000 1.000"
    assert lines[header + 3] == "mean over sequences 0.700 0.333 1.000 1.000"


def make_three(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Annotations of cat, cow and dog; results of cat and cow, and of cow and dog.

    J of the first: 0.5 of cat and 0.8 of cow; of the second: 0.9 of cow and 0.2 of dog.
    """
    for name in ("cat", "cow", "dog"):
        write_frames(tmp_path / "a" / name, [columns(10)] * 3)
    for path, n in (("one/cat", 5), ("one/cow", 8), ("two/cow", 9), ("two/dog", 2)):
        write_frames(tmp_path / path / "final/masks", [columns(n)] * 3)
    (tmp_path / "one/dog/flow").mkdir(parents=True)  # a run that failed half way
    return tmp_path / "one", tmp_path / "two", tmp_path / "a"


def test_what_is_there_is_scored_and_what_is_missing_is_named(run, tmp_path, capsys):
    one, _, annotations = make_three(tmp_path)
    (one / "dog/final/masks").mkdir(parents=True)
    rows = run(one, annotations, "--stage=final/masks")
    means = {row["sequence"]: row["J_mean"] for row in rows}
    assert means == {
        "cat": "0.500000",
        "cow": "0.800000",
        "mean over sequences": "0.650000",
        "mean over frames": "0.650000",
    }
    said = capsys.readouterr().err
    # Before the table and after it.
    assert said.count("warning: " + str(one / "*/final/masks: has no masks of 1 of 3 seq")) == 2
    assert said.count("sequences: dog\n") == 2
    assert said.count("warning: scored: only the 2 of 3 sequences that it has") == 2


def test_means_side_by_side_are_over_the_same_sequences(run, tmp_path, capsys):
    one, two, annotations = make_three(tmp_path)
    rows = run([one, two], annotations, "--stage=final/masks")
    # Of cow alone: the first's 0.65 and the second's 0.55 are over different sequences.
    assert [(row["sequence"], row["J_mean"]) for row in rows] == [
        ("cow", "0.800000"),
        ("cow", "0.900000"),
    ]
    said = capsys.readouterr().err
    assert "one/*/final/masks: has no masks of 1 of 3 sequences: dog" in said
    assert "two/*/final/masks: has no masks of 1 of 3 sequences: cat" in said
    assert "scored: only the 1 of 3 sequences that all results have" in said
    (one / "cow/final/masks").rename(tmp_path / "away")
    none = "no sequence that all results have: .*one/.* lacks cow, dog; .*two/.* lacks cat"
    refused(run, none, [one, two], annotations, "--stage=final/masks")


def test_some_of_the_masks_are_an_error_and_no_sequence_the_less(run, tmp_path):
    one, _, annotations = make_three(tmp_path)
    (one / "cow/final/masks/00002.png").unlink()
    flags = one, annotations, "--stage=final/masks"
    refused(run, "one/cow/final/masks: holds 2 masks for the 3 annotations", *flags)
    assert [row["sequence"] for row in run(*flags, "--sequences", "cat")] == ["cat"]


def test_sequences_by_name_and_by_file(run, tmp_path, capsys):
    _, annotations = make_data_set(tmp_path)
    for name in ("blackswan", "-odd one"):
        write_frames(annotations / name, [columns(10)] * 3)
    files = tmp_path / "val 2016.txt", tmp_path / "val 2017.txt"
    line = "/JPEGImages/480p/{0}/00000.jpg /Annotations/480p/{0}/00000.png\n"
    files[0].write_text(line.format("short") * 2 + line.format("blackswan"))
    files[1].write_text("blackswan\n-odd one\n\n")

    def scored(*asked: object) -> list[str]:
        rows = run(annotations, annotations, *asked)
        return [row["sequence"] for row in rows if not row["sequence"].startswith("mean over")]

    assert scored("--sequences", files[0]) == ["blackswan", "short"]
    assert scored("--sequences", files[1], "long") == ["-odd one", "blackswan", "long"]
    assert scored("--sequences=-odd one") == ["-odd one"]
    assert capsys.readouterr().err == ""  # what was not asked for is not missing

    def unknown(message: str, asked: object) -> None:
        refused(run, message, annotations, annotations, "--sequences", asked)

    unknown(r": BlackSwam \(the nearest is blackswan\)", "BlackSwam")
    files[1].write_text("lomg\nshort\n")
    unknown(r"lomg \(the nearest is long\)", files[1])
    files[1].write_text("\n")
    unknown("2017.txt: names no sequence", files[1])


def test_a_whole_data_set_has_annotations(run, tmp_path, capsys):
    """In SegTrack's layout: of one object of one frame, and of two objects apart."""
    write_frames(tmp_path / "set/GroundTruth/bird", [columns(10)] * 3)
    write_frames(tmp_path / "set/GroundTruth/bmx/1", [columns(10)] * 3)
    write_frames(tmp_path / "set/GroundTruth/pair/1", [columns(10)] * 3)
    write_frames(tmp_path / "set/GroundTruth/pair/2", [columns(2)] * 3)
    (tmp_path / "set/JPEGImages").mkdir()
    for name in ("bird", "bmx", "pair"):
        write_frames(tmp_path / "out" / name, [columns(9)] * 3)
    rows = run(tmp_path / "out", tmp_path / "set")
    assert [row["sequence"] for row in rows[:2]] == ["bird", "bmx"]
    assert [row["J_mean"] for row in rows] == ["0.900000"] * 4
    assert capsys.readouterr().err.count("not scored, as each object has masks of its own") == 2


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ((0, 1, 2), r"net: holds 3 masks for the 4 annotations of .*; missing: 00003; make all"),
        ((2, 3), r"net: holds 2 masks .*; missing: 00000, 00001; make all"),
        ((0, 1, 3), r"net: frame 2 is missing \(after 00001.png comes 00003.png\)"),
    ],
)
def test_missing_masks(run, tmp_path, annotations, kept, message):
    results = write_frames(tmp_path / "net", [columns(10)] * 4)
    for idx in set(range(4)) - set(kept):
        (results / f"{idx:05d}.png").unlink()
    refused(run, message, results, annotations)


def some_annotations(folder: Path, names: list[str], n_columns: list[int]) -> Path:
    folder.mkdir(parents=True)
    for name, n in zip(names, n_columns, strict=True):
        Image.fromarray(columns(n)).save(folder / name)
    return folder


def test_the_frames_that_are_annotated_are_scored(run, tmp_path, capsys):
    # Frame idx has idx + 1 columns of object; frames 1 to 10 of the video, every third annotated.
    masks = write_frames(tmp_path / "out/iter_19", [columns(idx + 1) for idx in range(10)])
    truth = some_annotations(tmp_path / "a", [f"{n}.png" for n in (1, 4, 7, 10)], [1, 4, 14, 1])
    (row,) = run(
        masks, truth
    )  # 10 is the last, counted from 1; the first and the last do not count
    assert (row["frames"], row["J_mean"]) == ("2", "0.750000")  # 4 / 4, 7 / 14
    assert "4 of 10 frames are annotated; the others are not scored" in capsys.readouterr().out
    (row,) = run(masks, truth, "--all-frames")
    assert (row["frames"], row["J_mean"]) == ("4", "0.650000")  # and 1 / 1, 1 / 10
    (truth / "10.png").unlink()
    two_ways = "fit the 10 frames in two ways, counted from 0 or from 1; give --frames_path"
    refused(run, two_ways, masks, truth)
    (tmp_path / "video").mkdir()
    for number in range(10):
        Image.fromarray(columns(0)).save(tmp_path / f"video/frame {number}.png")
    (row,) = run(masks, truth, "--frames", tmp_path / "video")  # 1, 4 and 7 of 0 to 9
    assert (row["frames"], row["J_mean"]) == ("3", f"{(1 / 2 + 4 / 5 + 8 / 14) / 3:.6f}")
    write_frame_names(tmp_path / "out", [f"frame {number}.png" for number in range(1, 11)])
    (row,) = run(masks, truth)
    assert (row["frames"], row["J_mean"]) == ("2", "0.750000")
    write_frame_names(tmp_path / "out", ["1.png", "2.png"])
    refused(run, "iter_19: holds 10 masks for the 2 frames, 1.png to 2.png", masks, truth)


def test_masks_of_the_annotated_frames_alone(run, tmp_path):
    (tmp_path / "video").mkdir()
    for number in range(0, 50, 5):
        Image.fromarray(columns(0)).save(tmp_path / f"video/{number:05d}.jpg")
    names = ["00005.png", "00010.png", "00045.png"]
    truth = some_annotations(tmp_path / "a", names, [10, 10, 10])
    masks = some_annotations(tmp_path / "net", names, [5, 10, 1])
    flags = (masks, truth, "--frames_path", tmp_path / "video")
    (row,) = run(*flags)  # 00045 is the last
    assert (row["frames"], row["J_mean"]) == ("2", "0.750000")
    (masks / "00010.png").rename(masks / "00015.png")
    refused(run, "no mask for 1 of the 3 annotated frames, as 00010.png; make them", *flags)


def test_masks_that_never_reach_the_object_are_told(run, tmp_path, annotations, capsys):
    grey = write_frames(tmp_path / "net", [columns(10, value=40)] * 4)
    (row,) = run(grey, annotations)
    assert row["J_mean"] == "0.000000"
    assert f"{grey}: J is 0 in all frames, no pixel of the object reaches 0.5" in (
        capsys.readouterr().err
    )


def test_some_annotations_of_a_data_set(run, tmp_path):
    for name, count in (("cat", 6), ("dog", 9)):
        write_frames(tmp_path / "out" / name, [columns(10)] * count)
        names = [f"{name}_{number:03d}.jpg" for number in range(1, count + 1)]
        write_frame_names(tmp_path / "out" / name, names)
    some_annotations(tmp_path / "a/cat", ["cat_001.png", "cat_005.png"], [10, 5])
    some_annotations(tmp_path / "a/dog", ["dog_002.png", "dog_008.png"], [5, 20])
    rows = run(tmp_path / "out", tmp_path / "a")
    scores = {row["sequence"]: (row["frames"], row["J_mean"]) for row in rows}
    assert scores["cat"] == ("1", "0.500000")
    assert scores["dog"] == ("2", "0.500000")
    assert scores["mean over frames"] == ("3", "0.500000")


def test_masks_that_cannot_be_used(run, tmp_path, annotations):
    def refused_with(match: str, suffix: str, mask: object) -> None:
        folder = tmp_path / f"net_{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for idx in range(4):
            path = folder / f"{idx:05d}{suffix}"
            if isinstance(mask, Image.Image):
                mask.save(path)
            elif isinstance(mask, bytes):
                path.write_bytes(mask)
            else:
                torch.save(mask, path)
        refused(run, match, folder, annotations)

    other_size = Image.fromarray(columns(10).T.copy())
    refused_with(
        r"00001.png: is 12 x 20 pixels, its frame or annotation is 20 x 12", ".png", other_size
    )
    refused_with("holds no mask", ".jpg", other_size)
    refused_with("00000.png: cannot be read as an image", ".png", b"no image")
    refused_with("00001.pt: is damaged or holds more than tensors", ".pt", b"no tensor")
    refused_with("00001.pt: holds a dict", ".pt", {"mask": torch.zeros(H, W)})
    refused_with(r"00001.pt: has shape \[12, 20, 3\]", ".pt", torch.zeros(H, W, 3))
    refused_with(r"00001.pt: has values outside \[0, 1\]", ".pt", torch.full((H, W), 1.01))
    refused_with(r"00001.pt: has values outside \[0, 1\]", ".pt", torch.full((H, W), torch.nan))


def test_folders_that_cannot_be_used(run, tmp_path):
    results, annotations = make_data_set(tmp_path)
    nothing = tmp_path / "nothing"
    refused(run, "nothing: no such folder", nothing, annotations)
    refused(run, "nothing: no such folder", results, nothing)
    nothing.mkdir()
    refused(run, "holds neither annotations", results, nothing)
    of_none = "nothing: has masks of no sequence of .*/a: .*nothing/long is not there"
    refused(run, of_none, nothing, annotations)
    # One level too high, on either side.
    refused(run, "net: holds no mask", results, annotations / "long")
    refused(run, "holds neither annot", tmp_path, tmp_path)
    # A result of the modules, its stage folders not named.
    write_soft_masks(tmp_path / "stages/long/iter_19", torch.zeros(5, H, W))
    stages = "stages/long has only the folders iter_19; --stage names one"
    refused(run, stages, tmp_path / "stages", annotations)
    torch.save(torch.zeros(H, W, 1), results / "long/00000.pt")
    refused(run, "net/long: holds both .pt and .png masks; keep one", results, annotations)


@pytest.mark.parametrize("n_frames", [1, 2])
def test_no_frame_left(run, tmp_path, n_frames):
    annotations = write_frames(tmp_path / "a", [columns(10)] * n_frames)
    none_left = f"no frame is left of {n_frames}.*give --all_frames"
    refused(run, none_left, annotations, annotations)
    (row,) = run(annotations, annotations, "--all-frames")
    assert (row["frames"], row["J_mean"]) == (str(n_frames), "1.000000")


def test_a_sequence_with_no_frame_left_is_left_out(run, tmp_path, capsys):
    results, annotations = make_data_set(tmp_path)
    for name in ("00001.png", "00002.png"):
        (annotations / "short" / name).unlink()
    (row, *_) = run(results, annotations)
    assert (row["sequence"], row["J_mean"]) == ("long", "0.900000")
    said = f"not scored: {annotations}/short: no frame is left of 1 annotated"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["scores/", "."])
def test_out_is_a_folder(tmp_path, annotations, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    flags = f"--results={annotations}", f"--annotations={annotations}", f"--out={folder}"
    call(evaluate, *flags)
    assert (tmp_path / folder / "results.csv").is_file()


def test_frames_that_are_not_there_or_a_video_file(run, tmp_path):
    masks = write_frames(tmp_path / "masks", [columns(n) for n in (1, 10, 5, 1)])
    write_frame_names(tmp_path, ["b1.png", "b2.png", "b3.png", "b4.png"])
    truth = write_frames(tmp_path / "truth", [columns(10)])
    (truth / "00000.png").rename(truth / "b2.png")
    refused(run, "--frames_path.*nowhere: no such file", masks, truth, "--frames_path", "nowhere")
    (tmp_path / "video.mp4").touch()
    (row,) = run(masks, truth, "--frames_path", tmp_path / "video.mp4")
    assert row["J_mean"] == "1.000000"  # of frame 1, which frames.csv beside the masks tells


@pytest.mark.parametrize("threshold", ["1.5", "-0.1", "nan", "otsu", ""])
def test_bad_threshold(run, annotations, capsys, threshold):
    with pytest.raises(SystemExit, match="2"):
        run(annotations, annotations, f"--threshold={threshold}")
    assert f"{threshold!r}: expected a number from 0 to 1" in capsys.readouterr().err


def test_as_a_command_from_any_folder(tmp_path, annotations):
    flags = "--results=annotations", "--annotations=annotations", "--out=made/on/the_way.csv"
    done = commands.run("tools/evaluate.py", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "made/on/the_way.csv" in done.stdout
    assert (tmp_path / "made/on/the_way.csv").is_file()
