"""The three commands on one video, cycle after cycle, until the masks stop changing.

Behind tools/run_video.sh. The exchange ends with a graph: its masks, which have seen the last
network's, are better than these on average (docs/results.md). What is done is not done again, see
`ike_tools.runs.steps`.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import os
from pathlib import Path

from ike_data.layout import FINAL
from ike_data.runtime.atomic import remove_leftovers
from ike_data.runtime.claim import NO_LOCKS, claim
from ike_data.runtime.command import prepare_out_path, run_command
from ike_data.runtime.errors import InputError
from ike_tools.data_sets.layouts import find_videos
from ike_tools.flags import Parser
from ike_tools.runs.exchange import Exchange
from ike_tools.runs.exchange_flags import add_exchange_flags, last_saved, read_exchange_config
from ike_tools.runs.steps import Steps


def get_args_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="run_video.sh",
        description="Run the exchange on a video: optical flow, then graph and network for each "
        "cycle. OUT/final has the masks (strict 0/255 PNGs), overlay.mp4 and report.html. Started "
        "again it goes on after the last finished step.",
    )
    parser.add_path("frames", "folder of frames or a video", metavar="FRAMES_OR_VIDEO")
    parser.add_path("out", "folder; made if needed", metavar="OUT")
    add_exchange_flags(parser)
    parser.add_path("--annotations", "annotations (.png), for scores in the report")
    # A file descriptor with the lock of OUT, from run_dataset.py.
    parser.add_argument("--lock", type=int, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    config = read_exchange_config(args)
    frames = Path(os.path.abspath(args.frames))
    check_one_video(frames)
    annotations = args.annotations and Path(os.path.abspath(args.annotations))
    if annotations:  # complains before any work is done
        from ike_data.frames import open_frames
        from ike_tools.data_sets.frame_matching import annotation_files

        annotation_files(annotations, open_frames(frames))
    out = Path(os.path.abspath(prepare_out_path(args.out)))
    if out.resolve() == frames.resolve():
        raise InputError(f"{frames}: holds the frames; choose another OUT, such as a folder in it")
    for given in (frames, annotations):
        if given and given.resolve().is_relative_to((out / FINAL).resolve()):
            raise InputError(f"{given}: lies where the result is written; choose another OUT")
    lock = args.lock or claim(out)
    if lock is None:
        raise InputError(f"{out}: another run works on it; wait for its end")
    for folder in (out, out / "steps") if lock != NO_LOCKS else ():
        remove_leftovers(folder)

    steps, saved = Steps(out, frames, lock), last_saved(args, config)
    exchange = Exchange(steps, config, out, frames, args.device, saved)
    exchange.run_flow(args)
    exchange.run_cycles(args.cycles, args.threshold)
    exchange.show(args.result, annotations)


def check_one_video(frames: Path) -> None:
    """InputError where ``frames`` is a data set."""
    try:
        video = next(iter(find_videos(frames).frames.values()))
    except InputError:  # what is wrong with a single video is said by what reads it
        return
    raise InputError(
        f"{frames}: holds videos, such as {video}; give one of them, or use tools/run_dataset.sh, "
        "which takes all"
    )


if __name__ == "__main__":
    run_command(main)
