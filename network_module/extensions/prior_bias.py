"""The last bias of the U-Net starts from the share of the object's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ike_data.parameters import check_ranges, parameter
from network_module.unet import UNet


@dataclass(frozen=True)
class PriorBias:
    """``least_share`` keeps the share off 0 and 1, where the bias would be infinite."""

    least_share: float = parameter(0.001, low_excluded=True, high=0.5)

    def __post_init__(self) -> None:
        check_ranges(self)


def start_from_prior(network: UNet, share: float, least_share: float) -> None:
    """Set the last conv's bias so that what has no features yet is the object with p = ``share``.

    Lin et al., "Focal Loss for Dense Object Detection" (ICCV 2017), section 3.3. With a random bias
    the network may learn the features of the background alone. What has none is then the object,
    but only as surely as the random bias says.

    Args:
        share: of the object's pixels among the pseudo-labels.
        least_share: ``share`` is kept at least so far from 0 and 1.
    """
    logit = torch.tensor(min(max(share, least_share), 1 - least_share)).logit()
    assert network.last.bias is not None
    with torch.no_grad():
        network.last.bias.copy_(torch.stack([-logit, logit]) / 2)
