"""The frames of a scene, its mask and the flow of its layers.

A layer is drawn within the box of its outline only, straight from its texture, so that small things
cost little.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ike_tools.scenes.layers import Layer, Ripple, Sway
from ike_tools.scenes.motion import HEIGHT, STEPS, WIDTH, moved, translation
from ike_tools.scenes.scene import Scene
from ike_tools.scenes.textures import Paint, draw_paint, fractal_noise, sensor_noise

SUBPIXEL_BITS = 4  # of the corners of an outline, for OpenCV
LEAST_BLUR = 2.0  # pixels; a shorter motion does not blur
NO_LAYER = -1


class Box(NamedTuple):
    """Part of a frame: rows and columns."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left


WHOLE = Box(0, HEIGHT, 0, WIDTH)


class View(NamedTuple):
    """One frame of a scene."""

    image: np.ndarray  # uint8 [HEIGHT, WIDTH]
    mask: np.ndarray  # float32 [HEIGHT, WIDTH], the share of a pixel that is object
    owner: np.ndarray  # int16 [HEIGHT, WIDTH], index of the layer that a pixel shows most of


def render(rng: np.random.Generator, scene: Scene, step: int) -> View:
    """The scene's frame at one of `motion.STEPS`."""
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    owner = np.full((HEIGHT, WIDTH), NO_LAYER, np.int16)
    for index, layer in enumerate(scene.layers):
        box, alpha = _coverage(layer, step)
        if alpha is None:
            continue
        here = box.slices
        patch = _patch(rng, layer, step, box, scene.shutter)
        image[here] = cv2.blendLinear(patch, np.ascontiguousarray(image[here]), alpha, 1 - alpha)
        if layer.opacity < 1:  # a shadow or spray: what it covers is still to be seen
            continue
        mask[here] *= 1 - alpha
        if layer.is_object:
            mask[here] += alpha
        owner[here][alpha > 0.5] = index
    return View(_exposed(rng, scene, image), mask, owner)


def layer_flow(scene: Scene, owner: np.ndarray, start: int, end: int) -> np.ndarray:
    """The flow of the layers from the step ``start``, whose owners are given, to the step ``end``.

    float32 [HEIGHT, WIDTH, 2], (u, v) in pixels.
    """
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    for index in np.unique(owner[owner != NO_LAYER]):
        layer = scene.layers[index]
        rows, columns = np.nonzero(owner == index)
        points = np.stack([columns, rows], axis=1).astype(float)
        matrix = layer.motion.at(end) @ np.linalg.inv(layer.motion.at(start))
        flow[rows, columns] = moved(matrix, points) - points
        if layer.sway is not None:
            sway = _sway_in_frame(layer.sway, layer.motion.at(start), WHOLE)
            share = layer.sway.factor(end) - layer.sway.factor(start)
            flow[rows, columns] += share * sway[rows, columns]
    return flow


def _coverage(layer: Layer, step: int) -> tuple[Box, np.ndarray | None]:
    """The box of a layer in a frame, and its opacity there, float32; None where it is not seen."""
    if layer.outline is None:
        return WHOLE, np.full(WHOLE.shape, layer.opacity, np.float32)
    outline = moved(layer.motion.at(step), layer.outline)
    margin = 1 + int(3 * layer.softness)
    low = np.floor(outline.min(axis=0)).astype(int) - margin
    high = np.ceil(outline.max(axis=0)).astype(int) + margin + 1
    left, top = np.clip(low, 0, [WIDTH, HEIGHT])
    right, bottom = np.clip(high, 0, [WIDTH, HEIGHT])
    box = Box(int(top), int(bottom), int(left), int(right))
    if min(box.shape) <= 0:
        return box, None
    coverage: np.ndarray = np.zeros(box.shape, np.uint8)
    corners = np.round((outline - [left, top]) * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(coverage, [corners], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    if layer.softness:
        coverage = cv2.GaussianBlur(coverage, (0, 0), layer.softness)
    return box, coverage * np.float32(layer.opacity / 255)


def _patch(
    rng: np.random.Generator, layer: Layer, step: int, box: Box, shutter: float
) -> np.ndarray:
    """The layer's texture in a box of a frame; uint8."""
    motion = layer.motion
    to_middle = np.linalg.inv(motion.at(step))
    patch = _textured(layer.paint, to_middle, box)
    if layer.sway is not None and step:
        sway = _sway_in_frame(layer.sway, motion.at(step), box)
        patch = _displaced(patch, -layer.sway.factor(step) * sway)
    if layer.ripple is not None:
        patch = _displaced(patch, _ripples(rng, layer.ripple, box))
        if layer.ripple.glitter:
            anew = draw_paint(rng)._replace(gain=layer.paint.gain, offset=layer.paint.offset)
            share = layer.ripple.glitter * _where(layer.ripple, box)
            patch = cv2.blendLinear(_textured(anew, to_middle, box), patch, share, 1 - share)
    if shutter:
        centre = np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2])
        velocity = moved(motion.to_next, centre) - centre
        patch = _blurred_along(patch, shutter * velocity)
    return patch


