"""Which way a graph takes with the memory that there is."""

from dataclasses import replace

import pytest
import torch

from graph_module.memory_plan import GraphSize, plan_memory
from ike_data import free_memory as free_memory_module
from ike_data.free_memory import free_memory, held_memory
from ike_data.memory_statement import GB

# The paper's setting: 224 x 416 pixels, 15 frames to each side, 20 features and the bias.
NODES = 224 * 416


def size(n_frames):
    return GraphSize(n_frames, n_nodes=NODES, n_links=30, reach=30, n_features=21, n_channels=0)


def plan(n_frames, *, limit=4 * GB, n_free=24 * GB, n_cores=2):
    return plan_memory(size(n_frames), limit, n_free, n_cores)


def test_bytes_of_a_frame_by_hand():
    """Links 30 int32, features 21 int16, and the larger of flows (4 float) and masks (4 float)."""
    per_frame = (plan(300).n_bytes - plan(200).n_bytes) / 100
    grams = 3 * 8 * 21**2  # float64, twice and their factors
    assert per_frame == NODES * (30 * 4 + 21 * 2 + 4 * 4) + grams
    assert per_frame <= 25e6
    anew = (plan(3000).n_bytes - plan(2000).n_bytes) / 1000
    assert anew == NODES * (21 * 2 + 4 * 4 + 4 * 4) + grams
    even = plan_memory(replace(size(300), even_links=True), 4 * GB, 24 * GB, 2)
    assert even.n_bytes - plan(300).n_bytes == 2 * 300 * NODES * 4


def test_bytes_of_a_frame_with_appearance_by_hand():
    """Flows (4 float) and maps (2) stay; masks that are learnt are 2 float. The video is there."""

    def n_bytes(n_frames: int, limit: float) -> int:
        with_video = replace(size(n_frames), n_channels=2, uses_video=True)
        return plan_memory(with_video, limit, 99 * GB, 2).n_bytes

    grams = 3 * 8 * 21**2
    beside_links = NODES * (21 * 2 + (4 + 2 + 4 + 2) * 4) + grams
    assert (n_bytes(300, 4 * GB) - n_bytes(200, 4 * GB)) / 100 == NODES * 30 * 4 + beside_links
    assert (n_bytes(3000, 0) - n_bytes(2000, 0)) / 1000 == beside_links


def test_a_gpu_projects_many_frames_at_once():
    on_cpu = plan_memory(size(40), 4 * GB, 24 * GB, 1)
    on_gpu = plan_memory(replace(size(40), on_gpu=True), 4 * GB, 24 * GB, 1)
    blocks = 40 * NODES * 4  # on the CPU: the sums of all 40 frames
    assert on_gpu.n_bytes - on_cpu.n_bytes == 40 * NODES * 21 * 4 - blocks


def test_links_are_kept_up_to_the_limit():
    assert plan(350).keep_links
    assert not plan(360).keep_links  # 360 * 93,184 * 120 bytes are more than 4 GB
    assert plan(360, limit=5 * GB).keep_links
    assert not plan(2, limit=0).keep_links


def test_a_thousand_frames_take_less_than_nine_gb():
    assert plan(1000).n_bytes < 9 * GB


def test_what_does_not_fit_goes_a_smaller_way():
    kept, anew = plan(100), plan(100, limit=0)
    assert (kept.keep_links, kept.keep_features) == (True, True)
    assert plan(100, n_free=kept.n_bytes) == kept
    assert plan(100, n_free=kept.n_bytes - 1) == anew
    smallest = plan(100, n_free=anew.n_bytes - 1)
    assert (smallest.keep_links, smallest.keep_features) == (False, False)
    assert smallest == plan(100, n_free=0)
    assert smallest.n_bytes == anew.n_bytes - 100 * NODES * 21 * 2


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
