"""Outlines of layers: polygons [K, 2] of (x, y) in pixels of the middle frame."""

from __future__ import annotations

import numpy as np

from ike_tools.scenes.motion import HEIGHT, WIDTH

MARGIN = 96  # pixels that an outline which leaves the frame goes on outside of it


def blob(rng: np.random.Generator, centre: np.ndarray, size: float) -> np.ndarray:
    """A round shape with bumps, longer than it is wide; ``size`` is its mean radius."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    order = np.arange(1, 10)[:, None]
    bumps = rng.standard_normal((9, 1)) * np.cos(order * angle + rng.uniform(0, 6.28, (9, 1)))
    radius = np.clip(1 + (0.23 / order * bumps).sum(axis=0), 0.25, 2.2)
    stretch = np.exp(rng.normal(0, 0.35))
    points = (
        size * radius[:, None] * np.stack([np.cos(angle) * stretch, np.sin(angle) / stretch], 1)
    )
    turn = rng.uniform(0, 2 * np.pi)
    turned = points @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return centre + turned


def limb(joint: np.ndarray, angle: float, length: float, thickness: float) -> np.ndarray:
    """A bar from the joint in the direction of ``angle``, thinner at its end."""
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]]) * thickness
    end = joint + along * length
    return np.array([joint + across / 2, joint - across / 2, end - across / 3, end + across / 3])


def pole(rng: np.random.Generator, x: float, width: float) -> np.ndarray:
    """A pole or a trunk from above the frame to below it."""
    lean = rng.normal(0, 20)
    top, bottom = -MARGIN, HEIGHT + MARGIN
    return np.array([[x, top], [x + width, top], [x + width + lean, bottom], [x + lean, bottom]])


def below(rng: np.random.Generator, horizon: float, roughness: float) -> np.ndarray:
    """Everything below an uneven line at the height ``horizon``."""
    x = np.linspace(-MARGIN, WIDTH + MARGIN, 40)
    bumps = rng.standard_normal(9)
    y = horizon + roughness * np.interp(x, np.linspace(-MARGIN, WIDTH + MARGIN, 9), bumps)
    corners = [[WIDTH + MARGIN, HEIGHT + MARGIN], [-MARGIN, HEIGHT + MARGIN]]
    return np.concatenate([np.stack([x, y], 1), corners])


def above(horizon: float) -> np.ndarray:
    """Everything above the height ``horizon``."""
    left, right, top = -MARGIN, WIDTH + MARGIN, -MARGIN
    return np.array([[left, top], [right, top], [right, horizon], [left, horizon]])


def mirrored(outline: np.ndarray, y: float) -> np.ndarray:
    """As in water whose surface is at the height ``y``."""
    return np.stack([outline[:, 0], 2 * y - outline[:, 1]], axis=1)
