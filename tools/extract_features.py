"""Maps for ike_features_paths from a pretrained network: the paper's supervised scenario."""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import difflib
import os
import re
import shlex
from collections.abc import Collection
from pathlib import Path

from tqdm import tqdm

from ike_data.command_line import DEVICE_FLAG, PROJECT_CONFIG, choose_device
from ike_data.config import read_config
from ike_data.frames import describe_frames, open_frames
from ike_data.runtime.atomic import check_replaceable
from ike_data.runtime.command import number_argument, prepare_out_path, run_command
from ike_data.runtime.errors import InputError
from ike_tools.flags import Parser

_MAP_NAME = re.compile(r"\d{5,}\.pt")


def get_args_parser() -> argparse.ArgumentParser:
    parser = Parser(
        description="Write a feature map for each frame, OUT_PATH/%05d.pt (float32 [working_h, "
        "working_w, 1] in [0, 1]): the foreground probability of a torchvision segmentation "
        "network, which was trained with human labels."
    )
    parser.add_path(
        "--frames_path",
        "folder of numbered frames (jpg, png, tif, ...) or a video file",
        required=True,
    )
    parser.add_path(
        "--out_path",
        "folder for the maps, made if needed; maps that it holds are replaced",
        required=True,
    )
    parser.add_argument(
        "--model",
        default="deeplabv3_resnet50",
        help="a network of torchvision.models.segmentation (default: deeplabv3_resnet50)",
    )
    parser.add_path(
        "--weights",
        "a state dict of it, of any number of classes (default: torchvision's published "
        "weights, downloaded once)",
        metavar="CHECKPOINT",
    )
    parser.add_argument(
        "--classes",
        type=number_argument(0, kind=int),
        nargs="+",
        help="classes that are foreground, by number (default: all but 0, the background)",
    )
    parser.add_argument(
        "--batch_size",
        type=number_argument(1, kind=int),
        default=4,
        help="frames at a time (default: 4)",
    )
    parser.add_path(
        "--config",
        "for working_h and working_w (default: the project's config.ini)",
        default=PROJECT_CONFIG,
    )
    parser.add_argument("--device", **DEVICE_FLAG)
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    config = read_config(args.config)
    size = config.general.working_h, config.general.working_w
    out_path = Path(os.path.abspath(args.out_path))
    check_replaceable(out_path, _MAP_NAME, [args.frames_path])
    frames = open_frames(args.frames_path)
    print(describe_frames(frames))

    # Not at the top: --help or a wrong path should not wait for these imports.
    import torch

    from ike_data.soft_masks import write_soft_masks
    from ike_data.working_frames import read_working_frames
    from ike_tools import feature_networks as networks

    check_model(args.model, networks.SEGMENTATION)
    device = choose_device(args.device or config.general.device)
    prepare_out_path(out_path.parent)
    network = networks.load_network(args.model, args.weights).to(device)
    video = read_working_frames(frames, *size)
    # `with`: an error message must not stand in the line of the bar.
    with tqdm(video.split(args.batch_size), args.model, unit="batch") as bar:
        batches = (networks.normalised(batch, device) for batch in bar)
        maps = torch.cat(
            [networks.object_probability(network, batch, args.classes).cpu() for batch in batches]
        )  # [n, H, W]
    if not torch.isfinite(maps).all():
        raise InputError(
            f"{args.weights or args.model}: gives maps that are not finite; use other weights"
        )
    write_soft_masks(out_path, maps)
    others = [path for path in config.graph_module.ike_features_paths if path != out_path]
    print(
        f"{frames.count} maps, [{size[0]}, {size[1]}, 1] each, written to {out_path}"
        f"\n\nPaste into [Graph Module] of {args.config}, in place of ike_features_paths there:\n\n"
        + "\n    ".join(["ike_features_paths =", *map(str, [*others, out_path])])
        + "\n\nThen, FLOW being what extract_optical_flow.py wrote (tools/run_video.sh with this "
        "--config does both):\n\n"
        f"python run_graph_module.py {shlex.quote(f'--frames_path={args.frames_path}')} "
        f"--of_path=FLOW --out_path=OUT {shlex.quote(f'--config={args.config}')}"
    )


def check_model(name: str, known: Collection[str]) -> None:
    """Raises InputError where ``name`` is no ``known`` network."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise InputError(f"--model {name}: is not known; {hint}")


if __name__ == "__main__":
    run_command(main, "set a smaller --batch_size, or a smaller working_h and working_w")
