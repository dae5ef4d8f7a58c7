"""RAFT on the pairs of a video: each frame is encoded once, both directions run as one batch."""

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
    """What RAFT's encoders make of one frame, at 1/8 of the fitted frame's size."""

    features: torch.Tensor  # [1, C, H/8, W/8], float32
    hidden: torch.Tensor  # [1, hidden_state_size, H/8, W/8], first state of the GRU
    context: torch.Tensor  # [1, C_context, H/8, W/8]
    height: int  # of the frame itself, pixels
    width: int


class RaftFlow:
    """torchvision's RAFT, with the same numbers as its forward, for neighbouring frames."""

    def __init__(
        self, model: RAFT, *, iters: int, mixed_precision: bool, device: torch.device
    ) -> None:
        """
        Args:
            model: in eval mode; it is moved to ``device``.
            iters: updates of the flow field.
            mixed_precision: encoders and update loop in float16 on CUDA and in bfloat16 on the CPU
                (whose convolutions are not fast in float16). As in the authors' program the
                correlation stays in float32, and so do the flow and its upsampling.
        """
        self._model = model.to(device)
        block, hidden_size = model.update_block, model.update_block.hidden_state_size
        context_size = model.context_encoder.conv.out_channels - hidden_size
        self._gru = ContextGRU(block.recurrent_block, hidden_size, context_size)
        self._iters = iters
        self._device = device
        self._autocast = torch.autocast(
            device.type,
            dtype=torch.float16 if device.type == "cuda" else torch.bfloat16,
            enabled=mixed_precision,
        )

    @torch.inference_mode()
    def encode(self, frame: np.ndarray) -> EncodedFrame:
        """Run both encoders on ``frame``, uint8 RGB [height, width, 3]."""
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
        """Flow from ``first`` to ``second``, and from ``second`` to ``first``.

        Returns:
            Two float32 arrays [height, width, 2], (u, v) in pixels of the frames' own size.
        """
        flow = cut_flow(self._update(first, second), first.height, first.width)
        flow = flow.permute(0, 2, 3, 1)  # [2, height, width, 2]
        forward, backward = flow.contiguous().cpu().numpy()
        return forward, backward

    def _update(self, first: EncodedFrame, second: EncodedFrame) -> torch.Tensor:
        """The update loop on [first -> second, second -> first]: flow [2, 2, H, W]."""
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
                # Sampling keeps the correlation's float32, also under autocast.
                correlation = model.corr_block.index_pyramid(coords)
                motion = model.update_block.motion_encoder(coords - start, correlation)
                hidden = gru.update(hidden, motion, of_context)
                coords = coords + model.update_block.flow_head(hidden)
            # Only the last flow is of use: torchvision upsamples each.
            mask = None if model.mask_predictor is None else model.mask_predictor(hidden).float()
        # By far the largest tensors: the next pair's must not be built while they are still held.
        model.corr_block.corr_pyramid = []
        return upsample_flow(coords - start, mask)
