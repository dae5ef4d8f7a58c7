"""What flow and network say that they need: layer by layer against autograd, and whole commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import ROOT
from small_run import make_inputs
from torchvision.models.optical_flow import raft_large, raft_small

from ike_data.runtime import memory_statement
from ike_data.runtime.memory_statement import state_memory
from network_module.memory_need import NetworkSize, kept_bytes, prediction_bytes, training_bytes
from network_module.unet import UNet
from RAFT.memory_need import dis_bytes, raft_bytes


def size(**changes) -> NetworkSize:
    values = dict(
        n_frames=10, height=64, width=96, base_channels=4, n_parameters=265_682, batch_size=2,
        n_parts=1, bf16=False, on_cpu=True,
    )  # fmt: skip
    return NetworkSize(**(values | changes))


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (50, 81)])
def test_maps_that_are_kept_are_those_that_autograd_keeps(height, width, bf16):
    model = UNet(4)
    frames = torch.rand(2, 3, height, width)
    kept: dict[int, torch.UntypedStorage] = {}  # by address: a map is kept for several layers

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 4 and tensor.shape[-1] != tensor.shape[-2]:  # no weights, no sums
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16),
    ):
        logits = model(frames)
    assert logits.requires_grad
    # All but the frames, which the first convolution reads.
    n_bytes = sum(storage.nbytes() for storage in kept.values()) - 2 * 3 * 64 * 96 * (4 - 2 * bf16)
    assert kept_bytes(size(height=height, width=width, bf16=bf16)) == n_bytes


def test_a_frame_a_batch_and_a_parameter_more():
    a_frame = training_bytes(size(n_frames=11)) - training_bytes(size())
    assert a_frame == 64 * 96 * (3 + 4)  # RGB, and a soft mask in float32
    few, many = size(n_parameters=0), size(n_parameters=1000)
    assert training_bytes(many) - training_bytes(few) == 4 * 1000 * 3  # gradient, two moments
    in_two = size(n_parts=2)  # each has its gradients, and half of the maps
    assert training_bytes(in_two) - training_bytes(size()) == pytest.approx(4 * 265_682, abs=2)
    assert prediction_bytes(many, along_edges=True) == prediction_bytes(few, along_edges=True)
    # A batch is at most the video.
    assert training_bytes(size(batch_size=10)) == training_bytes(size(batch_size=1000))


def test_the_heap_has_no_holes_where_each_map_has_its_own_block():
    """A map of the first level has 32 MiB at 4 channels, and 30 of them are there at the peak."""
    below, above = (
        training_bytes(size(height=1024, width=1024, base_channels=channels)) for channels in (4, 5)
    )
    assert above < below


def test_parts_of_a_batch_have_smaller_maps():
    """Those of one part fit the heap, whose holes come on top; those of the batch do not."""
    whole, parts = (
        kept_and_worked_on(size(height=1024, width=1024, batch_size=4, n_parts=n)) for n in (1, 4)
    )
    assert parts > 1.2 * whole


def kept_and_worked_on(size: NetworkSize) -> int:
    return training_bytes(size) - 4 * (2 + size.n_parts) * size.n_parameters


def test_bytes_of_raft():
    """Frames of 440 x 1024: 55 x 128 cells, each with all, twice, both ways, in float32."""
    correlation = 2 * 2 * 4 * (55 * 128) ** 2
    encoder = {raft_large: 7 * 64 * 4 * 220 * 512, raft_small: 7 * 32 * 4 * 220 * 512}
    for build, n_bytes in encoder.items():
        small = build is raft_small
        size = 440, 1024
        assert raft_bytes(size, size, small=small, on_cpu=False) == correlation + n_bytes
        # Of larger frames the encoders see these.
        assert raft_bytes((880, 2048), size, small=small, on_cpu=False) == correlation + n_bytes
        first = build().feature_encoder.convnormrelu[0]
        assert 7 * 4 * first.out_channels * 220 * 512 == n_bytes and first.stride == (2, 2)
    odd, even = (435, 1019), (440, 1024)
    of_odd, of_even = (raft_bytes(s, s, small=True, on_cpu=False) for s in (odd, even))
    assert of_odd == of_even
    small, large = (1000, 1000), (2000, 1000)
    assert dis_bytes(small, small) == (100 + 120) * 10**6
    assert dis_bytes(large, large) == 2 * (100 + 120 // 4) * 10**6  # flow at half the size
    assert dis_bytes(large, small) == (2 * 100 + 120) * 10**6


def test_what_is_stated_and_the_warning(monkeypatch, capsys):
    monkeypatch.setattr(memory_statement, "held_memory", lambda: 1 * 10**9)
    monkeypatch.setattr(memory_statement, "free_memory", lambda device: 5 * 10**9)
    monkeypatch.setattr(memory_statement, "_LIBRARIES", 1 * 10**9)
    state_memory(torch.device("cpu"), 4 * 10**9, "do less", "a note")
    line = "memory on the cpu: 6.00 GB needed, 6.00 GB there; a note\n"
    assert capsys.readouterr() == (line, "")
    state_memory(torch.device("cuda"), 5 * 10**9 + 1, "do less")
    printed = capsys.readouterr()
    assert printed.out == "memory on the cuda: 5.00 GB needed, 5.00 GB there\n"
    assert printed.err == "warning: that is more than is free; if it fails, do less\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


# Not the resource module's peak: a new process begins with that of the one that started it.
MEASURED = """
import runpy, sys
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(open("/proc/self/status").read())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="not Linux")
@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("extract_optical_flow.py", ["--method=dis"]),
        ("extract_optical_flow.py", ["--small", "--models={}/raft.pth", "--iters=2"]),
        ("run_graph_module.py", ["--of_path={}/flow"]),
        ("main.py", ["--pseudo_gt_path={}/graph_1/iter_2"]),
    ],
)
def test_a_command_stays_within_what_it_says(script, flags, inputs, tmp_path):
    """At a tiny size, where nearly all is Python and PyTorch; docs/reliability.md has others."""
    common = [f"--frames_path={inputs}/frames", f"--config={inputs}/small.ini", "--device=cpu"]
    flags = [flag.format(inputs) for flag in flags]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(ROOT / script), *flags, *common,
         f"--out_path={tmp_path}"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (stated,) = re.findall(r"^memory on the cpu: ([\d.]+) GB needed", done.stdout, re.MULTILINE)
    (peak,) = re.findall(r"^VmHWM:\s*(\d+) kB$", done.stdout, re.MULTILINE)
    assert 1024 * int(peak) <= 1.2 * float(stated) * 10**9
