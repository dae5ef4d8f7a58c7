"""The pictures and numbers of 2026-11-27-motion-prior.md.

    export PYTHONPATH=.:tools
    python docs/experiments/2026-11-27-motion-prior.py samples PICTURE.jpg --seed 1
    python docs/experiments/2026-11-27-motion-prior.py curve OUT/log.csv PICTURE.png
    python docs/experiments/2026-11-27-motion-prior.py scores FLOW... --annotations ANNOTATIONS
    python docs/experiments/2026-11-27-motion-prior.py sides OUT/samples/seed_1000000_*.npy

FLOW is a folder of extract_optical_flow.py, named as the sequence; ANNOTATIONS has a folder of PNGs
for each sequence.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
import torch

from graph_module.extensions.motion_prior import load_network, motion_prior, network_inputs
from ike_data.flow_files import flow_name, read_flow
from ike_tools.prior_training.batches import read_batch
from ike_tools.prior_training.losses import intersection_over_union
from ike_tools.prior_training.training import BATCH_SIZE
from ike_tools.scenes.rendering import views
from ike_tools.scenes.samples import SAMPLE_HEIGHT, SAMPLE_WIDTH, draw_sample
from ike_tools.scenes.scene import draw_scene
from ike_tools.scenes.shards import RECORD
from ike_tools.scores.davis_metrics import region_similarity

SIZE = (SAMPLE_HEIGHT, SAMPLE_WIDTH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    samples = commands.add_parser("samples")
    samples.add_argument("picture", type=Path)
    samples.add_argument("--seed", type=int, default=1)
    curve = commands.add_parser("curve")
    curve.add_argument("log", type=Path)
    curve.add_argument("picture", type=Path)
    scores = commands.add_parser("scores")
    scores.add_argument("flow", type=Path, nargs="+")
    scores.add_argument("--annotations", type=Path, required=True)
    sides = commands.add_parser("sides")
    sides.add_argument("shards", type=Path, nargs="+")
    args = parser.parse_args()
    if args.what == "samples":
        draw_samples(args.picture, args.seed)
    elif args.what == "curve":
        draw_curve(args.log, args.picture)
    elif args.what == "sides":
        print_sides(args.shards)
    else:
        print_scores(args.flow, args.annotations)


def draw_samples(picture: Path, seed: int, n_rows: int = 8, n_columns: int = 2) -> None:
    """Frame, residual of the flow, its round trip error, and mask, of each sample."""
    panels = []
    for number in range(n_rows * n_columns):
        rng = np.random.default_rng([seed, number])  # as draw_sample has it
        frame = views(rng, draw_scene(rng))[1].image
        record = np.zeros(1, RECORD)
        record[0] = tuple(draw_sample(seed, number))
        inputs = network_inputs(*read_batch([record[0]], SIZE)[:3])[0].numpy()
        residual, error = np.hypot(inputs[0], inputs[1]), inputs[4]
        maps = [np.clip(255 * m / 1.5, 0, 255).astype(np.uint8) for m in (residual, error)]
        small = cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA)
        panels.append(np.hstack([small, *maps, record["mask"][0]]))
    rows = [np.hstack(panels[k : k + n_columns]) for k in range(0, len(panels), n_columns)]
    cv2.imwrite(str(picture), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 80])


def draw_curve(log: Path, picture: Path, height: int = 240, width: int = 480) -> None:
    """Training loss (grey), held-out loss (blue) and held-out IoU (orange) over the steps."""
    with log.open(newline="") as file:
        lines = list(csv.DictReader(file))
    step = np.array([float(line["step"]) for line in lines])
    image = np.full((height + 40, width + 60, 3), 255, np.uint8)
    for tenth in range(0, 10, 2):
        y = height + 10 - round(height * tenth / 8)
        cv2.line(image, (40, y), (width + 40, y), (225, 225, 225), 1)
        label = f"{tenth / 10:.1f}"
        cv2.putText(image, label, (8, y + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1)
    colours = {
        "loss": (150, 150, 150),
        "held_out_loss": (200, 90, 30),
        "held_out_iou": (0, 120, 240),
    }
    for number, (name, colour) in enumerate(colours.items()):
        value = np.array([float(line[name]) for line in lines])
        x = 40 + width * step / step[-1]
        y = height + 10 - height * np.clip(value, 0, 0.8) / 0.8
        points = np.round(np.stack([x, y], 1)).astype(np.int32)
        cv2.polylines(image, [points], False, colour, 2, cv2.LINE_AA)
        where = (50 + 150 * number, height + 32)
        text = name.replace("_", " ")
        cv2.putText(image, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
    last = f"{step[-1]:.0f} steps"
    cv2.putText(image, last, (width - 30, height + 32), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1)
    cv2.imwrite(str(picture), image)


def print_scores(folders: list[Path], annotations: Path) -> None:
    """J of the prior alone at two thresholds; the first and the last frame are left out."""
    means = []
    for folder in folders:
        paths = sorted((annotations / folder.name).glob("*.png"))
        masks = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0 for path in paths]
        fwd, bwd = (
            torch.stack(
                [
                    torch.from_numpy(read_flow(folder / side / flow_name(idx), *masks[0].shape))
                    for idx in range(len(masks) - 1)
                ]
            ).permute(0, 3, 1, 2)
            for side in ("fwd_of", "bwd_of")
        )
        prior = motion_prior(fwd, bwd).numpy()[1:-1]
        scores = [
            np.mean([region_similarity(p > at, m) for p, m in zip(prior, masks[1:-1], strict=True)])
            for at in (0.5, 0.2)
        ]
        means.append(scores)
        print(f"{folder.name:20} {scores[0]:.3f} {scores[1]:.3f}", flush=True)
    mean = np.mean(means, axis=0)
    print(f"{f'mean of {len(means)}':20} {mean[0]:.3f} {mean[1]:.3f}")


def print_sides(shards: list[Path]) -> None:
    """Mean IoU of samples with the flow to both sides, and with that to one of them alone."""
    network = load_network(torch.device("cpu"))
    found: dict[str, list[torch.Tensor]] = {"both": [], "next": [], "previous": []}
    for shard in map(np.load, shards):
        for start in range(0, len(shard), BATCH_SIZE):
            batch = read_batch(list(shard[start : start + BATCH_SIZE]), SIZE)
            known = {side: batch.known.clone() for side in found}
            known["next"][:, 1] = known["previous"][:, 0] = False
            for side, ious in found.items():
                with torch.no_grad():
                    logits = network(network_inputs(batch.flows, batch.errors, known[side]))
                ious.append(intersection_over_union(logits, batch.masks))
    for side, ious in found.items():
        print(f"{side:20} {torch.cat(ious).mean():.3f}")


if __name__ == "__main__":
    main()
