"""extract_optical_flow.py's run: from the frames of a video to its .flo files.

Decides what is to be made, states the memory, saves and reports. How flow is found is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ike_data.config import Config, OpticalFlow, read_config
from ike_data.flow_files import BACKWARD, FORWARD, check_flow, flow_name, is_known, write_flow
from ike_data.frames import Frames
from ike_data.layout import CONFIG
from ike_data.runtime.errors import InputError
from ike_data.runtime.memory_statement import state_memory
from ike_data.runtime.out_of_memory import FLOW_REMEDY
from ike_data.runtime.prefetch import prefetch, write_behind
from ike_data.saved_config import FLOW_PROGRAM, check_saved_config, is_of_other_frames
from ike_data.step_log import step_log
from RAFT.dis_flow import DisFlow
from RAFT.flow_method import FlowMethod
from RAFT.frame_pairs import flows_of_pairs
from RAFT.memory_need import dis_bytes, raft_bytes
from RAFT.shrunk_flow import ShrunkFlow, shrunk_size

FOLDERS: tuple[str, ...] = (FORWARD, BACKWARD)


def extract_flow(
    frames: Frames,
    out_path: Path,
    config: Config,
    device: torch.device,
    *,
    overwrite: bool,
    record: Callable[[str], None],
) -> None:
    """Write the flow of ``frames`` that ``out_path`` does not hold yet.

    Args:
        device: of RAFT; DIS runs on the CPU.
        overwrite: delete the flow that is there, and make all of it.
        record: called before anything is written, with what is to be said of files that are kept.

    Raises:
        InputError: ``out_path`` holds other results, or flow that may not be kept; RAFT's weights
            cannot be used, a frame cannot be read, or a flow is not finite.
    """
    check_saved_config(out_path, FLOW_PROGRAM)
    n_pairs = frames.count - 1
    to_make: Mapping[int, Sequence[str]] = dict.fromkeys(range(n_pairs), FOLDERS)
    if not overwrite:
        _check_earlier_run(out_path, config, frames)
        to_make = _missing_flows(out_path, n_pairs, frames.height, frames.width)
    # Loaded before anything is deleted or saved, and only where there is work for it.
    method = load_method(config.optical_flow, device) if to_make else None
    if overwrite:
        for path in _flow_indices(out_path):
            path.unlink()
    n_files, n_made = 2 * n_pairs, sum(map(len, to_make.values()))
    record(f"; {n_files - n_made} of {n_files} .flo files kept" if n_made < n_files else "")
    if method is not None:
        _state_memory(frames, config.optical_flow, device)
        write_flows(frames, out_path, to_make, method)
    if n_files == 0:
        print("the video has one frame, so there is no flow: both folders are empty")
    elif n_made == 0:
        print(f"all {n_files} .flo files were there, in {FORWARD} and {BACKWARD} of {out_path}")
    else:
        print(f"wrote {n_made} .flo files into {FORWARD} and {BACKWARD} of {out_path}")


def load_method(settings: OpticalFlow, device: torch.device) -> FlowMethod:
    """The method that the settings name; RAFT runs on ``device``, DIS on the CPU.

    InputError where RAFT's weights are missing or cannot be used.
    """
    method: FlowMethod = DisFlow()
    if settings.method == "raft":
        from RAFT import RaftFlow, load_raft  # not at the top: they need torchvision

        method = RaftFlow(
            load_raft(settings.models, small=settings.small),
            iters=settings.iters,
            mixed_precision=settings.mixed_precision,
            device=device,
        )
    return ShrunkFlow(method, settings.max_side)


def write_flows(
    frames: Iterable[np.ndarray],
    out_path: Path,
    missing: Mapping[int, Sequence[str]],
    method: FlowMethod,
) -> None:
    """Find the flow of the pairs in ``missing`` and write the .flo files, and log.csv.

    Args:
        frames: uint8 RGB [height, width, 3].
        missing: idx of a pair -> the folders of ``out_path`` that lack its file.

    Raises:
        InputError: a flow has a value that is not finite, or so large that it means unknown.
    """
    # Both directions are found even where one file is there: a batch of one could differ in the
    # last bit from the batch of two of an undisturbed run.
    flows = flows_of_pairs(prefetch(frames), method, missing)
    bar = tqdm(flows, desc="optical flow", total=len(missing), unit="pair")
    with step_log(out_path, "pair") as log, write_behind() as write:
        for idx, *both in bar:
            if not all(map(is_known, both)):
                raise InputError(
                    f"frames {idx} and {idx + 1}: their flow is not finite, or as good as; use "
                    "the other --method, or with raft other --models or --no-mixed_precision"
                )

            def write_pair(idx: int = idx, both: Sequence[np.ndarray] = both) -> None:
                for folder, flow in zip(FOLDERS, both, strict=True):
                    if folder in missing[idx]:
                        write_flow(out_path / folder / flow_name(idx), flow)
                log(idx)

            write(write_pair)


def _state_memory(frames: Frames, settings: OpticalFlow, device: torch.device) -> None:
    size = frames.height, frames.width
    flow_size = shrunk_size(*size, settings.max_side)
    if settings.method == "dis":
        n_bytes = dis_bytes(size, flow_size)
    else:
        on_cpu = device.type == "cpu"
        n_bytes = raft_bytes(size, flow_size, small=settings.small, on_cpu=on_cpu)
    notes = [] if flow_size == size else [f"flow at {flow_size[1]} x {flow_size[0]}"]
    state_memory(device, n_bytes, FLOW_REMEDY, *notes)


def _missing_flows(out_path: Path, n_pairs: int, height: int, width: int) -> dict[int, list[str]]:
    """idx of each pair that lacks a file -> the folders that lack it.

    A file that is damaged or not of height x width pixels counts as missing.
    """
    missing: dict[int, list[str]] = {}
    for idx in range(n_pairs):
        for folder in FOLDERS:
            if not _is_whole(out_path / folder / flow_name(idx), height, width):
                missing.setdefault(idx, []).append(folder)
    return missing


def _is_whole(path: Path, height: int, width: int) -> bool:
    try:
        check_flow(path, height, width)
    except InputError:
        return False
    return True


def _check_earlier_run(out_path: Path, config: Config, frames: Frames) -> None:
    """Raise InputError where the flow in ``out_path`` may not be kept beside the flow of this run.

    It may not where it was made from other frames or with other settings, or is of pairs that the
    video does not have. Without a saved config.ini nothing is known of how it was made: then its
    files must be whole and of the frames' size.
    """
    there, n_pairs = _flow_indices(out_path), frames.count - 1
    instead = "give --overwrite to make all flow in it again, or another --out_path"
    surplus = [path for path, idx in there.items() if idx >= n_pairs]
    if surplus:
        raise InputError(
            f"{min(surplus)}: belongs to a longer video, this one has {n_pairs + 1} frame"
            f"{'s' if n_pairs else ''}; {instead}"
        )
    saved = out_path / CONFIG
    if not there:
        return
    if not saved.exists():
        for path in there:
            if not _is_whole(path, frames.height, frames.width):
                raise InputError(
                    f"{path}: is no flow of {frames.width} x {frames.height} pixels, and not of a "
                    f"run of this command; {instead}"
                )
        return
    try:
        before = _flow_settings(read_config(saved))
    except InputError as error:  # its remedy is for a config.ini that a person has written
        raise InputError(
            f"{saved}: does not tell this version how the flow beside it was made; {instead}"
        ) from error
    now = _flow_settings(config)
    for name in now | before:
        if now.get(name) != before.get(name):
            raise InputError(
                f"{out_path}: holds flow made with {name} = {before.get(name)}, now it is "
                f"{now.get(name)}; {instead}"
            )
    if is_of_other_frames(saved, frames):
        raise InputError(
            f"{out_path}: holds flow of other frames than those that are in {frames.path} now; "
            f"{instead}"
        )


def _flow_settings(config: Config) -> dict[str, str]:
    """The settings that determine the flow, in the words of config.ini."""
    settings = {"frames_path": config.paths.frames_path, **vars(config.optical_flow)}
    if config.optical_flow.method == "dis":  # the rest is RAFT's
        settings = {name: settings[name] for name in ("frames_path", "method", "max_side")}
    words = {None: "(none)", True: "yes", False: "no"}
    return {
        name: words[value] if value is None or isinstance(value, bool) else str(value)
        for name, value in settings.items()
    }


def _flow_indices(out_path: Path) -> dict[Path, int]:
    """Every flow file in both folders of ``out_path`` -> the idx of its pair."""
    found = {}
    for folder in FOLDERS:
        for path in (out_path / folder).glob("*_*.flo"):
            idx = path.name.split("_")[0]
            if idx.isdecimal() and path.name == flow_name(int(idx)):
                found[path] = int(idx)
    return found
