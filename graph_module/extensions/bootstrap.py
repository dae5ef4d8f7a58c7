"""Bootstrap passes: passes over the video before the last.

What colour and position explain of the masks of a pass (`appearance`) is a feature map of the next
pass. So halos are cut, and parts that the flow has missed are filled in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from graph_module.extensions.appearance import Appearance, appearance_masks
from graph_module.progress import Progress, silent
from ike_data.parameters import Parameters, parameter


@dataclass(frozen=True)
class Bootstrap(Parameters):
    """How many passes, and how exact they are."""

    n_passes: int = parameter(1, low=1)  # a second one gives 0.001 of mean J more
    # Mean change of the masks below which a pass ends; enough for what is learnt from them.
    tolerance: float = parameter(0.001, high=1)
    appearance: Appearance = field(default_factory=Appearance)


def bootstrap_map(
    video: torch.Tensor,
    masks: torch.Tensor,
    settings: Bootstrap,
    *,
    reliability: torch.Tensor | None = None,
    progress: Progress = silent,
) -> torch.Tensor:
    """The feature map of the next pass, from the masks [n, H, W] of a pass.

    Args:
        video: uint8 RGB [n, 3, H, W], on the CPU.
        reliability: of each frame, [n], see `appearance_masks`.

    Returns:
        [n, 1, H, W] in [0, 1].
    """
    learnt = appearance_masks(
        video, masks, settings.appearance, reliability=reliability, progress=progress
    )
    return learnt[:, None]
