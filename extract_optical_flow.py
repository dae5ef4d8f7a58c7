"""Optical flow between the neighbouring frames of a video, in both directions."""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_data.runtime.interrupt import end_on_ctrl_c

    end_on_ctrl_c()

import argparse
import dataclasses
import os
from pathlib import Path

from ike_data.command_line import (
    announce,
    choose_device,
    common_flags,
    max_side_argument,
    read_settings,
)
from ike_data.config import MAX_ITERS, Config, OpticalFlow, fill_in, needed_path
from ike_data.flow_files import BACKWARD, FORWARD
from ike_data.frames import open_frames
from ike_data.runtime.claim import claimed
from ike_data.runtime.command import number_argument, path_argument, prepare_out_path, run_command
from ike_data.runtime.errors import InputError
from ike_data.runtime.out_of_memory import FLOW_REMEDY


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Extract the optical flow of a video. Writes OUT_PATH/fwd_of/%05d_%05d.flo "
        "(frame idx to idx+1) and OUT_PATH/bwd_of/%05d_%05d.flo (idx+1 to idx, under the same "
        "name), Middlebury .flo files in pixels of the frame's own size. A run that was "
        "interrupted goes on where it stopped.",
        epilog="Settings whose flag is left out come from [Optical Flow] of config.ini.",
        parents=[common_flags()],
    )
    parser.add_argument(
        "--method",
        choices=["raft", "dis"],
        help="raft, or dis: OpenCV's DIS flow, fast and without weights, but coarser",
    )
    parser.add_argument(
        "--models",
        type=path_argument,
        metavar="CHECKPOINT",
        help="RAFT weights, the authors' (raft-things.pth, ...) or torchvision's; where neither "
        "this nor models in config.ini is given, torchvision's are downloaded once",
    )
    parser.add_argument(
        "--small",
        action=argparse.BooleanOptionalAction,
        help="the small RAFT, for raft-small.pth: faster, less accurate",
    )
    parser.add_argument(
        "--mixed_precision",
        action=argparse.BooleanOptionalAction,
        help="half precision: float16 on CUDA, bfloat16 on the CPU",
    )
    parser.add_argument(
        "--iters", type=number_argument(1, MAX_ITERS, int), help="RAFT's updates of a flow field"
    )
    parser.add_argument(
        "--max_side",
        type=max_side_argument,
        metavar="PIXELS",
        help="where a frame's longer side has more pixels, find the flow at a size where it has "
        "this many; the files stay at the frame's own size. 0: no limit. RAFT's memory grows with "
        "the 4th power of the side",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="delete the flow that OUT_PATH holds and make all of it again",
    )
    return parser


def resolve_settings(args: argparse.Namespace) -> Config:
    """config.ini with the flags that were given in place of its values."""
    config = read_settings(args)
    out_path = needed_path(config.paths.out_path, "--out_path")
    if args.models and (args.method or config.optical_flow.method) == "dis":
        raise InputError("--models: DIS flow has no weights; leave it out, or use --method raft")
    given = {key.name: getattr(args, key.name) for key in dataclasses.fields(OpticalFlow)}
    given = {name: value for name, value in given.items() if value is not None}
    if args.models:
        given["models"] = Path(os.path.abspath(args.models))
    config = dataclasses.replace(
        config, optical_flow=dataclasses.replace(config.optical_flow, **given)
    )
    return fill_in(
        config, device=None, fwd_of_path=out_path / FORWARD, bwd_of_path=out_path / BACKWARD
    )


def main() -> None:
    args = get_args_parser().parse_args()
    config = resolve_settings(args)
    settings, paths = config.optical_flow, config.paths
    frames = open_frames(needed_path(paths.frames_path, "--frames_path"))
    # Whatever is there, DIS runs on the CPU.
    device = choose_device("cpu" if settings.method == "dis" else config.general.device)
    out_path = prepare_out_path(needed_path(paths.out_path, "--out_path"))
    for folder in (FORWARD, BACKWARD):
        prepare_out_path(out_path / folder)

    # Not at the top: --help or a wrong path should not wait for these imports.
    from RAFT.run import extract_flow

    def record(kept: str) -> None:
        announce(config, frames, device, out_path, kept)([])

    with claimed(out_path, FORWARD, BACKWARD):
        extract_flow(frames, out_path, config, device, overwrite=args.overwrite, record=record)


if __name__ == "__main__":
    run_command(main, FLOW_REMEDY)
