"""The graph module against dense matrices built naively on tiny videos."""

import dense_oracle
import numpy as np
import pytest
import torch
from ways import COMPILED, WAYS

from graph_module import GraphSettings, iterations, segment
from graph_module.extensions.degree_normalisation import DegreeNormalisation
from graph_module.features import LEVELS, node_features
from graph_module.link_weights import link_weights
from graph_module.motion_matrix import motion_matrix
from graph_module.propagation import propagate

N_FRAMES, HEIGHT, WIDTH = 5, 12, 16
# The seed of every frame, as docs/method.md has it.
SEED = np.tile(np.random.RandomState(115).rand(HEIGHT * WIDTH), (N_FRAMES, 1))
PROBE = np.random.default_rng(1).random(HEIGHT * WIDTH)


def tiny_flows(seed):
    """Flows that leave the frame, with a third of the components exact integers."""
    rng = np.random.default_rng(seed)

    def flow():
        values = rng.normal(scale=2.5, size=(N_FRAMES - 1, 2, HEIGHT, WIDTH))
        whole = rng.random(values.shape) < 1 / 3
        return np.where(whole, values.round(), values).astype(np.float32)

    return flow(), flow()


def matrix_of(fwd, bwd, way, *, half_window=15, sigma):
    return motion_matrix(
        torch.from_numpy(fwd),
        torch.from_numpy(bwd),
        link_weights(half_window, sigma),
        store_links=way.store_links,
        use_compiled=way.compiled,
    )


def test_the_tiny_flows_leave_the_frame_and_hit_integers():
    fwd, bwd = tiny_flows(0)
    pixels = [(row, column) for row in range(HEIGHT) for column in range(WIDTH)]
    steps = [dense_oracle.chain(fwd, bwd, 2, *pixel, n_steps=1)[3] for pixel in pixels]
    assert any(not 0 <= y <= HEIGHT - 1 for _, y, _, _ in steps)
    assert any(x == np.floor(x) and y != np.floor(y) for x, y, _, _ in steps)
    assert any(x == np.floor(x) and y == np.floor(y) for x, y, _, _ in steps)


@WAYS
@pytest.mark.parametrize("half_window", [0, 2, 15])
def test_propagation_is_the_product_with_the_dense_matrix(half_window, way):
    fwd, bwd = tiny_flows(half_window)
    x = np.random.default_rng(7).random((N_FRAMES, HEIGHT, WIDTH)).astype(np.float32)
    expected = dense_oracle.motion_matrix(fwd, bwd, half_window, sigma=1.5) @ x.reshape(-1)
    motion = matrix_of(fwd, bwd, way, half_window=half_window, sigma=1.5)
    actual = propagate(motion, torch.from_numpy(x))
    np.testing.assert_allclose(actual.numpy().reshape(-1), expected, rtol=1e-5)


