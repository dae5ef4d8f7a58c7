"""Maps of the object's probability from torchvision's segmentation networks.

They are the paper's supervised scenario: the networks were trained with human labels.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
import torch.nn.functional as F
from torchvision import models
from torchvision.transforms.functional import normalize

from ike_data.published_weights import published_weights
from ike_data.runtime.errors import InputError
from ike_data.state_dicts import check_weights, read_state_dict

SEGMENTATION = tuple(models.list_models(module=models.segmentation))
_STRIDE = 16  # the largest of SEGMENTATION, pixels
_IMAGENET_MEAN, _IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # RGB in [0, 1]
# The conv that gives a segmentation network's classes: DeepLabV3's and FCN's, or LR-ASPP's.
CLASS_WEIGHTS = ("classifier.4.weight", "classifier.low_classifier.weight")
# No map depends on the classifier that helps in training only; what others save often lacks it.
# BatchNorm counts batches in training, and before PyTorch 0.4.1 did not.
_UNUSED_PREFIX, _UNUSED_SUFFIX = "aux_classifier.", ".num_batches_tracked"


def load_network(name: str, path: Path | None) -> torch.nn.Module:
    """A network of `SEGMENTATION` on the CPU, in float32 and eval mode.

    Args:
        path: of torchvision's ``name``, of any number of classes, see `read_state_dict`; None is
            torchvision's published weights, which are downloaded once.

    Raises:
        InputError: the file is missing, cannot be loaded safely, or does not fit ``name``; or the
            published weights cannot be downloaded.
    """
    if path is None:
        url = models.get_model_weights(name).DEFAULT.url
        path = published_weights(url, "give weights of your own with --weights")
        otherwise = "or delete it, and it is downloaded again"
    else:
        otherwise = "or leave out --weights for torchvision's published ones"
    remedy = (
        f"give a state dict of torchvision's {name}, saved by torch.save(model.state_dict(), ...), "
        f"{otherwise}"
    )
    weights = {
        key: tensor
        for key, tensor in read_state_dict(path, remedy).items()
        if not key.startswith(_UNUSED_PREFIX) and not key.endswith(_UNUSED_SUFFIX)
    }
    classes = next((weights[key] for key in CLASS_WEIGHTS if key in weights), None)
    n_classes = 2 if classes is None or not classes.ndim else len(classes)
    if n_classes < 2:
        raise InputError(
            f"{path}: has a single class; softmax needs the background and another one"
        )
    network = models.get_model(name, weights=None, weights_backbone=None, num_classes=n_classes)
    own = network.state_dict()
    expected = {key: value for key, value in own.items() if not key.endswith(_UNUSED_SUFFIX)}
    remedy = "give that network's name with --model, or its weights"
    check_weights(path, weights, expected, f"torchvision's {name}", remedy)
    # float16 weights become float32. The network's own counts of batches stay.
    network.load_state_dict({**own, **weights}, strict=True)
    return network.eval()


def normalised(frames: torch.Tensor, device: torch.device) -> torch.Tensor:
    """uint8 RGB [b, 3, H, W] -> what networks trained on ImageNet expect."""
    return normalize(frames.to(device).float() / 255, _IMAGENET_MEAN, _IMAGENET_STD)


@torch.inference_mode()
def object_probability(
    network: torch.nn.Module, frames: torch.Tensor, classes: Collection[int] | None
) -> torch.Tensor:
    """The probability that a pixel is of one of ``classes``; None: of any but 0, the background.

    The network stretches its coarse scores to the size of what it is given. For these to stay in
    place that size is made a multiple of the stride, and the surplus is cut off again.

    Args:
        network: one of `SEGMENTATION`.
        frames: normalised, [b, 3, H, W].

    Returns:
        [b, H, W] in [0, 1]

    Raises:
        InputError: the network has fewer classes.
    """
    height, width = frames.shape[-2:]
    surplus = 0, -width % _STRIDE, 0, -height % _STRIDE  # to the right and below
    scores = network(F.pad(frames, surplus, mode="replicate"))["out"]
    probability = scores[..., :height, :width].softmax(dim=1)  # [b, K, H, W]
    n_classes = probability.shape[1]
    if classes is None:
        found = 1 - probability[:, 0]
    elif max(classes) < n_classes:
        found = probability[:, sorted(set(classes))].sum(dim=1)
    else:
        raise InputError(
            f"--classes {max(classes)}: the network has {n_classes}, numbered 0 to {n_classes - 1}"
        )
    return found.clamp_(0, 1)  # a sum of shares may round to above 1
