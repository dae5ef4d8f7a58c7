"""Bootstrap passes: passes over the video before the last.

What colour and position explain of the masks of a pass (`appearance`) is a feature map of the next
pass. So halos are cut, and parts that the flow has missed are filled in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from graph_module.extensions.appearance import Appearance
from ike_data.parameters import Parameters, parameter


@dataclass(frozen=True)
class Bootstrap(Parameters):
    """How many passes, and how exact they are."""

    n_passes: int = parameter(1, low=1)  # a second one gives 0.001 of mean J more
    # Mean change of the masks below which a pass ends; enough for what is learnt from them.
    tolerance: float = parameter(0.001, high=1)
    appearance: Appearance = field(default_factory=Appearance)
