"""tools/run_video.py for every sequence of a data set, by several workers.

Behind tools/run_dataset.sh. Several of these may share one OUT, on several machines too: each takes
the videos that no other works on, which a lock in OUT/SEQUENCE tells, and skips what is done.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import sys
from pathlib import Path

from ike_data.runtime.command import number_argument, prepare_out_path, run_command
from ike_data.runtime.errors import InputError
from ike_tools.data_sets.layouts import (
    Annotations,
    Videos,
    annotations_beside,
    describe,
    find_annotations,
    find_videos,
)
from ike_tools.data_sets.sequences import add_sequences_flag, choose_sequences
from ike_tools.flags import Parser
from ike_tools.runs.data_set_report import score_and_report
from ike_tools.runs.exchange_flags import add_exchange_flags, read_exchange_config
from ike_tools.runs.workers import run_all

EXIT_FAILED = 1


def get_args_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="run_dataset.sh",
        description="Run tools/run_video.sh on every sequence of ROOT into OUT/SEQUENCE; what a "
        "run prints stands in OUT/SEQUENCE/run.log. A video that fails is reported at the end and "
        "stops no other; the exit status is then 1. With annotations the masks are scored at the "
        "end: a table, OUT/scores.csv and OUT/report.html.",
    )
    parser.add_path(
        "root",
        "a folder of folders of frames, a folder of video files, or a data set in the layout "
        "of DAVIS, YouTube-VOS, SegTrack v2 or FBMS, whose annotations are then scored",
        metavar="ROOT",
    )
    parser.add_path("out", "folder; made if needed", metavar="OUT")
    add_sequences_flag(parser)
    parser.add_path(
        "--annotations",
        "a folder with a folder of annotations (.png) for each sequence, or a data set that "
        "has them (default: those of ROOT, if its layout has some)",
    )
    parser.add_argument(
        "--workers",
        type=number_argument(1, kind=int),
        default=1,
        help="videos at a time (default: 1); the GPUs and the processor's cores are shared out",
    )
    parser.add_argument(
        "--only",
        type=int,
        metavar="INDEX",
        help="one sequence alone, by its number in --list: for an array of cluster jobs",
    )
    parser.add_argument(
        "--list", action="store_true", help="number the sequences from 0, and do nothing else"
    )
    add_exchange_flags(parser)
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    videos = find_videos(args.root, [args.out])
    annotations = annotations_of(videos, args.annotations)
    names = choose_sequences(args.sequences, videos.frames, args.root)
    said = describe(args.root, videos, annotations)
    print(said, file=sys.stderr if args.list else sys.stdout, flush=True)
    if args.list:
        for number, name in enumerate(names):
            print(number, name)
        return
    if args.only is not None:
        if not 0 <= args.only < len(names):
            raise InputError(
                f"--only {args.only}: {args.root} has {len(names)} sequences, numbered 0 to "
                f"{len(names) - 1}"
            )
        names = [names[args.only]]
    read_exchange_config(args)  # what is wrong with it is said once, not for every video
    out = prepare_out_path(args.out)
    of = {} if annotations is None else annotations.of
    ended = run_all({name: videos.frames[name] for name in names}, of, out, args)
    try:
        done = [name for name in names if name in of and name in ended.done]
        missing = [name for name in names if name not in done]
        # Of an array of jobs none knows when the others are done.
        if annotations is not None and done and args.only is None:
            score_and_report(out, videos, annotations, done, missing)
    finally:
        ended.tell(out)
    if ended.failures:
        raise SystemExit(EXIT_FAILED)


def annotations_of(videos: Videos, given: Path | None) -> Annotations | None:
    """Those ``given``, or that the layout has; None where there are none.

    InputError where those given are of no video.
    """
    if given is None:
        return annotations_beside(videos)
    annotations = find_annotations(given)
    if not any(name in videos.frames for name in annotations.of):
        raise InputError(
            f"--annotations {given}: has none of a sequence of {videos.folder}; it has those of "
            f"{', '.join([*annotations.of][:3])}, the sequences are "
            f"{', '.join([*videos.frames][:3])}, ..."
        )
    return annotations


if __name__ == "__main__":
    run_command(main)
