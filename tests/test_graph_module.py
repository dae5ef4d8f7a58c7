"""Seeds, edge cases and the files of the graph module."""

import csv
import dataclasses
import doctest
import hashlib
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from commands import ROOT, call, refused
from files import contents, write_config, write_flow_folders, write_frames
from PIL import Image
from ways import COMPILED

import run_graph_module
from graph_module import (
    Execution,
    GraphSettings,
    finish,
    iterations,
    memory_plan,
    run,
    segment,
    segmentation,
)
from graph_module.cells import corner_sums, link_cells
from graph_module.extensions.appearance import appearance_masks
from graph_module.extensions.bootstrap import Bootstrap
from graph_module.extensions.coarse_graph import CoarseGraph
from graph_module.extensions.fast_propagation import FastPropagation, fast_link_weights
from graph_module.extensions.frame_reliability import frame_reliability
from graph_module.extensions.motion_saliency import MotionSaliency, motion_saliency
from graph_module.extensions.polarity import Polarity
from graph_module.extensions.refinement import Refinement
from graph_module.features import ike_range, node_features
from graph_module.link_weights import link_weights
from graph_module.motion_matrix import motion_matrix
from graph_module.normalisation import min_max_each_
from graph_module.projection import project_, projection
from graph_module.propagation import propagate
from graph_module.seeds import seed_mask
from graph_module.working_flow import read_working_flow
from ike_data.config import read_config
from ike_data.flow_files import flow_name, write_flow
from ike_data.frames import open_frames
from ike_data.guided_filter import follow_edges
from ike_data.soft_masks import read_soft_masks, write_feature_maps
from ike_data.working_frames import read_working_frames

HEIGHT, WIDTH = 20, 28


def segmented(fwd, bwd, *, maps=None, way=Execution(), **settings):  # noqa: B008
    return segment(fwd, bwd, feature_maps=maps, settings=GraphSettings(**settings), execution=way)


def moving_square(n_frames):
    """A 6 x 8 square that moves by (2, 1) over a still background; flow at a small jitter."""
    rng = np.random.default_rng(0)
    fwd = rng.normal(scale=0.05, size=(n_frames - 1, 2, HEIGHT, WIDTH)).astype(np.float32)
    bwd = rng.normal(scale=0.05, size=fwd.shape).astype(np.float32)
    mask = np.zeros((n_frames, HEIGHT, WIDTH), dtype=bool)
    for idx in range(n_frames):
        mask[idx, 4 + idx : 10 + idx, 3 + 2 * idx : 11 + 2 * idx] = True
        if idx < n_frames - 1:
            fwd[idx][:, mask[idx]] += np.array([[2], [1]], dtype=np.float32)
        if idx > 0:
            bwd[idx - 1][:, mask[idx]] -= np.array([[2], [1]], dtype=np.float32)
    return torch.from_numpy(fwd), torch.from_numpy(bwd), torch.from_numpy(mask)


def test_uniform_and_central_seed_by_hand():
    assert torch.equal(seed_mask(1, 0.5, 3, 4), torch.ones(3, 4))
    mask = seed_mask(2, 0.5, 4, 6)  # s = 0.5 * 4 = 2, centre: row 2, column 3
    low = math.exp(-(2**2 + 3**2) / 8)  # the farthest pixel, row 0, column 0
    assert mask[2, 3] == 1
    assert mask[0, 0] == 0
    assert mask[2, 5].item() == pytest.approx((math.exp(-4 / 8) - low) / (1 - low), abs=1e-6)
    assert mask[1, 3].item() == pytest.approx((math.exp(-1 / 8) - low) / (1 - low), abs=1e-6)


