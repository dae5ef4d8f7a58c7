"""Strict 0/255 masks at the frames' own size, as official toolkits read them, from soft masks."""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import os
import re
from pathlib import Path

from tqdm import tqdm

from ike_data.frames import open_frames
from ike_data.runtime.atomic import atomic_folder, check_replaceable
from ike_data.runtime.command import prepare_out_path, run_command
from ike_tools.flags import Parser
from ike_tools.masks.mask_file import write_hard_mask
from ike_tools.masks.mask_folder import masks_of_video
from ike_tools.masks.mask_values import harden, mask_values, notes, read_soft_mask

_MASK_NAME = re.compile(r"\d{5,}\.png")


def get_args_parser() -> argparse.ArgumentParser:
    parser = Parser(
        description="Write the hard masks of a video: OUT/%05d.png, 0 and 255, at the size of "
        "the frames. OUT is new, or holds such masks only; it is replaced as a whole."
    )
    parser.add_path("--frames_path", "folder of frames, or a video file", required=True)
    parser.add_path("--results", "folder of soft masks, one a frame", required=True)
    parser.add_path("--out_path", "folder for the masks", required=True)
    parser.add_threshold()
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    # Not at the top: it loads PyTorch, and --help or a wrong path should not wait for that.
    from ike_data.soft_masks import mask_name

    frames = open_frames(args.frames_path)
    files = masks_of_video(args.results, frames.count)
    values = mask_values(files)

    out_path = Path(os.path.abspath(args.out_path))
    check_replaceable(out_path, _MASK_NAME, [args.frames_path, args.results])
    prepare_out_path(out_path.parent)
    threshold = values.threshold(args.threshold)
    with atomic_folder(out_path) as partial:
        for idx, path in enumerate(tqdm(files, "hard masks", unit="frame", leave=False)):
            soft = read_soft_mask(path, frames.height, frames.width, values)
            write_hard_mask(partial / mask_name(idx, ".png"), harden(soft, threshold))
    how = "of labels" if values.hard else f"(soft mask >= {threshold:g})"
    print(f"{len(files)} hard masks {how} written to {out_path}")
    for line in notes("masks", [(args.results, values)]):
        print(line)


if __name__ == "__main__":
    run_command(main)
