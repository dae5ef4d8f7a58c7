"""The graph module against the numbers of the authors' own program."""

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import ROOT, call
from files import write_config
from ways import NEEDS_NUMBA

import run_graph_module
from graph_module import Execution, GraphSettings, iterations
from graph_module.working_flow import read_working_flow
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
def flows(shared):
    folder = shared / "reference" / "graph" / "of"
    return [read_working_flow(folder / name, N_FRAMES, SIZE, SIZE) for name in ("fwd_of", "bwd_of")]


# Every case in the way that is taken by default, and the widest in the other ways.
@pytest.mark.parametrize(
    ("case", "way"),
    [
        *((case, Execution()) for case in CASES),
        ("two_features", Execution(compiled=False)),
        ("two_features", Execution(compiled=False, store_links=False)),
        pytest.param("two_features", Execution(store_links=False), marks=NEEDS_NUMBA),
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
    found = {step.index: step.masks for step in steps if step.index in (0, 4, 19)}
    assert len(found) == 3
    check_masks(found, reference / f"{case}.npz")


def test_the_papers_settings_give_the_authors_masks(shared, tmp_path):
    """The command with configs/paper.ini, at the size of the reference."""
    reference = shared / "reference" / "graph"
    changes = dict(working_h=SIZE[0], working_w=SIZE[1], to_save_iterations="0, 19")
    config = write_config(tmp_path / "paper.ini", ROOT / "configs" / "paper.ini", **changes)
    call(
        *(run_graph_module, f"--frames_path={reference / 'frames'}", f"--config={config}"),
        *(f"--of_path={reference / 'of'}", f"--out_path={tmp_path / 'out'}"),
    )
    masks = [read_soft_masks(tmp_path / f"out/iter_{idx}", N_FRAMES, *SIZE) for idx in (0, 19)]
    check_masks(dict(zip((0, 19), masks, strict=True)), reference / "seed_random.npz")


def check_masks(found: dict[int, torch.Tensor], reference: Path) -> None:
    with np.load(reference) as expected:
        for idx, masks in found.items():
            difference = np.abs(masks.numpy() - expected[f"iter_{idx}"].astype(np.float32))
            assert difference.mean() <= 0.001, idx
            assert difference.max() <= 0.01, idx
