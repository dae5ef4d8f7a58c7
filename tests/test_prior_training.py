"""The training of the motion prior: batches, losses, and going on after an interruption."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ike_data.runtime.errors import InputError
from ike_tools.prior_training.batches import draw_batch, read_batch
from ike_tools.prior_training.losses import intersection_over_union, mask_loss
from ike_tools.prior_training.training import Plan, Training
from ike_tools.scenes.samples import SAMPLE_HEIGHT, SAMPLE_WIDTH
from ike_tools.scenes.shards import RECORD

CPU = torch.device("cpu")


@pytest.fixture
def shard() -> np.ndarray:
    """Samples whose right half is the object. It goes by (4, 1) to the next frame, and by (-2, -1)
    to the previous one; the rest does not move. The errors are 0.5 and 0.25."""
    records = np.zeros(4, RECORD)
    right = np.arange(SAMPLE_WIDTH) >= SAMPLE_WIDTH // 2
    for side, velocity in enumerate([(4, 1), (-2, -1)]):
        records["flows"][:, side] = np.multiply.outer(velocity, np.ones(SAMPLE_HEIGHT))[..., None]
        records["flows"][:, side] *= right
        records["errors"][:, side] = (0.5, 0.25)[side]
    records["mask"] = 255 * right
    return records


def test_a_sample_at_half_of_its_size_has_half_of_its_vectors(shard):
    batch = read_batch(list(shard), (SAMPLE_HEIGHT // 2, SAMPLE_WIDTH // 2))
    right = torch.tensor([2.0, 0.5])
    torch.testing.assert_close(batch.flows[0, 0, :, 30, 90], right)
    assert batch.errors[0, :, 30, 90].tolist() == [0.25, 0.125]
    assert batch.masks[0, 30].unique_consecutive().tolist() == [0, 1]


def test_flow_goes_with_the_mask_however_a_sample_is_turned(shard):
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(6):
        batch = draw_batch(rng, [shard], 16, (SAMPLE_HEIGHT, SAMPLE_WIDTH))
        for flows, errors, known, mask in zip(*batch, strict=True):
            moves = flows[0, 0] != 0
            assert (moves == (mask > 0)).float().mean() > 0.98  # all but at the rim
            u = flows[:, 0].sum((1, 2)) / moves.sum()
            object_is_right = bool(mask[:, -1].mean() > 0.5)
            assert bool(u[0] * u[1] < 0)
            is_exchanged = bool(errors[0, 0, 0] < errors[1, 0, 0])
            assert bool((u[0] > 0) == (object_is_right != is_exchanged))
            seen.add((object_is_right, is_exchanged, *known.tolist()))
    assert {sample[:2] for sample in seen} == {(a, b) for a in (True, False) for b in (True, False)}
    assert {sample[2:] for sample in seen} == {(True, True), (True, False), (False, True)}


def test_losses_of_a_mask_that_is_known():
    masks = torch.zeros(2, 100, 100)
    masks[0, :20] = 1
    half_too_large = torch.full((2, 100, 100), -20.0)
    half_too_large[0, :30] = 20.0
    assert intersection_over_union(half_too_large, masks).tolist() == pytest.approx([2 / 3, 1])
    # Cross-entropy: 20 in 1000 of 20000 pixels. Dice: 1 - (4000 + 10) / (5000 + 10), and none.
    expected = 20 * 0.05 + 0.5 * (1000 / 5010) / 2
    assert float(mask_loss(half_too_large, masks)) == pytest.approx(expected, rel=1e-3)


def test_an_interrupted_training_ends_as_one_that_was_not(shard, tmp_path: Path):
    plan = Plan(seed=1, n_samples=4, n_steps=3)
    whole = Training(plan, CPU)
    losses = list(whole.steps([shard]))

    first = Training(plan, CPU)
    assert next(first.steps([shard])) == losses[0]
    first.save(tmp_path / "checkpoint.pth")
    second = Training(plan, CPU)
    second.resume(tmp_path / "checkpoint.pth")
    assert list(second.steps([shard])) == losses[1:]
    for there, here in zip(whole.averaged.parameters(), second.averaged.parameters(), strict=True):
        assert torch.equal(there, here)

    other = Training(Plan(seed=2, n_samples=4, n_steps=3), CPU)
    with pytest.raises(InputError, match="another seed"):
        other.resume(tmp_path / "checkpoint.pth")
