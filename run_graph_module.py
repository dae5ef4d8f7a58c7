"""Graph module: soft masks of the primary object from a video and its optical flow."""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_data.runtime.interrupt import end_on_ctrl_c

    end_on_ctrl_c()

import argparse

from ike_data.command_line import announce, choose_device, common_flags, read_settings
from ike_data.config import needed_path
from ike_data.flow_files import BACKWARD, FORWARD
from ike_data.frames import open_frames
from ike_data.runtime.claim import claimed
from ike_data.runtime.command import path_argument, prepare_out_path, run_command
from ike_data.runtime.out_of_memory import GRAPH_REMEDY


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Find the primary object of a video by power iteration on its space-time "
        "graph. Writes OUT_PATH/iter_{idx}/%05d.pt (float32 [working_h, working_w, 1] in [0, 1]) "
        "and OUT_PATH/iter_{idx}_images/%05d.png for the iterations in to_save_iterations.",
        parents=[common_flags()],
    )
    parser.add_argument(
        "--of_path",
        type=path_argument,
        help="folder that extract_optical_flow.py wrote: fwd_of/ and bwd_of/ with .flo files",
    )
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    config = read_settings(
        args,
        fwd_of_path=args.of_path and args.of_path / FORWARD,
        bwd_of_path=args.of_path and args.of_path / BACKWARD,
    )
    general, paths = config.general, config.paths
    frames = open_frames(needed_path(paths.frames_path, "--frames_path"))
    fwd_folder = needed_path(paths.fwd_of_path, "--of_path")
    bwd_folder = needed_path(paths.bwd_of_path, "--of_path")
    device = choose_device(general.device)
    out_path = prepare_out_path(needed_path(paths.out_path, "--out_path"))

    # Not at the top: it loads PyTorch, and --help or a wrong path should not wait for that.
    from graph_module.run import segment_video

    with claimed(out_path):
        record = announce(config, frames, device, out_path)
        segment_video(
            frames,
            fwd_folder,
            bwd_folder,
            out_path,
            working_size=(general.working_h, general.working_w),
            config=config.graph_module,
            device=device,
            record=record,
        )


if __name__ == "__main__":
    run_command(main, GRAPH_REMEDY)
