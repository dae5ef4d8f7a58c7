"""Frames whose masks are of the background, in videos and masks that are known."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from commands import call
from files import write_flow_folders, write_frames
from small_run import small_config

import run_graph_module
from graph_module import Execution, GraphSettings, iterations, run, segment
from graph_module.extensions.appearance import Appearance
from graph_module.extensions.bootstrap import Bootstrap
from graph_module.extensions.polarity import Polarity, contrast, inverted_frames, likeness
from ike_data.soft_masks import write_feature_maps

HEIGHT, WIDTH, N_FRAMES, JUMP = 32, 80, 26, 18
Y, X = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")


def disc(radius, x=WIDTH // 2, y=HEIGHT // 2):
    return (Y - y) ** 2 + (X - x) ** 2 < radius**2


def rectangle(share):
    """Of the frame's area, in its middle."""
    half = share**0.5 / 2
    return ((Y + 0.5) / HEIGHT - 0.5).abs().maximum(((X + 0.5) / WIDTH - 0.5).abs()) < half


def overlap(masks, truth):
    hard = masks >= 0.5
    return (hard & truth).sum((1, 2)) / (hard | truth).sum((1, 2))


def turning_video(seen):
    """Flows, frames and masks of a disc in the middle of the frame, from JUMP on at its right edge.

    The camera pans. The central seed is dark at the edge, so the masks begin as the opposite there,
    and few links lead to the edge. ``seen``: the flow shows the disc at the edge, too.
    """
    generator = torch.Generator().manual_seed(0)
    truth = torch.stack([disc(6, WIDTH // 2 if idx < JUMP else 75) for idx in range(N_FRAMES)])
    fwd, bwd = 0.05 * torch.randn(2, N_FRAMES - 1, 2, HEIGHT, WIDTH, generator=generator)
    fwd[:, 0] -= 2
    bwd[:, 0] += 2
    shown = truth.clone()
    shown[JUMP:] &= seen
    fwd[:, 0][shown[:-1]] = 0
    bwd[:, 0][shown[1:]] = 0
    noise = torch.randint(0, 40, (N_FRAMES, 3, HEIGHT, WIDTH), generator=generator)
    return fwd, bwd, (noise + 150 * truth[:, None]).to(torch.uint8), truth


def settings(**changes):
    extended = dataclasses.replace(
        GraphSettings.with_extensions(), seed_type=2, n_iterations=2, half_window=4, bootstrap=None
    )
    return dataclasses.replace(extended, motion_prior=None, refinement=None, **changes)


@pytest.mark.parametrize("known", [False, True])
def test_the_last_frames_turn(known):
    """In the first graph, and in one that is given the object's masks."""
    fwd, bwd, _, truth = turning_video(seen=not known)
    maps = 0.9 * truth[:, None].float() + 0.05 if known else None
    given = settings().for_known_masks() if known else settings()
    turned = segment(
        fwd, bwd, feature_maps=maps, settings=dataclasses.replace(given, polarity=None)
    )
    last = slice(JUMP + 1, None)  # in frame JUMP the masks are where the disc was before
    assert (turned[last] >= 0.5).float().mean((1, 2)).min() > 0.9
    masks = segment(fwd, bwd, feature_maps=maps, settings=given)
    assert torch.equal(masks[:JUMP], turned[:JUMP])
    assert overlap(masks[:JUMP], truth[:JUMP]).min() > 0.7
    assert overlap(masks[last], truth[last]).min() > 0.7


def test_a_pass_learns_from_frames_that_were_inverted():
    fwd, bwd, video, truth = turning_video(seen=True)
    given = settings(bootstrap=Bootstrap(1, appearance=Appearance(n_fourier=100)))
    steps = list(iterations(fwd, bwd, video=video, settings=given, execution=Execution()))
    assert [step.inverted.any().item() for step in steps] == [False, False, True, True]
    assert steps[2].inverted[JUMP + 1 :].all() and not steps[2].inverted[:JUMP].any()
    assert overlap(steps[1].masks, truth)[JUMP + 1 :].max() < 0.1
    assert overlap(steps[3].masks, truth)[JUMP + 1 :].min() > 0.7


def found(truth, evidence, turned=()):
    """The frames that are inverted, of masks of which some are the opposite of ``truth``."""
    masks = torch.stack([~mask if idx in turned else mask for idx, mask in enumerate(truth)])
    soft = 0.1 + 0.8 * masks.float()
    return inverted_frames([evidence.float()], soft).nonzero()[:, 0].tolist()


@pytest.mark.parametrize("share", [0.02, 0.6])
@pytest.mark.parametrize("turned", [(), (5,), (8, 9, 10, 11), range(3), range(12)])
def test_small_and_large_objects(share, turned):
    truth = rectangle(share).expand(12, HEIGHT, WIDTH)
    assert found(truth, 0.6 * truth, turned) == list(turned)


def test_an_object_that_moves_by_more_than_its_size():
    truth = torch.stack([disc(3, 5 + 8 * idx, 6 + 2 * idx) for idx in range(9)])
    assert found(truth, 0 * truth) == []
    moving = truth.clone()
    moving[4:] = False  # nothing moves: what is like the frames before is right
    for turned in ([4], [3, 4, 5], [7, 8]):
        assert found(truth, 0.6 * moving, turned) == turned


def test_an_object_that_grows_quickly_stays():
    """Though the evidence is of the background while it is near, as where flow is unusable."""
    shares = [0.05, 0.07, 0.1, 0.2, 0.45, 0.85, *[0.9] * 8, 0.14, 0.1, 0.07, 0.05, 0.04, 0.03]
    truth = torch.stack([rectangle(share) for share in shares])
    near = torch.tensor(shares).view(-1, 1, 1) > 0.4
    evidence = torch.where(near, 0.4 * ~truth, 0.6 * truth)
    assert contrast(evidence, truth.float())[6:13].max() < -0.35
    assert found(truth, evidence) == []


def test_without_evidence_nothing_is_inverted():
    truth = disc(6).expand(6, HEIGHT, WIDTH)
    noise = 0.3 * torch.rand(6, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    for turned in ((), (2,), range(6)):
        assert found(truth, torch.zeros(6, HEIGHT, WIDTH), turned) == []
        assert found(truth, noise, turned) == []
    for nothing in (torch.zeros(6, HEIGHT, WIDTH), torch.ones(6, HEIGHT, WIDTH)):
        assert not inverted_frames([0.6 * truth.float()], nothing).any()


def test_a_video_without_motion_stays():
    generator = torch.Generator().manual_seed(0)
    for size in (0, 0.05):
        fwd, bwd = size * torch.randn(2, 7, 2, HEIGHT, WIDTH, generator=generator)
        masks = segment(fwd, bwd, settings=settings())
        assert torch.equal(masks, segment(fwd, bwd, settings=settings(polarity=None)))


def test_evidence_adds_up():
    """A network's masks are sharper than saliency, and count for more where the two disagree."""
    truth = disc(6).expand(4, HEIGHT, WIDTH).float()
    wrong = 0.5 * (1 - truth)
    assert inverted_frames([wrong], truth).all()
    assert not inverted_frames([wrong, 0.9 * truth], truth).any()
    assert inverted_frames([wrong, 0.9 * truth], 1 - truth).all()


def test_contrast_and_likeness_by_hand():
    masks = torch.zeros(4, 16, 16)
    masks[:2, :4] = 0.5  # a quarter of the frame: inside
    masks[2, 4:] = 0.8  # the opposite
    masks[3] = 0.4  # nothing
    evidence = 0.2 + 0.5 * (masks[0] >= 0.5).expand(4, 16, 16)
    torch.testing.assert_close(contrast(evidence, masks), torch.tensor([0.5, 0.5, -0.5, 0]))
    assert contrast(100 * evidence, masks).tolist() == [0, 0, 0, 0]  # clamped to 1
    expected = torch.tensor([1 + 1, -1 - 1, 0 + (1 - 2 * 0.75) ** 3])
    torch.testing.assert_close(likeness(masks), expected)
    masks[1] = 0
    masks[1, :8] = 1  # twice as large: r = (1/4 - 1/8) / sqrt(3/16 * 1/4), d = 1/4
    expected = torch.tensor(0.125 / (3 / 64) ** 0.5 + 0.5**3)
    torch.testing.assert_close(likeness(masks)[0], expected)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_all_choices(seed):
    generator = torch.Generator().manual_seed(seed)
    masks, evidence = torch.rand(2, 7, 3, 4, generator=generator)
    given = Polarity(least_contrast=0.0, neighbour=0.5)
    contrasts, links = contrast(evidence, masks), 0.5 * likeness(masks)
    choices = torch.tensor(list(itertools.product((1.0, -1.0), repeat=7)))
    sums = choices @ contrasts + (choices[:, 1:] * choices[:, :-1]) @ links
    best = choices[sums.argmax()] < 0
    assert best.any() and not best.all()
    assert torch.equal(inverted_frames([evidence], masks, given), best)


def run_command(folder, fwd, bwd, video, maps=()):
    write_frames(folder / "frames", video.permute(0, 2, 3, 1).numpy())
    write_flow_folders(folder, *(flow.permute(0, 2, 3, 1).numpy() for flow in (fwd, bwd)))
    config = small_config(
        folder,
        **dict(working_h=HEIGHT, working_w=WIDTH, seed_type=2, n_iterations=2),
        **dict(to_save_iterations=1, bootstrap_passes=0, refinement="no"),
        ike_features_paths="".join(f"\n    {path}" for path in maps),
    )
    call(
        *(run_graph_module, "--frames_path", folder / "frames", "--of_path", folder),
        *("--out_path", folder / "out", "--config", config, "--device", "cpu"),
    )


def test_the_command_names_the_frames_that_it_inverts(tmp_path, capsys):
    fwd, bwd, video, _ = turning_video(seen=True)
    run_command(tmp_path, fwd, bwd, video)
    told = capsys.readouterr()
    assert f"frames {JUMP + 1} to {N_FRAMES - 1}: the masks are of the background" in told.out
    assert "warning" not in told.err


def test_the_command_names_the_frames_where_masks_jump(monkeypatch, tmp_path, capsys):
    """Evidence and neighbours contradict each other; here neighbours do not count."""
    monkeypatch.setattr(run, "Polarity", lambda: Polarity(neighbour=0.0))
    fwd, bwd, video, truth = turning_video(seen=False)
    maps = truth[..., None].float()
    write_feature_maps(tmp_path / "two", torch.zeros(N_FRAMES, HEIGHT, WIDTH, 2))  # no masks
    write_feature_maps(tmp_path / "known", torch.cat([maps[:22], 1 - maps[22:]]))
    folders = [tmp_path / "two", tmp_path / "known"]
    run_command(tmp_path, fwd, bwd, video, folders)
    assert "from frame 21 to 22 the masks become something else" in capsys.readouterr().err
