"""A video with known object and motion: a patterned blob drifts and turns above a coast.

Nothing is downloaded: the coast and the pattern are fractal noise, and the same seed gives the
same video. Where the object moves to one side, the camera carries the coast to the other.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from ike_data.runtime.command import number_argument, prepare_out_path, run_command
from ike_tools.data_sets.annotated_video import check_new, write_annotated_video
from ike_tools.flags import Parser

FRAMES, ANNOTATIONS = "frames", "annotations"
MIN_SIZE = 32  # pixels a side; below, there is no room for an object

AREA = 0.10  # of the object, as a share of the frame
MAX_RADIUS = 0.36  # of the object, as a share of the frame's shorter side
CANVAS = 1.4  # size of the coast, in frames: the camera never sees its end
FRAMES_A_ROUND = 110  # object and camera go round an ellipse in so many frames
OBJECT_ELLIPSE = 0.15  # half axes, as a share of the frame's width and height
CAMERA_ELLIPSE = 0.13
TURN = np.deg2rad(1.5)  # of the object, from frame to frame
BREATH = 0.05  # the object's scale and the camera's zoom go up and down by this share

# Colours along the height of the land, RGB: deep water to snow.
COAST = np.array(
    [
        *((18, 62, 104), (34, 120, 150), (96, 176, 176), (226, 208, 160)),
        *((128, 158, 84), (62, 110, 66), (118, 104, 86), (236, 234, 228)),
    ]
)
SHORE = 0.36  # where water ends, as a share of the way along COAST
PATTERN = np.array([(96, 24, 62), (196, 44, 54), (240, 132, 48), (252, 222, 150), (168, 38, 70)])


class SyntheticFrame(NamedTuple):
    """One frame and what is known of it."""

    image: np.ndarray  # uint8 RGB [height, width, 3]
    mask: np.ndarray  # uint8 [height, width], 255 is the object, 0 the background
    flow: np.ndarray  # float32 [height, width, 2], (u, v) in pixels to where the next frame has it


def get_args_parser() -> argparse.ArgumentParser:
    parser = Parser(
        description="Make a video of a moving object above a moving background, with annotations: "
        "OUT_PATH/frames/%05d.jpg and OUT_PATH/annotations/%05d.png (255 is the object)."
    )
    parser.add_path("--out_path", "folder; made if needed", required=True)
    parser.add_argument(
        "--n_frames", type=number_argument(1, kind=int), default=24, help="default: 24"
    )
    pixels = number_argument(MIN_SIZE, kind=int)
    parser.add_argument("--height", type=pixels, default=240, help="pixels (default: 240)")
    parser.add_argument("--width", type=pixels, default=432, help="pixels (default: 432)")
    seed = number_argument(0, kind=int)
    parser.add_argument("--seed", type=seed, default=0, help="another seed, another video")
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    out_path = prepare_out_path(args.out_path)
    frames, annotations = out_path / FRAMES, out_path / ANNOTATIONS
    check_new(frames, annotations)
    video = synthetic_video(args.n_frames, args.height, args.width, args.seed)
    bar = tqdm(video, total=args.n_frames, unit="frame", delay=2)
    write_annotated_video(frames, annotations, ((frame.image, frame.mask > 0) for frame in bar))
    print(
        f"{args.n_frames} frames of {args.width} x {args.height} pixels in {frames}, "
        f"their annotations in {annotations}"
    )


def synthetic_video(
    n_frames: int, height: int, width: int, seed: int = 0
) -> Iterator[SyntheticFrame]:
    """Yield the frames of the video one at a time; a long video needs no more memory.

    Raises:
        ValueError: a side is smaller than `MIN_SIZE`.
    """
    if min(height, width) < MIN_SIZE:
        raise ValueError(f"height and width should be at least {MIN_SIZE}, got {height}, {width}")
    rng = np.random.default_rng(seed)
    coast = coast_texture(rng, round(CANVAS * height), round(CANVAS * width))
    radius = min(np.sqrt(AREA * height * width / np.pi), MAX_RADIUS * min(height, width))
    outline = Outline.draw(rng, float(radius))
    pattern = pattern_texture(rng, outline)
    start = rng.uniform(0, 2 * np.pi)
    turn = TURN * rng.choice([-1, 1])

    def poses(idx: int) -> tuple[np.ndarray, np.ndarray]:
        """3x3 matrices from coast to frame idx, and from pattern to frame idx."""
        angle = start + 2 * np.pi * idx / FRAMES_A_ROUND
        way = np.array([np.cos(angle) * width, np.sin(angle) * height])
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        breath = BREATH * np.sin(0.7 * angle)
        coast_pose = _pose(coast, centre - CAMERA_ELLIPSE * way, 1 + breath, 0.0)
        pattern_pose = _pose(pattern, centre + OBJECT_ELLIPSE * way, 1 - breath, turn * idx)
        return coast_pose, pattern_pose

    now = poses(0)
    for idx in range(n_frames):
        following = poses(idx + 1)
        yield _render(coast, pattern, outline, now, following, height, width)
        now = following


class Outline(NamedTuple):
    """A smooth closed curve around the origin: its radius, in pixels, for each direction."""

    radius: float
    waves: np.ndarray  # [k, 3]: number of bumps, share of the radius, phase

    @classmethod
    def draw(cls, rng: np.random.Generator, radius: float) -> Outline:
        bumps = np.array([2, 3, 5])
        shares = rng.uniform(0.7, 1.0, 3) * [0.12, 0.10, 0.04]
        return cls(radius, np.stack([bumps, shares, rng.uniform(0, 2 * np.pi, 3)], axis=1))

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Distance to the curve, to first order; negative inside."""
        direction = np.arctan2(y, x)
        radius, slope = np.full(x.shape, self.radius), np.zeros(x.shape)
        for bumps, share, phase in self.waves:
            radius += self.radius * share * np.cos(bumps * direction + phase)
            slope -= self.radius * share * bumps * np.sin(bumps * direction + phase)
        return (np.hypot(x, y) - radius) * radius / np.hypot(radius, slope)


