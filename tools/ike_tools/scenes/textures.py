"""Grey textures, from noise and simple figures. They are made once, and used in many places."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

SIDE = 512  # pixels of a texture
N_TEXTURES = 96
SENSOR_NOISE = (320, 512)  # height and width of a field of noise, larger than a frame


class Paint(NamedTuple):
    """A texture as a layer wears it."""

    image: np.ndarray  # uint8 [SIDE, SIDE]
    placement: np.ndarray  # 3x3, from pixels of the middle frame to pixels of the image
    gain: float
    offset: float


@cache
def sensor_noise() -> np.ndarray:
    """float32 `SENSOR_NOISE`, of mean 0 and standard deviation 1; always the same."""
    return np.random.default_rng(11).standard_normal(SENSOR_NOISE, np.float32)


def draw_paint(rng: np.random.Generator, contrast: float = 1.0) -> Paint:
    """A texture, turned, scaled and moved, lighter or darker."""
    image = texture(int(rng.integers(N_TEXTURES)))
    scale, angle = np.exp(rng.uniform(-0.3, 0.7)), rng.uniform(0, 2 * np.pi)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    placement = np.eye(3)
    placement[:2, :2] = turn
    placement[:2, 2] = rng.uniform(0, SIDE, 2)
    gain = contrast * rng.uniform(0.6, 1.5)
    return Paint(image, placement, gain, 128 * (1 - gain) + rng.uniform(-50, 50))


def fractal_noise(
    rng: np.random.Generator, height: int, width: int, slope: float, coarsest: int = 4
) -> np.ndarray:
    """Sum of octaves, from ``coarsest`` cells a row on; each has ``slope`` times the last one's
    amplitude; float32 [height, width]."""
    noise = np.zeros((height, width), np.float32)
    amplitude, n_cells = 1.0, coarsest
    while n_cells < max(height, width):
        cells = (max(height * n_cells // width, 2), n_cells)
        octave = rng.standard_normal(cells, np.float32)
        noise += amplitude * cv2.resize(octave, (width, height), interpolation=cv2.INTER_CUBIC)
        amplitude *= slope
        n_cells *= 2
    return noise


def soft_patches(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Patches with soft rims, of 1 on 0; float32 [height, width]."""
    noise = fractal_noise(rng, height, width, 0.4)
    sharpness = rng.uniform(1, 3)
    return np.clip(rng.uniform(0, 1) + sharpness * noise, 0, 1)


@cache
def texture(number: int) -> np.ndarray:
    """One of `N_TEXTURES`, always the same; uint8 [SIDE, SIDE]."""
    rng = np.random.default_rng([7, number])
    noise = fractal_noise(rng, SIDE, SIDE, rng.uniform(0.45, 0.95))
    noise = (noise - noise.mean()) / noise.std()
    if rng.random() < 0.25:  # regions of one grey each, with edges between
        noise = np.floor(noise * rng.uniform(0.8, 2)) + 0.1 * noise
    image = 128 + rng.uniform(-60, 60) + rng.uniform(12, 45) * noise
    if rng.random() < 0.08:  # stripes: fences, walls, furrows
        phase = np.arange(SIDE) * 2 * np.pi / rng.uniform(6, 40)
        image += rng.uniform(10, 40) * np.sign(np.sin(phase)).astype(np.float32)
    for _ in range(rng.integers(0, 40)):
        _draw_figure(rng, image)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.5))
    return np.clip(image, 0, 255).astype(np.uint8)


def _draw_figure(rng: np.random.Generator, image: np.ndarray) -> None:
    """A box, a line or a disc of one grey."""
    grey = float(rng.uniform(0, 255))
    x, y = (int(v) for v in rng.integers(0, SIDE, 2))
    dx, dy = (int(v) for v in rng.integers(-100, 100, 2))
    kind = rng.integers(3)
    if kind == 0:
        cv2.rectangle(image, (x, y), (x + abs(dx), y + abs(dy)), grey, -1)
    elif kind == 1:
        cv2.line(image, (x, y), (x + dx, y + dy), grey, int(rng.integers(1, 6)))
    else:
        cv2.circle(image, (x, y), int(rng.integers(2, 30)), grey, -1)