@COMPILED
def test_cells_and_corners_by_hand(compiled):
    """A 2 x 3 mask; pixel (0, 0) never takes part in a link."""
    mask = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    _, read = corner_sums(torch.stack([torch.zeros(2, 3), mask]))
    positions = {
        (0.5, 0.5): 0 + 2 + 8 + 16,  # its corner (0, 0) is dropped
        (1.5, 0.5): 2 + 4 + 16 + 32,
        (1.0, 0.5): 2 * (2 + 16),  # x is an integer: each counts twice
        (1.5, 1.0): 2 * (16 + 32),
        (2.0, 1.0): 4 * 32,
        (2.5, 0.5): 4 + 32,  # the right corners are outside
        (1.25, -0.5): 2 + 4,
        (-0.5, 1.5): 8,
        (3.0, 0.5): 0,
        (-1.0, 0.5): 0,
        (1.0, 1e30): 0,
        (float("inf"), 0.0): 0,
        (float("nan"), 0.0): 0,
    }
    # link_cells takes the chains of a whole frame, the first of which has no links.
    x, y = torch.tensor([(0.0, 0.0), *positions]).T[:, None].contiguous()
    cells = torch.empty(x.shape, dtype=torch.int32)
    link_cells(x, y, 2, 3, cells, use_compiled=compiled)
    assert read[cells[0]].tolist() == [0, *positions.values()]


