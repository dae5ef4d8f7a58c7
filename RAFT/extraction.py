"""From the frames of a video to its .flo files, pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ike_data.config import Config, OpticalFlow
from ike_data.flow_files import BACKWARD, FORWARD, flow_name, is_known, write_flow
from ike_data.frames import Frames
from ike_data.runtime.errors import InputError
from ike_data.runtime.memory_statement import state_memory
from ike_data.runtime.out_of_memory import FLOW_REMEDY
from ike_data.runtime.prefetch import prefetch, write_behind
from ike_data.step_log import step_log
from RAFT.dis_flow import DisFlow
from RAFT.flow_folders import delete_flows, flows_to_make
from RAFT.memory_need import dis_bytes, raft_bytes
from RAFT.shrunk_flow import FlowMethod, ShrunkFlow, shrunk_size

if TYPE_CHECKING:
    import torch


def extract_flow(
    frames: Frames,
    out_path: Path,
    config: Config,
    device: torch.device,
    *,
    overwrite: bool,
    record: Callable[[str], None],
) -> None:
    """Write the flow of ``frames`` that is not yet in ``out_path``; with ``overwrite`` all of it.

    Args:
        device: of RAFT; DIS runs on the CPU.
        record: called with what is said of files that are kept, before the first is written.

    Raises:
        InputError: see `flows_to_make`, `load_method` and `write_flows`.
    """
    settings = config.optical_flow
    to_make = flows_to_make(out_path, config, frames, overwrite=overwrite)
    # Loaded before anything is deleted or saved, and only where there is work for it.
    method = load_method(settings, device) if to_make else None
    if overwrite:
        delete_flows(out_path)
    n_files, n_made = 2 * (frames.count - 1), sum(map(len, to_make.values()))
    record(f"; {n_files - n_made} of {n_files} .flo files kept" if n_made < n_files else "")
    if method is not None:
        size = frames.height, frames.width
        flow_size = shrunk_size(*size, settings.max_side)
        if settings.method == "dis":
            n_bytes = dis_bytes(size, flow_size)
        else:
            on_cpu = device.type == "cpu"
            n_bytes = raft_bytes(size, flow_size, small=settings.small, on_cpu=on_cpu)
        notes = [] if flow_size == size else [f"flow at {flow_size[1]} x {flow_size[0]}"]
        state_memory(device, n_bytes, FLOW_REMEDY, *notes)
        write_flows(frames, out_path, to_make, method)
    print(f"wrote {n_made} .flo files into {FORWARD} and {BACKWARD} of {out_path}")
    if n_files == 0:
        print("the video has one frame, so there is no flow: both folders are empty")


def load_method(settings: OpticalFlow, device: torch.device) -> FlowMethod:
    """Build the method that the settings name; RAFT runs on ``device``, DIS on the CPU.

    Raises:
        InputError: RAFT's weights are missing or cannot be used.
    """
    method = _method_at_full_size(settings, device)
    return ShrunkFlow(method, settings.max_side) if settings.max_side else method


def _method_at_full_size(settings: OpticalFlow, device: torch.device) -> FlowMethod:
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
    flows = flows_of_pairs(prefetch(frames), missing, method)
    bar = tqdm(flows, desc="optical flow", total=len(missing), unit="pair")
    with step_log(out_path, "pair") as log, write_behind() as write:
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