def fractal_noise(
    rng: np.random.Generator, height: int, width: int, coarsest: float, roughness: float
) -> np.ndarray:
    """Smooth noise summed over octaves, float64 [height, width], of mean 0 and deviation 1.

    ``coarsest`` is the largest octave's period in pixels; each next one has half of it, down to 2,
    and ``roughness`` times its amplitude.
    """
    total = np.zeros((height, width))
    period, amplitude = max(coarsest, 2.0), 1.0
    while period >= 2:
        # The grid reaches over the edges, as the interpolation needs neighbours there.
        grid = rng.standard_normal((int(height / period) + 4, int(width / period) + 4))
        rows, columns = (np.arange(n, dtype=np.float32) / period + 1 for n in (height, width))
        map_x, map_y = np.meshgrid(columns, rows)
        total += amplitude * cv2.remap(grid.astype(np.float32), map_x, map_y, cv2.INTER_CUBIC)
        period, amplitude = period / 2, amplitude * roughness
    return (total - total.mean()) / total.std()


def colours(palette: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The colour at each share in [0, 1] of the way along a palette [k, 3]: [height, width, 3]."""
    stops = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(share, stops, channel) for channel in palette.T], axis=-1)


def coast_texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A coast from above, lit from the north-west: float32 RGB [height, width, 3] in [0, 255]."""
    size = min(height, width)
    land = fractal_noise(rng, height, width, size / 2.5, 0.55)
    grain = fractal_noise(rng, height, width, size / 16, 0.8)
    level = np.clip(0.42 + 0.2 * land, 0, 1)  # 0: the deepest water
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(land, (0, 0), 1.0))
    relief = np.interp(level, (SHORE - 0.1, SHORE + 0.1), (0.3, 1.0))  # water is smoother
    light = 1 + np.clip(relief * size / 45 * (slope_x + slope_y), -0.5, 0.5) + 0.07 * grain
    image = colours(COAST, level) * light[..., None]
    return np.clip(image, 0, 255).astype(np.float32)


def pattern_texture(rng: np.random.Generator, outline: Outline) -> np.ndarray:
    """The object's own texture, wavy bands darker towards the edge: a square around the outline.

    Otherwise as `coast_texture`.
    """
    half = int(np.ceil(1.4 * outline.radius))
    size = 2 * half + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    wave = fractal_noise(rng, size, size, outline.radius, 0.5)
    grain = fractal_noise(rng, size, size, outline.radius / 5, 0.8)
    bands = 0.5 + 0.5 * np.sin(2 * np.pi * x / (0.9 * outline.radius) + 1.6 * wave)
    inside = np.clip(-outline.distance(x, y) / outline.radius, 0, 1)
    light = 0.72 + 0.4 * np.sqrt(inside) + 0.07 * grain
    return np.clip(colours(PATTERN, bands) * light[..., None], 0, 255).astype(np.float32)


def _pose(texture: np.ndarray, centre: np.ndarray, scale: float, turn: float) -> np.ndarray:
    """The 3x3 matrix that brings a texture's middle to ``centre``, scaled and turned (radians)."""
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    middle = np.array([(texture.shape[1] - 1) / 2, (texture.shape[0] - 1) / 2])
    pose = np.eye(3)
    pose[:2, :2], pose[:2, 2] = linear, centre - linear @ middle
    return pose


def _render(
    coast: np.ndarray,
    pattern: np.ndarray,
    outline: Outline,
    now: tuple[np.ndarray, np.ndarray],
    following: tuple[np.ndarray, np.ndarray],
    height: int,
    width: int,
) -> SyntheticFrame:
    y, x = np.mgrid[:height, :width].astype(np.float64)
    pixels = np.stack([x, y, np.ones_like(x)], axis=-1)  # [height, width, 3]
    background, blob = (
        cv2.warpAffine(texture, pose[:2], (width, height), flags=cv2.INTER_LINEAR)
        for texture, pose in zip((coast, pattern), now, strict=True)
    )
    on_pattern = pixels @ np.linalg.inv(now[1]).T - (len(pattern) - 1) / 2  # from its middle
    scale = np.sqrt(np.linalg.det(now[1]))
    # The edge is one pixel wide: the share of a pixel that lies inside.
    alpha = np.clip(0.5 - scale * outline.distance(on_pattern[..., 0], on_pattern[..., 1]), 0, 1)
    image = background + alpha[..., None] * (blob - background)
    inside = alpha >= 0.5
    coast_flow, pattern_flow = (
        (pixels @ (after @ np.linalg.inv(before)).T - pixels)[..., :2]
        for before, after in zip(now, following, strict=True)
    )
    return SyntheticFrame(
        image=np.rint(image).astype(np.uint8),
        mask=inside.astype(np.uint8) * 255,
        flow=np.where(inside[..., None], pattern_flow, coast_flow).astype(np.float32),
    )


if __name__ == "__main__":
    run_command(main)
