"""How a network learns: the paper's settings, and those that are not the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ike_data.config import MAX_BASE_CHANNELS, MAX_EPOCHS
from network_module.extensions.confidence_weights import ConfidenceWeights
from network_module.extensions.half_size import HalfSize
from network_module.extensions.prior_bias import PriorBias

_PRECISIONS = "auto", "yes", "no"


@dataclass(frozen=True)
class Settings:
    """The defaults are those of config.ini, which explains each of them.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    n_epochs: int = 5
    batch_size: int = 3  # frames
    learning_rate: float = 0.002  # of AdamW
    base_channels: int = 16  # of the U-Net's first stage
    seed: int = 0  # of the weights, the order of the frames, and their augmentation
    mixed_precision: str = "auto"  # convolutions in bf16: auto (where that is fast), yes, no
    deterministic: bool = True  # the same weights each time on a GPU, too

    # Not the paper's; see `extensions`.
    passes_per_epoch: int = 8  # over the video
    cosine_decay: bool = True
    confidence_weights: ConfidenceWeights | None = ConfidenceWeights()
    flips: bool = True
    prior_bias: PriorBias | None = PriorBias()
    half_size: HalfSize | None = HalfSize()
    along_edges: bool = True  # see `ike_data.guided_filter`
    colour_jitter: float = 0.0  # share, below 1

    @classmethod
    def paper(cls, **changes: Any) -> Settings:
        """The paper's settings, but for ``changes``."""
        values: dict[str, Any] = dict(
            learning_rate=0.0001,
            base_channels=64,
            passes_per_epoch=1,
            cosine_decay=False,
            confidence_weights=None,
            flips=False,
            prior_bias=None,
            half_size=None,
            along_edges=False,
        )
        return cls(**(values | changes))

    @property
    def n_passes(self) -> int:
        """Passes over the video in the whole training."""
        return self.n_epochs * self.passes_per_epoch

    def __post_init__(self) -> None:
        for name, low, high in (
            ("n_epochs", 1, MAX_EPOCHS),
            ("batch_size", 1, 100_000),
            ("base_channels", 1, MAX_BASE_CHANNELS),
            ("seed", 0, 2**63 - 1),
            ("passes_per_epoch", 1, 1_000_000),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} should be an int from {low} to {high}, got {value!r}")
        if not 0 < self.learning_rate <= 1e30:
            raise ValueError(f"learning_rate should be above 0, got {self.learning_rate!r}")
        if not 0 <= self.colour_jitter < 1:
            raise ValueError(f"colour_jitter should be in [0, 1), got {self.colour_jitter!r}")
        if self.mixed_precision not in _PRECISIONS:
            raise ValueError(
                f"mixed_precision should be one of {', '.join(_PRECISIONS)}, "
                f"got {self.mixed_precision!r}"
            )
        for name, extension in (
            ("confidence_weights", ConfidenceWeights),
            ("prior_bias", PriorBias),
            ("half_size", HalfSize),
        ):
            value = getattr(self, name)
            if not (value is None or isinstance(value, extension)):
                raise ValueError(f"{name} should be None or {extension.__name__}(), got {value!r}")


DEFAULTS = Settings()
