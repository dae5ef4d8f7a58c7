"""Maps for ike_features_paths from a pretrained network: the paper's supervised scenario."""

from __future__ import annotations

import argparse
import os

import project_root  # noqa: F401
from tqdm import tqdm

from ike_data.command_line import (
    PROJECT_CONFIG,
    choose_device,
    path_argument,
    prepare_out_path,
    run_command,
)
from ike_data.config import read_config
from ike_data.errors import InputError
from ike_data.frames import describe_frames, open_frames


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Write a feature map for each frame, OUT_PATH/%%05d.pt (float32 [working_h, "
        "working_w, C] in [0, 1]), from a network that was trained with human labels: the "
        "foreground probability of a torchvision segmentation network (C = 1), or principal "
        "components of a torchvision ResNet's features."
    )
    parser.add_argument(
        "--frames_path", type=path_argument, required=True, help="folder of frames or a video file"
    )
    parser.add_argument(
        "--out_path", type=path_argument, required=True, help="folder of the maps; replaced whole"
    )
    parser.add_argument(
        "--model",
        default="deeplabv3_resnet50",
        help="a network of torchvision.models.segmentation, or resnet18, resnet50, ... "
        "(default: deeplabv3_resnet50)",
    )
    parser.add_argument(
        "--weights",
        type=path_argument,
        metavar="CHECKPOINT",
        help="a state dict of it (default: torchvision's published weights, downloaded once)",
    )
    parser.add_argument(
        "--classes",
        type=int,
        nargs="+",
        help="classes that are foreground, by number, of a segmentation network (default: all but "
        "0, the background)",
    )
    parser.add_argument(
        "--layer",
        default="layer3",
        choices=["layer1", "layer2", "layer3", "layer4"],
        help="of a ResNet (default: layer3)",
    )
    parser.add_argument(
        "--components", type=int, default=3, help="maps from a ResNet's layer (default: 3)"
    )
    parser.add_argument("--batch_size", type=int, default=4, help="frames at a time (default: 4)")
    parser.add_argument(
        "--config",
        type=path_argument,
        default=PROJECT_CONFIG,
        help="for working_h and working_w (default: the project's config.ini)",
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], help="default: device in config.ini"
    )
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    for flag in ("components", "batch_size"):
        if getattr(args, flag) < 1:
            raise InputError(f"--{flag} {getattr(args, flag)}: expected at least 1")
    if args.classes and min(args.classes) < 0:
        raise InputError(f"--classes {min(args.classes)}: classes are numbered from 0")
    general = read_config(args.config).general
    size = general.working_h, general.working_w
    frames = open_frames(args.frames_path)
    print(describe_frames(frames))

    # Not at the top: --help or a wrong path should not wait for these imports.
    import torch
    from feature_networks import (
        RESNETS,
        SEGMENTATION,
        layer_features,
        load_network,
        normalised,
        object_probability,
        principal_components,
    )

    from ike_data.soft_masks import write_feature_maps
    from ike_data.working_frames import read_working_frames

    if args.model not in (*SEGMENTATION, *RESNETS):
        known = ", ".join((*SEGMENTATION, *RESNETS))
        raise InputError(f"--model {args.model}: is not known; known are {known}")
    device = choose_device(args.device or general.device)
    prepare_out_path(args.out_path.parent)
    network = load_network(args.model, args.weights).to(device)
    video = read_working_frames(frames, *size)
    batches = (
        normalised(batch, device)
        for batch in tqdm(video.split(args.batch_size), args.model, unit="batch")
    )
    if args.model in SEGMENTATION:
        found = [object_probability(network, batch, args.classes).cpu() for batch in batches]
        maps = torch.cat(found).unsqueeze(-1)  # [n, H, W, 1]
    else:
        features = layer_features(network, args.layer, batches)
        maps = principal_components(features, args.components, size)  # [n, H, W, k]
    if not torch.isfinite(maps).all():
        raise InputError(
            f"{args.weights or args.model}: gives values that are not finite; use other weights"
        )
    write_feature_maps(args.out_path, maps)
    print(
        f"{frames.count} maps of {maps.shape[-1]} channel(s) written to {args.out_path}\n"
        "To use them, write into [Graph Module] of config.ini:\n\n"
        f"ike_features_paths =\n    {os.path.abspath(args.out_path)}\n\n"
        "then run run_graph_module.py, or tools/run_video.sh with this --config."
    )


if __name__ == "__main__":
    run_command(main)
