"""RAFT's weights: from the authors' checkpoints, torchvision's, or torchvision's published ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from pathlib import Path

import torch
from torchvision.models.optical_flow import (
    RAFT,
    Raft_Large_Weights,
    Raft_Small_Weights,
    raft_large,
    raft_small,
)

from ike_data.published_weights import published_weights
from ike_data.runtime.errors import InputError
from ike_data.state_dicts import check_weights, read_state_dict

# From the authors' names to torchvision's, applied in this order; torchvision's own names match
# none of them.
_RENAMES = (
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"^(feature|context)_encoder\.conv1\.", r"\1_encoder.convnormrelu.0."),
    (r"^(feature|context)_encoder\.norm1\.", r"\1_encoder.convnormrelu.1."),
    (r"^(feature|context)_encoder\.conv2\.", r"\1_encoder.conv."),
    (r"\.(layer\d\.\d)\.conv(\d)\.", r".\1.convnormrelu\2.0."),
    (r"\.(layer\d\.\d)\.norm(\d)\.", r".\1.convnormrelu\2.1."),
    (r"^update_block\.encoder\.convc(\d)\.", r"update_block.motion_encoder.convcorr\1.0."),
    (r"^update_block\.encoder\.convf(\d)\.", r"update_block.motion_encoder.convflow\1.0."),
    (r"^update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"\.gru\.conv([zrq])(\d)\.", r".recurrent_block.convgru\2.conv\1."),
    (r"\.gru\.conv([zrq])\.", r".recurrent_block.convgru1.conv\1."),
    (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
)
# The authors' checkpoints hold the norm of a shortcut twice: under this name and as downsample.1.
# Their program loads the second one last, so that it counts.
_REPEATED = re.compile(r"\.layer\d\.\d\.norm[34]\.")
_WHERE = "RAFT/models/README.md says where to get one"


def load_raft(path: Path | str | None = None, small: bool = False) -> RAFT:
    """RAFT with the weights of a checkpoint, on the CPU, in float32 and eval mode.

    Args:
        path: a checkpoint of the authors or of torchvision, in any form that `read_state_dict`
            reads. None: torchvision's published weights (C_T_V1: the authors', trained on Chairs,
            then Things), which are downloaded once.
        small: the small RAFT. The checkpoint must be of the same size.

    Raises:
        InputError: the file is missing, holds more than tensors, or is not of this RAFT; or the
            published weights cannot be downloaded.
    """
    if path is None:
        url = (Raft_Small_Weights if small else Raft_Large_Weights).C_T_V1.value.url
        path = published_weights(
            url,
            "give a RAFT checkpoint (--models), or use DIS flow (--method dis), which needs none",
        )
    path = Path(path)
    weights = translate_names(
        read_state_dict(
            path,
            f"give a RAFT's state dict, saved by torch.save(model.state_dict(), ...); {_WHERE}; "
            "without one (--models) torchvision's published weights are downloaded, and DIS flow "
            "(--method dis) needs none",
        )
    )
    model = raft_small() if small else raft_large()
    expected, size = model.state_dict(), "small" if small else "large"
    if weights.keys() != expected.keys() and weights.keys() == _names(not small):
        remedy = "--no-small, or small=False" if small else "--small, or small=True"
        held = "large" if small else "small"
        raise InputError(f"{path}: holds the {held} RAFT; give {remedy} in Python")
    check_weights(path, weights, expected, f"the {size} RAFT", _WHERE)
    model.load_state_dict(weights, strict=True)  # float16 weights become float32
    return model.eval()


def _names(small: bool) -> Set[str]:
    with torch.device("meta"):  # no memory
        return (raft_small() if small else raft_large()).state_dict().keys()


def translate_names(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``weights`` under torchvision's names; theirs are the authors' or torchvision's."""
    translated = {}
    for name, tensor in weights.items():
        if _REPEATED.search(name):
            continue
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        translated[name] = tensor
    return translated
