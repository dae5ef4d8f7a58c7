"""Odd videos and numbers through the commands: a finite mask of each frame, or one clear line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import av
import cv2
import numpy as np
import pytest
import torch
from commands import ROOT, call
from files import write_clip, write_config, write_frames
from PIL import Image
from torchvision.models.optical_flow import raft_small
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

import evaluate
import export_masks
import extract_features
import extract_optical_flow
import main as network_command
import run_graph_module
import visualize
from graph_module.extensions.fast_propagation import fast_link_weights
from graph_module.extensions.motion_saliency import motion_saliency
from graph_module.features import LEVELS, write_levels
from graph_module.link_weights import link_weights
from graph_module.seeds import seed_mask
from ike_data.flow_files import BACKWARD, FORWARD, flow_name, read_flow
from ike_data.soft_masks import read_feature_maps, read_soft_masks

CONFIGS = {"config": ROOT / "config.ini", "paper": ROOT / "configs" / "paper.ini"}
WORKING = 24, 32
SMALL = {
    **{"working_h": WORKING[0], "working_w": WORKING[1], "device": "cpu", "method": "dis"},
    **{"n_iterations": 3, "to_save_iterations": 2},
    **{"n_epochs": 1, "to_save_epochs": 1, "base_channels": 1},
}
GRAPH, NET = "graph_1/iter_2", "net_1/results_pt/epoch_00001"


class Place:
    """A folder in which the commands are run, at a tiny working size."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.frames, self.out = folder, folder / "frames", folder / "out"
        self.config, self.working, self.capsys = folder / "small.ini", WORKING, capsys
        self.configure()

    def configure(self, which: str = "config", **values: object) -> None:
        """Write a config.ini with ``values`` in place of those of SMALL and of the project's."""
        write_config(self.config, CONFIGS[which], **{**SMALL, **values})

    def run(self, command: ModuleType, *flags: object) -> str:
        """Run a command to its end; returns what it printed."""
        call(command, *flags)
        return self.capsys.readouterr().out

    def common(self, out: str) -> list[str]:
        frames = f"--frames_path={self.frames}"
        return [frames, f"--config={self.config}", f"--out_path={self.out / out}"]

    def flow_flags(self, *more: str) -> list[str]:
        return [*self.common("flow"), *more]

    def graph_flags(self) -> list[str]:
        return [*self.common("graph_1"), f"--of_path={self.out}/flow"]

    def net_flags(self) -> list[str]:
        return [*self.common("net_1"), f"--pseudo_gt_path={self.out / GRAPH}"]

    def whole_run(self, n_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Flow, graph and network; the masks of both, checked."""
        self.run(extract_optical_flow, *self.flow_flags())
        self.run(run_graph_module, *self.graph_flags())
        self.run(network_command, *self.net_flags())
        return self.masks(GRAPH, n_frames), self.masks(NET, n_frames)

    def masks(self, folder: str, n_frames: int) -> torch.Tensor:
        """The masks of a result, finite and in [0, 1], as `read_soft_masks` has it."""
        assert len(list((self.out / folder).glob("*.pt"))) == n_frames
        return read_soft_masks(self.out / folder, n_frames, *self.working)

    def look(self, n_frames: int) -> None:
        """Show, export and evaluate the masks of a whole run."""
        half = np.zeros(cv2.imread(str(next(self.frames.iterdir()))).shape[:2], np.uint8)
        half[: len(half) // 2] = 255
        annotations = write_frames(self.folder / "annotations", [half] * n_frames)
        same = (f"--frames={self.frames}", f"--results={self.out}")
        self.run(visualize, *same, f"--out={self.folder}/pictures", "--report")
        assert (self.folder / "pictures" / "report.html").stat().st_size > 1000
        self.run(
            export_masks,
            *(f"--frames={self.frames}", f"--results={self.out / NET}"),
            f"--out={self.folder}/hard",
        )
        for path in (self.folder / "hard").iterdir():
            assert set(np.unique(np.asarray(Image.open(path)))) <= {0, 255}
        printed = self.run(
            evaluate,
            *(f"--results={self.out}", f"--annotations={annotations}", "--stage", GRAPH, NET),
            *("--all-frames", f"--out={self.folder}/results.csv"),
        )
        # J is a mean over the frames; a decay needs more frames than these.
        assert "nan" not in printed.lower()


@pytest.fixture
def place(tmp_path, capsys):
    return Place(tmp_path, capsys)


def moving(idx: int, height: int = 40, width: int = 56) -> np.ndarray:
    """A bright square that moves 2 pixels a frame over a fixed pattern."""
    y, x = np.mgrid[:height, :width]
    pattern = 60 + 40 * np.sin(x / 3) * np.cos(y / 4)
    image = np.repeat(pattern.astype(np.uint8)[..., None], 3, axis=2)
    top, left, side = height // 4, width // 5 + 2 * idx, min(height, width) // 3
    image[top : top + side, left : left + side] = (220, 200, 90)
    return image


def save_all(place: Place, images: list[np.ndarray], suffix: str = ".png") -> int:
    write_frames(place.frames, images, suffix)
    return len(images)


def in_modes(*modes: str) -> Callable[[Place], int]:
    """A frame in each of these modes; of one alone four frames."""

    def make(place: Place) -> int:
        place.frames.mkdir()
        for idx, mode in enumerate(modes * (4 if len(modes) == 1 else 1)):
            suffix = ".jpg" if mode == "CMYK" else ".png"
            Image.fromarray(moving(idx)).convert(mode).save(place.frames / f"{idx:05d}{suffix}")
        return idx + 1

    return make


def sixteen_bit(place: Place) -> int:
    return save_all(place, [moving(idx)[..., 0].astype(np.uint16) * 257 for idx in range(4)])


def noise(place: Place) -> int:
    rng = np.random.default_rng(0)
    return save_all(place, [rng.integers(0, 256, (40, 56, 3), dtype=np.uint8) for _ in range(4)])


def a_cut(place: Place) -> int:
    return save_all(
        place, [moving(idx) if idx < 3 else 255 - moving(idx)[::-1] for idx in range(6)]
    )


VIDEOS: dict[str, Callable[[Place], int]] = {
    "1 frame": lambda place: save_all(place, [moving(0)]),
    "2 frames": lambda place: save_all(place, [moving(0), moving(1)]),
    "3 frames": lambda place: save_all(place, [moving(idx) for idx in range(3)]),
    "16 x 16": lambda place: save_all(place, [moving(idx, 16, 16) for idx in range(4)]),
    "portrait": lambda place: save_all(place, [moving(idx, 90, 40) for idx in range(4)]),
    "a strip": lambda place: save_all(place, [moving(idx, 300, 8) for idx in range(3)]),
    "one pixel": lambda place: save_all(place, [moving(idx, 1, 1) for idx in range(3)]),
    "black and white": in_modes("1"),
    "16-bit": sixteen_bit,
    "mixed modes": in_modes("RGB", "L", "P", "RGBA", "CMYK"),
    "static": lambda place: save_all(place, [moving(0)] * 4),
    "black": lambda place: save_all(place, [np.zeros((40, 56, 3), np.uint8)] * 4),
    "white": lambda place: save_all(place, [np.full((40, 56, 3), 255, np.uint8)] * 4),
    "noise": noise,
    "cut": a_cut,
}
LOOKED_AT = ("1 frame", "2 frames", "one pixel", "static", "black")


@pytest.mark.parametrize("which", CONFIGS)
@pytest.mark.parametrize("name", VIDEOS)
def test_each_frame_has_a_mask(place, name, which):
    n_frames = VIDEOS[name](place)
    place.configure(which)
    place.whole_run(n_frames)
    if name in LOOKED_AT and which == "config":
        place.look(n_frames)


def test_a_static_scene_has_no_flow(place):
    save_all(place, [moving(0)] * 3)
    place.run(extract_optical_flow, *place.flow_flags())
    for folder in (FORWARD, BACKWARD):
        for idx in range(2):
            assert not read_flow(place.out / "flow" / folder / flow_name(idx), 40, 56).any()


def test_large_frames(place):
    n_frames = save_all(place, [moving(8 * idx, 2160, 3840) for idx in range(2)], ".jpg")
    place.whole_run(n_frames)
    place.configure("paper")
    place.run(run_graph_module, *place.graph_flags())
    place.masks(GRAPH, n_frames)
    with Image.open(place.out / "graph_1/iter_2_images/00001.png") as image:
        assert image.size == (3840, 2160)


@pytest.mark.parametrize(
    ("milliseconds", "by_header", "seconds"),
    [
        ([0, 40, 45, 500, 3000], 25, 5 * 3 / 4),
        ([0, 33, 67, 100], 1000, 4 * 0.1 / 3),
        ([0, 30_000, 60_000], 25, 3 * 10),  # slower than overlay.mp4 can be
    ],
)
def test_a_video_lasts_as_long_as_its_times_say(place, milliseconds, by_header, seconds):
    path = place.frames = place.folder / "clip.mkv"
    images = map(moving, range(len(milliseconds)))
    write_clip(path, images, "ffv1", by_header, milliseconds=milliseconds)
    place.whole_run(len(milliseconds))
    same = (f"--frames={path}", f"--results={place.out}", f"--out={place.folder}/pictures")
    place.run(visualize, *same, "--report")
    with av.open(str(place.folder / "pictures/overlay.mp4")) as movie:
        assert movie.duration / 1e6 == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize("which", CONFIGS)
@pytest.mark.parametrize("working", [(8, 8), (600, 8), (9, 300)])
def test_odd_working_sizes(place, working, which):
    save_all(place, [moving(idx) for idx in range(3)])
    place.working = working
    place.configure(which, working_h=working[0], working_w=working[1])
    place.whole_run(3)


@pytest.mark.parametrize("name", ["1 frame", "black", "noise"])
def test_all_that_the_network_can_do_besides(place, name):
    n_frames = VIDEOS[name](place)
    changes = {"flips": "yes", "colour_jitter": 0.99}
    for more in (changes, {**changes, "mixed_precision": "yes", "batch_size": 100_000}):
        place.configure(**more)
        place.whole_run(n_frames)


@pytest.mark.parametrize("name", ["1 frame", "16 x 16", "black"])
def test_feature_maps_of_odd_videos(place, name):
    n_frames = VIDEOS[name](place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = lraspp_mobilenet_v3_large(weights_backbone=None, num_classes=2)
        torch.save(network.state_dict(), place.folder / "weights.pth")
    flags = f"--model={lraspp_mobilenet_v3_large.__name__}", f"--weights={place.folder}/weights.pth"
    place.run(extract_features, *place.common("maps"), *flags)
    maps = read_feature_maps(place.out / "maps", n_frames, *WORKING)
    assert maps.shape[-1] == 1 and maps.min() >= 0 and maps.max() <= 1
    place.configure(ike_features_paths=place.out / "maps")
    place.whole_run(n_frames)


@pytest.mark.parametrize("name", ["static", "black", "1 frame"])
def test_raft_on_frames_without_texture_or_motion(place, name):
    n_frames = VIDEOS[name](place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(raft_small().state_dict(), place.folder / "raft.pth")
    flags = ("--method=raft", f"--models={place.folder}/raft.pth", "--small", "--iters=2")
    place.run(extract_optical_flow, *place.flow_flags(*flags))
    place.run(run_graph_module, *place.graph_flags())
    place.masks(GRAPH, n_frames)


# Numbers


def make_flow(place: Place, change: Callable[[np.ndarray], None], n_frames: int = 4) -> None:
    """Frames, and flow that ``change`` has changed: not by write_flow, which would refuse it."""
    save_all(place, [moving(idx) for idx in range(n_frames)])
    for folder, sign in ((FORWARD, 1), (BACKWARD, -1)):
        (place.out / "flow" / folder).mkdir(parents=True)
        for idx in range(n_frames - 1):
            flow = np.zeros((40, 56, 2), np.float32)
            flow[10:23, 11:24, 0] = 2 * sign
            change(flow)
            assert cv2.writeOpticalFlow(str(place.out / "flow" / folder / flow_name(idx)), flow)


def put(value: float) -> Callable[[np.ndarray], None]:
    def change(flow: np.ndarray) -> None:
        flow[3:9, 5:20] = value

    return change


def scale(factor: float) -> Callable[[np.ndarray], None]:
    def change(flow: np.ndarray) -> None:
        flow *= np.float32(factor)

    return change


@pytest.mark.parametrize("which", CONFIGS)
@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("change", [put(9.9e8), put(-1e6), scale(1e-42), scale(3e-30), scale(1e6)])
def test_flow_of_any_other_size_gives_finite_masks(place, change, engine, which):
    make_flow(place, change)
    place.configure(which, engine=engine)
    place.run(run_graph_module, *place.graph_flags())
    place.masks(GRAPH, 4)


def write_maps(folder: Path, value: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    folder.mkdir()
    for idx in range(4):
        grid = torch.linspace(0, 1, WORKING[0] * WORKING[1]).view(*WORKING, 1)
        torch.save(value(grid), folder / f"{idx:05d}.pt")
    return folder


MAPS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "constant": lambda grid: torch.full_like(grid, 0.3),
    "all of float32": lambda grid: (2 * grid - 1) * 3.4e38,
    "largest": lambda grid: torch.full_like(grid, 3.4e38),
    "smallest": lambda grid: grid * 1e-42,
    "far from zero": lambda grid: 1e30 + grid * 1e24,
}


@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("name", MAPS)
def test_feature_maps_of_any_finite_size_give_finite_masks(place, name, engine):
    make_flow(place, put(0))
    maps = write_maps(place.folder / "maps", MAPS[name])
    place.configure(ike_features_paths=maps, engine=engine)
    place.run(run_graph_module, *place.graph_flags())
    assert place.masks(GRAPH, 4).max() > 0


@pytest.mark.parametrize(("low", "high"), [(-3e38, 3e38), (0.0, 1.4e-42), (1e-38, 3e-38), (-1, 1)])
def test_levels_of_features_of_any_range(low, high):
    maps = torch.tensor([low, (low + high) / 2, high]).view(1, 1, 3)
    out = torch.full((1, 1, 3), -7, dtype=torch.int16)
    write_levels(out, maps, (maps.min().item(), maps.max().item()))
    assert out[0, 0, 0] == 0 and out[0, 0, 2] == LEVELS
    assert abs(int(out[0, 0, 1]) - LEVELS / 2) <= 20  # 1e-42 is 714 steps of the smallest number


# Each engine with each config on flow of any size, above.
@pytest.mark.parametrize(("which", "engine"), [("config", "auto"), ("paper", "torch")])
@pytest.mark.parametrize(
    "values",
    [
        {"lambda": 1e-6},
        {"lambda": 1e12},
        {"sigma": 5e-324},
        {"sigma": 1e308},
        {"sigma": 1e308, "propagation": "fast"},
        {"sigma": 5e-324, "propagation": "fast"},
        {"half_window": 10_000},
        {"half_window": 0},
        {"seed_type": 2, "seed_type_sigma_percent": 5e-324},
        {"seed_type": 2, "seed_type_sigma_percent": 1000},
        {"dir_features_half_chain_size": 100},
        {"features_half_chain_size": 100},
        {"tolerance": 1},
        {"links_memory": 0},
        {"links_memory": 1e308},
    ],
    ids=str,
)
def test_extreme_settings_of_the_graph(place, values, engine, which):
    make_flow(place, put(0), n_frames=3)
    place.configure(which, engine=engine, **values)
    place.run(run_graph_module, *place.graph_flags())
    assert place.masks(GRAPH, 3).max() > 0


def test_weights_and_seeds_of_extreme_sigmas():
    assert set(link_weights(3, 5e-324).values()) == {0.0}
    assert fast_link_weights(15, 1.7e308).keys() == {1, 2, 3, 5, 8, 13, 15}
    tiny, wide = (seed_mask(2, percent, 20, 30) for percent in (5e-324, 1000))
    assert tiny.sum() == 1 and tiny[10, 15] == 1
    assert torch.isfinite(wide).all() and wide[10, 15] == 1 and wide.min() == 0


def test_motion_of_a_frame_that_is_narrower_than_the_grid():
    flow = torch.zeros(2, 2, 1000, 8)
    flow[:, 0, 300:400, 2:5] = 3
    found = motion_saliency(flow, -flow)
    assert found.shape == (3, 1000, 8)
    assert torch.isfinite(found).all() and found.min() >= 0 and found.max() < 1
    assert found[1, 350, 3] > found[1, 700, 3]


# The same again


def digests(folder: Path) -> dict[str, str]:
    """Of all files but those that tell the time or the path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("log.csv", "config.ini", "report.html")
    }


@pytest.mark.parametrize("which", CONFIGS)
def test_the_same_bytes_again(place, which):
    save_all(place, [moving(idx) for idx in range(5)])
    place.configure(which, seed_type=0)
    runs = []
    for _ in range(2):
        place.whole_run(5)
        place.look(5)
        kept = place.folder / f"run_{len(runs)}"
        kept.mkdir()
        for name in ("out", "pictures", "hard", "annotations", "results.csv"):
            (place.folder / name).rename(kept / name)
        runs.append(digests(kept))
    assert runs[0] == runs[1]
    found = {Path(name).suffix for name in runs[0]}
    assert {".flo", ".pt", ".pth", ".png", ".mp4", ".csv"} <= found
