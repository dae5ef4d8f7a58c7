"""What moves by itself: an object with its limbs, and what comes with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ike_tools.scenes.layers import Layer, Ripple, Sway
from ike_tools.scenes.motion import (
    HEIGHT,
    WIDTH,
    Motion,
    draw_direction,
    log_uniform,
    similarity,
    steady,
)
from ike_tools.scenes.shapes import blob, limb, mirrored
from ike_tools.scenes.textures import Paint, draw_paint
from ike_tools.scenes.world import Camera, Water, in_waves, shade, smooth_field


@dataclass(frozen=True)
class Body:
    """Where an object is, how large it is and how it moves."""

    centre: np.ndarray  # (x, y), pixels
    size: float  # mean radius of its trunk, pixels
    velocity: np.ndarray  # (x, y), pixels a frame, less that of the camera
    motion: Motion


def draw_body(
    rng: np.random.Generator,
    camera: Camera,
    size: float,
    *,
    followed: float,
    water: Water | None = None,
    companion: Body | None = None,
) -> Body:
    """An object somewhere near the middle.

    Args:
        followed: probability that the camera follows it.
        water: that it may be on.
        companion: another object, which this one may go with.
    """
    middle = np.array([WIDTH / 2, 0.55 * HEIGHT])
    centre = middle + rng.normal(0, [0.18 * WIDTH, 0.14 * HEIGHT])
    centre = np.clip(centre, [8, 8], [WIDTH - 8, HEIGHT - 8])
    if water is not None and rng.random() < 0.8:
        centre[1] = np.clip(max(centre[1], water.surface + 0.3 * size), 8, HEIGHT - 8)
    velocity = log_uniform(rng, 0.6, 18) * draw_direction(rng, sideways=0.5)
    if companion is not None and rng.random() < 0.5:
        velocity = companion.velocity + rng.normal(0, 0.5, 2)
    if rng.random() < followed:
        velocity = -camera.pan * rng.uniform(0.7, 1.2) + rng.normal(0, 0.7, 2)
    own = steady(rng, velocity, rng.normal(0, 0.03), rng.normal(0, 0.015), centre, shake=0.2)
    own = _of_uneven_speed(rng, own)
    if rng.random() < 0.3:  # it turns away, bends or stretches
        bend = np.eye(3)
        bend[:2, :2] += rng.normal(0, 0.03, (2, 2))
        bend[:2, 2] = centre - bend[:2, :2] @ centre
        own = Motion(own.to_previous @ np.linalg.inv(bend), own.to_next @ bend)
    return Body(centre, size, velocity, camera.motion.after(own))


def draw_object(
    rng: np.random.Generator, body: Body, behind: Paint, water: Water | None = None
) -> list[Layer]:
    """Wake, shadow or reflection, trunk and limbs, spray."""
    paint = draw_paint(rng)
    if rng.random() < 0.2:  # camouflaged: the texture of the background, placed anew
        paint = paint._replace(image=behind.image, gain=behind.gain, offset=behind.offset + 10)
    parts = _draw_parts(rng, body, paint)
    layers = []
    if water is not None and rng.random() < 0.6:
        layers.append(_wake(rng, body, water))
    if water is not None and rng.random() < 0.7:
        layers += _reflection(rng, body, parts)
    elif rng.random() < 0.3:
        layers.append(_shadow(rng, body, paint))
    layers += parts
    if rng.random() < 0.08:
        layers.append(_spray(rng, body))
    return layers


def _of_uneven_speed(rng: np.random.Generator, motion: Motion) -> Motion:
    """The same motion; now and then the object pauses before or after the middle frame."""
    if rng.random() > 0.06:
        return motion
    if rng.random() < 0.5:
        return motion._replace(to_previous=np.eye(3))
    return motion._replace(to_next=np.eye(3))


def _draw_parts(rng: np.random.Generator, body: Body, paint: Paint) -> list[Layer]:
    """A trunk that bends, and limbs that swing about their joints."""
    bending = None
    if rng.random() < 0.5:
        bending = Sway(log_uniform(rng, 0.1, 1.5) * smooth_field(rng, 2, 8), rng.uniform(-1.1, 0))
    trunk = blob(rng, body.centre, body.size)
    parts = [Layer(paint, body.motion, trunk, is_object=True, sway=bending)]
    swing = rng.uniform(0, 0.25) * (rng.random() < 0.7)
    for _ in range(rng.integers(0, 7) if rng.random() < 0.75 else 0):
        around = rng.uniform(0, 2 * np.pi)
        joint = body.centre + 0.7 * body.size * np.array([np.cos(around), np.sin(around)])
        angle = around + rng.normal(0, 0.6)
        if rng.random() < 0.5:  # a leg
            angle = np.pi / 2 + rng.normal(0, 0.4)
        length, thickness = body.size * rng.uniform(0.4, 1.4), body.size * rng.uniform(0.1, 0.4)
        turn = rng.normal(0, swing + 1e-3)
        at_joint = Motion(*(similarity(np.zeros(2), s * turn, 1.0, joint) for s in (-1, 1)))
        own_paint = paint if rng.random() < 0.6 else draw_paint(rng)
        outline = limb(joint, angle, length, thickness)
        parts.append(Layer(own_paint, body.motion.after(at_joint), outline, is_object=True))
    if rng.random() < 0.3:  # a second trunk: rider and horse
        centre = body.centre + rng.normal(0, 0.6 * body.size, 2)
        own = steady(rng, rng.normal(0, 0.05 * body.size, 2), rng.normal(0, 0.02), 0, centre)
        outline = blob(rng, centre, body.size * rng.uniform(0.3, 0.8))
        parts.append(Layer(draw_paint(rng), body.motion.after(own), outline, is_object=True))
    return parts


def _shadow(rng: np.random.Generator, body: Body, like: Paint) -> Layer:
    """Dark, flat, below the object; it moves with it, but is not of it."""
    foot = np.array([rng.normal(0, 0.3), rng.uniform(0.7, 1.2)]) * body.size
    outline = blob(rng, np.zeros(2), 0.7 * body.size) * [1.2, 0.35]
    paint = shade(rng.uniform(10, 60), like)
    opacity, softness = rng.uniform(0.3, 0.7), rng.uniform(0, 3)
    return Layer(
        paint, body.motion, body.centre + foot + outline, opacity=opacity, softness=softness
    )


def _reflection(rng: np.random.Generator, body: Body, parts: list[Layer]) -> list[Layer]:
    """The parts mirrored in the water at the object's foot, in ripples; not of the object."""
    foot = body.centre[1] + body.size * rng.uniform(0.3, 0.8)
    ripple = Ripple(log_uniform(rng, 0.3, 4), 16)
    opacity = rng.uniform(0.3, 0.8)
    return [
        Layer(
            part.paint,
            body.motion,
            mirrored(part.outline, foot),
            opacity=opacity,
            softness=1.5,
            ripple=ripple,
        )
        for part in parts
        if part.outline is not None
    ]


def _wake(rng: np.random.Generator, body: Body, water: Water) -> Layer:
    """Water in waves about the object's foot and behind it."""
    foot = body.centre + np.array([rng.normal(0, 0.7), rng.uniform(0.2, 1)]) * body.size
    outline = foot + blob(rng, np.zeros(2), body.size * rng.uniform(0.7, 2)) * [1.5, 0.6]
    calm = replace(water.layer, outline=outline, softness=rng.uniform(1, 10))
    return in_waves(rng, calm, where=None)


def _spray(rng: np.random.Generator, body: Body) -> Layer:
    """Dust, smoke, snow or spray behind the object."""
    centre = body.centre + rng.normal(0, body.size, 2)
    ripple = Ripple(rng.uniform(0.5, 5), 8, glitter=rng.uniform(0, 0.6))
    return Layer(
        draw_paint(rng, contrast=0.4),
        body.motion,
        blob(rng, centre, body.size * rng.uniform(0.5, 1.3)),
        opacity=rng.uniform(0.3, 0.9),
        softness=rng.uniform(2, 8),
        ripple=ripple,
    )
