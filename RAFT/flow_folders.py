"""What an out_path holds already: flow to keep, flow to make, flow that does not belong there."""

from __future__ import annotations

from pathlib import Path

from ike_data.config import Config, read_config
from ike_data.flow_files import BACKWARD, FORWARD, check_flow, flow_name
from ike_data.frames import Frames
from ike_data.layout import CONFIG
from ike_data.runtime.errors import InputError
from ike_data.saved_config import FLOW_PROGRAM, check_saved_config, saved_n_bytes

FOLDERS = (FORWARD, BACKWARD)


def flows_to_make(
    out_path: Path, config: Config, frames: Frames, *, overwrite: bool
) -> dict[int, tuple[str, ...]]:
    """Which flow of ``frames`` a run has to make: pair idx -> folders (fwd_of, bwd_of).

    All of it with ``overwrite``, else what `missing_flows` finds.

    Raises:
        InputError: see `check_saved_config`, or, without ``overwrite``, as
            `check_earlier_run`.
    """
    # Before --overwrite deletes any flow.
    check_saved_config(out_path, FLOW_PROGRAM)
    n_pairs = frames.count - 1
    if overwrite:
        return dict.fromkeys(range(n_pairs), FOLDERS)
    check_earlier_run(out_path, config, frames)
    return missing_flows(out_path, n_pairs, frames.height, frames.width)


def missing_flows(
    out_path: Path, n_pairs: int, height: int, width: int
) -> dict[int, tuple[str, ...]]:
    """The pairs whose flow has to be made: pair idx -> its folders without a whole file.

    A file that is damaged or not of height x width pixels counts as missing.
    """
    missing: dict[int, tuple[str, ...]] = {}
    for idx in range(n_pairs):
        folders = tuple(
            folder
            for folder in FOLDERS
            if not _is_whole(out_path / folder / flow_name(idx), height, width)
        )
        if folders:
            missing[idx] = folders
    return missing


def _is_whole(path: Path, height: int, width: int) -> bool:
    try:
        check_flow(path, height, width)
    except InputError:
        return False
    return True


def check_earlier_run(out_path: Path, config: Config, frames: Frames) -> None:
    """Check that flow which is there already may be kept beside the flow of this run.

    A folder of flow without a saved config.ini may: nothing is known of how it was made.

    Raises:
        InputError: there is flow in ``out_path`` that was made from other frames or with other
            settings, or flow of pairs that the video does not have.
    """
    there, n_pairs = flow_indices(out_path), frames.count - 1
    instead = "give --overwrite to make all flow in it again, or another --out_path"
    surplus = {path: idx for path, idx in there.items() if idx >= n_pairs}
    if surplus:
        raise InputError(
            f"{min(surplus)}: belongs to a longer video, this one has {n_pairs + 1} frame"
            f"{'s' if n_pairs else ''}; {instead}"
        )
    saved = out_path / CONFIG
    if not there or not saved.exists():
        return
    now, before = _flow_settings(config), _flow_settings(read_config(saved))
    for name in now | before:
        if now.get(name) != before.get(name):
            raise InputError(
                f"{out_path}: holds flow made with {name} = {before.get(name)}, now it is "
                f"{now.get(name)}; {instead}"
            )
    n_bytes = saved_n_bytes(saved)
    if n_bytes is not None and n_bytes != frames.n_bytes:
        raise InputError(
            f"{out_path}: holds flow of other frames, of {n_bytes} bytes, under this name; "
            f"{frames.path} has {frames.n_bytes} now; {instead}"
        )


def _flow_settings(config: Config) -> dict[str, str]:
    settings = {"frames_path": config.paths.frames_path, **vars(config.optical_flow)}
    if config.optical_flow.method == "dis":  # the rest is RAFT's
        settings = {name: settings[name] for name in ("frames_path", "method", "max_side")}
    words = {None: "(none)", True: "yes", False: "no"}
    return {
        name: words[value] if value is None or isinstance(value, bool) else str(value)
        for name, value in settings.items()
    }


def flow_indices(out_path: Path) -> dict[Path, int]:
    """Every flow file in both folders of ``out_path`` with the idx of its pair."""
    found = {}
    for folder in FOLDERS:
        for path in (out_path / folder).glob("*_*.flo"):
            idx = path.name.split("_")[0]
            if idx.isdecimal() and path.name == flow_name(int(idx)):
                found[path] = int(idx)
    return found


def delete_flows(out_path: Path) -> None:
    """Delete every flow file in both folders of ``out_path``."""
    for path in flow_indices(out_path):
        path.unlink()
