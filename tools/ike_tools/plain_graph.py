"""The graph module written plainly: what `benchmark.py graph` compares the graph module with.

docs/method.md section 3 as it is written: each pivot's chains are followed on their own, each link
is stored as four node indices and four weights, and the regression is solved anew in each
iteration. Shares only the seed, and how files are read and written, with graph_module; random seed
and direction features only. Not for use: it takes 0.14 GB a frame.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import torch
from tqdm import tqdm

from graph_module.seeds import seed_mask
from graph_module.working_flow import read_working_flow
from ike_data.flow_files import BACKWARD, FORWARD
from ike_data.layout import SEED_ITERATION, iteration_images, iteration_masks
from ike_data.soft_masks import write_mask_images, write_soft_masks

HALF_WINDOW, SIGMA, H_CHAIN, RIDGE, N_ITERATIONS = 15, 4.0, 5, 100.0, 20


def chain(pivot, flows, direction):
    """Yield (frame, x, y, u, v) of all chains of ``pivot``, forward or backward."""
    fwd, bwd = flows
    n_pairs, _, height, width = fwd.shape
    start_y, start_x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32),
        torch.arange(width, dtype=torch.float32),
        indexing="ij",
    )
    moved_x, moved_y = torch.zeros_like(start_x), torch.zeros_like(start_y)
    frame = pivot
    for _ in range(HALF_WINDOW):
        if not 0 <= frame + direction <= n_pairs:
            return
        flow = fwd[frame] if direction == 1 else bwd[frame - 1]
        column = (start_x + moved_x).round().clamp(0, width - 1).long()
        row = (start_y + moved_y).round().clamp(0, height - 1).long()
        u, v = flow[0, row, column], flow[1, row, column]
        moved_x, moved_y = moved_x + u, moved_y + v
        frame += direction
        yield frame, start_x + moved_x, start_y + moved_y, u, v


def build(flows):
    """Links of each pivot, (frame, node indices [4, N], weights [4, N]), and F [n, N, d + 1]."""
    n_pairs, _, height, width = flows[0].shape
    n_frames, n_nodes = n_pairs + 1, height * width
    links = []
    features = torch.zeros(n_frames, 4 * H_CHAIN + 1, n_nodes)
    features[:, -1] = 1
    for pivot in tqdm(range(n_frames), "chains"):
        links.append([])
        for direction in (1, -1):
            steps = {pivot: None}
            for frame, x, y, u, v in chain(pivot, flows, direction):
                steps[frame] = u.flatten(), v.flatten()
                nodes, weights = [], []
                g = torch.exp(torch.tensor(-((frame - pivot) ** 2) / (2 * SIGMA**2)))
                for corner_x in (x.floor(), x.ceil()):
                    for corner_y in (y.floor(), y.ceil()):
                        inside = (corner_x >= 0) & (corner_x < width)
                        inside &= (corner_y >= 0) & (corner_y < height)
                        node = torch.where(inside, corner_y * width + corner_x, 0).long().flatten()
                        # Index 0 means "no link" (and node 0 has none).
                        weight = torch.where(node > 0, g, 0.0)
                        weight[0] = 0
                        nodes.append(node)
                        weights.append(weight)
                links[pivot].append((frame, torch.stack(nodes), torch.stack(weights)))
            for k in range(1, H_CHAIN + 1):
                step = steps[min(max(pivot + direction * k, 0), n_pairs)]
                row = H_CHAIN - k if direction == -1 else H_CHAIN + k - 1
                if step is not None:
                    features[pivot, row], features[pivot, 2 * H_CHAIN + row] = step
    for block in range(4):
        values = features[:, block * H_CHAIN : (block + 1) * H_CHAIN]
        values.sub_(values.min()).div_((values.max() - values.min()).clamp(min=1e-12))
    return links, features.transpose(1, 2).contiguous()


def min_max(x: torch.Tensor) -> torch.Tensor:
    return (x - x.min()) / (x.max() - x.min()).clamp(min=1e-12)


def iterate(links, features, x):
    """One iteration; x: [n, N]."""
    y = x.clone()
    for p, links_of_pivot in enumerate(links):
        for q, nodes, weights in links_of_pivot:
            y[p] += (x[q][nodes] * weights).sum(0)
            y[q].index_add_(0, nodes.flatten(), (x[p] * weights).flatten())
    y = torch.stack([min_max(frame) for frame in y])
    for p in range(len(y)):
        gram = features[p].T @ features[p] + RIDGE * torch.eye(features.shape[2])
        w = torch.linalg.inv(gram) @ features[p].T @ y[p]
        y[p] = min_max((features[p] @ w).clamp(min=0))
    return y


def write_plain_masks(of_path: Path, out_path: Path, height: int, width: int) -> None:
    """Write the masks that flow gives at a working size, as run_graph_module.py does."""

    def write(idx: int, masks: torch.Tensor) -> None:
        write_soft_masks(iteration_masks(out_path, idx), masks)
        write_mask_images(iteration_images(out_path, idx), masks, *frame_size)

    files = sorted((of_path / FORWARD).iterdir())
    n_frames, frame_size = len(files) + 1, cv2.readOpticalFlow(str(files[0])).shape[:2]
    links, features = build(
        [
            read_working_flow(of_path / way, n_frames, frame_size, (height, width))
            for way in (FORWARD, BACKWARD)
        ]
    )
    x = seed_mask(0, 0.5, height, width).expand(n_frames, height, width)
    write(SEED_ITERATION, x)
    x = x.reshape(n_frames, -1)
    for _ in tqdm(range(N_ITERATIONS), "power iteration"):
        x = iterate(links, features, x)
    write(N_ITERATIONS - 1, x.view(n_frames, height, width))
