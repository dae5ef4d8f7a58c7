"""Feature maps from pretrained torchvision networks: the paper's supervised scenario.

A segmentation network gives the probability that a pixel is not background; a ResNet gives the
principal components of a layer's features over the video.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms.functional import normalize

from ike_data.published_weights import published_weights
from ike_data.runtime.errors import InputError
from ike_data.state_dicts import check_weights, read_state_dict

SEGMENTATION = tuple(models.list_models(module=models.segmentation))
RESNETS = tuple(models.list_models(module=models, include=["resnet*", "resnext*", "wide_resnet*"]))
LAYER_STRIDES = {"layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32}  # of a ResNet, pixels
_SEGMENTATION_STRIDE = 16  # the largest of SEGMENTATION
_IMAGENET_MEAN, _IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # RGB in [0, 1]
# The conv that gives a segmentation network's classes: DeepLabV3's and FCN's, or LR-ASPP's.
CLASS_WEIGHTS = ("classifier.4.weight", "classifier.low_classifier.weight")
# No map depends on the classifier that helps in training only, nor on a ResNet's own; what others
# save often lacks them. BatchNorm counts batches in training, and before PyTorch 0.4.1 did not.
_UNUSED_PREFIXES, _UNUSED_SUFFIX = ("aux_classifier.", "fc."), ".num_batches_tracked"
_CONSTANT = 1e-6  # float32's rounding in a deep network, as a share of the features' size


def load_network(name: str, path: Path | None) -> torch.nn.Module:
    """A network of `SEGMENTATION` or `RESNETS` on the CPU, in float32 and eval mode.

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
        if not key.startswith(_UNUSED_PREFIXES) and not key.endswith(_UNUSED_SUFFIX)
    }
    if name in SEGMENTATION:
        classes = next((weights[key] for key in CLASS_WEIGHTS if key in weights), None)
        n_classes = 2 if classes is None or not classes.ndim else len(classes)
        if n_classes < 2:
            raise InputError(
                f"{path}: has a single class; softmax needs the background and another one"
            )
        network = models.get_model(name, weights=None, weights_backbone=None, num_classes=n_classes)
    else:
        network = models.get_model(name, weights=None)
        network.fc = torch.nn.Identity()
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


def _padded(frames: torch.Tensor, stride: int, beyond: int) -> torch.Tensor:
    """Repeat the right and the lower border: sides of a multiple of ``stride``, plus ``beyond``."""
    height, width = frames.shape[-2:]
    right, below = -(width - beyond) % stride, -(height - beyond) % stride
    return F.pad(frames, (0, right, 0, below), mode="replicate")


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
    scores = network(_padded(frames, _SEGMENTATION_STRIDE, beyond=0))["out"]
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


def layer_features(
    network: torch.nn.Module, layer: str, batches: Iterable[torch.Tensor]
) -> Iterator[torch.Tensor]:
    """The features of a ResNet's ``layer``, [b, C, h, w], of batches of normalised frames.

    Kernels are centred, so cell i of a layer of stride s sees what lies around pixel s i. The
    frames are padded until a cell stands at or beyond the last pixel: see `cells_to_pixels`.
    """
    extractor = create_feature_extractor(network, {layer: "features"})
    for frames in batches:
        with torch.inference_mode():
            found = extractor(_padded(frames, LAYER_STRIDES[layer], beyond=1))["features"]
        yield found


def principal_components(features: Iterable[torch.Tensor], n_components: int) -> torch.Tensor:
    """Project features onto the directions of their largest variance over the video.

    Keeps all features on the CPU: for `resnet50` at 224 x 416, 1.7 MB a frame of layer3 and 6 MB
    of layer1, less than the graph module needs.

    Args:
        features: batches [b, C, h, w].

    Returns:
        float32 [n, n_components, h, w]: the projections of the features less their mean, those of
        the largest variance first; 0 where there is no variance but that of rounding. The sign is
        such that the largest entry of a direction is positive.

    Raises:
        InputError: there are fewer channels than components, or a feature is not finite.
    """
    # Double: what is the same everywhere must cancel.
    kept, n_cells = [], 0
    total = products = torch.zeros((), dtype=torch.float64)
    for batch in features:
        n_channels = batch.shape[1]
        if n_components > n_channels:
            raise InputError(f"--components {n_components}: the layer has {n_channels} channels")
        cells = batch.transpose(0, 1).flatten(1).double()  # [C, b h w]
        n_cells += cells.shape[1]
        total = total + cells.sum(dim=1).cpu()
        products = products + (cells @ cells.T).cpu()
        kept.append(batch.cpu())
    mean, second_moment = total / n_cells, products / n_cells
    if not torch.isfinite(second_moment).all():
        raise InputError("the network's features are not finite; use other weights")
    variances, directions = torch.linalg.eigh(second_moment - torch.outer(mean, mean))
    variances, directions = variances.flip(0)[:n_components], directions.flip(1)[:, :n_components]
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    is_rounding = variances <= _CONSTANT**2 * second_moment.trace()
    directions = torch.where(is_rounding, 0, directions * largest.sign())  # [C, k]
    offset = (mean @ directions).view(-1, 1, 1)  # [k, 1, 1]
    projected = (torch.einsum("bchw,ck->bkhw", b.double(), directions) - offset for b in kept)
    return torch.cat([batch.float() for batch in projected])


def cells_to_pixels(maps: torch.Tensor, stride: int, height: int, width: int) -> torch.Tensor:
    """Resize maps [n, k, h, w] bilinearly to [n, k, height, width]; cell i stands at pixel s i."""
    cells_h, cells_w = maps.shape[-2:]
    # align_corners puts the last cell at the last pixel, stride (cells - 1).
    size = stride * (cells_h - 1) + 1, stride * (cells_w - 1) + 1
    pixels = F.interpolate(maps, size=size, mode="bilinear", align_corners=True)
    return pixels[..., :height, :width]


def scaled(maps: torch.Tensor) -> torch.Tensor:
    """Min-max normalise each channel of [n, k, H, W] over the video; 0 where it is constant."""
    low, high = maps.amin(dim=(0, 2, 3), keepdim=True), maps.amax(dim=(0, 2, 3), keepdim=True)
    extent = high - low
    return torch.where(extent > 0, (maps - low) / torch.where(extent > 0, extent, 1), 0)
