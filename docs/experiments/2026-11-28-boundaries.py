"""J and F of a coarse graph's masks, refined at the size of the graph and at the working size.

Run from the project's folder, with flow from extract_optical_flow.py in FLOW/<sequence>:

    PYTHONPATH=.:tools python docs/experiments/2026-11-28-boundaries.py DAVIS FLOW hike surf
"""

from __future__ import annotations

import dataclasses
import time

from clips import clips_parser, read_clip, scores

from graph_module import GraphSettings
from graph_module.extensions.coarse_graph import enlarge_masks
from graph_module.segmentation import Execution, finish, iterations


def main() -> None:
    parser = clips_parser(__doc__)
    parser.add_argument("--n_frames", type=int, default=40)
    args = parser.parse_args()
    settings = GraphSettings.with_extensions()
    for sequence in args.sequences:
        clip = read_clip(args.davis, args.flow, sequence, args.n_frames)
        *_, last = iterations(
            clip.fwd, clip.bwd, video=clip.video, settings=settings, execution=Execution()
        )
        size = clip.video.shape[2:]
        at_full_size = dataclasses.replace(
            last,
            masks=enlarge_masks(last.masks, size),
            moving=enlarge_masks(last.moving, size),
            evidence=[enlarge_masks(maps, size) for maps in last.evidence],
        )
        for name, step in (("size of the graph", last), ("working size", at_full_size)):
            start = time.process_time()
            masks = finish(step, clip.video, settings).masks
            seconds = time.process_time() - start
            print(f"{sequence}, {name}: {scores(masks, clip.truth)}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
