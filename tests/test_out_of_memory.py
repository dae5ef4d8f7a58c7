"""An allocation that fails in any of the three commands is one line with a remedy, status 2."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch
from commands import ROOT
from files import contents, results
from small_run import make_inputs

from graph_module import segmentation
from graph_module.motion_matrix import motion_matrix
from ike_data.runtime.errors import InputError
from ike_data.runtime.free_memory import free_memory
from ike_data.runtime.out_of_memory import cpu_is_full, gpu_is_full
from ike_data.tensor_files import load_tensors
from RAFT import DisFlow, RaftFlow

GPU = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]
CPU = [
    MemoryError(),
    RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes."),
]


def opencv_without_memory() -> Exception:
    error = cv2.error("OpenCV: error: (-4:Insufficient memory) Failed to allocate 9 bytes")
    error.code = -4
    return error


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("made"))


@pytest.fixture
def start(
    made, tmp_path, capsys, monkeypatch, pytests_own_ctrl_c
) -> Callable[..., tuple[object, list[str]]]:
    """Run a command as the shell does: exit status, and the lines on stderr that are no bars."""

    def run(script: str, *flags: str) -> tuple[object, list[str]]:
        common = [f"--frames_path={made}/frames", f"--config={made}/small.ini", "--device=cpu"]
        flags = tuple(flag.format(made) for flag in flags)
        path = str(ROOT / script)
        monkeypatch.setattr(sys, "argv", [path, *flags, *common, f"--out_path={tmp_path / 'out'}"])
        status: object = 0
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as ended:
            status = ended.code
        lines = capsys.readouterr().err.replace("\r", "\n").split("\n")
        return status, [line for line in lines if line.startswith(("error: ", "warning: "))]

    return run


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


DIS, RAFT = ["--method=dis"], ["--small", "--models={}/raft.pth"]


@pytest.mark.parametrize(
    ("script", "flags", "where", "error", "remedy"),
    [
        *(
            ("extract_optical_flow.py", DIS, (DisFlow, "flow_both_ways"), error, "frames smaller")
            for error in (*GPU, *CPU, opencv_without_memory())
        ),
        ("extract_optical_flow.py", RAFT, (RaftFlow, "encode"), CPU[1], "use --method dis"),
        ("extract_optical_flow.py", RAFT, (RaftFlow, "_update"), GPU[0], "(--max_side PIXELS)"),
        (
            *("run_graph_module.py", ["--of_path={}/flow"]),
            *((segmentation, "node_features"), GPU[1], "smaller working_h and working_w"),
        ),
        (
            *("main.py", ["--pseudo_gt_path={}/graph_1/iter_2"]),
            *((torch.optim.AdamW, "step"), CPU[2], "smaller batch_size"),
        ),
    ],
)
def test_an_allocation_that_fails(
    script, flags, where, error, remedy, start, monkeypatch, tmp_path
):
    monkeypatch.setattr(*where, raising(error))
    status, lines = start(script, *flags)
    (line,) = [line for line in lines if line.startswith("error: ")]
    assert status == 2 and remedy in line
    assert "memory" in line and ("use --device cpu, or" in line) == (error in GPU)
    assert not list((tmp_path / "out").rglob(".*"))


@pytest.mark.parametrize("error", [GPU[0], CPU[1]], ids=repr)
def test_the_graph_recomputes_its_links_where_its_plan_was_wrong(
    error, start, monkeypatch, tmp_path
):
    flags = "run_graph_module.py", "--of_path={}/flow"
    assert start(*flags) == (0, [])
    before = contents(tmp_path / "out")
    stored = []

    def build(*arguments, store_links, **settings):
        stored.append(store_links)
        if store_links:
            raise error
        return motion_matrix(*arguments, store_links=store_links, **settings)

    monkeypatch.setattr(segmentation, "motion_matrix", build)
    status, (warning,) = start(*flags)
    assert status == 0 and "recomputed in each iteration (links_memory = 0)" in warning
    assert stored == [True, False]
    after = results(contents(tmp_path / "out"))
    assert after.keys() == results(before).keys()
    for name in after:
        if name.endswith(".pt"):
            masks = [torch.load(tmp_path / "out" / name), torch.empty(0)]
            (tmp_path / "mask.pt").write_bytes(before[name])
            masks[1] = torch.load(tmp_path / "mask.pt")
            torch.testing.assert_close(*masks, atol=1e-5, rtol=0)


def test_which_memory_is_full():
    assert all(gpu_is_full(error) and not cpu_is_full(error) for error in GPU)
    full = [*CPU, opencv_without_memory()]
    assert all(cpu_is_full(error) and not gpu_is_full(error) for error in full)
    others = [RuntimeError("shapes"), ValueError("not enough memory"), cv2.error("x"), OSError(12)]
    assert not any(gpu_is_full(error) or cpu_is_full(error) for error in others)


def test_a_real_allocation_that_is_too_large():
    """What PyTorch of this release raises."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert cpu_is_full(caught.value)


def test_a_file_that_does_not_fit_is_named(tmp_path, monkeypatch):
    path = tmp_path / "00000.pt"
    torch.save(torch.zeros(2), path)
    monkeypatch.setattr(torch, "load", raising(CPU[1]))
    with pytest.raises(InputError) as caught:
        load_tensors(path, "make it again")
    assert str(caught.value) == (
        f"{path}: is damaged, or does not fit into the memory; make it again"
    )


def test_what_pytorch_keeps_on_a_gpu_is_free_for_it(monkeypatch):
    for name, n_bytes in (("memory_reserved", 700), ("memory_allocated", 300)):
        monkeypatch.setattr(torch.cuda, name, lambda device, n_bytes=n_bytes: n_bytes)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    assert free_memory(torch.device("cuda")) == 1400
