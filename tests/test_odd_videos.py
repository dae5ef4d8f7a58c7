"""Odd videos and numbers through the commands: a finite mask of each frame, or one clear line."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import resnet18
from torchvision.models.optical_flow import raft_small

import evaluate
import export_masks
import extract_features
import extract_optical_flow
import main as network_command
import run_graph_module
import visualize
from graph_module import GraphSettings
from graph_module.extensions.fast_propagation import fast_link_weights
from graph_module.extensions.motion_saliency import motion_saliency
from graph_module.features import LEVELS, write_ike_features
from graph_module.link_weights import link_weights
from graph_module.memory_plan import GraphSize, plan_memory
from graph_module.seeds import seed_mask
from ike_data.command_line import PROJECT_CONFIG
from ike_data.flow_files import BACKWARD, FORWARD, flow_name, read_flow, write_flow
from ike_data.runtime.command import run_command
from ike_data.soft_masks import read_feature_maps, read_soft_masks
from RAFT.run import write_flows

CONFIGS = {"config": PROJECT_CONFIG, "paper": PROJECT_CONFIG.parent / "configs" / "paper.ini"}
WORKING = 24, 32
SMALL = {
    **{"working_h": WORKING[0], "working_w": WORKING[1], "device": "cpu", "method": "dis"},
    **{"n_iterations": 3, "to_save_iterations": 2},
    **{"n_epochs": 1, "to_save_epochs": 1, "base_channels": 1, "mixed_precision": None},
}
GRAPH, NET = "graph_1/iter_2", "net_1/results_pt/epoch_00001"


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    # run_command would take Ctrl-C from pytest.
    monkeypatch.setattr("ike_data.runtime.command.end_on_ctrl_c", lambda *_: None)


class Place:
    """A folder in which the commands are run, at a tiny working size."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
        self.folder, self.frames, self.out = folder, folder / "frames", folder / "out"
        self.frames.mkdir()
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.config = folder / "small.ini"
        self.working = WORKING
        self.configure("config")

    def configure(self, which: str = "config", **values: object) -> None:
        """Write a config.ini with ``values`` in place of those of SMALL and of the project's."""
        values = {**SMALL, **values}
        lines = []
        for line in CONFIGS[which].read_text().splitlines():
            key = line.split("=")[0].strip()
            known = "=" in line and values.get(key) is not None
            lines.append(f"{key} = {values.pop(key)}" if known else line)
        for key in ("ike_features_paths",):
            if key in values:
                lines.insert(lines.index("[Graph Module]") + 1, f"{key} = {values.pop(key)}")
        assert {key for key, value in values.items() if value is not None} == set(), values
        self.config.write_text("\n".join(lines))

    def run(self, command, *flags: object) -> str:
        """Run a command to its end; returns what it printed."""
        self.monkeypatch.setattr("sys.argv", [f"{command.__name__}.py", *map(str, flags)])
        run_command(command.main)
        return self.capsys.readouterr().out

    def refused(self, command, *flags: object) -> str:
        """Run a command that ends with exit status 2; returns its one line on stderr."""
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            self.run(command, *flags)
        assert ended.value.code == 2
        # A progress bar may stand before it, and be wiped out.
        line = self.capsys.readouterr().err.replace("\r", "\n").splitlines()[-1].strip()
        assert line.startswith("error: ")
        return line

    def flow_flags(self, *more: object) -> list[object]:
        return [
            f"--frames_path={self.frames}",
            f"--out_path={self.out}/flow",
            *self.common(),
            *more,
        ]

    def graph_flags(self, out: str = "graph_1") -> list[object]:
        flags = [f"--frames_path={self.frames}", f"--of_path={self.out}/flow", *self.common()]
        return [*flags, f"--out_path={self.out / out}"]

    def net_flags(self, out: str = "net_1") -> list[object]:
        flags = [f"--frames_path={self.frames}", f"--pseudo_gt_path={self.out / GRAPH}"]
        return [*flags, *self.common(), f"--out_path={self.out / out}"]

    def common(self) -> list[object]:
        return [f"--config={self.config}"]

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
        annotations = self.folder / "annotations"
        annotations.mkdir()
        height, width = cv2.imread(str(next(self.frames.iterdir()))).shape[:2]
        for idx in range(n_frames):
            half = np.zeros((height, width), np.uint8)
            half[: height // 2] = 255
            Image.fromarray(half).save(annotations / f"{idx:05d}.png")
        same = (f"--frames={self.frames}", f"--results={self.out}")
        self.run(visualize, *same, f"--out={self.folder}/pictures", "--report")
        assert (self.folder / "pictures" / "report.html").stat().st_size > 1000
        self.run(
            export_masks,
            *(f"--frames={self.frames}", f"--results={self.out / NET}"),
            *(f"--out={self.folder}/hard", "--threshold=otsu"),
        )
        for path in (self.folder / "hard").iterdir():
            assert set(np.unique(np.asarray(Image.open(path)))) <= {0, 255}
        for threshold in ("0.5", "otsu", "best"):
            printed = self.run(
                evaluate,
                *(f"--results={self.out}", f"--annotations={annotations}", "--stage", GRAPH, NET),
                *("--all-frames", f"--threshold={threshold}", f"--out={self.folder}/results.csv"),
            )
            # J is a mean over the frames; a decay needs more frames than these.
            assert "nan" not in printed.lower()


@pytest.fixture
def place(tmp_path, monkeypatch, capsys):
    return Place(tmp_path, monkeypatch, capsys)


def moving(idx: int, height: int = 40, width: int = 56) -> np.ndarray:
    """A bright square that moves 2 pixels a frame over a fixed pattern."""
    y, x = np.mgrid[:height, :width]
    pattern = 60 + 40 * np.sin(x / 3) * np.cos(y / 4)
    image = np.repeat(pattern.astype(np.uint8)[..., None], 3, axis=2)
    top, left, side = height // 4, width // 5 + 2 * idx, min(height, width) // 3
    image[top : top + side, left : left + side] = (220, 200, 90)
    return image


def save_all(place: Place, images: list[np.ndarray], suffix: str = ".png") -> int:
    for idx, image in enumerate(images):
        Image.fromarray(image).save(place.frames / f"{idx:05d}{suffix}")
    return len(images)


def in_mode(mode: str, suffix: str = ".png") -> Callable[[Place], int]:
    def make(place: Place) -> int:
        for idx in range(4):
            image = Image.fromarray(moving(idx)).convert(mode)
            image.save(place.frames / f"{idx:05d}{suffix}")
        return 4

    return make


def sixteen_bit(place: Place) -> int:
    return save_all(place, [moving(idx)[..., 0].astype(np.uint16) * 257 for idx in range(4)])


def mixed_modes(place: Place) -> int:
    for idx, mode in enumerate(("RGB", "L", "P", "RGBA", "CMYK")):
        suffix = ".jpg" if mode == "CMYK" else ".png"
        Image.fromarray(moving(idx)).convert(mode).save(place.frames / f"{idx:05d}{suffix}")
    return 5


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
    "grey": in_mode("L"),
    "black and white": in_mode("1"),
    "16-bit": sixteen_bit,
    "CMYK": in_mode("CMYK", ".jpg"),
    "alpha": in_mode("RGBA"),
    "palette": in_mode("P"),
    "mixed modes": mixed_modes,
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


def test_a_static_scene_has_no_flow_and_a_moving_one_has_an_object(place):
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


def test_a_video_without_an_object_is_told(place):
    save_all(place, [moving(0)] * 3)
    place.run(extract_optical_flow, *place.flow_flags())
    place.monkeypatch.setattr("sys.argv", ["run_graph_module.py", *map(str, place.graph_flags())])
    run_command(run_graph_module.main)
    assert place.masks(GRAPH, 3).max() == 0
    assert "warning: no object was found, all masks are 0" in place.capsys.readouterr().err


def test_sizes_that_are_mixed_are_named(place):
    save_all(place, [moving(0), moving(1), moving(2, 41)])
    line = place.refused(extract_optical_flow, *place.flow_flags())
    assert "00002.png: is 56 x 41 pixels, 00000.png is 56 x 40; all frames must have" in line
    assert not place.out.exists()


def timed_video(path: Path, milliseconds: list[int], by_header: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=by_header)
        stream.height, stream.width, stream.pix_fmt = 40, 56, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for idx, when in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(moving(idx), format="rgb24")
            frame.pts, frame.time_base = when, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


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
    timed_video(path, milliseconds, by_header)
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
        torch.save(resnet18().state_dict(), place.folder / "resnet18.pth")
    flags = [f"--frames_path={place.frames}", f"--out_path={place.out}/maps", *place.common()]
    flags += ["--model=resnet18", f"--weights={place.folder}/resnet18.pth"]
    place.run(extract_features, *flags)
    maps = read_feature_maps(place.out / "maps", n_frames, *WORKING)
    assert maps.shape[-1] == 3 and maps.min() >= 0 and maps.max() <= 1
    place.configure(ike_features_paths=place.out / "maps")
    place.whole_run(n_frames)


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_davis_leaves_out_the_first_and_the_last_frame(place, n_frames):
    """Of a video of two frames nothing is left to score: that is said, not averaged."""
    save_all(place, [moving(idx) for idx in range(n_frames)])
    place.whole_run(n_frames)
    annotations = place.folder / "annotations"
    annotations.mkdir()
    for idx in range(n_frames):
        Image.fromarray(np.zeros((40, 56), np.uint8)).save(annotations / f"{idx:05d}.png")
    flags = (f"--results={place.out / NET}", f"--annotations={annotations}")
    table = f"--out={place.folder}/results.csv"
    if n_frames < 3:
        assert "frame" in place.refused(evaluate, *flags, table)
        assert not (place.folder / "results.csv").exists()
    else:
        assert "nan" not in place.run(evaluate, *flags, table).lower()


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


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e9, -3e38, 1.7e9])
def test_flow_that_is_unknown_or_not_finite_is_refused(place, value):
    make_flow(place, put(value))
    line = place.refused(run_graph_module, *place.graph_flags())
    assert "00000_00001.flo: has values that are unknown or not finite" in line
    assert list((place.out / "graph_1").iterdir()) == []


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


