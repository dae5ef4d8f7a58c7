"""Weights of a torchvision ResNet-18 for the encoder (docs/method.md section 4)."""

from __future__ import annotations

from pathlib import Path

from ike_data.runtime.errors import InputError
from ike_data.state_dicts import check_weights, read_state_dict
from network_module.unet import UNet

_BASE_CHANNELS = 64  # of ResNet-18's layer1
# Our residual block <- a stage of ResNet-18, which is two basic blocks.
_LAYERS = {
    "conv1": "0.conv1",
    "norm1": "0.bn1",
    "conv2": "0.conv2",
    "norm2": "0.bn2",
    "conv3": "1.conv1",
    "norm3": "1.bn1",
    "conv4": "1.conv2",
    "norm4": "1.bn2",
    "shortcut.0": "0.downsample.0",
    "shortcut.1": "0.downsample.1",
}
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of a BatchNorm
_REMEDY = (
    "pretrained_encoder takes a torchvision ResNet-18 checkpoint, saved with "
    "torch.save(model.state_dict(), ...); or leave it empty"
)


def load_pretrained_encoder(model: UNet, path: Path) -> None:
    """Initialise encoder stages 1-4 of ``model`` from a ResNet-18 checkpoint.

    layer1 to layer4 give all their convs, and the weight and bias of their BatchNorms go to our
    instance norms. Everything else of the model stays as it is.

    Args:
        path: of torchvision's ResNet-18; see `read_state_dict`.

    Raises:
        InputError: ``model`` has other ``base_channels`` than 64; or the file is missing, cannot be
            loaded safely, or is not a ResNet-18 checkpoint.
    """
    base_channels = model.last.in_channels
    if base_channels != _BASE_CHANNELS:
        raise InputError(
            f"[Network Module] pretrained_encoder = {path}: fits base_channels = "
            f"{_BASE_CHANNELS} only, got {base_channels}; set base_channels = {_BASE_CHANNELS}, "
            "or leave pretrained_encoder empty"
        )
    # BatchNorm's statistics are left out: instance norm takes its own from each frame.
    stages = {
        name: value
        for name, value in read_state_dict(path, _REMEDY).items()
        if name.startswith("layer") and not name.endswith(_STATISTICS)
    }
    names = {_resnet_name(name): name for name in model.encoder.state_dict()}
    expected = {name: model.encoder.state_dict()[own] for name, own in names.items()}
    check_weights(path, stages, expected, "torchvision's ResNet-18", _REMEDY)
    model.encoder.load_state_dict({own: stages[name] for name, own in names.items()})


def _resnet_name(name: str) -> str:
    """Our 1.shortcut.0.weight is ResNet-18's layer2.0.downsample.0.weight, and so on."""
    stage, rest = name.split(".", 1)
    layer, parameter = rest.rsplit(".", 1)
    return f"layer{int(stage) + 1}.{_LAYERS[layer]}.{parameter}"
