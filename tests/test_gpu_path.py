"""What a GPU is given, run on a CPU: the same numbers, few operations, none of random order."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from graph_module import GraphSettings, segment
from graph_module.extensions.appearance import Appearance
from graph_module.extensions.bootstrap import Bootstrap
from graph_module.extensions.coarse_graph import coarse_flow
from graph_module.extensions.degree_normalisation import DegreeNormalisation, degree_divisor
from graph_module.extensions.flow_consistency import flow_consistency
from graph_module.extensions.frame_reliability import frame_reliability
from graph_module.extensions.motion_evidence import MotionPrior
from graph_module.extensions.polarity import contrast, likeness
from graph_module.extensions.refinement import Refinement
from graph_module.motion_matrix import motion_matrix
from graph_module.normalisation import min_max_each_
from graph_module.projection import project_, projection
from graph_module.propagation import propagate
from ike_data.guided_filter import follow_edges
from ike_data.runtime.cores import as_on_gpu
from ike_tools.gpu_stages import graph_stages, moving_block, training_stage
from ike_tools.operation_count import OperationCount
from network_module.settings import Settings

# Operations of 16 frames in what was before the frames were worked on together.
BEFORE = {
    "links": 11312,
    "features": 5512,
    "motion saliency": 14368,
    "motion evidence": 1284,
    "polarity": 835,
    "frame reliability": 497,
    "appearance": 1235,
    "guided filter": 1024,
    "graph, paper.ini": 18566,
    "graph, config.ini": 48475,  # with two bootstrap passes; now there is one
}
# Their result depends on the order in which a GPU adds or finds equal values
# (torch.use_deterministic_algorithms). Whole numbers may be added in any order, and "median" is
# left out, as only the index that it also gives depends on it.
RANDOM_ORDER = {"bincount", "cumsum", "histc", "index_put", "index_put_", "put_"} | {
    f"{name}{end}" for name in ("index_add", "scatter_add", "scatter_reduce") for end in ("", "_")
}


def settings() -> GraphSettings:
    """Those of config.ini with few random features, which are as many operations."""
    few = Appearance(n_fourier=20)
    return replace(
        GraphSettings.with_extensions(),
        motion_prior=MotionPrior(appearance=few),
        bootstrap=Bootstrap(appearance=few),
        refinement=Refinement(appearance=few),
    )


@pytest.fixture(scope="module")
def counted() -> dict[int, dict[str, OperationCount]]:
    """Of each stage, for 8 and for 16 frames; of the whole graph for 16 only."""
    counts: dict[int, dict[str, OperationCount]] = {8: {}, 16: {}}
    for n_frames, of_stages in counts.items():
        with as_on_gpu(), torch.no_grad():
            for name, stage in graph_stages(moving_block(n_frames, 24, 32), settings()):
                if n_frames < 16 and name.startswith("graph"):
                    continue
                with OperationCount() as operations:
                    stage()
                of_stages[name] = operations
    return counts


@pytest.mark.parametrize("name", BEFORE)
def test_each_stage_is_a_fifth_of_what_it_was(counted, name):
    assert counted[16][name].total() <= BEFORE[name] / 5


@pytest.mark.parametrize(
    "name",
    [
        "features",
        "an iteration",
        "motion saliency",
        "motion prior",
        "motion evidence",
        "polarity",
        "frame reliability",
        "appearance",
        "guided filter",
    ],
)
def test_more_frames_are_no_more_operations(counted, name):
    assert counted[8][name].total() == counted[16][name].total()


def test_no_sum_of_fractions_in_random_order(counted):
    operations = counted[16]["graph, config.ini"]
    assert operations.counts["index_add_"] > 0  # of whole numbers
    assert not RANDOM_ORDER & operations.of_fractions


@pytest.mark.parametrize(
    ("extensions", "block_bytes"),
    # Links, then frames in several blocks; and all in one, as by default.
    [(False, 1 << 16), (False, 1 << 18), (False, 1 << 29), (True, 1 << 29)],
)
def test_the_masks_are_those_of_frame_after_frame(extensions, block_bytes, monkeypatch):
    monkeypatch.setattr("ike_data.runtime.cores.BLOCK_BYTES", block_bytes)
    video = moving_block(5, 24, 32)
    given = (
        {"video": video.frames, "settings": replace(settings(), polarity=None)}
        if extensions
        else {}
    )
    flows = video.fwd_flow, video.bwd_flow
    expected = segment(*flows, **given)
    with as_on_gpu():
        found, again = (segment(*flows, **given) for _ in range(2))
    assert torch.equal(found, again)
    assert (found - expected).abs().max() < (2e-3 if extensions else 1e-4)


def test_the_optimiser_is_one_operation():
    settings = Settings.paper(base_channels=1, n_epochs=2, batch_size=2)
    with as_on_gpu():
        _, epoch = training_stage(moving_block(2, 16, 16), settings)
        with OperationCount() as operations:
            epoch()
    assert operations.counts["_fused_adamw_"] == 1


@pytest.mark.parametrize("store_links", [True, False])
def test_all_tensors_are_on_the_gpu(store_links):
    """With tensors that have a device but no data; PyTorch refuses a CPU's beside a GPU's."""
    n_frames, height, width = 4, 12, 16
    with FakeTensorMode(), torch.no_grad():
        masks = torch.empty(n_frames, height, width, device="cuda")
        flow = torch.empty(n_frames - 1, 2, height, width, device="cuda")
        with pytest.raises(RuntimeError, match="device"):
            masks + torch.empty(n_frames, height, width)
        matrix = motion_matrix(flow, flow, {1: 1.0, 2: 0.5}, store_links=store_links)
        levels = torch.empty(n_frames, 3, height * width, dtype=torch.int16, device="cuda")
        results = [
            min_max_each_(propagate(matrix, masks)),
            degree_divisor(matrix, masks, DegreeNormalisation()),
            project_(projection(levels, 100.0, masks.device), masks),
            coarse_flow(flow, (height // 2, width // 2)),
            flow_consistency(flow, flow),
            frame_reliability(masks, masks),
            contrast(masks, masks),
            likeness(masks),
            follow_edges(torch.empty(n_frames, 3, 24, 32, dtype=torch.uint8), masks),
        ]
    assert {tensor.device.type for tensor in results} == {"cuda"}