@WAYS
def test_the_motion_matrix_is_symmetric(way):
    """x^T (M y) = y^T (M x) for random x and y."""
    motion = matrix_of(*tiny_flows(3), way, sigma=2.0)
    x, y = torch.rand(2, N_FRAMES, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    left = (x * propagate(motion, y)).sum().item()
    right = (y * propagate(motion, x)).sum().item()
    assert left == pytest.approx(right, rel=1e-5)


@COMPILED
@pytest.mark.parametrize(
    ("h", "c", "n_channels"),
    [(5, -1, 0), (1, 1, 1), (0, 0, 2), (-1, 2, 1), (2, 6, 1)],
)
def test_features_are_those_read_pixel_by_pixel(h, c, n_channels, compiled):
    fwd, bwd = tiny_flows(11)
    rng = np.random.default_rng(5)
    maps = None
    if n_channels:
        maps = rng.normal(size=(N_FRAMES, n_channels, HEIGHT, WIDTH)).astype(np.float32)
    expected = dense_oracle.node_features(fwd, bwd, h, maps, c)  # [n, N, d + 1]
    features = node_features(
        torch.from_numpy(fwd),
        torch.from_numpy(bwd),
        [] if maps is None else [torch.from_numpy(maps)],
        dir_features_half_chain_size=h,
        features_half_chain_size=c,
        use_compiled=compiled,
    )
    actual = features.numpy() / LEVELS  # [n, d + 1, N]
    # The order of the columns within F is free: compare them sorted by a random sum.
    for ours, naive in zip(actual, expected.transpose(0, 2, 1), strict=True):
        assert ours.shape == naive.shape
        order, naive_order = np.argsort(ours @ PROBE), np.argsort(naive @ PROBE)
        np.testing.assert_allclose(ours[order], naive[naive_order], atol=0.51 / LEVELS)


@WAYS
@pytest.mark.parametrize(
    ("idx", "h", "c", "half_window", "ridge"), [(0, 5, 1, 15, 100.0), (1, 2, 2, 2, 3.0)]
)
def test_twenty_iterations_of_the_whole_method(idx, h, c, half_window, ridge, way):
    fwd, bwd = tiny_flows(idx)
    maps = np.random.default_rng(idx).random((N_FRAMES, 2, HEIGHT, WIDTH)).astype(np.float32)
    M = dense_oracle.motion_matrix(fwd, bwd, half_window, sigma=4)
    F = dense_oracle.node_features(fwd, bwd, h, maps, c)
    settings = GraphSettings(
        half_window=half_window,
        dir_features_half_chain_size=h,
        features_half_chain_size=c,
        ridge=ridge,
    )
    flows = torch.from_numpy(fwd), torch.from_numpy(bwd)
    steps = iterations(
        *flows, feature_maps=torch.from_numpy(maps), settings=settings, execution=way
    )
    masks = {step.index: step.masks.flatten(1).numpy() for step in steps}
    assert list(masks) == list(range(20))
    for idx in (0, 4, 19):
        expected = dense_oracle.iterate(M, F, SEED, ridge, idx + 1)
        np.testing.assert_allclose(masks[idx], expected, atol=2e-4)


@WAYS
def test_degree_normalisation(way):
    fwd, bwd = tiny_flows(3)
    maps = np.random.default_rng(3).random((N_FRAMES, 1, HEIGHT, WIDTH)).astype(np.float32)
    M = dense_oracle.motion_matrix(fwd, bwd, 15, sigma=4)
    F = dense_oracle.node_features(fwd, bwd, -1, maps, 1)
    settings = GraphSettings(
        dir_features_half_chain_size=-1,
        n_iterations=3,
        degree_normalisation=DegreeNormalisation(),
    )
    masks = segment(
        torch.from_numpy(fwd),
        torch.from_numpy(bwd),
        feature_maps=torch.from_numpy(maps),
        settings=settings,
        execution=way,
    )
    expected = dense_oracle.iterate(M, F, SEED, 100.0, 3, normalise_degrees=True)
    np.testing.assert_allclose(masks.flatten(1).numpy(), expected, atol=2e-4)
    assert np.abs(expected - dense_oracle.iterate(M, F, SEED, 100.0, 3)).max() > 0.02


def test_without_features_it_is_a_power_iteration_of_m_alone():
    fwd, bwd = tiny_flows(2)
    M = dense_oracle.motion_matrix(fwd, bwd, 15, sigma=4)
    settings = GraphSettings(dir_features_half_chain_size=-1, n_iterations=2)
    masks = segment(torch.from_numpy(fwd), torch.from_numpy(bwd), settings=settings)
    expected = dense_oracle.iterate(M, None, SEED, 100.0, 2)
    np.testing.assert_allclose(masks.flatten(1).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("n_workers", [1, 3])
@WAYS
def test_blocks_in_the_middle_of_a_long_video(way, n_workers, monkeypatch):
    """The cores share the frames by blocks, each of which sums into frames of its own."""
    monkeypatch.setattr("ike_data.runtime.cores.n_workers", lambda device: n_workers)
    monkeypatch.setattr("graph_module.motion_matrix.FRAMES_PER_BLOCK", 7)
    rng = np.random.default_rng(0)
    n_frames, height, width = 45, 4, 6
    fwd, bwd = rng.normal(size=(2, n_frames - 1, 2, height, width)).astype(np.float32)
    x = rng.random((n_frames, height, width)).astype(np.float32)
    expected = dense_oracle.motion_matrix(fwd, bwd, 3, sigma=2.0) @ x.reshape(-1)
    motion = matrix_of(fwd, bwd, way, half_window=3, sigma=2.0)
    found = propagate(motion, torch.from_numpy(x)).numpy().reshape(-1)
    np.testing.assert_allclose(found, expected, atol=2e-5)
