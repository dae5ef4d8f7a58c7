"""J and F of networks that learn from the first graph's masks in several ways.

And of the graph that sees each of them.

The networks are small, so that many can be compared: 8 channels, half the working size, 20 passes.
Run from the project's folder, with flow from extract_optical_flow.py in FLOW/<sequence>:

    PYTHONPATH=.:tools python docs/experiments/2026-11-27-exchange.py DAVIS FLOW hike surf
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from clips import WORKING_SIZE, Clip, clips_parser, read_clip, scores

from graph_module import Execution, GraphSettings, finish, iterations, segment
from graph_module.extensions.coarse_graph import coarse_flow
from graph_module.extensions.motion_prior import motion_prior
from graph_module.extensions.motion_saliency import motion_saliency
from ike_data.guided_filter import follow_edges
from network_module.extensions.confidence_weights import confidence
from network_module.extensions.prior_bias import start_from_prior
from network_module.losses import cross_entropy, dice, hard_labels
from network_module.unet import UNet, seeded_unet

N_CHANNELS, N_PASSES, BATCH, LEARNING_RATE = 8, 20, 3, 0.002
GRAPH = GraphSettings.with_extensions()


@dataclass
class FirstGraph:
    """Of n frames of H x W pixels; h x w is half of that."""

    masks: torch.Tensor  # [n, H, W]
    moving: torch.Tensor  # its evidence of motion, [n, h, w]
    both: torch.Tensor  # what that is made of: saliency and prior, [n, 2, h, w]


class Lesson(NamedTuple):
    """What a network learns from."""

    inputs: torch.Tensor  # [n, C, h, w]
    labels: torch.Tensor  # soft masks, [n, h, w]
    weights: torch.Tensor  # of the pixels, [n, h, w]


Change = Callable[[Lesson, torch.Generator], Lesson]


def plain(clip: Clip, graph: FirstGraph) -> Lesson:
    """As config.ini has it."""
    inputs = F.avg_pool2d(clip.video.float() / 255, 2)
    labels = F.avg_pool2d(graph.masks[None], 2)[0]
    return Lesson(inputs, labels, confidence(labels))


def motion_input(clip: Clip, graph: FirstGraph) -> Lesson:
    """Saliency and prior are inputs beside the colours."""
    lesson = plain(clip, graph)
    return lesson._replace(inputs=torch.cat([lesson.inputs, graph.both], 1))


def motion_contradicts(clip: Clip, graph: FirstGraph, reach: int | None = None) -> Lesson:
    """Background where something moves by itself does not count; within ``reach`` of the object."""
    lesson = plain(clip, graph)
    doubtful = (lesson.labels < 0.5) & (graph.moving > 0.3)
    if reach is not None:
        doubtful &= grown(lesson.labels >= 0.5, reach)
    return lesson._replace(weights=lesson.weights * ~doubtful)


def without_band(clip: Clip, graph: FirstGraph) -> Lesson:
    """3 pixels to both sides of the labels' boundary do not count."""
    lesson = plain(clip, graph)
    inside = lesson.labels >= 0.5
    return lesson._replace(weights=lesson.weights * ~(grown(inside, 3) & grown(~inside, 3)))


def grown(masks: torch.Tensor, reach: int) -> torch.Tensor:
    return F.max_pool2d(masks[:, None].float(), 2 * reach + 1, 1, reach)[:, 0] > 0


def zoom_and_shift(lesson: Lesson, generator: torch.Generator) -> Lesson:
    """Frames are zoomed, shifted by up to an eighth, and their colours changed."""
    n = len(lesson.inputs)

    def between(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=generator)

    scale = torch.exp(between(math.log(0.8), math.log(1.4)))
    matrices = torch.zeros(n, 2, 3)
    matrices[:, 0, 0] = 1 / (scale * torch.exp(between(-0.1, 0.1)))
    matrices[:, 1, 1] = 1 / scale
    matrices[:, :, 2] = between(-0.25, 0.25, 2)
    grid = F.affine_grid(matrices, [n, 1, *lesson.labels.shape[1:]], align_corners=False)

    def moved(maps: torch.Tensor) -> torch.Tensor:
        return F.grid_sample(maps, grid, padding_mode="reflection", align_corners=False)

    inputs = moved(lesson.inputs)
    inputs = (inputs * between(0.8, 1.2, 3, 1, 1) + between(-0.1, 0.1, 1, 1, 1)).clamp(0, 1)
    return Lesson(inputs, moved(lesson.labels[:, None])[:, 0], moved(lesson.weights[:, None])[:, 0])


def mirror(lesson: Lesson, generator: torch.Generator) -> Lesson:
    mirrored = torch.rand(len(lesson.inputs), generator=generator) < 0.5
    return Lesson(*(torch.where(_like(mirrored, maps), maps.flip(-1), maps) for maps in lesson))