@pytest.mark.parametrize("n_frames", [2, 3, 6])
@pytest.mark.parametrize("h", [-1, 0, 1, 5, 40])
def test_short_videos_and_all_chain_sizes(n_frames, h):
    fwd, bwd, _ = moving_square(n_frames)
    maps = torch.rand(n_frames, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    for given, c in ((None, 1), (None, -1), (maps, 0), (maps, 1), (maps, 40)):
        sizes = dict(dir_features_half_chain_size=h, features_half_chain_size=c)
        masks = segmented(fwd, bwd, maps=given, n_iterations=3, **sizes)
        assert masks.shape == (n_frames, HEIGHT, WIDTH)
        assert torch.isfinite(masks).all()
        assert masks.min() >= 0
        assert masks.max() <= 1


def test_a_video_of_one_frame_has_no_object():
    flow = torch.empty(0, 2, HEIGHT, WIDTH)
    masks = segmented(flow, flow)
    assert torch.equal(masks, torch.zeros(1, HEIGHT, WIDTH))
    coarse = dataclasses.replace(
        GraphSettings.with_extensions(), coarse_graph=CoarseGraph(least_side=1)
    )
    video = torch.zeros(1, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    masks = segment(flow, flow, video=video, settings=coarse)
    assert torch.equal(masks, torch.zeros(1, HEIGHT, WIDTH))


@pytest.mark.parametrize("seed_type", [0, 1, 2])
def test_a_still_video_is_finite(seed_type):
    flow = torch.zeros(4, 2, HEIGHT, WIDTH)
    masks = segmented(flow, flow, seed_type=seed_type)
    assert torch.isfinite(masks).all()


def test_it_finds_a_moving_square():
    fwd, bwd, truth = moving_square(8)
    masks = segmented(fwd, bwd)
    assert masks[truth].mean() > 0.9
    # What the square uncovers or covers next shares some of its chains.
    assert masks[~truth].mean() < 0.15


def test_the_fixed_point_does_not_depend_on_the_seed():
    fwd, bwd, _ = moving_square(8)
    results = [segmented(fwd, bwd, seed_type=seed_type, n_iterations=40) for seed_type in (0, 1, 2)]
    seeds = [seed_mask(seed_type, 0.5, HEIGHT, WIDTH) for seed_type in (0, 1, 2)]
    assert (seeds[0] - seeds[2]).abs().max() > 0.5
    for other in results[1:]:
        assert (results[0] - other).abs().max() < 1e-3


@COMPILED
@pytest.mark.parametrize("store_links", [True, False])
def test_masks_do_not_depend_on_the_number_of_cores(store_links, compiled, monkeypatch):
    """Nor on the way: blocks of frames are cut differently, and their sums added up."""
    fwd, bwd, _ = moving_square(8)
    expected = segmented(fwd, bwd)
    for n_threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_threads: n)
        way = Execution(store_links=store_links, compiled=compiled)
        masks = segmented(fwd, bwd, way=way)
        assert (masks - expected).abs().max() < 1e-5


@pytest.mark.parametrize("half_window", [0, 1, 2, 3, 15, 40])
def test_fast_weights_stand_for_all(half_window):
    """The same total and, to a few percent, the same mean square distance."""
    exact, fast = link_weights(half_window, 4.0), fast_link_weights(half_window, 4.0)
    assert set(fast) <= set(exact)
    assert sum(fast.values()) == pytest.approx(sum(exact.values()))
    if half_window <= 3:
        assert fast == pytest.approx(exact)
    else:
        assert len(fast) == 6
        second = [sum(k**2 * g for k, g in w.items()) for w in (exact, fast)]
        assert second[1] == pytest.approx(second[0], rel=0.05)


def test_fast_is_close_to_exact():
    fwd, bwd, truth = moving_square(8)  # fast leaves out the links over 4, 6 and 7 frames
    exact = segmented(fwd, bwd)
    fast = segmented(fwd, bwd, fast_propagation=FastPropagation())
    assert not torch.equal(fast, exact)
    assert (fast - exact).abs().mean() < 0.01
    assert ((fast > 0.5) == truth).float().mean() > 0.95


def test_ike_features_without_a_zero_inside_or_outside_the_frame():
    """Their range over the video has a 0 only where a chain leaves the frame and reads one."""
    maps = torch.rand(3, 1, 6, 8, generator=torch.Generator().manual_seed(0)) + 1
    still, moving = torch.zeros(2, 2, 6, 8), torch.full((2, 2, 6, 8), 3.0)
    assert ike_range(maps, still, still, 1) == (maps.min().item(), maps.max().item())
    assert ike_range(maps, moving, moving, 1) == (0.0, maps.max().item())
    assert ike_range(maps, moving, moving, 0) == (maps.min().item(), maps.max().item())
    assert ike_range(-maps, moving, moving, 1) == (-maps.max().item(), 0.0)


def test_flows_are_resized_and_scaled(tmp_path):
    """Bilinearly, without aligned corners; u goes with the width, v with the height."""
    flow = np.zeros((2, 8, 2), dtype=np.float32)
    flow[..., 0], flow[..., 1] = np.arange(8), -6
    write_flow(tmp_path / flow_name(0), flow)
    resized = read_working_flow(tmp_path, 2, (2, 8), (3, 4))
    assert resized.shape == (1, 2, 3, 4)
    # Each new pixel is the mean of two, then u is halved as well.
    torch.testing.assert_close(resized[0, 0], torch.tensor([[0.25, 1.25, 2.25, 3.25]] * 3))
    torch.testing.assert_close(resized[0, 1], torch.full((3, 4), -9.0))


class Place:
    """Frames of 40 x 56 pixels and their flow; the command works at 20 x 28."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        self.frames, self.flow = folder / "frames", folder / "of"
        fwd, bwd, truth = moving_square(5)
        large = truth.numpy().repeat(2, axis=1).repeat(2, axis=2)
        write_frames(
            self.frames,
            (np.where(mask, 200, 10 * idx).astype(np.uint8) for idx, mask in enumerate(large)),
        )
        size = 2 * WIDTH, 2 * HEIGHT
        flows = (
            [cv2.resize(2 * flow.transpose(1, 2, 0), size) for flow in direction.numpy()]
            for direction in (fwd, bwd)
        )
        write_flow_folders(self.flow, *flows)

    def flags(self, out: str, **changes: object) -> list[str]:
        values = dict(n_iterations=3, to_save_iterations="-1, 2", refinement="no")
        values |= dict(working_h=HEIGHT, working_w=WIDTH, device="cpu")
        config = write_config(self.folder / "config.ini", **(values | changes))
        paths = [f"--frames_path={self.frames}", f"--of_path={self.flow}"]
        return [*paths, f"--config={config}", f"--out_path={self.folder / out}"]

    def run(self, out: str = "out", **changes: object) -> None:
        """Run the command with ``changes`` of config.ini."""
        call(run_graph_module, *self.flags(out, **changes))

    def refused(self, match: str, **changes: object) -> None:
        refused(match, run_graph_module, *self.flags("out", **changes))

    def masks(self, name: str = "out/iter_2") -> torch.Tensor:
        return read_soft_masks(self.folder / name, 5, HEIGHT, WIDTH)


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)


def test_command_writes_what_the_contract_says(place, capsys):
    place.run()
    folders = ["iter_-1", "iter_-1_images", "iter_2", "iter_2_images"]
    names = sorted(path.name for path in place.out.iterdir())
    assert names == ["config.ini", "frames.csv", *folders, "log.csv"]
    for idx in range(5):
        mask = torch.load(place.out / "iter_2" / f"{idx:05d}.pt", weights_only=True)
        assert (mask.dtype, mask.shape) == (torch.float32, (HEIGHT, WIDTH, 1))
        assert (mask.min(), mask.max()) == (0, 1)
        with Image.open(place.out / "iter_2_images" / f"{idx:05d}.png") as image:
            assert (image.mode, image.size) == ("L", (2 * WIDTH, 2 * HEIGHT))
    printed = capsys.readouterr().out
    assert "5 frames, 56 x 40" in printed
    assert f"working_h = {HEIGHT}" in printed


@pytest.mark.parametrize("saliency", ["no", "yes"])
def test_refinement_is_appearance_along_the_edges_of_what_is_saved_without(saliency, place):
    """What is learnt of a frame counts by its reliability, where saliency tells that."""
    settings = dict(motion_saliency=saliency, motion_prior="no")
    place.run(**settings)
    place.run("refined", refinement="yes", **settings)
    assert torch.equal(place.masks("refined/iter_-1"), place.masks("out/iter_-1"))
    without = place.masks()
    flows = (
        read_working_flow(place.flow / name, 5, (2 * HEIGHT, 2 * WIDTH), (HEIGHT, WIDTH))
        for name in ("fwd_of", "bwd_of")
    )
    small = read_working_frames(open_frames(place.frames), HEIGHT, WIDTH)
    reliability = None
    if saliency == "yes":
        reliability = frame_reliability(motion_saliency(*flows), without)
    learnt = appearance_masks(small, without, reliability=reliability)
    assert torch.equal(place.masks("refined/iter_2"), follow_edges(small, learnt))


# config.ini's setting without the prior, of which nothing can be said by hand.
WITH_SALIENCY = dataclasses.replace(GraphSettings.with_extensions(), motion_prior=None)


def square_video():
    """Flows and frames of a square that stands still in the last frames."""
    fwd, bwd, truth = moving_square(8)
    fwd[4:], bwd[4:] = 0, 0
    noise = torch.randint(0, 40, (8, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0))
    truth[5:] = truth[4]
    return fwd, bwd, (noise + 150 * truth[:, None]).to(torch.uint8)


def test_a_pass_learns_from_the_pass_before():
    """From reliable frames, of the object: what is learnt is a map beside the saliency."""
    fwd, bwd, video = square_video()
    settings = dataclasses.replace(
        WITH_SALIENCY,
        n_iterations=2,
        degree_normalisation=None,
        bootstrap=Bootstrap(1),
    )
    steps = list(iterations(fwd, bwd, video=video, settings=settings, execution=Execution()))
    found = [(step.n_passes_left, step.index) for step in steps]
    assert found == [(1, 0), (1, 1), (0, 0), (0, 1)]
    assert not any(step.inverted.any() for step in steps)
    masks = steps[1].masks
    saliency = motion_saliency(fwd, bwd)
    reliability = frame_reliability(saliency, masks)
    assert reliability[:3].min() > 0.9 and reliability[5:].max() < 1e-3
    learnt = appearance_masks(video, masks, reliability=reliability)
    sizes = dict(dir_features_half_chain_size=-1, features_half_chain_size=1)
    features = node_features(fwd, bwd, [saliency[:, None], learnt[:, None]], **sizes)
    x = min_max_each_(propagate(motion_matrix(fwd, bwd, link_weights(15, 4.0)), masks))
    x = min_max_each_(project_(projection(features, 100.0, x.device), x))
    torch.testing.assert_close(steps[2].masks, x, atol=1e-4, rtol=0)


def test_the_graph_has_half_the_size_of_the_frames_and_the_result_has_their_size():
    """As if flow, frames and maps were of half the size, up to the result."""
    fwd, bwd, video = square_video()
    maps = torch.rand(8, 2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    size = HEIGHT // 2, WIDTH // 2

    def halved(planes):
        """[n, C, H, W], by OpenCV."""
        frames = [cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)
                  for frame in planes.permute(0, 2, 3, 1).numpy()]  # fmt: skip
        return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()

    small = halved(video.float()).round().to(torch.uint8)
    coarse = dataclasses.replace(
        GraphSettings.with_extensions(),
        seed_type=1,
        n_iterations=3,
        coarse_graph=CoarseGraph(least_side=HEIGHT // 2),
    )
    as_it_is = dataclasses.replace(coarse, coarse_graph=None)
    *_, found = iterations(
        fwd, bwd, video=video, feature_maps=maps, settings=coarse, execution=Execution()
    )
    *_, expected = iterations(
        halved(fwd) / 2, halved(bwd) / 2,
        video=small, feature_maps=halved(maps), settings=as_it_is, execution=Execution(),
    )  # fmt: skip
    torch.testing.assert_close(found.masks, expected.masks, atol=2e-3, rtol=0)
    reliability = frame_reliability(found.moving, found.masks)
    learnt = appearance_masks(small, found.masks, reliability=reliability)
    torch.testing.assert_close(
        finish(found, video, coarse).masks, follow_edges(video, learnt), atol=2e-3, rtol=0
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [((224, 416), (112, 208)), ((193, 333), (96, 166)), ((191, 333), (191, 333))],
)
def test_no_graph_is_made_coarser_than_96_pixels(size, expected):
    assert GraphSettings.with_extensions().graph_size(*size) == expected
    assert GraphSettings().graph_size(*size) == size


@pytest.mark.parametrize("level", [0.2, 0.9])
def test_coarse_masks_that_are_not_refined_are_brought_to_the_size_of_the_frames(
    level, monkeypatch
):
    """Where there is no object, and where refinement leaves none."""
    fwd, bwd, video = square_video()
    monkeypatch.setattr(segmentation, "refine", lambda *_, **__: torch.zeros(8, HEIGHT, WIDTH))
    settings = dataclasses.replace(
        GraphSettings.with_extensions(),
        n_iterations=1,
        polarity=None,
        coarse_graph=CoarseGraph(least_side=HEIGHT // 2),
    )
    *_, step = iterations(fwd, bwd, video=video, settings=settings, execution=Execution())
    ramp = torch.linspace(0, level, WIDTH // 2).expand(8, HEIGHT // 2, -1).contiguous()
    result = finish(dataclasses.replace(step, masks=ramp), video, settings)
    assert result.refinement_failed == (level >= 0.5)
    expected = cv2.resize(ramp[0].numpy(), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    torch.testing.assert_close(result.masks, torch.from_numpy(expected).expand(8, -1, -1))


def test_known_masks_need_no_motion_in_their_frames():
    """Nor passes to learn from, as the network has learnt already."""
    fwd, bwd, video = square_video()
    settings = dataclasses.replace(WITH_SALIENCY, n_iterations=2).for_known_masks()
    steps = list(
        iterations(
            fwd, bwd, video=video, feature_maps=video[:, :1] / 255,
            settings=settings, execution=Execution(),
        )
    )  # fmt: skip
    assert [step.n_passes_left for step in steps] == [0, 0]
    learnt = follow_edges(video, appearance_masks(video, steps[1].masks))
    assert torch.equal(finish(steps[1], video, settings).masks, learnt)


@pytest.mark.parametrize("level", [0.3, 0.9])
def test_refinement_that_leaves_no_object_is_left_out(level, monkeypatch, place, capsys):
    """As of an object of a few pixels: what is learnt of it stays below 0.5 everywhere."""
    monkeypatch.setattr(
        "graph_module.extensions.refinement.appearance_masks",
        lambda _, masks, *__, **___: torch.full_like(masks, level),
    )
    place.run(refinement="yes")
    assert ("refinement leaves no object" in capsys.readouterr().err) == (level < 0.5)
    masks = place.masks()
    assert masks.amax(dim=(1, 2)).tolist() == pytest.approx([1.0] * 5)
    assert (masks.std() > 0.1) == (level < 0.5)


@pytest.mark.parametrize("refinement", [Refinement(), None])
def test_masks_of_the_background_are_inverted(refinement):
    fwd, bwd, video = square_video()
    settings = dataclasses.replace(
        WITH_SALIENCY,
        n_iterations=3,
        bootstrap=None,
        refinement=refinement,
    )
    *_, step = iterations(fwd, bwd, video=video, settings=settings, execution=Execution())
    expected = finish(step, video, settings)
    assert not expected.inverted.any()
    found = finish(dataclasses.replace(step, masks=1 - step.masks), video, settings)
    assert found.inverted.all()
    assert ((found.masks >= 0.5) == (expected.masks >= 0.5)).float().mean() > 0.98


def test_where_there_is_no_object_refinement_finds_none(monkeypatch, place, capsys):
    """Without flow nothing is salient; of labels without an object any could be learnt."""
    still = np.zeros((4, 2 * HEIGHT, 2 * WIDTH, 2), np.float32)
    write_flow_folders(place.flow, still, still)
    monkeypatch.setattr(
        "graph_module.extensions.refinement.appearance_masks",
        lambda *_, **__: pytest.fail("learnt"),
    )
    place.run(refinement="yes", bootstrap_passes=0, motion_prior="no")
    assert "no object was found, all masks are 0 everywhere" in capsys.readouterr().err
    assert not place.masks().any()


def test_the_masks_that_end_a_run_are_refined_once(monkeypatch, place):
    calls = []

    def count(*arguments):
        calls.append(arguments)
        return finish(*arguments)

    monkeypatch.setattr(run, "finish", count)
    saved = (0, 4, 8)
    place.run(refinement="yes", n_iterations=9, to_save_iterations="0, 4, 8", tolerance=1)
    assert len(calls) == 1
    first, *others = (contents(place.out / f"iter_{idx}") for idx in saved)
    assert len(first) == 5 and others == [first, first]


def test_a_result_can_be_made_again_from_its_saved_config(place):
    place.run()
    saved = place.out / "config.ini"
    call(run_graph_module, f"--config={saved}", f"--out_path={place.folder / 'again'}")
    first = contents(place.out / "iter_2")
    assert len(first) == 5
    assert contents(place.folder / "again" / "iter_2") == first


def test_iterations_of_other_settings_do_not_stay_beside_the_new_ones(place):
    """Or one of them would be taken for the result; what is the user's own stays."""
    place.run()
    (place.out / "iter_2").rename(place.out / "iter_2_sigma4")
    (place.out / "iter_notes.txt").write_text("mine")
    place.run(sigma=3, n_iterations=2, to_save_iterations=1)
    assert sorted(path.name for path in place.out.glob("iter*")) == [
        *("iter_1", "iter_1_images", "iter_2_sigma4", "iter_notes.txt"),
    ]


@pytest.mark.parametrize(("n_channels", "left_out"), [(1, True), (2, False)])
def test_masks_among_the_features_take_the_place_of_bootstrap_passes(
    n_channels, left_out, place, capsys
):
    maps = torch.rand(5, HEIGHT, WIDTH, n_channels, generator=torch.Generator().manual_seed(0))
    write_feature_maps(place.folder / "maps", maps)
    results = []
    for n_passes in (0, 2):
        place.run(refinement="yes", ike_features_paths="maps", bootstrap_passes=n_passes)
        results.append(place.masks())
    assert torch.equal(*results) == left_out
    assert ("bootstrap_passes are left out" in capsys.readouterr().out) == left_out


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (None, False),  # no record
        ("{n_bytes} bytes, digest {digest}", False),
        ("{n_bytes} bytes, digest 0123456789abcdef", True),
        ("{n_bytes} bytes", False),  # of an earlier version
        ("1 bytes", True),
    ],
)
def test_flow_or_maps_of_other_frames_are_told(place, frames, told, capsys):
    place.run()
    files = contents(place.frames).values()
    digests = b"".join(hashlib.sha256(data).digest() for data in files)
    digest = hashlib.sha256(digests).hexdigest()[:16]
    right = f"{sum(map(len, files))} bytes, digest {digest}"
    record = (place.out / "config.ini").read_text()
    assert f", {right}\n" in record
    if frames is not None:
        other = frames.format(n_bytes=sum(map(len, files)), digest=digest)
        for folder in (place.out, place.flow):
            (folder / "config.ini").write_text(record.replace(right, other))
    capsys.readouterr()
    place.run("second", ike_features_paths="out/iter_2")
    warnings = [line for line in capsys.readouterr().err.splitlines() if "is it of this" in line]
    assert len(warnings) == (2 if told else 0)
    for warning, folder in zip(warnings, ("of/fwd_of", "out/iter_2"), strict=False):
        assert f"warning: {place.folder / folder}: was made from other frames than" in warning


