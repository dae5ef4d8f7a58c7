"""J and F of the first graph without parts that the motion prior might make superfluous.

And of the motion prior itself, where it looks at more pixels or at flow over several frames. Run
from the project's folder, with flow from extract_optical_flow.py in FLOW/<sequence>:

    PYTHONPATH=.:tools python docs/experiments/2026-11-27-superfluous.py DAVIS FLOW libby bear
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch
import torch.nn.functional as F
from clips import clips_parser, read_clip, scores

from graph_module import GraphSettings, segment
from graph_module.extensions import motion_prior as prior_module
from graph_module.extensions.appearance import Appearance
from graph_module.extensions.bootstrap import Bootstrap
from graph_module.extensions.flow_consistency import flow_at_end
from graph_module.extensions.motion_evidence import MotionPrior
from graph_module.extensions.motion_prior import (
    load_network,
    motion_prior,
    network_inputs,
    network_size,
    resized_flow,
    round_trip_error,
)
from graph_module.extensions.motion_saliency import MotionSaliency

NOW = GraphSettings.with_extensions()
BEFORE = replace(
    NOW,
    motion_prior=MotionPrior(appearance=Appearance(n_fourier=500)),
    bootstrap=Bootstrap(n_passes=2),
)
VARIANTS = {
    "before": BEFORE,
    "evidence with 250 features": replace(BEFORE, motion_prior=MotionPrior()),
    "no parallax": replace(BEFORE, motion_saliency=MotionSaliency(parallax=0.0)),
    "edges count in full": replace(BEFORE, motion_saliency=MotionSaliency(edge=1.0)),
    "one bootstrap pass, 250 features": NOW,
    "no bootstrap pass, 250 features": replace(NOW, bootstrap=None),
}


def prior_over(fwd: torch.Tensor, bwd: torch.Tensor, n_steps: int) -> torch.Tensor:
    """`motion_prior` of the flow over ``n_steps`` frames to each side."""
    n_frames, size = len(fwd) + 1, network_size(*fwd.shape[2:])
    fwd_steps, bwd_steps = resized_flow(fwd, size), resized_flow(bwd, size)
    n_pairs = n_frames - n_steps
    fwd_sum, bwd_sum = fwd_steps[:n_pairs].clone(), bwd_steps[n_steps - 1 :].clone()
    for step in range(1, n_steps):
        fwd_sum += flow_at_end(fwd_sum, fwd_steps[step : step + n_pairs])
        first = n_steps - 1 - step
        bwd_sum += flow_at_end(bwd_sum, bwd_steps[first : first + n_pairs])
    idx = torch.arange(n_frames)
    after, before = idx.clamp(max=n_pairs - 1), (idx - n_steps).clamp(min=0)
    fwd_error, bwd_error = round_trip_error(fwd_sum, bwd_sum), round_trip_error(bwd_sum, fwd_sum)
    inputs = network_inputs(
        torch.stack([fwd_sum[after], bwd_sum[before]], 1),
        torch.stack([fwd_error[after], bwd_error[before]], 1),
        torch.stack([idx < n_pairs, idx >= n_steps], 1),
    )
    soft = torch.cat([load_network(fwd.device)(some).sigmoid() for some in inputs.split(8)])
    return F.interpolate(soft[:, None], fwd.shape[2:], mode="bilinear")[:, 0]


def prior_with(fwd: torch.Tensor, bwd: torch.Tensor, times_pixels: int) -> torch.Tensor:
    """`motion_prior` whose network sees so many times as many pixels."""
    n_pixels = prior_module.N_PIXELS
    try:
        prior_module.N_PIXELS = times_pixels * n_pixels
        return motion_prior(fwd, bwd)
    finally:
        prior_module.N_PIXELS = n_pixels


@torch.no_grad()
def main() -> None:
    parser = clips_parser(__doc__)
    parser.add_argument("--n_frames", type=int, default=40)
    args = parser.parse_args()
    for sequence in args.sequences:
        video, fwd, bwd, truth = read_clip(args.davis, args.flow, sequence, args.n_frames)
        for name, settings in VARIANTS.items():
            start = time.process_time()
            masks = segment(fwd, bwd, video=video, settings=settings)
            seconds = time.process_time() - start
            print(sequence, name, scores(masks, truth), f"{seconds:.1f} s of processor", sep=" | ")
        over = [prior_over(fwd, bwd, n_steps) for n_steps in (1, 2, 3)]
        larger = [prior_with(fwd, bwd, times) for times in (1, 2, 4)]
        for name, prior in (
            ("prior", over[0]),
            ("prior, flow over 2 frames", over[1]),
            ("prior, mean of 1 and 2 frames", (over[0] + over[1]) / 2),
            ("prior, mean of 1, 2 and 3 frames", sum(over) / 3),
            ("prior, twice as many pixels", larger[1]),
            ("prior, 4 times as many pixels", larger[2]),
        ):
            print(sequence, name, scores(prior, truth), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
