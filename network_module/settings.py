"""How a network learns: the paper's settings, and those that are not the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ike_data.config import MAX_BASE_CHANNELS, MAX_EPOCHS
from ike_data.parameters import check_ranges, parameter
from network_module.extensions.frame_agreement import FrameAgreement
from network_module.extensions.half_size import HalfSize
from network_module.extensions.short_videos import passes_of_epoch

_PRECISIONS = "auto", "yes", "no"


@dataclass(frozen=True)
class Settings:
    """The defaults are those of config.ini, which explains each of them.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    n_epochs: int = parameter(5, low=1, high=MAX_EPOCHS)
    batch_size: int = parameter(2, low=1, high=100_000)  # frames
    learning_rate: float = parameter(0.003, low_excluded=True, high=1e30)  # of AdamW
    # Of the U-Net's first stage.
    base_channels: int = parameter(16, low=1, high=MAX_BASE_CHANNELS)
    # Of the weights, the order of the frames, and their augmentation.
    seed: int = parameter(0, high=2**63 - 1)
    mixed_precision: str = "auto"  # convolutions in bf16: auto (where that is fast), yes, no
    deterministic: bool = True  # the same weights each time on a GPU, too

    # Not the paper's; see `extensions`.
    # Over the video; 0: one, or more of a short video, see `extensions.short_videos`.
    passes_per_epoch: int = parameter(0, low=0, high=1_000_000)
    cosine_decay: bool = True
    confidence_weights: bool = True
    flips: bool = True
    prior_bias: bool = True
    half_size: HalfSize | None = HalfSize()
    frame_agreement: FrameAgreement | None = FrameAgreement()  # where there is a half size
    along_edges: bool = True  # see `ike_data.guided_filter`
    colour_jitter: float = parameter(0.0, high=0.99)  # a share

    @classmethod
    def paper(cls, **changes: Any) -> Settings:
        """The paper's settings, but for ``changes``."""
        values: dict[str, Any] = dict(
            batch_size=3,
            learning_rate=0.0001,
            base_channels=64,
            passes_per_epoch=1,
            cosine_decay=False,
            confidence_weights=False,
            flips=False,
            prior_bias=False,
            half_size=None,
            frame_agreement=None,
            along_edges=False,
        )
        return cls(**(values | changes))

    def passes_of_epoch(self, n_frames: int) -> int:
        """Passes over a video of ``n_frames`` in each epoch."""
        return self.passes_per_epoch or passes_of_epoch(n_frames, self.batch_size)

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.mixed_precision not in _PRECISIONS:
            raise ValueError(
                f"Settings.mixed_precision should be one of {', '.join(_PRECISIONS)}, "
                f"got {self.mixed_precision!r}"
            )
        for name, kind in (("half_size", HalfSize), ("frame_agreement", FrameAgreement)):
            value = getattr(self, name)
            if not isinstance(value, kind | None):
                raise ValueError(
                    f"Settings.{name} should be None or {kind.__name__}(), got {value!r}"
                )


DEFAULTS = Settings()
