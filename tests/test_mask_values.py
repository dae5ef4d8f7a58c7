"""Masks and annotations as other tools write them: labels, palettes, void, colours, weak masks."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import call
from PIL import Image

import evaluate
import export_masks
from ike_data.runtime.errors import InputError
from ike_tools.report.findings import Findings
from ike_tools.report.inputs import open_video
from ike_tools.report.pictures import read_views
from visualize import explain

H, W = 12, 20
# The first colours of DAVIS's palette; 255 has this one there.
DAVIS_COLOURS = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
VOID_COLOUR = (224, 224, 192)


def stripes(*widths: int, values: tuple[int, ...] = (1, 2, 3)) -> np.ndarray:
    """Columns of the first value, then of the second, ...; 0 to the right of them."""
    mask = np.zeros((H, W), dtype=np.uint8)
    start = 0
    for width, value in zip(widths, values, strict=False):
        mask[:, start : start + width] = value
        start += width
    return mask


def with_palette(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask).convert("P")
    colours = [*DAVIS_COLOURS, *[(9, 9, 9)] * 251, VOID_COLOUR]
    image.putpalette([value for colour in colours for value in colour])
    return image


def in_colours(mask: np.ndarray) -> Image.Image:
    return with_palette(mask).convert("RGB")


def write(
    folder: Path, masks: list[np.ndarray], image_of: Callable[..., Image.Image] = Image.fromarray
) -> Path:
    folder.mkdir(parents=True)
    for idx, mask in enumerate(masks):
        image_of(mask).save(folder / f"{idx:05d}.png")
    return folder


@pytest.fixture
def score(tmp_path, capsys):
    """Run evaluate.py on all frames; the mean J, the mean F and what it printed below its table."""

    def run(results: Path, annotations: Path, *flags: object) -> tuple[float, float, str]:
        names = [f"--results={results}", f"--annotations={annotations}", "--all-frames"]
        out = tmp_path / "scores.csv"
        call(evaluate, *names, f"--out={out}", *flags)
        with out.open(newline="") as file:
            row = list(csv.DictReader(file))[-1]
        return float(row["J_mean"]), float(row["F_mean"]), capsys.readouterr().out

    return run


@pytest.fixture
def truth(tmp_path) -> Path:
    """Four annotations whose object is the first ten columns."""
    return write(tmp_path / "truth", [stripes(10, values=(255,))] * 4)


def wide(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint16))


KINDS = {
    "grey": Image.fromarray,
    "grey with alpha": lambda mask: Image.fromarray(mask).convert("LA"),
    "grey as RGB": lambda mask: Image.fromarray(mask).convert("RGB"),
    "16 bits": wide,
    "palette": with_palette,
    "palette without colours": lambda mask: Image.fromarray(mask, "P"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:'mode' parameter")
def test_any_label_is_object(score, truth, tmp_path, kind):
    # 10, 5 and 8 of the 10 columns; and a frame without the object.
    masks = [stripes(4, 6), stripes(0, 5), stripes(0), stripes(3, 3, 2)]
    results = write(tmp_path / "net", masks, KINDS[kind])
    j, _, printed = score(results, truth)
    assert j == pytest.approx((1 + 0.5 + 0 + 0.8) / 4)
    assert printed.count("labels") == 1
    assert f"masks in {results} are labels" in printed


@pytest.mark.parametrize("label", [1, 255])
def test_binary_masks(score, truth, tmp_path, label):
    binary = [stripes(width, values=(label,)) for width in (10, 5, 0, 8)]
    kinds = [Image.fromarray, with_palette, lambda mask: Image.fromarray(mask > 0)]
    expected = pytest.approx((1 + 0.5 + 0 + 0.8) / 4)
    for i, kind in enumerate(kinds):
        assert score(write(tmp_path / f"net_{i}", binary, kind), truth)[0] == expected


@pytest.mark.parametrize("threshold", [0, 0.3, 1])
def test_no_threshold_matters_for_labels(score, truth, tmp_path, threshold):
    results = write(tmp_path / "net", [stripes(2, 2)] * 4, with_palette)
    assert score(results, truth, f"--threshold={threshold}")[0] == 0.4


def test_void_of_a_result_is_background(score, truth, tmp_path):
    masks = [stripes(5, 5, values=(1, 255)), stripes(0, 10, values=(1, 255))] * 2
    j, _, printed = score(write(tmp_path / "net", masks, with_palette), truth)
    assert j == pytest.approx((0.5 + 0) / 2)
    assert "255 is void, background" in printed


def test_void_of_annotations_does_not_count(score, tmp_path, capsys):
    # Columns 0-9 are object, 10-14 void: the whole mask and the one without the void are right.
    # In the third frame 0-4 are void and nothing is object: of the mask 5-14 are wrong.
    # In the last one 0-3 are object, 4-9 void; the mask has 2 of the 4: boundaries (columns 1 and
    # 3) are not within ceil(0.008 * 23.3) = 1 pixel, so F = 0.
    object_and_void = stripes(10, 5, values=(1, 255))
    nothing_and_void, last = stripes(5, values=(255,)), stripes(4, 6, values=(2, 255))
    annotations = write(
        tmp_path / "a",
        [object_and_void, object_and_void, nothing_and_void, last],
        with_palette,
    )
    full = stripes(15, values=(255,))
    results = write(
        tmp_path / "net", [full, stripes(10, values=(255,)), full, stripes(2, values=(255,))]
    )
    j, f, printed = score(results, annotations)
    assert j == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert f == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert f"annotations in {annotations} have void pixels (255)" in printed


def test_255_alone_in_a_palette_is_the_object(score, tmp_path):
    annotations = write(tmp_path / "a", [stripes(10, values=(255,))] * 3, with_palette)
    results = write(tmp_path / "net", [stripes(5, values=(255,))] * 3, with_palette)
    j, _, printed = score(results, annotations)
    assert j == 0.5
    assert "void" not in printed


def test_void_of_grey_annotations_is_object_as_before(score, tmp_path):
    annotations = write(tmp_path / "a", [stripes(5, 5, values=(1, 255))] * 3)
    j, _, printed = score(write(tmp_path / "net", [stripes(10, values=(255,))] * 3), annotations)
    assert j == 1
    assert "annotations" not in printed.splitlines()[-2]


def test_grey_values_of_at_most_32_are_labels_however_they_lie(score, tmp_path):
    noise = np.random.default_rng(0).integers(0, 33, (4, H, W)).astype(np.uint8)
    annotations = write(tmp_path / "a", [(mask > 0).astype(np.uint8) for mask in noise])
    j, _, printed = score(write(tmp_path / "net", list(noise)), annotations)
    assert j == 1
    assert f"masks in {tmp_path / 'net'} are labels (grey), any that is not 0 is object" in printed


def test_one_strong_value_in_the_folder_says_that_masks_are_soft(score, tmp_path):
    weak, strong = stripes(10, values=(3,)), stripes(10, values=(200,))
    annotations = write(tmp_path / "a", [stripes(10)] * 4)
    j, _, printed = score(write(tmp_path / "net", [weak, weak, weak, strong]), annotations)
    assert j == 0.25
    assert "masks in" not in printed


def test_images_of_the_two_modules_are_soft_masks(score, truth, tmp_path):
    for name in ("iter_3_images", "results_images/epoch_00002"):
        results = write(tmp_path / name, [stripes(10)] * 4)
        assert score(results, truth)[0] == 0
    assert score(write(tmp_path / "epoch_00002", [stripes(10)] * 4), truth)[0] == 1


def transparent(mask: np.ndarray) -> Image.Image:
    image = in_colours(mask)
    image.putalpha(Image.fromarray(mask * 255))
    return image


def grey_beside_palettes(mask: np.ndarray) -> Image.Image:
    return with_palette(mask) if mask[0, 9] == 1 else Image.fromarray(mask)


def greys_with_a_palette(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(np.arange(mask.size, dtype=np.uint8).reshape(mask.shape)).convert("P")


def bytes_in_16_bits(mask: np.ndarray) -> Image.Image:
    return wide(mask * 100)


def brightest_first(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask * 255).quantize(2)


@pytest.mark.parametrize(
    ("image_of", "message"),
    [
        (transparent, "00000.png: has transparent pixels"),
        (in_colours, "00000.png: has colours; a mask is grey, or has labels in a palette"),
        (grey_beside_palettes, "00000.png: has a palette, others beside it have none"),
        (greys_with_a_palette, "00000.png: with the others beside it, it has more than 32 values"),
        (bytes_in_16_bits, "00000.png: has 16 bits, and as the others beside it no value"),
        (brightest_first, "00000.png: index 1 is black in its palette, but index 0"),
    ],
)
def test_what_may_mean_anything_is_refused(score, truth, tmp_path, image_of, message):
    results = write(tmp_path / "net", [stripes(10), stripes(9), stripes(10)] * 2, image_of)
    with pytest.raises(InputError, match=message):
        score(results, truth)


def test_a_data_set_is_told_in_one_line(score, tmp_path):
    names = ["bus", "cat", "dog", "elk", "fox"]
    for name in names:
        write(tmp_path / "a" / name, [stripes(10, values=(255,))] * 3)
        write(tmp_path / "net" / name, [stripes(2, 3)] * 3, with_palette)
    j, _, printed = score(tmp_path / "net", tmp_path / "a")
    assert j == 0.5
    where = ", ".join(str(tmp_path / "net" / name) for name in names[:3])
    assert f"masks in {where} and 2 more folders are labels (palette), any" in printed
    assert printed.count("labels") == 1


def test_exported_labels(tmp_path, capsys):
    frames = write(tmp_path / "frames", [stripes(0)] * 2)
    results = write(tmp_path / "net", [stripes(2, 3), stripes(0)], with_palette)
    flags = [f"--frames={frames}", f"--results={results}", f"--out={tmp_path / 'hard'}"]
    call(export_masks, *flags, "--threshold=0")
    for idx, width in enumerate((5, 0)):
        found = np.asarray(Image.open(tmp_path / f"hard/{idx:05d}.png"))
        np.testing.assert_array_equal(found, stripes(width, values=(255,)))
    assert f"masks in {results} are labels (palette), any that is not 0" in capsys.readouterr().out


def test_report_and_overlays_read_them_as_the_scores_do(tmp_path):
    frames = write(tmp_path / "frames", [stripes(0)] * 4)
    annotations = write(tmp_path / "b", [stripes(8, 4, values=(1, 255))] * 4, with_palette)
    results = write(tmp_path / "net", [stripes(2, 4), stripes(6, 6), stripes(4), stripes(0)], wide)
    video = open_video(frames, [results], annotations, None, None)
    findings = Findings(video, 0.0, 1)
    masks = []
    for view in read_views(video, 0.0):
        findings.add(view)
        masks.append(view.hard[0].sum() // H)
    assert masks == [6, 12, 4, 0]
    # The frames in between are scored: columns 0-11, of which 8-11 are void, and 0-3, of 0-7.
    assert findings.scores[0].region == (1, 0.5)
    assert findings.scores[0].boundary[0] == 1
    assert explain(0.0, video) == (
        "Masks of net are labels (grey), any that is not 0 is object. "
        "Annotations have void pixels (255), which are left out of the score."
    )
