"""Samples: the flow of a scene's middle frame to both sides, and its mask.

Most have the DIS flow of the rendered frames. The others have the flow of the layers, blurred and
a little wrong, as that of a network such as RAFT is.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from ike_tools.scenes.motion import HEIGHT, WIDTH, log_uniform
from ike_tools.scenes.rendering import View, layer_flow, views
from ike_tools.scenes.scene import Scene, draw_scene
from ike_tools.scenes.textures import fractal_noise

SAMPLE_HEIGHT, SAMPLE_WIDTH = 120, 208
CLEAN, FINE = 0.35, 0.2  # shares of the samples: the flow of the layers, DIS at all scales


class Sample(NamedTuple):
    """What the network learns from, `SAMPLE_HEIGHT` x `SAMPLE_WIDTH`."""

    flows: np.ndarray  # float16 [2, 2, h, w]: to the next and to the previous frame; (u, v), pixels
    errors: np.ndarray  # float16 [2, h, w]: |w + w'| of each, as `round_trip_error` has it; pixels
    mask: np.ndarray  # uint8 [h, w], 255 is object


def draw_sample(seed: int, number: int) -> Sample:
    """Sample ``number`` of a seed: always the same, whatever was drawn before."""
    rng = np.random.default_rng([seed, number])
    scene = draw_scene(rng)
    before, middle, after = views(rng, scene)
    kind = rng.random()
    if kind < CLEAN:
        fields = _clean_flows(rng, scene, before, middle, after)
    else:
        fields = _dis_flows(before, middle, after, fine=kind < CLEAN + FINE)
    to_next, from_next, to_previous, from_previous = (_reduced(field) for field in fields)
    errors = [round_trip(to_next, from_next), round_trip(to_previous, from_previous)]
    mask = cv2.resize(middle.mask, (SAMPLE_WIDTH, SAMPLE_HEIGHT), interpolation=cv2.INTER_AREA)
    return Sample(
        np.stack([to_next, to_previous]).transpose(0, 3, 1, 2).astype(np.float16),
        np.stack(errors).astype(np.float16),
        np.round(255 * np.clip(mask, 0, 1)).astype(np.uint8),
    )


def _dis_flows(before: View, middle: View, after: View, fine: bool) -> list[np.ndarray]:
    """To the next frame, back from it, to the previous frame, back from it."""
    dis = _dis(fine)
    pairs = [(middle, after), (after, middle), (middle, before), (before, middle)]
    return [
        dis.calc(start.image, end.image, None)  # type: ignore[call-overload]
        for start, end in pairs
    ]


@cache
def _dis(fine: bool) -> cv2.DISOpticalFlow:
    """The medium preset, which stops at half the size; ``fine``: flow of the whole size."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    if fine:  # with fewer patches and steps, for the time that it takes
        dis.setFinestScale(0)
        dis.setPatchStride(5)
        dis.setGradientDescentIterations(12)
        dis.setVariationalRefinementIterations(3)
    return dis


def _clean_flows(
    rng: np.random.Generator, scene: Scene, before: View, middle: View, after: View
) -> list[np.ndarray]:
    """As `_dis_flows`, but that of the layers, blurred and with a smooth error."""
    blur, error = rng.uniform(0.6, 2.5), log_uniform(rng, 0.01, 0.2)
    steps = [(middle, 0, 1), (after, 1, 0), (middle, 0, -1), (before, -1, 0)]
    fields = []
    for view, start, end in steps:
        field = cv2.GaussianBlur(layer_flow(scene, view.owner, start, end), (0, 0), blur)
        noise = [fractal_noise(rng, HEIGHT, WIDTH, 0.6, coarsest=8) for _ in range(2)]
        fields.append(field + error / 2 * np.dstack(noise))
    return fields


def _reduced(field: np.ndarray) -> np.ndarray:
    """[HEIGHT, WIDTH, 2] -> [SAMPLE_HEIGHT, SAMPLE_WIDTH, 2], in pixels of that size."""
    scale = np.array([SAMPLE_WIDTH / WIDTH, SAMPLE_HEIGHT / HEIGHT], np.float32)
    size = (SAMPLE_WIDTH, SAMPLE_HEIGHT)
    return cv2.resize(field, size, interpolation=cv2.INTER_AREA) * scale


def round_trip(flow: np.ndarray, back: np.ndarray) -> np.ndarray:
    """|w + w'|, w' read where w leads; [h, w, 2] twice -> [h, w]."""
    rows, columns = np.mgrid[:SAMPLE_HEIGHT, :SAMPLE_WIDTH].astype(np.float32)
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    at_end = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.linalg.norm(flow + at_end, axis=-1)
