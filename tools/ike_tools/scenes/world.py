"""What stands still in a scene: background, ground, water, things nearer to the camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ike_tools.scenes.layers import Layer, Ripple, Sway
from ike_tools.scenes.motion import (
    HEIGHT,
    STILL,
    WIDTH,
    Motion,
    draw_direction,
    log_uniform,
    shifted,
    steady,
)
from ike_tools.scenes.shapes import above, below, blob, pole
from ike_tools.scenes.textures import Paint, draw_paint, fractal_noise, soft_patches


@dataclass(frozen=True)
class Camera:
    """What a camera does to the world."""

    motion: Motion  # of what is far away
    pan: np.ndarray  # (x, y), pixels a frame; its main part
    parallax: np.ndarray  # (x, y), pixels a frame, of what is near less that of what is far away

    def at_depth(self, nearness: float) -> Motion:
        """The motion of what is nearer than the background (or farther, below 0)."""
        return self.motion.after(shifted(nearness * self.parallax))


def draw_camera(rng: np.random.Generator) -> Camera:
    """A camera that stands still, shakes, pans, zooms, turns or travels."""
    if rng.random() < 0.15:
        return Camera(STILL, np.zeros(2), np.zeros(2))
    fastest = 45 if rng.random() < 0.25 else 16
    direction = draw_direction(rng, sideways=0.6)
    pan = log_uniform(rng, 0.2, fastest) * direction
    growth = rng.normal(0, 0.012) * (rng.random() < 0.6) * (4 if rng.random() < 0.1 else 1)
    turn = rng.normal(0, 0.008) * (rng.random() < 0.5)
    motion = steady(rng, pan, turn, growth)
    if rng.random() < 0.5:  # a plane that is not parallel to the frame
        tilt = np.eye(3)
        tilt[2, :2] = rng.normal(0, 2e-5, 2)
        motion = Motion(np.linalg.inv(tilt) @ motion.to_previous, tilt @ motion.to_next)
    parallax = np.zeros(2)
    if rng.random() < 0.6:
        along = direction if rng.random() < 0.6 else draw_direction(rng, sideways=0.3)
        parallax = log_uniform(rng, 0.3, 14) * along
    return Camera(motion, pan, parallax)


def draw_backdrop(rng: np.random.Generator, camera: Camera) -> list[Layer]:
    """The background, and a sky without much texture in some scenes."""
    layers = [Layer(draw_paint(rng), camera.motion, sway=_relief(rng, camera))]
    if rng.random() < 0.25:
        sky = draw_paint(rng, contrast=0.08)
        layers.append(Layer(sky, camera.motion, above(rng.uniform(0.1, 0.6) * HEIGHT)))
    return layers


def draw_ground(rng: np.random.Generator, camera: Camera) -> Layer:
    """A plane that comes nearer from its horizon down; grass or leaves in some scenes."""
    horizon = rng.uniform(0.2, 0.8) * HEIGHT
    ripple = None
    if rng.random() < 0.15:
        ripple = Ripple(rng.uniform(0.3, 1.5), coarsest=8)
    contrast = 0.25 if rng.random() < 0.2 else 1.0  # asphalt, snow
    return Layer(
        draw_paint(rng, contrast),
        camera.motion.after(_receding(camera.parallax, horizon)),
        below(rng, horizon, rng.uniform(0, 14)),
        ripple=ripple,
        sway=_relief(rng, camera),
    )


@dataclass(frozen=True)
class Water:
    """Water below the row ``surface``, which lies above the frame where all is water."""

    layer: Layer
    surface: float


def draw_water(rng: np.random.Generator, camera: Camera) -> Water:
    """Water that ripples and glitters all over or in patches, has waves, and flows or not."""
    surface = -20.0 if rng.random() < 0.3 else rng.uniform(0.15, 0.65) * HEIGHT
    drift = rng.normal(0, 1.5, 2) * (rng.random() < 0.5)
    layer = Layer(
        draw_paint(rng, rng.uniform(0.3, 1.0)),
        camera.motion.after(_receding(camera.parallax, surface)).after(shifted(drift)),
        below(rng, surface, rng.uniform(0, 6)),
    )
    where = soft_patches(rng, HEIGHT, WIDTH) if rng.random() < 0.6 else None
    return Water(in_waves(rng, layer, where), surface)


def in_waves(rng: np.random.Generator, layer: Layer, where: np.ndarray | None) -> Layer:
    """The layer with ripples, glitter and waves, as much as ``where`` [HEIGHT, WIDTH] says.

    None: all over.
    """
    glitter = rng.uniform(0.05, 0.8) if rng.random() < 0.5 else 0.0
    ripple = Ripple(log_uniform(rng, 0.1, 4), int(rng.choice([4, 8, 16])), glitter, where)
    waves = smooth_field(rng, 2, coarsest=int(rng.choice([4, 8, 16])))
    if rng.random() < 0.5:  # mostly up and down, as waves are seen from the shore
        waves[..., 0] *= 0.2
    waves *= log_uniform(rng, 0.2, 4)
    if where is not None:
        waves *= where[..., None]
    return replace(layer, ripple=ripple, sway=Sway(waves, back=rng.uniform(-1.1, 0.3)))


def _relief(rng: np.random.Generator, camera: Camera) -> Sway | None:
    """The parallax of hills, bushes and houses on a plane, under a travelling camera."""
    if not camera.parallax.any() or rng.random() < 0.3:
        return None
    depth = smooth_field(rng, 1, coarsest=int(rng.choice([3, 4, 8])))
    return Sway((rng.uniform(0.05, 0.4) * depth * camera.parallax).astype(np.float32))


def smooth_field(rng: np.random.Generator, n_channels: int, coarsest: int) -> np.ndarray:
    """Noise of a standard deviation of about 1 without fine parts, [HEIGHT, WIDTH, n_channels]."""
    size = (HEIGHT // 8, WIDTH // 8)
    noise = [fractal_noise(rng, *size, rng.uniform(0.3, 0.7), coarsest) for _ in range(n_channels)]
    fields = [cv2.resize(n, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for n in noise]
    return np.dstack(fields)


def draw_still_things(rng: np.random.Generator, camera: Camera, n_things: int) -> list[Layer]:
    """Rocks, bushes, trunks and posts at other depths than the background."""
    layers = []
    for _ in range(n_things):
        kind = rng.integers(3)
        if kind == 0:
            outline = blob(rng, _place_at_rim(rng), rng.uniform(20, 90))
        elif kind == 1:
            outline = pole(rng, rng.uniform(0, WIDTH), rng.uniform(3, 30))
        else:
            outline = blob(rng, rng.uniform([0, 0], [WIDTH, HEIGHT]), rng.uniform(8, 60))
        layers.append(Layer(draw_paint(rng), camera.at_depth(rng.uniform(-0.3, 1.2)), outline))
    return layers


def draw_thin_things(rng: np.random.Generator, camera: Camera, centre: np.ndarray) -> list[Layer]:
    """Poles, twigs or a fence before the place ``centre``."""
    n_things = int(rng.integers(1, 6))
    motion = camera.at_depth(rng.uniform(0.3, 1.4))
    paint = draw_paint(rng)
    x = centre[0] + rng.normal(0, 40, n_things)
    return [Layer(paint, motion, pole(rng, float(at), rng.uniform(2, 12))) for at in x]


def draw_crowd(rng: np.random.Generator, camera: Camera) -> list[Layer]:
    """People at some distance, each of which moves a little in its own way."""
    row = rng.uniform(0.15, 0.6) * HEIGHT
    size = rng.uniform(6, 18)
    layers = []
    for _ in range(rng.integers(6, 24)):
        centre = np.array([rng.uniform(0, WIDTH), row + rng.normal(0, 0.7 * size)])
        motion = camera.motion.after(steady(rng, rng.normal(0, 0.8, 2), rng.normal(0, 0.01)))
        outline = blob(rng, centre, size * rng.uniform(0.7, 1.3))
        layers.append(Layer(draw_paint(rng), motion, outline))
    return layers


def shade(grey: float, like: Paint) -> Paint:
    """A paint of one grey."""
    return like._replace(gain=0.0, offset=grey)


def _receding(parallax: np.ndarray, horizon: float) -> Motion:
    """The parallax of a ground: none at the horizon, more towards the frame's lower edge."""
    matrices = []
    for sign in (-1, 1):
        a_row = sign * parallax / (HEIGHT - horizon if horizon < HEIGHT / 2 else HEIGHT)
        a_row[1] = max(a_row[1], -0.2)
        matrix = np.eye(3)
        matrix[:2, 1] += a_row
        matrix[:2, 2] = -a_row * horizon
        matrices.append(matrix)
    return Motion(*matrices)


def _place_at_rim(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.6:  # below
        return np.array([rng.uniform(-20, WIDTH + 20), HEIGHT + rng.uniform(-60, 30)])
    return np.array([rng.choice([0, WIDTH]) + rng.uniform(-30, 30), rng.uniform(0, HEIGHT)])
