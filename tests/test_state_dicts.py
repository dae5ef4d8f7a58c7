"""ike_data.state_dicts on files as training scripts and other libraries save them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from files import RunsCode
from torch.optim.swa_utils import AveragedModel

from ike_data.runtime.errors import InputError
from ike_data.state_dicts import read_state_dict


def network(seed: int) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))


def step(model: torch.nn.Module) -> torch.optim.Optimizer:
    """An optimiser that has tensors of its own."""
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.rand(2, 2, 5, 5)).sum().backward()
    optimiser.step()
    return optimiser


def training_checkpoint(key: str) -> dict[str, object]:
    """What a training script saves of network(1), its weights under ``key``."""
    model = network(1)
    return {
        "epoch": 7,
        "optimizer": step(model).state_dict(),
        "args": argparse.Namespace(lr=np.float64(1e-3), out=Path("runs") / "a", stages=[1, 2]),
        "best": np.float32(0.5),
        "numpy_rng": np.random.get_state(),
        "rng": torch.get_rng_state(),
        key: network(1).state_dict(),
    }


def named(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in weights.items()}


def saved(path: Path, content: object, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def is_network(weights: dict[str, torch.Tensor], seed: int) -> bool:
    expected = network(seed).state_dict()
    return weights.keys() == expected.keys() and all(
        torch.equal(weights[name], expected[name]) for name in expected
    )


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_state_dict(path, "give another")
    text = str(error.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", ["state_dict", "model", "net", "raft of the third stage"])
def test_the_checkpoint_of_a_training(tmp_path, capsys, key, legacy):
    path = saved(tmp_path / "a.pth", training_checkpoint(key), legacy)
    assert is_network(read_state_dict(path, "give another"), 1)
    assert capsys.readouterr().out == ""
    with pytest.raises(Exception, match="weights_only"):  # nothing is allowed for longer
        torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "_orig_mod.", "model.", "net.", "module._orig_mod.", "model.module.model."],
)
def test_prefixes_of_wrappers(tmp_path, prefix):
    weights = named(network(1).state_dict(), prefix)
    for content in (weights, {"state_dict": weights}):
        assert is_network(read_state_dict(saved(tmp_path / "a.pth", content), ""), 1)


def test_wrappers_of_pytorch_itself(tmp_path):
    model = network(1)
    for wrapped in (
        torch.compile(model),
        torch.nn.DataParallel(model),
        AveragedModel(model),
        torch.nn.DataParallel(torch.compile(AveragedModel(model))),
    ):
        assert not is_network(wrapped.state_dict(), 1)
        path = saved(tmp_path / "a.pth", wrapped.state_dict())
        assert is_network(read_state_dict(path, ""), 1)


@pytest.mark.parametrize("mean", ["state_dict_ema", "model_ema", "ema"])
def test_the_running_mean_goes_before_the_last_weights_and_is_named(tmp_path, capsys, mean):
    checkpoint = {
        "state_dict": network(1).state_dict(),
        mean: named(network(2).state_dict(), "module."),
        "head": network(3).state_dict(),
    }
    path = saved(tmp_path / "a.pth", checkpoint)
    assert is_network(read_state_dict(path, ""), 2)
    expected = f"{path}: holds state_dict, {mean}, head; the weights are those of {mean}\n"
    assert capsys.readouterr().out == expected


def test_what_cannot_be_told_apart_is_named(tmp_path):
    path = tmp_path / "a.pth"
    first, second = network(1).state_dict(), network(2).state_dict()
    saved(path, {"student": first, "teacher": second, "epoch": 3})
    assert refusal(path).startswith("holds several networks (student, teacher); save the state")
    saved(path, named(first, "model.") | named(second, "net."))
    assert refusal(path).startswith("holds several networks (model.0.weight, net.0.weight); save")


def test_a_file_without_weights_says_what_it_holds(tmp_path):
    path = tmp_path / "a.pth"
    checkpoint = training_checkpoint("state_dict")
    del checkpoint["state_dict"]
    saved(path, checkpoint)
    held = "epoch, optimizer, args, best, numpy_rng, rng"
    assert refusal(path) == f"holds {held}, not a state dict; give another"
    saved(path, {"two\nlines": 1, (3, 4): 2, **dict.fromkeys("abcdefgh", 0)})
    assert refusal(path).startswith(
        r"holds 'two\nlines', (3, 4), a, b, c, d, e, f, ... (10 in all)"
    )
    for content, what in (({}, "nothing"), (torch.zeros(2), "a Tensor"), ([1], "a list")):
        assert refusal(saved(path, content)) == f"holds {what}, not a state dict; give another"


@pytest.mark.parametrize("place", ["args", "inside args", "beside the weights", "model"])
def test_code_is_not_run_wherever_it_stands(tmp_path, place):
    made = tmp_path / "made by the file"
    code = RunsCode(made)
    checkpoint = {
        "args": {"args": code},
        "inside args": {"args": argparse.Namespace(out=[code])},
        "beside the weights": code,
        "model": torch.nn.Sequential(),
    }[place]
    path = saved(tmp_path / "a.pth", {"state_dict": network(1).state_dict(), "it": checkpoint})
    of_model, of_code = "torch.nn.modules.container.Sequential", f"{os.mkdir.__module__}.mkdir"
    culprit = of_model if place == "model" else of_code
    assert f"holds more than tensors ({culprit}), and was not loaded" in refusal(path)
    assert not made.exists()
    torch.load(path, weights_only=False)
    assert made.exists() == (place != "model")  # the trap works


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_safetensors_by_suffix_and_by_content(tmp_path, name):
    path = tmp_path / name
    safetensors.torch.save_file(named(network(1).state_dict(), "module."), path)
    assert is_network(read_state_dict(path, ""), 1)
    safetensors.torch.save_file({"0.weight": torch.zeros(2, dtype=torch.complex64)}, path)
    assert refusal(path).startswith("0.weight is not a dense tensor of real numbers")


def test_damaged_safetensors(tmp_path):
    path = tmp_path / "a.safetensors"
    whole = safetensors.torch.save(network(1).state_dict())
    for damaged in (whole[:-1], whole[:30], b"", b"{}", whole.replace(b"F32", b"F99")):
        path.write_bytes(damaged)
        assert refusal(path).startswith("is damaged (")
    path.unlink()
    assert refusal(path) == "is missing; give another"
