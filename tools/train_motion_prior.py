"""Train the motion prior (graph_module/extensions/motion_prior.pth) from nothing.

    python tools/train_motion_prior.py --out_path OUT --seed 1

It makes synthetic scenes, learns from them, and writes OUT/motion_prior.pth, with its log in
OUT/log.csv. No video, no label and no other weights go in. Interrupted, the same command goes on.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import csv
import hashlib
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ike_data.command_line import choose_device
from ike_data.layout import LOG
from ike_data.runtime.command import number_argument, prepare_out_path, run_command
from ike_data.step_log import step_log
from ike_tools.flags import Parser
from ike_tools.prior_training.training import Plan, Training
from ike_tools.scenes.shards import RECORD, SHARD_LENGTH, make_shards, open_shards

SAMPLES, CHECKPOINT, WEIGHTS = "samples", "checkpoint.pth", "motion_prior.pth"
COLUMNS = ("step", "loss", "held_out_loss", "held_out_iou")
HELD_OUT_SEED, N_HELD_OUT_SHARDS = 1_000_000, 2  # the same samples for each seed
LOGGED_STEPS = 500  # from one line of the log, and one checkpoint, to the next


def get_args_parser() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_path("--out_path", "folder", required=True)
    seed = number_argument(0, HELD_OUT_SEED - 1, kind=int)
    parser.add_argument("--seed", type=seed, default=1, help="of scenes and weights (default: 1)")
    count = number_argument(1, kind=int)
    parser.add_argument(
        "--n_samples",
        type=count,
        default=16000,
        help=f"scenes, rounded up to hundreds; {RECORD.itemsize / 1e6:.2f} MB each "
        "(default: 16000)",
    )
    parser.add_argument(
        "--n_steps", type=count, default=8000, help="steps, of 16 scenes each (default: 8000)"
    )
    parser.add_argument(
        "--n_processes",
        type=count,
        default=os.cpu_count(),
        help="processes that make scenes (default: one a core)",
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    device = choose_device(args.device)
    out_path = prepare_out_path(args.out_path)
    n_shards = -(-args.n_samples // SHARD_LENGTH)
    training = Training(Plan(args.seed, n_shards * SHARD_LENGTH, args.n_steps), device)
    if (out_path / CHECKPOINT).exists():  # before the samples, for it may refuse
        training.resume(out_path / CHECKPOINT)
    held_out = _samples(out_path, HELD_OUT_SEED, N_HELD_OUT_SHARDS, args.n_processes)
    shards = _samples(out_path, args.seed, n_shards, args.n_processes)
    _train(out_path, training, shards, held_out)
    weights = out_path / WEIGHTS
    training.save_weights(weights)
    n_bytes, sha256 = weights.stat().st_size, hashlib.sha256(weights.read_bytes()).hexdigest()
    print(f"{weights}: {n_bytes / 1e6:.1f} MB, SHA-256 {sha256}")


def _samples(out_path: Path, seed: int, n_shards: int, n_processes: int) -> list[np.ndarray]:
    """Shards of samples; those that are there are kept."""
    folder = out_path / SAMPLES
    made = make_shards(folder, seed, n_shards, n_processes)
    for _ in tqdm(made, f"scenes, seed {seed}", n_shards, unit="shard", delay=2):
        pass
    return open_shards(folder, seed, n_shards)


def _train(
    out_path: Path, training: Training, shards: list[np.ndarray], held_out: list[np.ndarray]
) -> None:
    """Do the steps that are still to be done, with a log and checkpoints."""
    n_steps = training.plan.n_steps
    kept = _lines_so_far(out_path / LOG, training.n_done)
    losses: list[float] = []
    with step_log(out_path, *COLUMNS, kept=kept) as log:
        bar = tqdm(
            training.steps(shards), "training", n_steps, unit="step", initial=training.n_done
        )
        for loss in bar:
            losses.append(loss)
            if training.n_done % LOGGED_STEPS and training.n_done < n_steps:
                continue
            quality = training.quality(held_out)
            log(training.n_done, float(np.mean(losses)), quality.loss, quality.iou)
            bar.set_postfix_str(f"loss {np.mean(losses):.3f}, held-out IoU {quality.iou:.3f}")
            losses.clear()
            training.save(out_path / CHECKPOINT)


def _lines_so_far(path: Path, n_done: int) -> list[list[str]]:
    """The lines of the log up to the checkpoint's step."""
    if n_done == 0 or not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [line for line in list(csv.reader(file))[1:] if float(line[0]) <= n_done]


if __name__ == "__main__":
    run_command(main, interrupt_remedy="run the same command again: it goes on from where it was")
