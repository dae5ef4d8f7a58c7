"""RAFT between two frames: each is encoded once, and both directions run as one batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.models.optical_flow import RAFT
from torchvision.models.optical_flow._utils import make_coords_grid, upsample_flow

from RAFT.context_gru import ContextGRU
from RAFT.frame_fitting import cut_flow, fit_frame


class EncodedFrame(NamedTuple):
    """What RAFT's encoders make of a frame that `fit_frame` has brought to H x W pixels."""

    features: torch.Tensor  # [1, C, H/8, W/8], float32
    hidden: torch.Tensor  # [1, C_hidden, H/8, W/8], the first state of the recurrent unit
    context: torch.Tensor  # [1, C_context, H/8, W/8]
    height: int  # of the frame itself, pixels
    width: int


class RaftFlow:
    """torchvision's RAFT as a `FlowMethod`. It equals the model's own forward but for rounding."""

    def __init__(
        self,
        model: RAFT,
        *,
        iters: int = 20,
        mixed_precision: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        """
        Args:
            model: of `load_raft`; it is moved to ``device`` and put into eval mode.
            iters: updates of the flow field, at least 1.
            mixed_precision: run encoders and updates in float16 on CUDA, and in bfloat16 on the
                CPU, whose convolutions are not fast in float16. As in the authors' program the
                correlation stays in float32, and so do the flow and its upsampling.
            device: where RAFT runs; None: where ``model`` is.

        Raises:
            ValueError: an argument is of another type or range.
        """
        if not isinstance(model, RAFT):
            raise ValueError(f"model should be a RAFT of torchvision, got {type(model).__name__}")
        if not isinstance(iters, int) or iters < 1:
            raise ValueError(f"iters should be a whole number of at least 1, got {iters!r}")
        try:
            device = torch.device(next(model.parameters()).device if device is None else device)
            torch.empty(0, device=device)  # may not be there
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"device: {error}") from error
        self._model = model.to(device).eval()
        block, hidden_size = model.update_block, model.update_block.hidden_state_size
        context_size = model.context_encoder.conv.out_channels - hidden_size
        half = torch.float16 if device.type == "cuda" else torch.bfloat16
        dtype = half if mixed_precision else torch.float32
        self._gru = ContextGRU(block.recurrent_block, hidden_size, context_size, dtype)
        self._iters = iters
        self._device = device
        self._autocast = torch.autocast(device.type, dtype=half, enabled=mixed_precision)

    @torch.inference_mode()
    def encode(self, frame: np.ndarray) -> EncodedFrame:
        """See `FlowMethod.encode`."""
        image = torch.from_numpy(frame).to(self._device).permute(2, 0, 1)[None]  # [1, 3, h, w]
        image = fit_frame(2 * (image.float() / 255) - 1)
        with self._autocast:
            features = self._model.feature_encoder(image)
            context = self._model.context_encoder(image)
            hidden_size = self._model.update_block.hidden_state_size
            hidden, context = context.split([hidden_size, context.shape[1] - hidden_size], dim=1)
            hidden, context = torch.tanh(hidden), F.relu(context)
        return EncodedFrame(features.float(), hidden, context, *frame.shape[:2])

    @torch.inference_mode()
    def flow_both_ways(
        self, first: EncodedFrame, second: EncodedFrame
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `FlowMethod.flow_both_ways`."""
        flow = cut_flow(self._update(first, second), first.height, first.width)
        flow = flow.permute(0, 2, 3, 1)  # [2, height, width, 2]
        forward, backward = flow.contiguous().cpu().numpy()
        return forward, backward

    def _update(self, first: EncodedFrame, second: EncodedFrame) -> torch.Tensor:
        """The flow [2, 2, H, W] of the fitted frames: first -> second, second -> first."""
        model, gru = self._model, self._gru
        features = torch.cat([first.features, second.features])  # [2, C, H/8, W/8]
        hidden = torch.cat([first.hidden, second.hidden])
        context = torch.cat([first.context, second.context])
        model.corr_block.build_pyramid(features, features.flip(0))
        start = make_coords_grid(2, *features.shape[-2:]).to(self._device)  # [2, 2, H/8, W/8]
        coords = start
        with self._autocast:
            of_context = gru.of_context(context)
            for _ in range(self._iters):
                # Stays float32 under autocast, too.
                correlation = model.corr_block.index_pyramid(coords)
                # Once, here: autocast would convert them for each convolution, and join the
                # result with a float32 flow as float32.
                inputs = (values.to(hidden.dtype) for values in (coords - start, correlation))
                motion = model.update_block.motion_encoder(*inputs)
                hidden = gru.update(hidden, motion, of_context)
                coords = coords + model.update_block.flow_head(hidden)
            # Only the last flow is of use: torchvision upsamples each.
            mask = None if model.mask_predictor is None else model.mask_predictor(hidden).float()
        # By far the largest tensors: freed before those of the next pair are built.
        model.corr_block.corr_pyramid = []
        return upsample_flow(coords - start, mask)