class Shoots:
    """A flow method that gives what graph_module would refuse to read."""

    def encode(self, frame: np.ndarray) -> np.ndarray:
        return frame

    def flow_both_ways(self, first: np.ndarray, second: np.ndarray):
        flow = np.full((*first.shape[:2], 2), 2e9, np.float32)
        return flow, -flow


def test_flow_that_would_be_read_as_unknown_is_not_written(tmp_path):
    for folder in (FORWARD, BACKWARD):
        (tmp_path / folder).mkdir()
    with pytest.raises(Exception, match="frames 0 and 1: their flow is not finite, or as good as"):
        write_flows([moving(0), moving(1)], tmp_path, {0: (FORWARD, BACKWARD)}, Shoots())
    with pytest.raises(ValueError, match="unknown or not finite"):
        write_flow(tmp_path / "00000_00001.flo", np.full((4, 5, 2), 1e9, np.float32))
    assert list(tmp_path.rglob("*.flo")) == []


def write_maps(folder: Path, value: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    folder.mkdir()
    for idx in range(4):
        grid = torch.linspace(0, 1, WORKING[0] * WORKING[1]).view(*WORKING, 1)
        torch.save(value(grid), folder / f"{idx:05d}.pt")
    return folder


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_feature_maps_that_are_not_finite_are_refused(place, value):
    make_flow(place, put(0))
    maps = write_maps(place.folder / "maps", lambda grid: torch.where(grid > 0.5, value, grid))
    place.configure(ike_features_paths=maps)
    line = place.refused(run_graph_module, *place.graph_flags())
    assert "00000.pt: has values that are NaN or infinite" in line
    assert list((place.out / "graph_1").iterdir()) == []


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
    write_ike_features(out, 0, maps, None, (maps.min().item(), maps.max().item()))
    assert out[0, 0, 0] == 0 and out[0, 0, 2] == LEVELS
    assert abs(int(out[0, 0, 1]) - LEVELS / 2) <= 20  # 1e-42 is 714 steps of the smallest number


@pytest.mark.parametrize("which", CONFIGS)
@pytest.mark.parametrize("engine", ["auto", "torch"])
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


def test_features_that_do_not_fit_into_the_memory(place):
    make_flow(place, put(0), n_frames=2)
    place.configure(dir_features_half_chain_size=10_000, motion_saliency="no", bootstrap_passes=0)
    refuse = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")
    for error in (refuse, MemoryError()):
        place.monkeypatch.setattr(
            "graph_module.segmentation.node_features", lambda *_, error=error, **__: raise_(error)
        )
        assert "the memory does not suffice" in place.refused(
            run_graph_module, *place.graph_flags()
        )
    # 40,001 features: two Gram matrices of them take 26 GB.
    size = GraphSize(2, 24, 32, GraphSettings(dir_features_half_chain_size=10_000))
    assert plan_memory(size, 4e9, 10**9, 1).n_bytes > 26e9


def raise_(error: Exception) -> None:
    raise error


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


@pytest.mark.parametrize("rate", [1e6, 1e20, 1e30])
def test_a_learning_rate_that_is_far_too_large(place, rate):
    """Whatever becomes of the network, no mask that is not finite is written."""
    make_flow(place, put(0))
    place.run(run_graph_module, *place.graph_flags())
    place.configure(learning_rate=rate, n_epochs=3, to_save_epochs=3)
    line = place.refused(network_command, *place.net_flags())
    assert "learning_rate" in line and "diverged" in line
    assert list((place.out / "net_1").rglob("*.pt")) == []
    assert list((place.out / "net_1").rglob("*.pth")) == []


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
