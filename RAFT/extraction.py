"""From the frames of a video to its .flo files, pair by pair."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tqdm import tqdm

from ike_data.config import OpticalFlow
from ike_data.errors import InputError
from ike_data.flow_files import BACKWARD, FORWARD, flow_name, is_known, write_flow
from ike_data.overlap import read_ahead, written_behind
from ike_data.step_log import step_log
from RAFT.dis_flow import DisFlow

if TYPE_CHECKING:
    import torch


class FlowMethod(Protocol):
    """A way to find the flow between neighbouring frames; `RaftFlow` or `DisFlow`."""

    def encode(self, frame: np.ndarray) -> Any:
        """What ``flow_both_ways`` needs of a frame, uint8 RGB [height, width, 3]."""

    def flow_both_ways(self, first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
        """Flow from ``first`` to ``second`` and back: float32 [height, width, 2], (u, v)."""


def load_method(settings: OpticalFlow, device: torch.device) -> FlowMethod:
    """Build the method that the settings name; RAFT runs on ``device``, DIS on the CPU.

    Raises:
        InputError: RAFT's weights are missing or cannot be used.
    """
    if settings.method == "dis":
        return DisFlow()
    # Not at the top: DIS does not need torchvision, which takes seconds to import.
    from RAFT.checkpoint import load_raft
    from RAFT.raft_flow import RaftFlow

    return RaftFlow(
        load_raft(settings.models, settings.small),
        iters=settings.iters,
        mixed_precision=settings.mixed_precision,
        device=device,
    )


def write_flows(
    frames: Iterable[np.ndarray],
    out_path: Path,
    missing: Mapping[int, tuple[str, ...]],
    method: FlowMethod,
) -> None:
    """Write the .flo files that are ``missing``, pair idx -> folders, in ``out_path``.

    Raises:
        InputError: a flow has a value that is not finite, or so large that it means unknown.
    """
    flows = flows_of_pairs(read_ahead(frames), missing, method)
    bar = tqdm(flows, desc="optical flow", total=len(missing), unit="pair")
    with step_log(out_path, "pair") as log, written_behind() as write:
        for idx, *both in bar:
            if not all(map(is_known, both)):
                raise InputError(
                    f"frames {idx} and {idx + 1}: their flow is not finite, or as good as; the "
                    "checkpoint given with --models is damaged, or needs --no-mixed_precision"
                )

            def write_pair(idx: int = idx, both: Sequence[np.ndarray] = both) -> None:
                for folder, flow in zip((FORWARD, BACKWARD), both, strict=True):
                    if folder in missing[idx]:
                        write_flow(out_path / folder / flow_name(idx), flow)
                log(idx)

            write(write_pair)


def flows_of_pairs(
    frames: Iterable[np.ndarray], wanted: Collection[int], method: FlowMethod
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (idx, forward flow, backward flow) of each ``wanted`` pair (idx, idx + 1), in order.

    Holds the frames of one pair and the one being read, never the whole video. A frame that two
    wanted pairs share is encoded once.
    """
    encoded = None  # of the pair's first frame
    pairs = islice(pairwise(frames), max(wanted, default=-1) + 1)
    for idx, (first, second) in enumerate(pairs):
        if idx not in wanted:
            encoded = None
            continue
        encoded_first = method.encode(first) if encoded is None else encoded
        encoded = method.encode(second)
        # Both directions even where one file is there: a batch of one could differ in the last bit
        # from the undisturbed run's batch of two.
        yield idx, *method.flow_both_ways(encoded_first, encoded)
