"""Optical flow between the frames of a video: RAFT on torchvision's model, or OpenCV's DIS.

>>> import torch
>>> from RAFT import DisFlow, flow_between, video_flow
>>> noise = 255 * torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
>>> image = torch.nn.functional.interpolate(noise, size=(64, 96), mode="bilinear")[0].byte()
>>> # Each frame is the one before it, moved by 2 pixels to the right and 1 down.
>>> video = torch.stack([image.roll((idx, 2 * idx), (1, 2)) for idx in range(4)])
>>> forward, backward = flow_between(video[0], video[1], DisFlow())  # [2, 64, 96], (u, v)
>>> forward[:, 32, 48].round(), backward[:, 32, 48].round()
(tensor([2., 1.]), tensor([-2., -1.]))
>>> fwd_flow, bwd_flow = video_flow(video, DisFlow())
>>> fwd_flow.shape
torch.Size([3, 2, 64, 96])
>>> fwd_flow, bwd_flow = video_flow(video, DisFlow(), working_size=(32, 48))
>>> fwd_flow[0, :, 16, 24].round(decimals=1)  # pixels are twice as large now
tensor([1.0000, 0.5000])

RAFT is better than DIS, and wants a GPU and weights: in place of ``DisFlow()`` it is
``RaftFlow(load_raft("raft-things.pth"), device="cuda")``; without a file `load_raft` takes
torchvision's published weights. ``ShrunkFlow(method, 854)`` runs either of them on large frames at
a smaller size. What `video_flow` gives is what `graph_module.segment` takes. The command
extract_optical_flow.py does the same with files.

    frame_pairs.py      `flow_between`, `video_flow`: from frames to flow, pair by pair
    flow_method.py      `FlowMethod`: what the ways to find flow have in common
    dis_flow.py         `DisFlow`: OpenCV's DIS
    raft_flow.py        `RaftFlow`: torchvision's RAFT, both directions of a pair at once
    context_gru.py          its recurrent unit, in less time
    frame_fitting.py        frames of any size for it (docs/method.md section 6)
    checkpoint.py       `load_raft`: RAFT's weights, from checkpoints of its authors, too
    shrunk_flow.py      `ShrunkFlow`: a method on shrunk frames (max_side)
    memory_need.py      how much memory the flow of a pair takes
    run.py              what the command does: reads, decides what is to be made, saves, reports
"""  # noqa: N999

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from RAFT.dis_flow import DisFlow
from RAFT.flow_method import FlowMethod
from RAFT.frame_pairs import flow_between, video_flow
from RAFT.shrunk_flow import ShrunkFlow

if TYPE_CHECKING:
    from RAFT.checkpoint import load_raft
    from RAFT.raft_flow import RaftFlow

__all__ = [
    "DisFlow",
    "FlowMethod",
    "RaftFlow",
    "ShrunkFlow",
    "flow_between",
    "load_raft",
    "video_flow",
]
# When they are used: they need torchvision, which takes seconds to import.
_IMPORTED_LATER = {"RaftFlow": "RAFT.raft_flow", "load_raft": "RAFT.checkpoint"}


def __getattr__(name: str) -> Any:
    if name not in _IMPORTED_LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_IMPORTED_LATER[name]), name)


def __dir__() -> list[str]:
    return __all__
