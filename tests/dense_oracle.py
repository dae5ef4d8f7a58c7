"""The graph module written a second time, naively: dense matrices and loops over single pixels.

Shares no code with graph_module; follows docs/method.md section 3 sentence by sentence. float64,
except that positions are summed in float32 as the authors' program does (rounding decides pixels).
"""

from __future__ import annotations

import math

import numpy as np


def chain(fwd, bwd, pivot, row, column, n_steps):
    """{frame: (x, y, u, v)} of the chain of one pixel; fwd, bwd: [n-1, 2, H, W] float32."""
    n_pairs, _, height, width = fwd.shape
    steps = {}
    for direction in (1, -1):
        x, y = np.float32(column), np.float32(row)
        moved_x = moved_y = np.float32(0)
        frame = pivot
        for _ in range(n_steps):
            if not 0 <= frame + direction <= n_pairs:
                break
            flow = fwd[frame] if direction == 1 else bwd[frame - 1]
            near_x = min(max(int(np.round(x)), 0), width - 1)
            near_y = min(max(int(np.round(y)), 0), height - 1)
            u, v = flow[:, near_y, near_x]
            moved_x, moved_y = moved_x + u, moved_y + v
            x, y = np.float32(column) + moved_x, np.float32(row) + moved_y
            frame += direction
            steps[frame] = (x, y, u, v)
    return steps


def motion_matrix(fwd, bwd, half_window, sigma):
    """M, [n N, n N], by adding every link and its opposite to a dense matrix."""
    n_pairs, _, height, width = fwd.shape
    n_frames, n_nodes = n_pairs + 1, height * width
    M = np.eye(n_frames * n_nodes)
    for p in range(n_frames):
        for row in range(height):
            for column in range(width):
                start = p * n_nodes + row * width + column
                for q, (x, y, _, _) in chain(fwd, bwd, p, row, column, half_window).items():
                    g = math.exp(-((p - q) ** 2) / (2 * sigma**2))
                    for corner_x in (math.floor(x), math.ceil(x)):
                        for corner_y in (math.floor(y), math.ceil(y)):
                            if not (0 <= corner_x < width and 0 <= corner_y < height):
                                continue
                            if (row, column) == (0, 0) or (corner_x, corner_y) == (0, 0):
                                continue  # the authors' index 0 means "no link"
                            end = q * n_nodes + corner_y * width + corner_x
                            M[start, end] += g
                            M[end, start] += g
    return M


def node_features(fwd, bwd, h, maps=None, c=-1):
    """F_p with the bias as last column, [n, N, d + 1]; maps: [n, C, H, W]."""
    n_pairs, _, height, width = fwd.shape
    n_frames = n_pairs + 1
    h = max(h, 0)
    groups = [[] for _ in range(5)]  # u past, u future, v past, v future, ike

    def gather(read):
        return np.array(
            [
                [
                    read(p, row, column, chain(fwd, bwd, p, row, column, max(h, c)))
                    for row in range(height)
                    for column in range(width)
                ]
                for p in range(n_frames)
            ],
            dtype=np.float64,
        )  # [n, N]

    def clamped(p, offset):
        return min(max(p + offset, 0), n_frames - 1)

    for offset in [*range(-h, 0), *range(1, h + 1)]:
        for component in (0, 1):

            def read_flow(p, row, column, steps, offset=offset, component=component):
                q = clamped(p, offset)
                return 0.0 if q == p else steps[q][2 + component]

            groups[2 * component + (offset > 0)].append(gather(read_flow))
    for offset in range(-c, c + 1) if maps is not None and c >= 0 else []:
        for channel in range(maps.shape[1]):

            def read_map(p, row, column, steps, offset=offset, channel=channel):
                q = clamped(p, offset)
                x, y = (column, row) if q == p else (int(steps[q][0]), int(steps[q][1]))
                if not (0 <= x < width and 0 <= y < height):
                    return 0.0
                return maps[q, channel, y, x]

            groups[4].append(gather(read_map))
    columns = []
    for group in groups:
        if group:
            block = np.stack(group, axis=-1)  # [n, N, columns]
            columns.append(normalised(block))
    columns.append(np.ones((n_frames, height * width, 1)))
    return np.concatenate(columns, axis=-1)


def normalised(values):
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def iterate(M, F, x, ridge, n_iterations, normalise_degrees=False):
    """x after ``n_iterations``, [n, N]; F None: no projection."""
    if normalise_degrees:
        degrees = M.sum(axis=1)
        M = M / (degrees + 2 * degrees.mean())[:, None]
    for _ in range(n_iterations):
        x = (M @ x.reshape(-1)).reshape(x.shape)
        x = np.stack([normalised(frame) for frame in x])
        if F is not None:
            for p in range(len(x)):
                gram = F[p].T @ F[p] + ridge * np.eye(F.shape[-1])
                w = np.linalg.inv(gram) @ F[p].T @ x[p]
                x[p] = normalised(np.maximum(F[p] @ w, 0))
    return x
