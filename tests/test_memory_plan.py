"""Which way a graph takes with the memory that there is."""

from dataclasses import replace

import pytest
import torch

from graph_module import GraphSettings
from graph_module.extensions.coarse_graph import CoarseGraph
from graph_module.extensions.degree_normalisation import DegreeNormalisation
from graph_module.extensions.refinement import Refinement
from graph_module.memory_plan import GraphSize, plan_memory
from ike_data.runtime import free_memory as free_memory_module
from ike_data.runtime.free_memory import free_memory, held_memory
from ike_data.runtime.memory_statement import GB

# The paper's setting: 224 x 416 pixels, 15 frames to each side, 20 features and the bias.
NODES = 224 * 416
PAPER, EXTENDED = GraphSettings(), GraphSettings.with_extensions()


def size(n_frames, settings=PAPER, **more):
    return GraphSize(n_frames, 224, 416, settings, **more)


def plan(n_frames, settings=PAPER, *, limit=4 * GB, n_free=99 * GB, n_cores=2, **more):
    return plan_memory(size(n_frames, settings, **more), limit, n_free, n_cores)


def bytes_of_a_frame(settings, **more):
    """Of one that is added to a long video."""
    first, second = (plan(n, settings, **more).n_bytes for n in (2000, 3000))
    return (second - first) / 1000


def test_bytes_of_a_frame_by_hand():
    """Links 30 int32, features 21 int16, flows 4 float and masks 4 float; then Gram matrices."""
    grams = 2 * 8 * 21**2  # float64, and their factors
    stored, recomputed = bytes_of_a_frame(PAPER, limit=999 * GB), bytes_of_a_frame(PAPER, limit=0)
    assert stored == NODES * (30 * 4 + 21 * 2 + 4 * 4 + 4 * 4) + grams
    assert stored <= 25e6
    assert recomputed == stored - NODES * 30 * 4
    normalised = replace(PAPER, degree_normalisation=DegreeNormalisation())
    assert bytes_of_a_frame(normalised, limit=0) == recomputed + NODES * 2 * 4
    # A map that is read is there on a CPU, and is copied to a GPU.
    on_cpu, on_gpu = (
        bytes_of_a_frame(PAPER, limit=0, n_channels=1, on_gpu=on_gpu)
        - bytes_of_a_frame(PAPER, limit=0, on_gpu=on_gpu)
        for on_gpu in (False, True)
    )
    assert on_gpu - on_cpu == NODES * 4


def test_bytes_of_a_frame_with_extensions_by_hand():
    """Maps that are made (saliency, appearance), with 3 features each, and 3 masks more.

    A quarter of the nodes; frames of that size, and the result.
    """
    coarse, beside = NODES // 4, 4 * NODES + 2 * 8 * 7**2
    expected = coarse * (7 * 2 + (4 + 2 + 4 + 3) * 4 + 3) + beside
    assert bytes_of_a_frame(EXTENDED, limit=0) == expected
    assert bytes_of_a_frame(EXTENDED, limit=999 * GB) == expected + coarse * 30 * 4
    # Masks have no bootstrap passes. Maps that are read are held at the size of the graph as well.
    settings = EXTENDED.for_known_masks()
    for on_gpu in (False, True):
        assert bytes_of_a_frame(settings, limit=0, n_channels=1, on_gpu=on_gpu) == expected


def test_both_flows_are_read_at_the_size_of_the_frames():
    """Where hardly anything else is needed, that is the peak."""
    settings = replace(
        GraphSettings(half_window=0, dir_features_half_chain_size=-1),
        refinement=Refinement(),
        coarse_graph=CoarseGraph(),
    )
    assert bytes_of_a_frame(settings) == 16 * (NODES + NODES // 4)


def test_a_gpu_projects_many_frames_at_once():
    settings = replace(PAPER, half_window=0)
    on_cpu, on_gpu = (plan(10, settings, n_cores=1, on_gpu=on_gpu) for on_gpu in (False, True))
    blocks = 10 * NODES * 4  # on the CPU: the sums of all frames
    assert on_gpu.n_bytes - on_cpu.n_bytes == 10 * NODES * 21 * 4 - blocks


def test_links_are_stored_up_to_the_limit():
    assert plan(365).store_links
    assert not plan(366).store_links  # 93,184 * 4 bytes * (30 * 366 - 240) links are over 4 GB
    assert plan(366, limit=5 * GB).store_links
    assert not plan(2, limit=0).store_links


def test_a_thousand_frames_take_less_than_nine_gb():
    assert plan(1000).n_bytes < 9 * GB


def test_what_does_not_fit_goes_a_smaller_way():
    stored, recomputed = plan(100), plan(100, limit=0)
    assert (stored.store_links, stored.offload) == (True, False)
    assert plan(100, n_free=stored.n_bytes) == stored
    assert plan(100, n_free=stored.n_bytes - 1) == recomputed
    smallest = plan(100, n_free=recomputed.n_bytes - 1)
    assert (smallest.store_links, smallest.offload) == (False, True)
    assert smallest == plan(100, n_free=0)
    assert smallest.n_bytes == recomputed.n_bytes - 100 * NODES * 21 * 2


def test_free_memory_is_what_the_control_groups_leave(tmp_path, monkeypatch):
    root = tmp_path / "cgroup"
    job = root / "slurm" / "job_7"
    job.mkdir(parents=True)
    for folder, limit, used in ((job, "max", 10), (job.parent, "5000", 2000), (root, "9000", 1)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
    own = tmp_path / "self"
    own.write_text("4:memory:/other\n0::/slurm/job_7\n")
    monkeypatch.setattr(free_memory_module, "_CGROUP", own)
    monkeypatch.setattr(free_memory_module, "_CGROUP_ROOT", root)
    assert free_memory(torch.device("cpu")) == 3000
    (job.parent / "memory.stat").write_text("anon 1500\ninactive_file 400\n")
    assert free_memory(torch.device("cpu")) == 3400  # files are let go where memory is needed
    own.write_text("0::/\n")
    assert free_memory(torch.device("cpu")) == 8999
    monkeypatch.setattr(free_memory_module, "_CGROUP", tmp_path / "not there")
    assert free_memory(torch.device("cpu")) > 10_000


def test_held_memory_grows_with_what_is_held():
    before = held_memory()
    block = torch.ones(50_000_000)
    assert held_memory() - before == pytest.approx(4 * len(block), rel=0.1)
