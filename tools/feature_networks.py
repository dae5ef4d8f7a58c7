"""Pretrained torchvision networks as givers of feature maps: the paper's supervised scenario.

A segmentation network gives the probability that a pixel is not background; a ResNet gives the
principal components of a layer's features over the video.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from pathlib import Path

import project_root  # noqa: F401
import torch
import torch.nn.functional as F
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from ike_data.errors import InputError
from ike_data.tensor_files import load_tensors

SEGMENTATION = tuple(models.list_models(module=models.segmentation))
RESNETS = tuple(models.list_models(module=models, include=["resnet*", "resnext*", "wide_resnet*"]))
LAYERS = ("layer1", "layer2", "layer3", "layer4")
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB in [0, 1]
_CLASSIFIER, _AUXILIARY = "classifier.", "aux_classifier."


def load_network(name: str, weights: Path | None) -> torch.nn.Module:
    """A network of `SEGMENTATION` or `RESNETS`, ready to be applied.

    Args:
        weights: a state dict of it, with any number of classes; None for torchvision's published
            weights, which torchvision downloads and caches.

    Raises:
        InputError: the weights cannot be downloaded, or are not those of this network.
    """
    if weights is None:
        return _published(name)
    state = load_tensors(weights, f"give a state dict of torchvision's {name}, saved by torch.save")
    if not isinstance(state, dict) or not all(torch.is_tensor(value) for value in state.values()):
        raise InputError(f"{weights}: is not a dict of named tensors; give a state dict of {name}")
    if name in SEGMENTATION:
        # A second classifier helps in training only.
        state = {key: value for key, value in state.items() if not key.startswith(_AUXILIARY)}
        scores = [v for k, v in state.items() if k.startswith(_CLASSIFIER) and v.dim() == 4]
        n_classes = len(scores[-1]) if scores else 21
        network = models.get_model(name, weights=None, weights_backbone=None, num_classes=n_classes)
    else:
        classes = state.get("fc.weight")
        n_classes = 1000 if classes is None else len(classes)
        network = models.get_model(name, weights=None, num_classes=n_classes)
    expected = network.state_dict()
    for key in sorted(expected.keys() | state.keys()):
        if key not in state or key not in expected:
            what = "is missing" if key not in state else "is unknown"
            raise InputError(f"{weights}: is not a state dict of {name} ({key} {what})")
        if state[key].shape != expected[key].shape:
            raise InputError(
                f"{weights}: {key} has shape {list(state[key].shape)}, that of {name} has "
                f"{list(expected[key].shape)}"
            )
    network.load_state_dict(state)
    return network.eval()


def _published(name: str) -> torch.nn.Module:
    weights = models.get_model_weights(name).DEFAULT
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[1]
    try:
        return models.get_model(name, weights=weights).eval()
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        # A RuntimeError is a wrong hash; URLError is an OSError.
        raise InputError(
            f"{weights.url}: cannot be downloaded ({error}); put that file at {path}, or give "
            "weights of your own with --weights"
        ) from error


def normalised(frames: torch.Tensor, device: torch.device) -> torch.Tensor:
    """uint8 RGB [b, 3, H, W] -> what networks trained on ImageNet expect."""
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (_MEAN, _STD))
    return (frames.to(device).float() / 255 - mean) / std


@torch.inference_mode()
def object_probability(
    network: torch.nn.Module, frames: torch.Tensor, classes: tuple[int, ...] | None
) -> torch.Tensor:
    """The probability that a pixel is of one of ``classes``; None: of any but the first.

    Args:
        network: one of `SEGMENTATION`; frames: normalised, [b, 3, H, W].

    Returns:
        [b, H, W] in [0, 1]

    Raises:
        InputError: the network has fewer classes.
    """
    probabilities = network(frames)["out"].softmax(dim=1)  # [b, K, H, W]
    if classes is None:
        return 1 - probabilities[:, 0]
    n_classes = probabilities.shape[1]
    if max(classes) >= n_classes:
        raise InputError(
            f"--classes {max(classes)}: the network has {n_classes}, numbered 0 to {n_classes - 1}"
        )
    return probabilities[:, list(classes)].sum(dim=1).clamp_(max=1)


def layer_features(
    network: torch.nn.Module, layer: str, batches: Iterable[torch.Tensor]
) -> torch.Tensor:
    """The features of a ResNet's ``layer``, [n, C, h, w] on the CPU, of batches of frames."""
    extractor = create_feature_extractor(network, {layer: "features"})
    with torch.inference_mode():
        return torch.cat([extractor(frames)["features"].cpu() for frames in batches])


def principal_components(
    features: torch.Tensor, n_components: int, size: tuple[int, int]
) -> torch.Tensor:
    """Project onto the directions of largest variance over the video.

    Args:
        features: [n, C, h, w]; size: (H, W) of the maps.

    Returns:
        [n, H, W, n_components]: each in [0, 1] over the video, 0 where it is constant. The sign of
        a component is such that its direction's largest entry is positive.

    Raises:
        InputError: there are fewer channels than components.
    """
    n_channels = features.shape[1]
    if n_components > n_channels:
        raise InputError(f"--components {n_components}: the layer has {n_channels} channels")
    mean = features.mean(dim=(0, 2, 3))
    covariance = torch.zeros(n_channels, n_channels, dtype=torch.float64)
    for frame in features:
        centred = (frame.flatten(1) - mean[:, None]).double()  # [C, h w]
        covariance += centred @ centred.T
    directions = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, :n_components]  # [C, k]
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    directions = (directions * largest.sign()).float()
    maps = torch.einsum("nchw,ck->nkhw", features - mean[:, None, None], directions)
    low, high = maps.amin(dim=(0, 2, 3), keepdim=True), maps.amax(dim=(0, 2, 3), keepdim=True)
    extent = high - low
    maps = torch.where(extent > 0, (maps - low) / torch.where(extent > 0, extent, 1), 0)
    maps = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    return maps.permute(0, 2, 3, 1)
