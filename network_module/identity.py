"""What a training is: checksums and words by which a later run knows it again."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import NamedTuple

import torch

# Settings keep the names that earlier versions gave them. Settings that are gone have the value
# that means off. New settings that are off are left out. So trainings of earlier versions are
# known.
_EARLIER_NAMES = {"colour_jitter": "light"}
_NEW_AND_OFF = {"frame_agreement": False}
_GONE_AFTER = {
    "confidence_weights": {"soft_labels": "False"},
    "colour_jitter": {"weight_average": "0.0"},
}


class Identity(NamedTuple):
    """Equal for trainings of equal settings and data."""

    data_mark: int  # a checksum of video and soft masks
    settings: dict[str, str]

    @classmethod
    def of(
        cls, video: torch.Tensor, soft_masks: torch.Tensor, settings: Mapping[str, object]
    ) -> Identity:
        """Of video [n, 3, H, W] and soft masks [n, H, W], both on the CPU."""
        # Not of .tobytes(), which would copy a whole video.
        data_mark = zlib.crc32(video.contiguous().numpy().data)
        data_mark = zlib.crc32(soft_masks.contiguous().numpy().data, data_mark)
        words: dict[str, str] = {}
        for name, value in settings.items():
            if name in _NEW_AND_OFF and value == _NEW_AND_OFF[name]:
                continue
            words[_EARLIER_NAMES.get(name, name)] = str(value)
            words.update(_GONE_AFTER.get(name, {}))
        return cls(data_mark, words)

    @property
    def mark(self) -> int:
        """A checksum of all of it, which checkpoints have."""
        return zlib.crc32(repr(self.settings).encode(), self.data_mark)

    def difference(self, now: Identity) -> str | None:
        """What tells this training from the one that is asked for ``now``, in words."""
        for name in now.settings | self.settings:
            before, wanted = self.settings.get(name), now.settings.get(name)
            if before != wanted:
                return f"is of a training with {name} = {before}, now it is {wanted}"
        if self.data_mark != now.data_mark:
            return "is of a training on other frames or pseudo-labels"
        return None
