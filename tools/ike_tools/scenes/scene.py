"""A scene: a camera, a world that stands still, and objects that move by themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ike_tools.scenes.layers import Layer
from ike_tools.scenes.motion import log_uniform
from ike_tools.scenes.movers import Body, draw_body, draw_object
from ike_tools.scenes.world import (
    draw_backdrop,
    draw_camera,
    draw_crowd,
    draw_ground,
    draw_still_things,
    draw_thin_things,
    draw_water,
)

ON_WATER = 0.25  # shares of the scenes
WITH_GROUND = 0.55
FOREST = 0.07  # many things at many depths
WITH_CROWD = 0.08
CLOSE_UP = 0.15
BEHIND_THIN_THINGS = 0.1
BLURRED = 0.25  # by motion, while the shutter is open
N_OBJECTS = ([0, 1, 2, 3], [0.05, 0.78, 0.12, 0.05])  # numbers and their shares


@dataclass(frozen=True)
class Scene:
    """What `rendering` makes three frames of."""

    layers: list[Layer]  # from the back to the front
    shutter: float = 0.0  # share of the time between frames that it is open
    noise: float = 0.0  # of the sensor: standard deviation, grey values of 255
    blur: float = 0.0  # of the lens: standard deviation, pixels


def draw_scene(rng: np.random.Generator) -> Scene:
    """A scene of any kind."""
    camera = draw_camera(rng)
    layers = draw_backdrop(rng, camera)
    water = None
    if rng.random() < ON_WATER:
        water = draw_water(rng, camera)
        layers.append(water.layer)
    elif rng.random() < WITH_GROUND:
        layers.append(draw_ground(rng, camera))
    travels = bool(camera.parallax.any())
    if travels and water is None and rng.random() < FOREST:
        n_things = int(rng.integers(6, 16))
    else:
        n_things = int(rng.integers(0, 6 if travels else 2))
    layers += draw_still_things(rng, camera, n_things)
    if rng.random() < WITH_CROWD:
        layers += draw_crowd(rng, camera)
    body: Body | None = None
    for number in range(rng.choice(N_OBJECTS[0], p=N_OBJECTS[1])):
        largest = 190 if rng.random() < CLOSE_UP else 90
        size = log_uniform(rng, 12, largest) * (0.6 if number else 1)
        followed = 0.35 if water is None else 0.75
        body = draw_body(rng, camera, size, followed=followed, water=water, companion=body)
        layers += draw_object(rng, body, layers[0].paint, water)
    if body is not None and rng.random() < BEHIND_THIN_THINGS:
        layers += draw_thin_things(rng, camera, body.centre)
    return Scene(
        layers,
        shutter=rng.uniform(0.2, 0.8) if rng.random() < BLURRED else 0.0,
        noise=rng.uniform(0, 2.5),
        blur=rng.uniform(0.5, 1.6) if rng.random() < 0.15 else 0.0,
    )
