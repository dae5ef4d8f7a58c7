"""J and F of each stage of the exchange, with networks that learn for a short or a long time.

The first graph, then in each cycle a network that learns from the last graph's masks, and the graph
that sees this network's. Run from the project's folder, with flow from extract_optical_flow.py in
FLOW/<sequence>:

    PYTHONPATH=.:tools python docs/experiments/2026-11-28-short-training.py DAVIS FLOW hike surf
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from clips import Clip, clips_parser, read_clip, scores

from graph_module import GraphSettings, segment
from network_module import Settings, learn, predict
from network_module.extensions.frame_agreement import overlaps
from network_module.extensions.half_size import HalfSize

GRAPH = GraphSettings.with_extensions()


def stages(clip: Clip, settings: Settings, n_cycles: int) -> Iterator[torch.Tensor]:
    """The masks of the first graph, and of the network and the graph of each cycle."""
    flows = clip.fwd, clip.bwd
    masks = segment(*flows, video=clip.video, settings=GRAPH)
    yield masks
    for _ in range(n_cycles):
        masks = predict(learn(clip.video, masks, settings), clip.video, settings)
        yield masks
        masks = segment(
            *flows,
            video=clip.video,
            feature_maps=masks[:, None],
            settings=GRAPH.for_known_masks(),
        )
        yield masks


def overlap_with_labels(masks: torch.Tensor, labels: torch.Tensor) -> str:
    """Of a network's masks and its labels, frame by frame; see `frame_agreement`."""
    of_frames = overlaps(masks >= 0.5, labels >= 0.5)
    n_below = int((of_frames < 0.5).sum())
    return f"median {of_frames.median():.2f}, lowest {of_frames.min():.2f}, {n_below} below 0.5"


def main() -> None:
    default = Settings()
    parser = clips_parser(__doc__)
    parser.add_argument("--n_frames", type=int, default=30)
    parser.add_argument("--cycles", type=int, default=2)
    parser.add_argument("--n_epochs", type=int, default=default.n_epochs)
    parser.add_argument("--passes_per_epoch", type=int, default=default.passes_per_epoch)
    parser.add_argument("--batch_size", type=int, default=default.batch_size)
    parser.add_argument("--learning_rate", type=float, default=default.learning_rate)
    parser.add_argument("--half_size_share", type=float, default=HalfSize().share)
    parser.add_argument("--base_channels", type=int, default=default.base_channels)
    parser.add_argument("--all_frames", action="store_true", help="no frame_agreement")
    parser.add_argument("--seed", type=int, default=default.seed)
    args = parser.parse_args()
    settings = Settings(
        n_epochs=args.n_epochs,
        passes_per_epoch=args.passes_per_epoch,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        half_size=HalfSize(args.half_size_share),
        frame_agreement=None if args.all_frames else default.frame_agreement,
        base_channels=args.base_channels,
        seed=args.seed,
    )
    print(
        "sequence | first graph | network | its overlap with its labels | graph after it | ... | "
        "seconds of processor"
    )
    for sequence in args.sequences:
        clip = read_clip(args.davis, args.flow, sequence, args.n_frames)
        start, row = time.process_time(), []
        before: list[torch.Tensor] = []
        for masks in stages(clip, settings, args.cycles):
            row.append(scores(masks, clip.truth))
            if len(before) % 2:  # a network's, learnt from the graph's before it
                row.append(overlap_with_labels(masks, before[-1]))
            before.append(masks)
        print(sequence, *row, f"{time.process_time() - start:.0f}", sep=" | ", flush=True)


if __name__ == "__main__":
    main()
