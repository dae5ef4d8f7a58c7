"""The visualize command: what it finds, what it draws, and what it refuses."""

from __future__ import annotations

import shutil
import weakref
from pathlib import Path

import av
import numpy as np
import pytest
import small_run
import torch
from commands import call, refused
from files import contents, write_flow_folders
from PIL import Image
from small_run import HEIGHT, N_FRAMES, STAGES, WIDTH
from torchvision.utils import flow_to_image

import visualize
from ike_data.runtime.errors import InputError
from ike_data.soft_masks import write_soft_masks
from ike_tools.masks.mask_folder import masks_of_video
from ike_tools.report import drawing, mp4, pictures
from ike_tools.report.inputs import open_video
from ike_tools.report.stages import (
    Stage,
    find_all_stages,
    find_flow,
    find_stages,
    read_log,
)

RED, BLUE = (200, 30, 40), (0, 114, 178)


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [image.to_ndarray(format="rgb24") for image in container.decode(video=0)]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A whole run and its video; read only."""
    folder = tmp_path_factory.mktemp("run")
    small_run.make_video(folder)
    return small_run.make_run(folder)


@pytest.fixture(scope="module")
def shown(run, tmp_path_factory) -> Path:
    """What the command made of ``run``; read only."""
    out = tmp_path_factory.mktemp("shown") / "new" / "folder"
    flags = f"--frames {run}/frames --results {run} --annotations {run}/annotations"
    call(visualize, *flags.split(), "--out", out)
    return out


# What a run leaves on disk


def test_stages_of_a_whole_run_in_the_order_of_the_exchange(run, tmp_path):
    stages = find_stages(run)
    assert [stage.name for stage in stages] == list(STAGES)
    assert [str(stage.masks.relative_to(run)) for stage in stages] == [
        "graph_1/iter_2",
        "net_1/results_pt/epoch_00002",
        "graph_2/iter_1",
        "net_2/results_pt/epoch_00002",
    ]
    assert [stage.out_path.name for stage in stages] == ["graph_1", "net_1", "graph_2", "net_2"]
    assert find_flow(run) == run / "flow"
    assert find_flow(tmp_path) is None


def test_the_last_iteration_is_the_highest_number_and_cycle_10_comes_after_2(tmp_path):
    for name in ("graph_10/iter_9", "graph_10/iter_10", "graph_2/iter_-1", "graph_2/iter_0_images"):
        write_soft_masks(tmp_path / name, torch.zeros(1, 4, 5))
    (tmp_path / "graph_10/iter_11").mkdir()  # without a mask
    stages = find_stages(tmp_path)
    assert [stage.name for stage in stages] == ["graph 2", "graph 10"]
    assert [stage.masks.name for stage in stages] == ["iter_-1", "iter_10"]


def test_what_an_older_run_left_is_not_shown_as_the_result(tmp_path):
    """iter_19 is of a run before the one that saved the config.ini, whose last is iter_9."""
    for idx in (-1, 9, 19):
        write_soft_masks(tmp_path / f"iter_{idx}", torch.rand(1, 4, 4))
    assert find_stages(tmp_path)[0].masks.name == "iter_19"
    (tmp_path / "config.ini").write_text("[Graph Module]\nto_save_iterations = -1, 9\n")
    assert find_stages(tmp_path)[0].masks.name == "iter_9"


def test_one_out_path_or_one_folder_of_masks(run, tmp_path):
    (graph,) = find_stages(run / "graph_2")
    assert (graph.name, graph.masks) == ("graph 2", run / "graph_2/iter_1")
    (iteration,) = find_stages(run / "graph_1/iter_-1")
    assert (iteration.name, iteration.out_path) == ("graph 1 iter -1", run / "graph_1")
    (epoch,) = find_stages(run / "net_1/results_pt/epoch_00001")
    assert (epoch.name, epoch.out_path) == ("net 1 epoch 00001", run / "net_1")
    write_soft_masks(tmp_path / "mine", torch.zeros(1, 4, 5))
    (plain,) = find_stages(tmp_path / "mine")
    assert (plain.name, plain.out_path) == ("mine", None)


def test_results_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for name in ("a/masks", "b/masks", "c/graph_1/iter_0", "c/net_1/results_pt/epoch_00001"):
        write_soft_masks(tmp_path / name, torch.zeros(1, 4, 5))
    paths = [tmp_path / name for name in ("a/masks", "b/masks", "c")]
    stages = find_all_stages(paths, None)
    assert [stage.name for stage in stages] == ["a masks", "b masks", "c graph 1", "c net 1"]
    for name in ("old/dog/graph_1/iter_0", "old/dog/graph_2/iter_0", "new/dog/graph_1/iter_0"):
        write_soft_masks(tmp_path / name, torch.zeros(1, 4, 5))
    iterations = [tmp_path / "old/dog/graph_1/iter_0", tmp_path / "new/dog/graph_1/iter_0"]
    stages = find_all_stages(iterations, None)
    assert [stage.name for stage in stages] == [f"{n} dog graph 1 iter 0" for n in ("old", "new")]
    stages = find_all_stages([tmp_path / "old", tmp_path / "new"], "dog")
    assert [stage.name for stage in stages] == ["old graph 1", "old graph 2", "new graph 1"]
    with pytest.raises(InputError, match="named twice"):
        find_all_stages([paths[0], paths[0]], None)


@pytest.mark.parametrize("name", ["nothing here", "not there"])
def test_nothing_found_says_what_was_expected(tmp_path, name):
    (tmp_path / "nothing here").mkdir()
    with pytest.raises(InputError, match=rf"{name}: .*expected a folder of masks .*graph_1/"):
        find_stages(tmp_path / name)


def test_a_damaged_log_is_named(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss,seconds\n1,0.5\n")
    line = r"log\.csv: a line is not numbers for epoch, loss, seconds"
    with pytest.raises(InputError, match=line):
        read_log(tmp_path)


# Drawing


def test_contour_is_one_pixel_inside_and_one_outside():
    mask = np.zeros((7, 8), dtype=bool)
    mask[2:6, 0:5] = True  # runs out of the image on the left
    expected = [
        "........",
        "xxxxx...",
        "xxxxxx..",
        "....xx..",
        "....xx..",
        "xxxxxx..",
        "xxxxx...",
    ]
    assert drawing.contour(mask).tolist() == [[c == "x" for c in line] for line in expected]


def test_overlay_fills_the_mask_and_draws_the_annotation_above():
    frame = np.full((20, 30, 3), 100, dtype=np.uint8)
    mask, annotation = np.zeros((2, 20, 30), dtype=bool)
    mask[5:15, 5:15] = True
    annotation[5:15, 10:25] = True
    picture = drawing.overlay(frame, mask, RED, annotation)
    assert picture[1, 1].tolist() == [100, 100, 100]
    # 0.55 of the frame and 0.45 of the colour.
    assert np.abs(picture[10, 7] - (0.55 * 100 + 0.45 * np.array(RED))).max() < 1
    assert picture[10, 5].tolist() == list(RED)
    assert picture[10, 4].tolist() == list(RED)
    assert picture[10, 10].tolist() == list(drawing.ANNOTATION)
    assert picture[10, 20].tolist() == [100, 100, 100]
    assert (frame == 100).all()


def test_flow_of_a_whole_video_has_one_scale():
    rng = np.random.default_rng(0)
    flows = rng.normal(size=(3, 9, 11, 2)).astype(np.float32)
    flows[1] *= 5
    # torchvision scales a batch by its longest vector.
    expected = flow_to_image(torch.from_numpy(flows).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    longest = float(np.linalg.norm(flows, axis=-1).max())
    for flow, image in zip(flows, expected, strict=True):
        # Rounding of the division may move a colour by one level.
        assert np.abs(drawing.flow_picture(flow, longest).astype(int) - image.numpy()).max() <= 1


def test_flow_scale_leaves_outliers_out():
    flow = np.tile(np.float32([3, 4]), (20, 30, 1))
    flow[0, 0] = 1000
    assert drawing.flow_scale([flow, flow / 2]) == 5
    # The outlier is cut to the scale: it leaves the rest as it is without it.
    expected = drawing.flow_picture(np.tile(np.float32([3, 4]), (20, 30, 1)), 5)
    assert (drawing.flow_picture(flow, 5)[5:] == expected[5:]).all()
    still = np.zeros((4, 6, 2), dtype=np.float32)
    assert (drawing.flow_picture(still, drawing.flow_scale([still])) == 255).all()


def test_captions_fit_their_box():
    for text in ("net 1", "a name that is much longer than its box"):
        image = drawing.caption(text, 60, 20, 12)
        assert image.shape == (20, 60, 3)
        ink = (image != drawing.BACKGROUND).any(axis=2)
        assert ink.any()
        assert not ink[:, -3:].any()


# The video


@pytest.mark.parametrize("encoder", list(mp4.ENCODERS))
def test_mp4_plays_in_browsers(tmp_path, encoder):
    try:
        av.codec.Codec(encoder, "w")
    except ValueError:
        pytest.skip(f"this PyAV has no {encoder}")
    colours = [RED, BLUE, (240, 228, 66)]
    path = tmp_path / "v.mp4"
    with mp4.mp4_writer(path, encoder, 29.97) as write:
        for colour in np.repeat(colours, 5, axis=0):
            write(np.tile(colour.astype(np.uint8), (54, 112, 1)))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert stream.average_rate == pytest.approx(29.97)
        assert (codec.width, codec.height, codec.pix_fmt) == (112, 54, "yuv420p")
        expected = {"libx264": "h264", "libvpx-vp9": "vp9"}.get(encoder, "av1")
        assert codec.codec.canonical_name == expected
        assert (codec.colorspace, codec.color_primaries, codec.color_trc) == (1, 1, 1)  # BT.709
    frames = decode(path)
    assert len(frames) == 15
    for image, colour in zip(frames[2::5], colours, strict=True):
        assert np.abs(image[20, 50].astype(int) - colour).max() <= 6
    # The index stands before the pictures, so that it plays while it loads.
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_without_libx264_the_next_encoder_is_used(monkeypatch):
    has = mp4.choose_encoder()
    monkeypatch.setattr(mp4, "ENCODERS", {"no such encoder": ("", {}), has: mp4.ENCODERS[has]})
    assert mp4.choose_encoder() == has
    monkeypatch.setattr(mp4, "ENCODERS", {"no such encoder": ("", {})})
    with pytest.raises(InputError, match="none of the encoders no such encoder"):
        mp4.choose_encoder()


# The command


def test_outputs_of_a_whole_run(shown):
    overlays = [f"overlays/{s.replace(' ', '_')}/{i:05d}.png" for s in STAGES for i in range(6)]
    flows = [f"flow/{i:05d}.png" for i in range(N_FRAMES - 1)]
    assert list(contents(shown)) == sorted([*overlays, *flows, "contact_sheet.png", "overlay.mp4"])
    for name in (overlays[0], flows[0]):
        assert read(shown / name).shape == (HEIGHT, WIDTH, 3)


def test_overlays_show_the_mask_on_the_frame(shown):
    # In frame 2 the object's left edge is column 14; graph 1 is 3 pixels too large on each side.
    picture = read(shown / "overlays/graph_1/00002.png")
    frame = small_run.frame(2)
    assert (picture[:5] == frame[:5]).all()
    assert picture[17, 14].tolist() == list(drawing.ANNOTATION)
    inside = 0.55 * frame[17, 20] + 0.45 * np.array(drawing.PALETTE[0])
    assert np.abs(picture[17, 20] - inside).max() < 1
    left = np.flatnonzero((picture[17] == drawing.PALETTE[0]).all(axis=1)).min()
    assert 9 <= left <= 11


def test_flow_pictures_show_what_moves(shown):
    # White where nothing moves, torchvision's red for a motion to the right.
    picture = read(shown / "flow/00002.png")
    assert (picture[~small_run.object_mask(2)] == 255).all()
    assert (picture[small_run.object_mask(2)] == [255, 0, 0]).all()


def test_overlay_video_of_odd_sizes(shown):
    frames = decode(shown / "overlay.mp4")
    assert len(frames) == N_FRAMES
    height, width = frames[0].shape[:2]
    n_panels = 1 + len(STAGES) + 1
    assert width == n_panels * (WIDTH + drawing.GAP) - drawing.GAP  # 338, even
    assert height % 2 == 0
    assert height > HEIGHT
    # The first panel is the frame: the square's middle is grey, and moves by 3 pixels a frame.
    top = height - height % 2 - HEIGHT
    for idx in (0, 5):
        assert abs(int(frames[idx][top + 15, 8 + 3 * idx + 7, 1]) - 200) < 12


def test_large_frames_are_sized_down():
    stages = [Stage(f"net {i}", Path()) for i in range(5)]
    size = 481, 855
    view = pictures.View(
        idx=3,
        stages=stages,
        frame=np.zeros((*size, 3), np.uint8),
        soft=[np.zeros(size, np.float32)] * 5,
        hard=[np.zeros(size, bool)] * 5,
        annotation=np.zeros(size, bool),
        flow=None,
        has_annotations=True,
    )
    movie = pictures.movie_frame(view)
    assert movie.shape[1] <= 1920
    assert movie.shape[1] > 1880
    assert movie.shape[0] % 2 == movie.shape[1] % 2 == 0


def test_contact_sheet_of_the_command(shown):
    sheet = read(shown / "contact_sheet.png")
    n_rows = 1 + 1 + len(STAGES) + 1
    strip = sheet.shape[0] - n_rows * (HEIGHT + drawing.GAP)
    assert 0 < strip < 40
    # Row 2 is graph 1's soft masks: 0.1 of white in the corner, 0.9 inside of the object.
    y = strip + 2 * (HEIGHT + drawing.GAP)
    x = sheet.shape[1] - N_FRAMES * (WIDTH + drawing.GAP)
    assert sheet[y, x].tolist() == [26, 26, 26]
    assert sheet[y + 17, x + 15].tolist() == [230, 230, 230]


def test_results_of_an_earlier_run_are_replaced(run, tmp_path, capsys):
    out = tmp_path / "out"
    flags = "--frames", run / "frames", "--out", out
    call(visualize, *flags, "--results", run)
    call(visualize, *flags, "--results", run / "graph_1", "--fps", 10)
    assert sorted(path.name for path in (out / "overlays").iterdir()) == ["graph_1"]
    with av.open(str(out / "overlay.mp4")) as container:
        assert container.streams.video[0].average_rate == 10
    assert not list(out.glob(".*"))
    printed = capsys.readouterr().out
    assert f"video (H.264): {out}/overlay.mp4" in printed
    assert printed.splitlines()[-1].endswith(f"{out}/contact_sheet.png")


def test_a_threshold_for_faint_masks(run, tmp_path):
    write_soft_masks(tmp_path / "faint", small_run.soft_masks(0) / 3)
    flags = "--frames", run / "frames", "--results", tmp_path / "faint", "--out", tmp_path / "out"
    call(visualize, *flags)
    assert (read(tmp_path / "out/overlays/faint/00001.png") == small_run.frame(1)).all()
    call(visualize, *flags, "--threshold", "0.2")
    picture = read(tmp_path / "out/overlays/faint/00001.png")
    assert (picture[small_run.object_mask(1)] != 200).any()
    assert (picture[:5] == small_run.frame(1)[:5]).all()


def test_a_video_file_keeps_its_rate_and_one_frame_is_enough(tmp_path):
    with mp4.mp4_writer(tmp_path / "clip.mp4", mp4.choose_encoder(), 12.5) as write:
        write(np.full((36, 52, 3), 90, dtype=np.uint8))
    write_soft_masks(tmp_path / "masks", torch.ones(1, 9, 13))
    (tmp_path / "flow/fwd_of").mkdir(parents=True)
    flags = "--frames", tmp_path / "clip.mp4", "--results", tmp_path / "masks", "--report"
    call(visualize, *flags, "--flow", tmp_path / "flow", "--out", tmp_path / "out")
    with av.open(str(tmp_path / "out/overlay.mp4")) as container:
        assert container.streams.video[0].average_rate == 12.5
    assert '<h1 id="video-1-name">clip</h1>' in (tmp_path / "out/report.html").read_text()
    assert list((tmp_path / "out/flow").iterdir()) == []


def test_frames_are_not_kept(run):
    video = open_video(run / "frames", [run], None, None, None)
    views = []
    for view in pictures.read_views(video, 0.5):
        views.append(weakref.ref(view))
        # The one before it is let go when the loop's variable is bound again.
        assert sum(ref() is not None for ref in views) <= 2
    assert len(views) == N_FRAMES


def test_data_set(run, tmp_path, capsys):
    for sequence in ("one", "two", "other"):
        small_run.make_video(tmp_path, sequence)
    for sequence in ("one", "two"):
        write_soft_masks(tmp_path / "a" / sequence, small_run.soft_masks(0))
        write_soft_masks(tmp_path / "b" / sequence / "iter_3", small_run.soft_masks(1))
        shutil.copytree(run / "flow", tmp_path / "flow" / sequence)
    (tmp_path / "a/other/flow").mkdir(parents=True)  # a run that failed half way
    results = "--results", tmp_path / "a", tmp_path / "b"
    flow = "--flow", tmp_path / "flow"
    call(visualize, "--frames", tmp_path / "frames", *results, *flow, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one", "two"]
    assert sorted(path.name for path in (tmp_path / "out/two/overlays").iterdir()) == ["a", "b"]
    assert len(list((tmp_path / "out/two/flow").iterdir())) == N_FRAMES - 1
    said = capsys.readouterr().err
    assert "a: has no masks of 1 of 3 sequences: other" in said
    assert "shown: only the 2 of 3 sequences that all results have" in said


def test_one_stage_of_a_data_set_as_a_report_alone(tmp_path, capsys):
    for sequence in ("one", "two", "three"):
        small_run.make_video(tmp_path / "set", sequence)
        run = tmp_path / "out" / sequence
        for folder in ("graph_1/iter_3", "final/masks"):
            write_soft_masks(run / folder, small_run.soft_masks(0))
    (tmp_path / "set/frames").rename(tmp_path / "set/JPEGImages")
    (tmp_path / "set/annotations").rename(tmp_path / "set/Annotations")
    shutil.rmtree(tmp_path / "set/Annotations/two")
    shutil.rmtree(tmp_path / "out/three/final")
    before = contents(tmp_path)
    flags = "--frames", tmp_path / "set", "--annotations", tmp_path / "set", "--report-only"
    out = "--results", tmp_path / "out", "--out", tmp_path / "out"
    call(visualize, *flags, *out, "--stage=final/masks")
    assert contents(tmp_path).keys() == {*before, "out/report.html"}
    said = capsys.readouterr().err
    page = (tmp_path / "out/report.html").read_text()
    for place in (said, page):
        assert "shown: only the 2 of 3 sequences that it has" in place
        assert "has no annotations of two" in place
    assert page.count(">final masks<") >= 2
    assert "graph 1" not in page

    (tmp_path / "names.txt").write_text("one\n")
    call(visualize, *flags, *out, "--sequences", tmp_path / "names.txt")
    assert capsys.readouterr().err.count("warning") == 0
    page = (tmp_path / "out/report.html").read_text()
    assert "graph 1" in page
    assert ">two<" not in page
    refused(r"tow \(the nearest is two\)", visualize, *flags, *out, "--sequences", "tow")
    one = "--frames", tmp_path / "set/JPEGImages/one", "--sequences", "one"
    refused("is one video, no data set", visualize, *one, *out)


# What it refuses


def test_a_runs_own_flow_is_never_replaced(run):
    before = contents(run)
    flags = "--frames", run / "frames", "--results", run
    replaced = r"flow: holds bwd_of/00000_00001\.flo, and is replaced as a whole"
    refused(replaced, visualize, *flags, "--out", run)
    refused("is a folder of the input", visualize, *flags, "--out", run / "frames")
    assert contents(run) == before


def test_an_error_midway_leaves_older_results_as_they_were(run, tmp_path):
    flags = "--frames", run / "frames", "--results", run / "graph_1", "--out", tmp_path / "out"
    call(visualize, *flags)
    before = contents(tmp_path / "out")
    annotations = tmp_path / "annotations"
    annotations.mkdir()
    for idx in range(N_FRAMES):
        Image.new("L", (WIDTH + (idx == 4), HEIGHT)).save(annotations / f"{idx:05d}.png")
    refused("00004.png: is 54 x 37", visualize, *flags, "--annotations", annotations)
    assert contents(tmp_path / "out") == before


def test_flow_of_another_size(run, tmp_path):
    flows = np.zeros((N_FRAMES - 1, 4, 6, 2), np.float32)
    write_flow_folders(tmp_path / "flow", flows, flows)
    flags = "--frames", run / "frames", "--results", run / "graph_1", "--out", tmp_path / "out"
    refused("is a flow of 6 x 4 pixels", visualize, *flags, "--flow", tmp_path / "flow")
    assert not (tmp_path / "out").exists()


def test_a_results_folder_and_a_threshold_that_are_none(run, tmp_path, capsys):
    flags = "--frames", run / "frames", "--out", tmp_path / "out", "--results"
    refused(f"^{run}/nowhere: no such folder; expected", visualize, *flags, run / "nowhere")
    with pytest.raises(SystemExit):
        call(visualize, *flags, run, "--threshold", "best")
    said = capsys.readouterr().err
    assert "--threshold: 'best': expected a number from 0 to 1" in said
    # Of --frames and --out, the older names, nothing is said.
    assert "--frames_path FRAMES_PATH" in said and "--out " not in said


def test_annotations_that_do_not_fit_the_frames(run, tmp_path):
    flags = "--frames", run / "frames", "--out", tmp_path / "out", "--results"
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "00001.jpg")
    jpg = r"00001\.jpg: an annotation is a \.png"
    refused(jpg, visualize, *flags, run / "graph_1", "--annotations", tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["00000.pt", "00001.pt"], "holds 2 masks, 00000.pt to 00001.pt; the video has 3 frames"),
        (["00000.pt", "00001.pt", "00003.pt"], "frame 2 is missing"),
        ([], "holds no mask"),
        (["00000.pt", "00001.png", "00002.pt"], "both .pt and .png"),
    ],
)
def test_masks_that_do_not_fit_the_frames(tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=message):
        masks_of_video(tmp_path, 3)


def test_contact_sheet_is_a_table():
    cells = [[np.full((10, 20, 3), 50 * c + 10 * r, np.uint8) for r in range(3)] for c in range(2)]
    sheet = drawing.contact_sheet(["frame", "graph 1", "net 1"], ["frame 0", "frame 4"], cells)
    gap = drawing.GAP
    for c in range(2):
        for r in range(3):
            x = sheet.shape[1] - (2 - c) * (20 + gap)
            y = sheet.shape[0] - (3 - r) * (10 + gap)
            assert (sheet[y : y + 10, x : x + 20] == 50 * c + 10 * r).all()
