"""Network module: a U-Net learns one video from soft masks and gives better ones."""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_data.runtime.interrupt import end_on_ctrl_c

    end_on_ctrl_c()

import argparse

from ike_data.command_line import announce, choose_device, common_flags, read_settings
from ike_data.config import needed_path
from ike_data.frames import open_frames
from ike_data.layout import IMAGES, MAPS, MODELS
from ike_data.runtime.claim import claimed
from ike_data.runtime.command import path_argument, prepare_out_path, run_command
from ike_data.runtime.out_of_memory import NETWORK_REMEDY


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train a U-Net from scratch on a video, with soft masks as pseudo-labels. "
        "Writes, for the epochs in to_save_epochs, OUT_PATH/models/epoch_%05d.pth, "
        "OUT_PATH/results_pt/epoch_%05d/%05d.pt (the object's probability, float32 "
        "[working_h, working_w, 1]) and OUT_PATH/results_images/epoch_%05d/%05d.png.",
        parents=[common_flags()],
    )
    parser.add_argument(
        "--pseudo_gt_path",
        type=path_argument,
        help="folder of soft masks, %%05d.pt, one a frame: iter_{idx} of run_graph_module.py or "
        "results_pt/epoch_%%05d of this command",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--resume",
        nargs="?",
        choices=["yes", "if_same"],
        const="yes",
        default="no",
        help="go on with the training in OUT_PATH that was interrupted; its state is saved once a "
        "minute at most. Other settings, frames or pseudo-labels than it had are an error; with "
        "--resume=if_same training then starts anew",
    )
    what.add_argument(
        "--predict_only",
        type=path_argument,
        metavar="CHECKPOINT",
        help="do not train: write the masks that a checkpoint (models/epoch_%%05d.pth) gives for "
        "the frames; needs no --pseudo_gt_path",
    )
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    config = read_settings(args, pseudo_gt_path=args.pseudo_gt_path)
    general, paths = config.general, config.paths
    frames = open_frames(needed_path(paths.frames_path, "--frames_path"))
    predict_only = args.predict_only
    pseudo_gt_path = None if predict_only else needed_path(paths.pseudo_gt_path, "--pseudo_gt_path")
    device = choose_device(general.device)
    out_path = prepare_out_path(needed_path(paths.out_path, "--out_path"))

    # Not at the top: it loads PyTorch, and --help or a wrong path should not wait for that.
    from network_module.run import apply_checkpoint, learn_video

    with claimed(out_path, MODELS, MAPS, IMAGES):
        record = announce(config, frames, device, out_path)
        working_size = general.working_h, general.working_w
        if pseudo_gt_path is None:
            apply_checkpoint(
                frames,
                predict_only,
                out_path,
                working_size=working_size,
                config=config.network_module,
                device=device,
                record=record,
            )
        else:
            learn_video(
                frames,
                pseudo_gt_path,
                out_path,
                working_size=working_size,
                config=config.network_module,
                device=device,
                resume=args.resume,
                record=record,
            )


if __name__ == "__main__":
    run_command(
        main, NETWORK_REMEDY, "run the same command again, with --resume to go on with a training"
    )
