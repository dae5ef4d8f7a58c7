"""A layer of a scene. Later layers hide earlier ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ike_tools.scenes.motion import Motion
from ike_tools.scenes.textures import Paint


@dataclass(frozen=True)
class Ripple:
    """A surface that changes from frame to frame, as water does: its flow means little."""

    amplitude: float  # of the displacement of the texture, pixels
    coarsest: int  # waves: cells a row of the coarsest octave of the displacement
    glitter: float = 0.0  # share of a texture that is new in each frame, [0, 1]
    where: np.ndarray | None = None  # [HEIGHT, WIDTH] in [0, 1]: how much of it; None: all over


@dataclass(frozen=True)
class Sway:
    """How parts of a layer move apart: hills under a travelling camera, waves, an animal's flank.

    ``field``, float32 [HEIGHT, WIDTH, 2], is added to the motion to the next frame, and ``back``
    times it to that to the previous one; pixels. It should be smooth.
    """

    field: np.ndarray
    back: float = -1.0

    def factor(self, step: int) -> float:
        """What the field is multiplied by at one of `motion.STEPS`."""
        return (self.back, 0.0, 1.0)[step + 1]


@dataclass(frozen=True)
class Layer:
    """An outline filled with a texture, and where it moves."""

    paint: Paint
    motion: Motion
    outline: np.ndarray | None = None  # [K, 2], pixels of the middle frame; None fills the frame
    is_object: bool = False
    opacity: float = 1.0
    softness: float = 0.0  # standard deviation of the blur of the outline, pixels
    ripple: Ripple | None = None
    sway: Sway | None = None
