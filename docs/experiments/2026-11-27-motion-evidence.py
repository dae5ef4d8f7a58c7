"""J and F of the first graph with saliency, prior, and both, each weighed in several ways.

Run from the project's folder, with flow from extract_optical_flow.py in FLOW/<sequence>:

    PYTHONPATH=.:tools python docs/experiments/2026-11-27-motion-evidence.py DAVIS FLOW libby bear
"""

from __future__ import annotations

from dataclasses import replace

from clips import clips_parser, read_clip, scores

from graph_module import GraphSettings, segment
from graph_module.extensions.fast_propagation import FastPropagation
from graph_module.extensions.motion_evidence import MotionPrior

N_FRAMES = 40
BOTH = replace(GraphSettings.with_extensions(), fast_propagation=FastPropagation())
WHOLE_VIDEO = 10_000  # frames: one weight for all
VARIANTS = {
    "saliency": replace(BOTH, motion_prior=None),
    "prior": replace(BOTH, motion_saliency=None),
    "mean": replace(BOTH, motion_prior=MotionPrior(power=0)),
    "power 4, one weight a video": replace(
        BOTH, motion_prior=MotionPrior(power=4, reach=WHOLE_VIDEO)
    ),
    "power 8, one weight a video": replace(BOTH, motion_prior=MotionPrior(reach=WHOLE_VIDEO)),
    "power 4": replace(BOTH, motion_prior=MotionPrior(power=4)),
    "power 8": BOTH,
}


def main() -> None:
    parser = clips_parser(__doc__)
    args = parser.parse_args()
    print("sequence", *VARIANTS, sep=" | ")
    for sequence in args.sequences:
        clip = read_clip(args.davis, args.flow, sequence, N_FRAMES)
        row = (
            segment(clip.fwd, clip.bwd, video=clip.video, settings=settings)
            for settings in VARIANTS.values()
        )
        print(sequence, *(scores(masks, clip.truth) for masks in row), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
