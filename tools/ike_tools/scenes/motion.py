"""Motions: where a point of the middle frame is in the frame before and in the frame after."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

HEIGHT, WIDTH = 240, 416  # of a scene's frames, pixels
STEPS = (-1, 0, 1)  # the frame before, the middle one, the frame after


class Motion(NamedTuple):
    """3x3 matrices (homographies), from pixels of the middle frame to pixels of the other."""

    to_previous: np.ndarray
    to_next: np.ndarray

    def at(self, step: int) -> np.ndarray:
        """The matrix to the frame at one of `STEPS`."""
        return (self.to_previous, np.eye(3), self.to_next)[step + 1]

    def after(self, own: Motion) -> Motion:
        """``own`` first, then this one: something that moves in a world that moves."""
        return Motion(self.to_previous @ own.to_previous, self.to_next @ own.to_next)


STILL = Motion(np.eye(3), np.eye(3))


def steady(
    rng: np.random.Generator,
    velocity: np.ndarray,
    turn: float = 0.0,
    growth: float = 0.0,
    centre: np.ndarray | None = None,
    shake: float = 0.08,
) -> Motion:
    """A motion that goes on as it was, but for a little shake.

    Args:
        velocity: (x, y), pixels a frame.
        turn, growth: radians a frame, and share of the size a frame, about the centre.
        shake: how unsteady; the shake grows with the root of the velocity.
    """
    centre = np.array([WIDTH / 2, HEIGHT / 2]) if centre is None else centre
    shift = rng.normal(0, shake, 2) * np.sqrt(np.abs(velocity))
    to_previous = similarity(-velocity + shift, -turn, 1 / (1 + growth), centre)
    return Motion(to_previous, similarity(velocity, turn, 1 + growth, centre))


def shifted(velocity: np.ndarray) -> Motion:
    """A steady shift, (x, y) in pixels a frame."""
    return Motion(translation(-velocity), translation(velocity))


def similarity(shift: np.ndarray, turn: float, scale: float, centre: np.ndarray) -> np.ndarray:
    """3x3: turned and scaled about the centre, then shifted."""
    matrix = np.eye(3)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    matrix[:2, :2] = [[cos, -sin], [sin, cos]]
    matrix[:2, 2] = centre + shift - matrix[:2, :2] @ centre
    return matrix


def translation(shift: np.ndarray) -> np.ndarray:
    """3x3 of a shift (x, y)."""
    matrix = np.eye(3)
    matrix[:2, 2] = shift
    return matrix


def moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [..., 2] after a homography."""
    projected = points @ matrix[:2, :2].T + matrix[:2, 2]
    depth = points @ matrix[2, :2] + matrix[2, 2]
    return projected / depth[..., None]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform: small ones are as likely as large ones."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_direction(rng: np.random.Generator, sideways: float) -> np.ndarray:
    """A unit vector: with the probability ``sideways`` about along x, else anywhere."""
    if rng.random() < sideways:
        angle = rng.choice([0, np.pi]) + rng.normal(0, 0.25)
    else:
        angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])