def test_flow_of_a_longer_video_is_told(place, capsys):
    (place.flow / "fwd_of" / flow_name(4)).touch()
    place.run()
    warning = capsys.readouterr().err.splitlines()[0]
    assert warning.endswith(
        "fwd_of: holds flow of a longer video; does it begin with these frames?"
    )


def test_flow_that_is_missing_is_named_before_any_work(place):
    flow, place.flow = place.flow, place.flow / "fwd_of"
    place.refused(f"give --of_path={flow}, above both")
    place.flow = place.folder / "nowhere"
    place.refused("fwd_of: no such folder")
    place.flow = flow
    for folder in ("bwd_of", "fwd_of"):
        (flow / folder / flow_name(2)).unlink()
        place.refused(rf"{folder}/00002_00003\.flo: is missing")
    assert not contents(place.out)
    flags = [flag for flag in place.flags("out") if not flag.startswith("--of_path")]
    refused("--of_path: is missing", run_graph_module, *flags)


def test_a_run_that_fails_leaves_the_record_of_the_old_result(place):
    place.run()
    before = contents(place.out)
    place.refused("nowhere: no such folder", ike_features_paths="nowhere")
    assert contents(place.out) == before


def test_tolerance_ends_the_iterations_and_still_saves_the_last(place, capsys):
    place.run(refinement="yes", n_iterations=40, to_save_iterations="2, 39", tolerance=1e-6)
    with (place.out / "log.csv").open(newline="") as file:
        changes = [float(row["mean_change"]) for row in csv.DictReader(file)]
    n_run = len(changes)
    assert 3 < n_run < 40
    assert changes[-1] < 1e-6 <= changes[-2]
    assert "they are the result" in capsys.readouterr().out
    # The masks of the last iteration that was run, under the name that was asked for.
    place.run("again", refinement="yes", n_iterations=n_run, to_save_iterations=n_run - 1)
    last = contents(place.folder / "again" / f"iter_{n_run - 1}")
    assert len(last) == 5
    assert contents(place.out / "iter_39") == last


