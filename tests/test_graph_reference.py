"""The graph module against the numbers of the authors' own program."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import run_graph_module
from graph_module import Execution, GraphSettings, iterations
from graph_module.compiled import AVAILABLE
from graph_module.working_flow import read_working_flow
from ike_data.command_line import PROJECT_CONFIG
from ike_data.soft_masks import read_feature_maps, read_soft_masks

N_FRAMES, SIZE = 14, (112, 208)
CASES = {  # folders of maps, and settings
    "seed_random": ((), GraphSettings()),
    "seed_uniform": ((), GraphSettings(seed_type=1)),
    "seed_gauss": ((), GraphSettings(seed_type=2, seed_sigma=0.3)),
    "one_feature": (("a",), GraphSettings()),
    "two_features": (
        ("a", "b"),
        GraphSettings(dir_features_half_chain_size=3, features_half_chain_size=2),
    ),
    "short_window": ((), GraphSettings(ridge=10.0, sigma=2.0)),
}


@pytest.fixture(scope="module")
def flows():
    folder = Path(__file__).resolve().parents[2] / "shared" / "reference" / "graph" / "of"
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}")
    return [read_working_flow(folder / name, N_FRAMES, SIZE, SIZE) for name in ("fwd_of", "bwd_of")]


# Every case in the way that is taken by default, and the widest in the other ways.
@pytest.mark.parametrize(
    ("case", "way"),
    [
        *((case, Execution()) for case in CASES),
        ("two_features", Execution(compiled=False)),
        ("two_features", Execution(compiled=False, store_links=False)),
        pytest.param(
            *("two_features", Execution(store_links=False)),
            marks=pytest.mark.skipif(not AVAILABLE, reason="numba is not installed"),
        ),
    ],
)
def test_masks_are_the_authors_masks(case, way, flows, shared):
    folders, settings = CASES[case]
    reference = shared / "reference" / "graph"
    maps = [read_feature_maps(reference / "features" / name, N_FRAMES, *SIZE) for name in folders]
    steps = iterations(
        *flows,
        feature_maps=torch.cat(maps, dim=-1).permute(0, 3, 1, 2) if maps else None,
        settings=settings,
        execution=way,
    )
    with np.load(reference / f"{case}.npz") as expected:
        found = {step.index: step.masks.numpy() for step in steps}
        for idx in (0, 4, 19):
            difference = np.abs(found[idx] - expected[f"iter_{idx}"].astype(np.float32))
            assert difference.mean() <= 0.001, idx
            assert difference.max() <= 0.01, idx


def test_the_papers_settings_give_the_authors_masks(shared, tmp_path, monkeypatch):
    """The command with configs/paper.ini, at the size of the reference."""
    reference = shared / "reference" / "graph"
    paper = (PROJECT_CONFIG.parent / "configs" / "paper.ini").read_text()
    for key, value in (("working_h = 224", "working_h = 112"), ("416", "208"), ("-1, 19", "0, 19")):
        assert paper.count(key) == 1
        paper = paper.replace(key, value)
    (tmp_path / "paper.ini").write_text(paper)
    flags = {
        "frames_path": reference / "frames",
        "of_path": reference / "of",
        "out_path": tmp_path / "out",
        "config": tmp_path / "paper.ini",
    }
    arguments = ["run_graph_module.py", *(f"--{flag}={path}" for flag, path in flags.items())]
    monkeypatch.setattr(sys, "argv", arguments)
    run_graph_module.main()
    with np.load(reference / "seed_random.npz") as expected:
        for idx in (0, 19):
            masks = read_soft_masks(tmp_path / "out" / f"iter_{idx}", N_FRAMES, *SIZE)
            difference = np.abs(masks.numpy() - expected[f"iter_{idx}"].astype(np.float32))
            assert difference.mean() <= 0.001
            assert difference.max() <= 0.01
