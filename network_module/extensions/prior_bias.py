"""The last bias of the U-Net starts from the share of the object's pixels."""

from __future__ import annotations

import torch

from network_module.unet import UNet

LEAST_SHARE = 0.001  # keeps the share off 0 and 1, where the bias would be infinite


def start_from_prior(network: UNet, share: float) -> None:
    """Set the last conv's bias so that what has no features yet is the object with p = ``share``.

    Lin et al., "Focal Loss for Dense Object Detection" (ICCV 2017), section 3.3. With a random bias
    the network may learn the features of the background alone. What has none is then the object,
    but only as surely as the random bias says.

    Args:
        share: of the object's pixels among the pseudo-labels; brought into
            [`LEAST_SHARE`, 1 - `LEAST_SHARE`].
    """
    logit = torch.tensor(min(max(share, LEAST_SHARE), 1 - LEAST_SHARE)).logit()
    assert network.last.bias is not None
    with torch.no_grad():
        network.last.bias.copy_(torch.stack([-logit, logit]) / 2)