def _like(some: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    return some.view(-1, *[1] * (maps.ndim - 1))


def learn_lesson(lesson: Lesson, *changes: Change, n_passes: int = N_PASSES) -> UNet:
    generator, n = torch.Generator().manual_seed(0), len(lesson.inputs)
    network = seeded_unet(N_CHANNELS, seed=0)
    n_inputs = lesson.inputs.shape[1]
    if n_inputs != 3:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(1)
            network.stem[0] = torch.nn.Conv2d(n_inputs, N_CHANNELS, 7, padding=3, bias=False)
    start_from_prior(network, hard_labels(lesson.labels).mean().item())
    optimiser = torch.optim.AdamW(network.parameters())
    n_steps = n_passes * math.ceil(n / BATCH)
    batches = (
        batch
        for _ in range(n_passes)
        for batch in torch.randperm(n, generator=generator).split(BATCH)
    )
    for step, batch in enumerate(batches):
        rate = LEARNING_RATE * (1 + math.cos(math.pi * step / n_steps)) / 2
        optimiser.param_groups[0]["lr"] = rate
        some = Lesson(*(maps[batch] for maps in lesson))
        for change in (mirror, *changes):
            some = change(some, generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(some.inputs)
        labels, logits = hard_labels(some.labels), logits.float()
        loss = cross_entropy(logits, labels, some.weights) + dice(logits, labels, some.weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


@torch.no_grad()
def probabilities(network: UNet, inputs: torch.Tensor) -> torch.Tensor:
    """[n, C, h, w] -> [n, h, w] in [0, 1]."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = torch.cat([network(some) for some in inputs.split(6)])
    return logits.float().softmax(1)[:, 1]


def agrees_with_held_out(clip: Clip, graph: FirstGraph) -> Lesson:
    """A label counts as far as a network agrees that has learnt from the other two thirds."""
    lesson = plain(clip, graph)
    thirds = torch.arange(len(lesson.labels)) * 3 // len(lesson.labels)
    held_out = torch.empty_like(lesson.labels)
    for third in range(3):
        there = thirds == third
        others = Lesson(*(maps[~there] for maps in lesson))
        network = learn_lesson(others, zoom_and_shift, n_passes=N_PASSES // 2)
        held_out[there] = probabilities(network, lesson.inputs[there])
    agreement = 1 - (hard_labels(lesson.labels) - held_out).abs()
    return lesson._replace(weights=lesson.weights * (2 * agreement).clamp(max=1))


VARIANTS: dict[str, tuple[Callable[[Clip, FirstGraph], Lesson], tuple[Change, ...]]] = {
    "plain": (plain, ()),
    "motion input": (motion_input, ()),
    "motion contradicts": (motion_contradicts, ()),
    "motion contradicts near": (lambda clip, graph: motion_contradicts(clip, graph, reach=8), ()),
    "zoom and shift": (plain, (zoom_and_shift,)),
    "agrees with held out": (agrees_with_held_out, ()),
    "without band": (without_band, ()),
}


def first_graph(clip: Clip) -> FirstGraph:
    flows, execution = (clip.fwd, clip.bwd), Execution()
    for last in iterations(*flows, video=clip.video, settings=GRAPH, execution=execution):  # noqa: B007
        pass
    assert last.moving is not None
    small = [coarse_flow(flow, GRAPH.graph_size(*WORKING_SIZE)) for flow in flows]
    both = torch.stack([motion_saliency(*small), motion_prior(*small)], 1)
    return FirstGraph(finish(last, clip.video, GRAPH).masks, last.moving, both)


def predict_small(network: UNet, clip: Clip, lesson: Lesson) -> torch.Tensor:
    """The masks of a network of half the size, at the working size along the edges."""
    small = probabilities(network, lesson.inputs)
    return follow_edges(
        clip.video, F.interpolate(small[:, None], WORKING_SIZE, mode="bilinear")[:, 0]
    )


def show(name: str, sequence: str, clip: Clip, masks: torch.Tensor, seconds: float) -> None:
    """Scores of a network's masks, of the graph after it, and of the mean of both."""
    after = segment(
        clip.fwd,
        clip.bwd,
        video=clip.video,
        feature_maps=masks[:, None],
        settings=GRAPH.for_known_masks(),
    )
    row = (scores(some, clip.truth) for some in (masks, after, (masks + after) / 2))
    print(sequence, name, *row, f"{seconds:.0f} s of processor", sep=" | ", flush=True)


def main() -> None:
    parser = clips_parser(__doc__)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--n_frames", type=int, default=30)
    args = parser.parse_args()
    print("sequence | masks | network | graph after it | mean of both")
    for sequence in args.sequences:
        clip = read_clip(args.davis, args.flow, sequence, args.n_frames)
        graph = first_graph(clip)
        print(sequence, "first graph", "", scores(graph.masks, clip.truth), sep=" | ", flush=True)
        for name in args.variants:
            make, changes = VARIANTS[name]
            start, lesson = time.process_time(), make(clip, graph)
            masks = predict_small(learn_lesson(lesson, *changes), clip, lesson)
            show(name, sequence, clip, masks, time.process_time() - start)


if __name__ == "__main__":
    main()