def _textured(paint: Paint, to_middle: np.ndarray, box: Box) -> np.ndarray:
    """The texture in a box of a frame; ``to_middle``: from that frame to the middle one."""
    matrix = paint.placement @ to_middle @ translation(np.array([box.left, box.top]))
    height, width = box.shape
    patch = cv2.warpPerspective(
        paint.image,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    levels = np.clip(np.arange(256) * paint.gain + paint.offset, 0, 255).astype(np.uint8)
    return cv2.LUT(patch, levels)


def _ripples(rng: np.random.Generator, ripple: Ripple, box: Box) -> np.ndarray:
    """The displacement of the texture by waves that are others in each frame, [h, w, 2]."""
    waves = [fractal_noise(rng, *box.shape, 0.7, ripple.coarsest) for _ in range(2)]
    return 0.5 * ripple.amplitude * _where(ripple, box)[..., None] * np.dstack(waves)


def _where(ripple: Ripple, box: Box) -> np.ndarray:
    """How much of the ripple there is in a box of a frame; float32."""
    if ripple.where is None:
        return np.ones(box.shape, np.float32)
    return np.ascontiguousarray(ripple.where[box.slices])


def _displaced(patch: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """At each pixel what the patch has at a displacement, [h, w, 2], from it."""
    rows, columns = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    x, y = columns + displacement[..., 0], rows + displacement[..., 1]
    return cv2.remap(patch, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _sway_in_frame(sway: Sway, to_frame: np.ndarray, box: Box) -> np.ndarray:
    """The sway's field at the pixels of a box of a frame, [h, w, 2]; ``to_frame`` leads there."""
    height, width = box.shape
    matrix = translation(-np.array([box.left, box.top])) @ to_frame
    return cv2.warpPerspective(sway.field, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def _blurred_along(patch: np.ndarray, way: np.ndarray) -> np.ndarray:
    """The mean of the patch along a way, (x, y) in pixels."""
    length = float(np.hypot(*way))
    if length < LEAST_BLUR:
        return patch
    reach = int(np.ceil(np.abs(way).max() / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    first, last = (tuple(np.round(reach + sign * way / 2).astype(int)) for sign in (-1, 1))
    cv2.line(kernel, tuple(map(int, first)), tuple(map(int, last)), 1.0)
    return cv2.filter2D(patch, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def _exposed(rng: np.random.Generator, scene: Scene, image: np.ndarray) -> np.ndarray:
    """The image through a lens and a sensor."""
    if scene.blur:
        image = cv2.GaussianBlur(image, (0, 0), scene.blur)
    field = sensor_noise()
    top, left = (rng.integers(0, n + 1) for n in np.subtract(field.shape, image.shape))
    noise = field[top : top + HEIGHT, left : left + WIDTH]
    exposed = image * np.float32(1 + rng.normal(0, 0.02)) + np.float32(scene.noise) * noise
    return np.clip(exposed, 0, 255).astype(np.uint8)


def views(rng: np.random.Generator, scene: Scene) -> list[View]:
    """The frames at `motion.STEPS`."""
    return [render(rng, scene, step) for step in STEPS]
