"""Motion prior: where something moves by itself, as a network that has seen synthetic scenes says.

The network looks at the flow of one frame to both sides, never at colours. It has learnt from
layered synthetic scenes whose masks are known (tools/train_motion_prior.py makes them and trains
on them): from no human label and no real image. Here it only runs.
"""

from __future__ import annotations

import hashlib
import io
import math
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F

from graph_module.extensions.dominant_motion import DominantMotion, dominant_motion
from graph_module.extensions.flow_consistency import flow_at_end
from graph_module.extensions.motion_prior_network import MotionPriorNetwork
from ike_data.flow_resizing import resize_flow
from ike_data.runtime.cores import frames_at_once, frames_together
from ike_data.runtime.errors import InputError

WEIGHTS = Path(__file__).with_suffix(".pth")
WEIGHTS_SHA256 = "d3a4e93f061ecba1bb0d01c298794947cb3474c4c9dc720a387364a4c655cbe0"

N_PIXELS = 120 * 208  # of a frame as the network sees it, about; its proportions stay
LEAST_SIDE = 16  # pixels
FRAME_BYTES = 16 << 20  # bytes that the network takes for a frame, about
CPU_FRAMES = 8  # that it looks at together on a CPU
FIT = DominantMotion(n_fits=8, n_rows=20)
# A frame's unit of length is this quantile of its residuals, and no less than so many pixels: in a
# frame without motion the noise of the flow is small.
UNIT_QUANTILE = 0.95
LEAST_UNIT = 0.15
QUANTILE_STEP = 2  # it looks at every second row and column
FLOW_UNITS = 4.0  # of the flow itself, which is longer than its residuals
# Less counts as 0, so that a video without motion has no evidence at all: of still frames, and of
# noise up to 0.2 pixels, the network says up to 0.0001.
LEAST_PRIOR = 0.01


@torch.no_grad()
def motion_prior(fwd_flow: torch.Tensor, bwd_flow: torch.Tensor) -> torch.Tensor:
    """The probability that a pixel belongs to something that moves by itself, for each frame.

    Args:
        fwd_flow: [n - 1, 2, H, W], pixels, from frame idx to frame idx + 1.
        bwd_flow: the same shape, from frame idx + 1 to frame idx.

    Returns:
        float32 [n, H, W] in [0, 1], on the device of the flow; 0 for a video of one frame.

    Raises:
        InputError: the file of the weights is missing, damaged or another one.
    """
    n_pairs, _, height, width = fwd_flow.shape
    prior = fwd_flow.new_zeros(n_pairs + 1, height, width, dtype=torch.float32)
    if n_pairs == 0:
        return prior
    device = fwd_flow.device
    n_at_once = frames_at_once(FRAME_BYTES, device) if frames_together(device) else CPU_FRAMES
    network = load_network(device)
    for start in range(0, n_pairs + 1, n_at_once):
        frames = range(start, min(start + n_at_once, n_pairs + 1))
        inputs = _inputs_of_frames(fwd_flow, bwd_flow, frames)
        # A GPU gives what a CPU gives, but for rounding, and the same in each run.
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ):
            soft_masks = network(inputs).sigmoid()
        soft_masks *= soft_masks >= LEAST_PRIOR
        prior[start : frames.stop] = F.interpolate(
            soft_masks[:, None], (height, width), mode="bilinear", align_corners=False
        )[:, 0]
    return prior


def network_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of a frame as the network sees it: about `N_PIXELS`, the same proportions."""
    scale = math.sqrt(N_PIXELS / (height * width))
    return max(round(scale * height), LEAST_SIDE), max(round(scale * width), LEAST_SIDE)


def resized_flow(flow: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A flow [B, 2, H, W] at the size of the network: the mean of what falls together."""
    shrinks = size[0] <= flow.shape[2] and size[1] <= flow.shape[3]
    return resize_flow(flow.float(), size, mode="area" if shrinks else "bilinear")


def round_trip_error(flow: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """|w + w'|, w' the flow back from where ``flow`` w leads; [B, 2, H, W] twice -> [B, H, W]."""
    return torch.hypot(*(flow + flow_at_end(flow, back)).unbind(1))


def network_inputs(flows: torch.Tensor, errors: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The inputs of the network: each side's residual, flow and round trip error, in one unit.

    The unit is the frame's own, so that slow and fast, small and large videos look alike; asinh
    keeps what is far above it within reach.

    Args:
        flows: [B, 2, 2, H, W], to the next and to the previous frame, (u, v) in pixels.
        errors: [B, 2, H, W], their `round_trip_error`, pixels.
        known: bool [B, 2], which of the two there are: the first frame has no previous one. At
            least one; what the others hold does not matter.

    Returns:
        [B, N_INPUTS, H, W]; 0 for a missing side.
    """
    shown = known[:, :, None, None, None]
    residuals = flows - dominant_motion(flows, FIT)
    sparse = residuals[..., ::QUANTILE_STEP, ::QUANTILE_STEP]
    lengths = torch.hypot(*sparse.unbind(2)).flatten(2)
    # A missing side has no lengths of its own: it gets a copy of the other's.
    lengths = torch.where(known[:, :, None], lengths, lengths.flip(1)).flatten(1)
    unit = torch.quantile(lengths, UNIT_QUANTILE, dim=1).clamp(min=LEAST_UNIT)
    of_side = torch.cat([residuals, flows / FLOW_UNITS, errors[:, :, None]], dim=2)
    inputs = torch.asinh(of_side / unit[:, None, None, None, None])
    return inputs.masked_fill(~shown, 0.0).flatten(1, 2)


@cache
def load_network(device: torch.device, *, path: Path = WEIGHTS) -> MotionPriorNetwork:
    """The trained network, in evaluation mode.

    Raises:
        InputError: there is no file, or it has another SHA-256.
    """
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
        problem = "not the weights that this code was written for" if content else "no such file"
        raise InputError(
            f"{path}: {problem}; restore it from the repository (git checkout), or set "
            "motion_prior = no"
        )
    network = MotionPriorNetwork()
    weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    network.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return network.to(device).eval().requires_grad_(False)


def _inputs_of_frames(
    fwd_flow: torch.Tensor, bwd_flow: torch.Tensor, frames: range
) -> torch.Tensor:
    """`network_inputs` of some frames of a video at the `network_size`."""
    n_pairs, _, height, width = fwd_flow.shape
    size = network_size(height, width)
    # Pair idx is that of frames idx and idx + 1: these are the pairs on both sides of the frames.
    pairs = slice(max(frames.start - 1, 0), min(frames.stop, n_pairs))
    fwd, bwd = (resized_flow(flow[pairs], size) for flow in (fwd_flow, bwd_flow))
    indices = torch.arange(frames.start, frames.stop, device=fwd.device)
    after = (indices - pairs.start).clamp(max=len(fwd) - 1)
    before = (indices - 1 - pairs.start).clamp(min=0)
    fwd_error, bwd_error = round_trip_error(fwd, bwd), round_trip_error(bwd, fwd)
    return network_inputs(
        torch.stack([fwd[after], bwd[before]], dim=1),
        torch.stack([fwd_error[after], bwd_error[before]], dim=1),
        torch.stack([indices < n_pairs, indices > 0], dim=1),
    )