@pytest.mark.parametrize("n_free", [10**12, 0], ids=["much memory", "none"])
def test_less_memory_gives_the_same_masks(monkeypatch, place, n_free, capsys):
    """With none, links are recomputed and the features lie on the disk."""
    place.run()
    monkeypatch.setattr(memory_plan, "free_memory", lambda device: n_free)
    place.run("other")
    printed = capsys.readouterr().out
    assert ("recomputed in each iteration, features offloaded" in printed) == (n_free == 0)
    assert (place.masks() - place.masks("other/iter_2")).abs().max() < 1e-4
    assert not list((place.folder / "other").glob("tmp*"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_cuda_gives_the_masks_of_the_cpu():
    fwd, bwd, video = square_video()
    settings = GraphSettings.with_extensions()
    expected = segment(fwd, bwd, video=video, settings=settings)
    on_gpu = segment(fwd.to("cuda"), bwd.to("cuda"), video=video, settings=settings)
    assert on_gpu.is_cuda
    assert (on_gpu.cpu() - expected).abs().max() < 1e-2
    assert (
        segmented(fwd.to("cuda"), bwd.to("cuda")).cpu() - segmented(fwd, bwd)
    ).abs().max() < 1e-3


@COMPILED
def test_equal_features_and_a_small_lambda(compiled):
    """Rounding of the Gram matrix must not exceed lambda, or it has no Cholesky factor."""
    fwd, bwd, _ = moving_square(6)
    maps = torch.rand(6, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    settings = dict(seed_type=1, half_window=3, dir_features_half_chain_size=2, ridge=1e-6)
    way = Execution(compiled=compiled)
    masks = segmented(
        fwd, bwd, maps=maps.expand(-1, 5, -1, -1), way=way, n_iterations=3, **settings
    )
    assert torch.isfinite(masks).all()


def test_the_example_of_segment():
    assert doctest.testmod(segmentation).attempted > 5
    assert doctest.testmod(segmentation).failed == 0


def test_settings_of_the_configs():
    ours, paper = (
        run.settings_of(read_config(ROOT / name).graph_module)
        for name in ("config.ini", "configs/paper.ini")
    )
    assert (ours, paper) == (GraphSettings.with_extensions(), GraphSettings())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(seed_type=3), "GraphSettings.seed_type should be .* at most 2, got 3"),
        (dict(n_iterations=0), "GraphSettings.n_iterations should be a whole number of at least 1"),
        (dict(sigma=0), "GraphSettings.sigma should be a number above 0, got 0"),
        (dict(sigma=math.nan), "GraphSettings.sigma should be a number above 0, got nan"),
        (dict(tolerance=2), "tolerance should be a number of at least 0 and at most 1, got 2"),
        (dict(half_window=1.5), "half_window should be a whole number of at least 0, got 1.5"),
        (dict(polarity=Polarity()), "polarity needs motion_saliency"),
        (
            dict(motion_saliency=MotionSaliency(), features_half_chain_size=-1),
            "motion_saliency needs features_half_chain_size of at least 0",
        ),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GraphSettings(**settings)
    with pytest.raises(ValueError, match=r"least_contrast should be .* at most 1, got 1.5"):
        Polarity(least_contrast=1.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(fwd_flow=torch.zeros(3, 2, 8)), r"fwd_flow should be a .* \[n - 1, 2, H, W\], got"),
        (dict(fwd_flow=np.zeros((3, 2, 8, 9))), "fwd_flow should be a .* tensor .* got ndarray"),
        (dict(fwd_flow=torch.zeros(3, 2, 8, 9).double()), "fwd_flow should be .*float32 .*float64"),
        (dict(bwd_flow=torch.zeros(2, 2, 8, 9)), r"bwd_flow should be .* \[3, 2, 8, 9\], got"),
        (dict(bwd_flow=torch.full((3, 2, 8, 9), math.nan)), "bwd_flow should be finite"),
        (dict(feature_maps=torch.zeros(3, 1, 8, 9)), r"feature_maps should be .* \[4, C, 8, 9\]"),
        (
            dict(
                feature_maps=torch.zeros(4, 2, 8, 9),
                settings=GraphSettings().for_known_masks((0, 2)),
            ),
            r"known_masks should be channels of feature_maps, 0 to 1, got \(0, 2\)",
        ),
        (dict(settings=GraphSettings().for_known_masks()), "known_masks .* give these, or"),
        (
            dict(video=torch.zeros(4, 3, 8, 9)),
            r"video should be a torch.uint8 .* got torch.float32",
        ),
        (dict(settings=GraphSettings(refinement=Refinement())), "video should be the frames"),
        (dict(settings=Refinement()), "settings should be .*GraphSettings, got Refinement"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(changes, message):
    flow = torch.zeros(3, 2, 8, 9)
    given = dict(fwd_flow=flow, bwd_flow=flow) | changes
    with pytest.raises(ValueError, match=message):
        segment(given.pop("fwd_flow"), given.pop("bwd_flow"), **given)


def test_refinement_without_a_video_is_refused():
    fwd, bwd, _ = moving_square(3)
    settings = GraphSettings(n_iterations=1)
    (step,) = iterations(fwd, bwd, settings=settings, execution=Execution())
    with pytest.raises(ValueError, match="give video"):
        finish(step, None, dataclasses.replace(settings, refinement=Refinement()))


def test_segment_prints_and_changes_nothing(capfd):
    fwd, bwd, video = square_video()
    given = fwd.clone(), bwd.clone(), video.clone()
    settings = dataclasses.replace(GraphSettings.with_extensions(), n_iterations=2)
    segment(fwd, bwd, video=video, settings=settings)
    assert all(map(torch.equal, given, (fwd, bwd, video)))
    assert capfd.readouterr() == ("", "")
