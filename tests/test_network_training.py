"""Learning, prediction and main.py on tiny videos."""

from __future__ import annotations

import copy
import csv
import math
import re
import shutil
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from commands import ROOT, call
from files import contents, write_config, write_frames
from PIL import Image

import main
import network_module
from ike_data.config import read_config
from ike_data.frames import open_frames
from ike_data.guided_filter import follow_edges
from ike_data.runtime.errors import InputError
from ike_data.working_frames import read_working_frames
from network_module import Settings, learn, precision, predict, run
from network_module.batches import shuffled_batches
from network_module.extensions.augmentation import colour_jitter, flip_some
from network_module.extensions.frame_agreement import FrameAgreement, overlaps
from network_module.extensions.half_size import HalfSize, n_half_size_passes
from network_module.extensions.prior_bias import start_from_prior
from network_module.identity import Identity
from network_module.losses import cross_entropy, dice
from network_module.precision import use_bf16
from network_module.training import EpochLosses, Training, train
from network_module.unet import UNet, seeded_unet

RECORDS = "config.ini", "frames.csv", "log.csv"  # beside the results
CPU = torch.device("cpu")


def square_video(n_frames: int, height: int = 32, width: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """A bright square on noise: uint8 [n, H, W, 3], and its masks, 0 or 1, float32 [n, H, W]."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 120, (n_frames, height, width, 3), dtype=np.uint8)
    masks = np.zeros((n_frames, height, width), dtype=np.float32)
    for idx in range(n_frames):
        top, left = height // 4 + idx, width // 8 + 3 * idx
        masks[idx, top : top + height // 3, left : left + width // 3] = 1
    frames[masks == 1] += 110
    return frames, masks


def square_tensors(n_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    frames, masks = square_video(n_frames)
    return torch.from_numpy(frames).permute(0, 3, 1, 2), torch.from_numpy(masks)


def paper(**changes) -> Settings:
    """The paper's settings, but for a tiny network, which learns faster."""
    tiny = dict(n_epochs=1, base_channels=2, learning_rate=0.01, mixed_precision="no")
    return Settings.paper(**(tiny | changes))


def train_all(network: torch.nn.Module, *data: torch.Tensor, **changes) -> list[EpochLosses]:
    settings = paper(**changes)
    return list(train(Training.of(network, settings), *data, settings))


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().cpu() for parameter in network.parameters()])


# --------------------------------------------------------------------------- learning, prediction


def test_overfits_a_tiny_video():
    frames, masks = square_tensors(4)
    network = seeded_unet(4, seed=0)
    losses = train_all(network, frames, masks, n_epochs=30, learning_rate=5e-3)
    assert losses[-1].total < 0.2 * losses[0].total
    predicted = predict(network, frames, paper())
    assert predicted.dtype == torch.float32
    assert predicted.shape == masks.shape
    for p, t in zip(predicted.numpy() >= 0.5, masks.numpy() == 1, strict=True):
        assert (p & t).sum() / (p | t).sum() > 0.95


def test_prediction_is_the_object_channel_of_each_frame_in_order():
    frames, _ = square_tensors(5)
    network = seeded_unet(2, seed=0)
    predicted = predict(network, frames, paper(batch_size=2))
    for frame, p in zip(frames, predicted, strict=True):
        background, object_ = network(frame[None] / 255)[0].detach().double()
        torch.testing.assert_close(
            p.double(), 1 / (1 + (background - object_).exp()), atol=1e-5, rtol=0
        )


def weights_after_training(seed: int, device: str | None = None) -> torch.Tensor:
    settings = paper(n_epochs=2, batch_size=2, seed=seed)
    network = seeded_unet(2, seed=3)
    return weights(learn(*square_tensors(5), settings, device=device, network=network))


def test_same_seed_same_weights_whatever_the_global_state(capfd):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = weights_after_training(seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(first, weights_after_training(seed=5))
    # The initial weights are the same here: it is the order of the frames that differs.
    assert not torch.equal(first, weights_after_training(seed=6))
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_same_seed_same_weights_on_cuda():
    first, second = (weights_after_training(5, "cuda") for _ in range(2))
    assert torch.equal(first, second)


def test_the_example_of_the_package_runs():
    example = textwrap.dedent(network_module.__doc__.split("`extensions`.\n")[1].split("``Se")[0])
    found: dict = {}
    exec(example, found)
    masks = found["better_masks"]
    assert masks.shape == found["masks"].shape and masks.min() >= 0 and masks.max() <= 1


def test_defaults_are_those_of_the_projects_files():
    for name, settings in (("config.ini", Settings()), ("configs/paper.ini", Settings.paper())):
        assert run.settings_of(read_config(ROOT / name).network_module) == settings


@pytest.mark.parametrize(
    ("build", "name", "value"),
    [
        *((Settings, "n_epochs", 0), (Settings, "batch_size", 2.5), (Settings, "seed", -1)),
        *((Settings, "base_channels", 513), (Settings, "passes_per_epoch", -1)),
        *((Settings, "learning_rate", math.nan), (Settings, "learning_rate", 0)),
        *((Settings, "colour_jitter", 1.0), (Settings, "mixed_precision", "bf16")),
        (Settings, "half_size", 0.5),
        (Settings, "frame_agreement", True),
        *((HalfSize, "share", 0), (HalfSize, "share", 1.1), (HalfSize, "least_side", 0)),
        (HalfSize, "full_size_rate", -1),
    ],
)
def test_settings_out_of_range_are_named(build, name, value):
    with pytest.raises(ValueError, match=rf"^{build.__name__}\.{name} should be .*got {value!r}"):
        build(**{name: value})


def test_data_that_cannot_be_learnt_from_are_named():
    video, masks = square_tensors(2)
    for bad, match in (
        (video.float(), "video should be a uint8 tensor, got torch.float32"),
        (video.numpy(), "video should be a uint8 tensor, got ndarray"),
        (video[:, :2], r"video should have shape \[n, 3, H, W\], got \[2, 2, 32, 48\]"),
        (video[:0], r"video should have shape .*got \[0, 3"),
    ):
        for use in (lambda bad=bad: learn(bad, masks), lambda bad=bad: predict(UNet(1), bad)):
            with pytest.raises(ValueError, match=match):
                use()
    for bad, match in (
        (masks.bool(), "masks should be a float tensor, got torch.bool"),
        (masks[:1], r"masks should have shape \[2, 32, 48\] as the video, got \[1, 32, 48\]"),
        (masks * 2, r"masks should be in \[0, 1\]"),
        (masks * math.nan, r"masks should be in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=match):
            learn(video, bad)
    for device in ("gpu", "cuda:99"):
        with pytest.raises(ValueError, match=r"^device: "):
            learn(video, masks, device=device)


def test_arguments_of_another_kind_are_named():
    video, masks = square_tensors(2)
    others, message = HalfSize(), "settings should be network_module's Settings, got HalfSize"
    with pytest.raises(ValueError, match=message):
        learn(video, masks, others)
    with pytest.raises(ValueError, match=message):
        predict(UNet(1), video, others)
    with pytest.raises(ValueError, match=r"network should be a torch\.nn\.Module, .* got str"):
        predict("epoch_00005.pth", video)


def test_every_epoch_has_its_own_order():
    generator = torch.Generator().manual_seed(0)
    orders = [torch.cat(shuffled_batches(20, 3, generator)).tolist() for _ in range(3)]
    assert orders[0] != orders[1] != orders[2]


def pixelwise_model() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Conv2d(3, 2, kernel_size=1)


def test_epoch_loss_is_the_mean_over_frames_of_unequal_batches():
    frames, masks = square_tensors(5)
    model = pixelwise_model()
    with torch.no_grad():
        alone = [
            (cross_entropy(logits, mask[None]).item(), dice(logits, mask[None]).item())
            for logits, mask in (
                (model(f[None] / 255), m) for f, m in zip(frames, masks, strict=True)
            )
        ]
    (loss,) = train_all(model, frames, masks, learning_rate=1e-12)  # batches of 3 and 2
    expected = np.mean(alone, axis=0)
    assert loss.cross_entropy == pytest.approx(expected[0], abs=1e-6)
    assert loss.dice == pytest.approx(expected[1], abs=1e-6)
    assert loss.total == pytest.approx(expected.sum(), abs=1e-6)


def test_a_training_step_is_adamw():
    frames, masks = square_tensors(3)
    model = pixelwise_model()
    logits = model(frames / 255)
    gradients = torch.autograd.grad(
        cross_entropy(logits, masks) + dice(logits, masks), list(model.parameters())
    )
    # Adam's first step is g / (|g| + eps); the decay, 0.01, is taken off the weights themselves.
    expected = [
        p.detach() * (1 - 0.05 * 0.01) - 0.05 * g / (g.abs() + 1e-8)
        for p, g in zip(model.parameters(), gradients, strict=True)
    ]
    train_all(model, frames, masks, learning_rate=0.05)
    for p, value in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.detach(), value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_frames", [1, 2])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_constant_label_and_few_frames_train(n_frames, label):
    frames, masks = square_tensors(n_frames)
    masks.fill_(label)
    network = seeded_unet(2, seed=0)
    losses = train_all(network, frames, masks, n_epochs=4)
    assert all(np.isfinite(loss).all() for loss in losses)
    assert losses[-1].total < losses[0].total
    assert torch.isfinite(predict(network, frames, paper())).all()


def test_training_stops_at_a_loss_that_is_not_finite():
    data = square_tensors(3)  # one batch an epoch; the first epoch's loss is finite
    with pytest.raises(ValueError, match=r"^learning_rate = 1e\+30: training diverged in epoch 2,"):
        learn(*data, paper(n_epochs=9, learning_rate=1e30))


def test_bf16_learns_the_same():
    """Roughly: the deepest maps of such frames are 2 x 2 values, whose norm magnifies rounding."""
    frames, masks = square_tensors(4)
    losses, predictions = [], []
    for bf16 in ("no", "yes"):
        settings = dict(n_epochs=5, learning_rate=1e-3, mixed_precision=bf16)
        network = seeded_unet(8, seed=0)
        losses.append(train_all(network, frames, masks, **settings)[-1].total)
        predictions.append(predict(network, frames, paper(mixed_precision=bf16)))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert all(p.dtype == torch.float32 for p in predictions)
    assert ((predictions[0] >= 0.5) == (predictions[1] >= 0.5)).float().mean() > 0.9


# ------------------------------------------------------------------------- what is not the paper's


def test_flips_mirror_a_frame_with_its_mask():
    ramp = torch.arange(4.0).expand(64, 3, 2, 4)  # [64, 3, 2, 4]
    frames, masks = flip_some(ramp, ramp[:, 0], torch.Generator().manual_seed(0))
    assert torch.equal(frames[:, 0], masks)
    flipped = [mask[0].tolist() == [3, 2, 1, 0] for mask in masks]
    assert all(
        flip or mask[0].tolist() == [0, 1, 2, 3] for flip, mask in zip(flipped, masks, strict=True)
    )
    assert 16 < sum(flipped) < 48


def test_colour_jitter_scales_the_brightness_of_a_frame():
    """On a plain grey frame contrast and saturation change nothing."""
    frames = torch.full((200, 3, 2, 3), 0.5)
    changed = colour_jitter(frames, 0.4, torch.Generator().manual_seed(0))
    values = changed.flatten(1)  # [200, 18]
    torch.testing.assert_close(values, values[:, :1].expand_as(values))
    assert 0.3 <= values.min() < 0.32 and 0.68 < values.max() <= 0.7


def test_colour_jitter_turns_no_colour_around():
    frames, _ = square_tensors(3)
    changed = colour_jitter(frames / 255, 0.3, torch.Generator().manual_seed(0))
    assert changed.min() >= 0 and changed.max() <= 1
    for before, after in zip(frames.float(), changed, strict=True):
        correlation = np.corrcoef(before.mean(0).flatten(), after.mean(0).flatten())[0, 1]
        assert correlation > 0.9


ALL_AT_HALF_SIZE = HalfSize(share=1, least_side=1)
HALF_AT_HALF_SIZE = HalfSize(share=0.5, least_side=1)


@pytest.mark.parametrize(
    ("n_frames", "batch_size", "n_steps"), [(1, 1, 30), (4, 3, 30), (32, 2, 32), (70, 2, 35)]
)
def test_of_a_short_video_an_epoch_has_several_passes(n_frames, batch_size, n_steps):
    """30 steps or the first whole pass after them; the last batch of a pass may be smaller."""
    settings = paper(n_epochs=2, passes_per_epoch=0, batch_size=batch_size, half_size=None)
    training = Training.of(seeded_unet(1, seed=0), settings)
    steps = []
    training.optimiser.register_step_pre_hook(lambda *_: steps.append(training.epoch))
    list(train(training, *square_tensors(n_frames), settings))
    assert steps == [0] * n_steps + [1] * n_steps


@pytest.mark.parametrize("half_size", [None, HALF_AT_HALF_SIZE])
def test_the_learning_rate_falls_along_half_a_cosine(half_size):
    """4 passes of 2 batches, all at full size, or 2 of them at half size: two half cosines."""
    settings = paper(
        **dict(n_epochs=2, passes_per_epoch=2, batch_size=1, learning_rate=0.08),
        **dict(cosine_decay=True, half_size=half_size),
    )
    rates = []
    training = Training.of(seeded_unet(1, seed=0), settings)
    training.optimiser.register_step_pre_hook(
        lambda optimiser, *_: rates.append(optimiser.param_groups[0]["lr"])
    )
    list(train(training, *square_tensors(2), settings))
    # cos 0, 45, 90 and 135 degrees, between 1 and -1, brought between 1 and 0.
    falling = [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    if half_size is None:
        assert rates[::2] == pytest.approx([0.08 * f for f in falling])
    else:
        assert rates == pytest.approx([0.08 * f for f in falling] + [0.02 * f for f in falling])


def test_an_epoch_of_several_passes_is_several_epochs():
    data = square_tensors(5)
    one, several = (seeded_unet(2, seed=0) for _ in range(2))
    (loss,) = train_all(one, *data, batch_size=2, passes_per_epoch=3)
    losses = train_all(several, *data, batch_size=2, n_epochs=3)
    assert loss.total == pytest.approx(np.mean([loss.total for loss in losses]), abs=1e-5)
    assert torch.equal(weights(one), weights(several))


def test_half_size_passes_learn_from_means_of_four_pixels():
    data = square_tensors(4)  # even sizes
    blocks = [t.float().unflatten(-2, (-1, 2)).unflatten(-1, (-1, 2)) for t in data]
    small = [t.mean(dim=(-3, -1)) for t in blocks]
    (at_half_size,) = train_all(
        seeded_unet(2, seed=0), *data, batch_size=2, half_size=ALL_AT_HALF_SIZE
    )
    (expected,) = train_all(seeded_unet(2, seed=0), *small, batch_size=2)
    assert at_half_size == pytest.approx(expected, rel=1e-3)


def test_the_last_passes_learn_at_full_size():
    sizes = []
    network = seeded_unet(1, seed=0)
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape[-2:])))
    train_all(
        *(network, *square_tensors(2)),
        **dict(n_epochs=3, passes_per_epoch=2, half_size=HALF_AT_HALF_SIZE),
    )
    assert sizes == [(16, 24)] * 3 + [(32, 48)] * 3


@pytest.mark.parametrize("agreement", [None, FrameAgreement()])
def test_a_frame_that_the_network_contradicts_is_not_learnt_from_at_full_size(agreement):
    """Its label is of the background."""
    frames, masks = square_tensors(6)
    masks[4] = 1 - masks[4]
    settings = paper(
        **dict(passes_per_epoch=10, batch_size=1, base_channels=4, cosine_decay=True),
        **dict(half_size=HalfSize(share=0.9, least_side=1), frame_agreement=agreement),
    )
    network = seeded_unet(4, seed=0)
    sizes = []
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[-1]))
    training = Training.of(network, settings)
    list(train(training, frames, masks, settings))
    if agreement is None:
        assert training.agreeing is None
        assert sizes == 9 * 6 * [24] + 6 * [48]
        return
    assert training.agreeing.tolist() == [True, True, True, True, False, True]
    assert sizes == (9 + 1) * 6 * [24] + 5 * [48]  # it is asked once, of each frame
    other = Training.of(seeded_unet(4, seed=1), settings)
    other.load_state(training.state())
    assert torch.equal(other.agreeing, training.agreeing)


def test_overlap_is_intersection_over_union():
    rows = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 1, 1]], [[0, 0, 0, 0]], [[0, 0, 0, 0]]]) == 1
    others = torch.tensor([[[0, 1, 1, 0]], [[0, 0, 1, 1]], [[0, 0, 0, 1]], [[0, 0, 0, 0]]]) == 1
    assert overlaps(rows, others).tolist() == pytest.approx([1 / 3, 1, 0, 1])


@pytest.mark.parametrize(
    ("share", "n_passes", "least_side", "expected"),
    [
        *((None, 5, 16, 0), (0.8, 5, 16, 4), (0.8, 1, 16, 0)),
        *((0.29, 100, 16, 29), (0.9, 40, 16, 36), (0.9, 40, 17, 0)),
    ],
)
def test_number_of_half_size_passes(share, n_passes, least_side, expected):
    half_size = share and HalfSize(share, least_side)
    assert n_half_size_passes(half_size, n_passes, 32, 48) == expected


def test_masks_along_edges_are_those_of_the_guided_filter():
    frames, _ = square_tensors(3)
    network = seeded_unet(2, seed=0)
    plain, along_edges = (
        predict(network, frames, paper(batch_size=2, along_edges=value)) for value in (False, True)
    )
    assert torch.equal(along_edges, follow_edges(frames, plain))
    assert not torch.equal(along_edges, plain)


@pytest.mark.parametrize(("share", "expected"), [(0.07, 0.07), (0.0, 0.001), (1.0, 0.999)])
def test_the_first_masks_are_the_share_of_the_object(share, expected):
    """Of a network whose features say nothing yet."""
    network = seeded_unet(2, seed=0)
    start_from_prior(network, share)
    network.last.weight.data.zero_()
    masks = predict(network, square_tensors(2)[0], paper())
    torch.testing.assert_close(masks, torch.full_like(masks, expected))


ALL_EXTENSIONS = dict(
    passes_per_epoch=2,
    cosine_decay=True,
    half_size=HALF_AT_HALF_SIZE,
    confidence_weights=True,
    flips=True,
    colour_jitter=0.3,
    prior_bias=True,
)


def test_training_goes_on_equally_with_all_extensions():
    data, settings = square_tensors(5), paper(n_epochs=2, batch_size=2, **ALL_EXTENSIONS)
    whole = Training.of(seeded_unet(2, seed=0), settings)
    epochs = train(whole, *data, settings)
    next(epochs)
    state = copy.deepcopy(whole.state())
    next(epochs)
    later = Training.of(seeded_unet(2, seed=1), settings)
    later.load_state(state)
    assert len(list(train(later, *data, settings))) == 1
    assert torch.equal(weights(whole.network), weights(later.network))


@pytest.mark.parametrize("extension", ALL_EXTENSIONS)
def test_each_extension_reaches_the_weights(extension):
    frames, masks = square_tensors(4)
    plain, changed = (
        learn(frames, 0.1 + 0.8 * masks, paper(n_epochs=2, batch_size=2, **changes))
        for changes in ({}, {extension: ALL_EXTENSIONS[extension]})
    )
    assert not torch.equal(plain.last.weight, changed.last.weight)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 sse", True),
        ("flags\t\t: fpu avx2 sse", False),
        ("Features\t: fp asimd bf16", True),
        ("Features\t: fp asimd", False),
        ("processor\t: 0", False),
    ],
)
def test_bfloat16_of_the_processor(line, expected, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    monkeypatch.setattr(precision, "_CPU_INFO", tmp_path / "cpuinfo")
    assert use_bf16("auto", CPU) is expected
    assert use_bf16("yes", CPU)
    assert not use_bf16("no", CPU)


def test_working_frames_are_bicubic_rgb(tmp_path):
    frames, _ = square_video(3, height=30, width=52)
    frames[..., 2] //= 2  # so that swapped colours show
    write_frames(tmp_path, frames)
    video = read_working_frames(open_frames(tmp_path), 17, 40)
    assert (video.dtype, video.shape) == (torch.uint8, (3, 3, 17, 40))
    for frame, got in zip(frames, video.numpy(), strict=True):
        for channel in range(3):
            one = Image.fromarray(np.ascontiguousarray(frame[..., channel]))
            assert (got[channel] == np.array(one.resize((40, 17), Image.Resampling.BICUBIC))).all()
    same_size = read_working_frames(open_frames(tmp_path), 30, 52)
    assert (same_size.permute(0, 2, 3, 1).numpy() == frames).all()


# ------------------------------------------------------------------------------------- main.py


class Workplace:
    """A folder with frames of 40 x 60 pixels, soft masks of 32 x 48, and a config.ini."""

    def __init__(self, folder: Path) -> None:
        self.frames, self.masks = folder / "frames", folder / "masks"
        self.out, self.config = folder / "out", folder / "config.ini"
        self.masks.mkdir()
        write_frames(self.frames, square_video(4, 40, 60)[0], ".jpg")
        self.set_size(32, 48)
        self.configure()

    def set_size(self, height: int, width: int) -> None:
        self.size = height, width
        for idx, mask in enumerate(square_video(4, height, width)[1]):
            soft = torch.from_numpy(mask * 0.8 + 0.1)
            torch.save(soft[..., None].clone(), self.masks / f"{idx:05d}.pt")

    def configure(self, **network: object) -> None:
        height, width = self.size
        values = dict(working_h=height, working_w=width, device="cpu")
        values |= dict(base_channels=2, n_epochs=3, passes_per_epoch=2, to_save_epochs="1, 3")
        values |= dict(learning_rate=0.01, mixed_precision="no")  # as the tests calculate
        write_config(self.config, **(values | network))

    def run(self, *flags: str) -> None:
        paths = f"--frames_path={self.frames}", f"--pseudo_gt_path={self.masks}"
        call(main, *paths, f"--out_path={self.out}", f"--config={self.config}", *flags)

    def refused(self, match: str, *flags: str) -> None:
        """The run ends in an error that matches, and what it has saved is no result."""
        before = self.files()
        with pytest.raises(InputError, match=match):
            self.run(*flags)
        after = self.files()
        assert all(after[name] == before.get(name) for name in after.keys() - set(RECORDS))
        assert before.keys() <= after.keys()

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Content and time of each file below out."""
        files = contents(self.out)
        return {name: (files[name], (self.out / name).stat().st_mtime_ns) for name in files}


@pytest.fixture
def workplace(tmp_path):
    return Workplace(tmp_path)


def test_files_of_the_saved_epochs(workplace, capsys):
    workplace.run()
    expected = [*RECORDS]
    for epoch in ("epoch_00001", "epoch_00003"):
        expected.append(f"models/{epoch}.pth")
        for idx in range(4):
            expected.append(f"results_pt/{epoch}/{idx:05d}.pt")
            expected.append(f"results_images/{epoch}/{idx:05d}.png")
    assert sorted(contents(workplace.out)) == sorted(expected)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all("cross-entropy" in line and "dice" in line for line in lines)

    with (workplace.out / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for row, line in zip(rows, lines, strict=True):
        total, entropy, dice_loss = (float(row[key]) for key in ("loss", "cross_entropy", "dice"))
        assert total == pytest.approx(entropy + dice_loss, rel=1e-4)
        printed = [float(number) for number in re.findall(r"\d+\.\d+", line.split(", saved")[0])]
        assert printed == pytest.approx([total, entropy, dice_loss], abs=1e-4)

    video = read_working_frames(open_frames(workplace.frames), 32, 48)
    settings = run.settings_of(read_config(workplace.config).network_module)
    learnt = learn(video, 0.1 + 0.8 * torch.from_numpy(square_video(4)[1]), settings)
    for epoch in (1, 3):
        checkpoint = torch.load(workplace.out / f"models/epoch_{epoch:05d}.pth", weights_only=True)
        sizes = {key: checkpoint[key] for key in ("working_h", "working_w", "epoch")}
        assert sizes == {"working_h": 32, "working_w": 48, "epoch": epoch}
        network = UNet(checkpoint["base_channels"])
        network.load_state_dict(checkpoint["model"])
        assert torch.equal(weights(network), weights(learnt)) == (epoch == 3)
        again = predict(network, video, settings)
        for idx in range(4):
            name = f"epoch_{epoch:05d}/{idx:05d}"
            mask = torch.load(workplace.out / f"results_pt/{name}.pt", weights_only=True)
            assert (mask.dtype, mask.shape) == (torch.float32, (32, 48, 1))
            torch.testing.assert_close(mask[..., 0], again[idx])
            with Image.open(workplace.out / f"results_images/{name}.png") as image:
                assert (image.mode, image.size) == ("L", (60, 40))
                grey = np.asarray(image).astype(np.float64)
            # OpenCV's INTER_LINEAR upsampling is align_corners=False.
            expected_grey = cv2.resize(mask[..., 0].numpy(), (60, 40)) * 255
            assert np.abs(grey - expected_grey).max() < 1


@pytest.mark.parametrize(("side", "share"), [(32, 0.5), (192, 0.5), (192, 0.4)])
def test_what_is_said_of_half_the_size(side, share, workplace, capsys):
    workplace.set_size(side, side)
    workplace.configure(
        **dict(n_epochs=2, passes_per_epoch=1, half_size_share=share, to_save_epochs="1, 2"),
        base_channels=1,
    )
    workplace.run()
    printed, warned = capsys.readouterr()
    assert ("half_size_share is not used: half of 32 x 32" in printed) == (side == 32)
    assert ("up to epoch 1 the network" in warned) == (side == 192 and share == 0.5)


def test_result_is_the_next_cycles_pseudo_label_and_repeats(workplace):
    settings = dict(n_epochs=1, to_save_epochs="")
    workplace.configure(**settings)
    workplace.run()
    first = workplace.out / "results_pt" / "epoch_00001"
    kept = torch.load(first / "00002.pt", weights_only=True)
    workplace.run()  # over the old results: same seed, same masks
    assert torch.equal(torch.load(first / "00002.pt", weights_only=True), kept)

    workplace.masks, workplace.out = first, workplace.out.parent / "cycle_2"
    workplace.configure(**settings, seed=1)
    workplace.run()
    assert len(list((workplace.out / "results_pt" / "epoch_00001").iterdir())) == 4
    other = torch.load(workplace.out / "results_pt" / "epoch_00001" / "00002.pt", weights_only=True)
    assert not torch.equal(other, kept)


@pytest.mark.parametrize(("name", "told"), [("iter_-1", True), ("iter_0", False)])
def test_the_seed_as_pseudo_labels_is_told(name, told, workplace, capsys):
    workplace.configure(n_epochs=1, to_save_epochs="1", passes_per_epoch=1)
    workplace.run(f"--pseudo_gt_path={workplace.masks.rename(workplace.masks.parent / name)}")
    assert (f"{name}: holds the seed" in capsys.readouterr().err) == told


def test_number_of_pseudo_labels_must_be_the_number_of_frames(workplace):
    (workplace.frames / "00003.jpg").unlink()
    workplace.refused(r"00003\.pt: the video has only 3 frames.*00002\.pt")


def test_pretrained_encoder_with_other_channels(workplace):
    workplace.configure(pretrained_encoder="absent.pth")
    workplace.refused(r"pretrained_encoder = .*absent\.pth: fits base_channels = 64 only, got 2")


@pytest.mark.parametrize("n_epochs", [1, 2])
def test_diverged_training_names_the_learning_rate_and_saves_nothing(workplace, n_epochs):
    # One step an epoch: the first loss is finite, the weights after it are not usable.
    workplace.configure(
        learning_rate=1e30,
        n_epochs=n_epochs,
        to_save_epochs=n_epochs,
        batch_size=4,
        passes_per_epoch=1,
    )
    workplace.refused(rf"learning_rate = 1e\+30: training diverged in epoch {n_epochs}")


# ------------------------------------------------------------------- --resume, --predict_only


def log_of(out: Path) -> list[list[str]]:
    """The log without its last column, the seconds."""
    with (out / "log.csv").open(newline="") as file:
        return [row[:-1] for row in csv.reader(file)]


def check_ended_alike(out: Path, complete: Path) -> None:
    """Both out_paths have the same log and the same weights."""
    assert log_of(out) == log_of(complete)
    found, expected = (
        torch.load(path / "models" / "epoch_00003.pth", weights_only=True)["model"]
        for path in (out, complete)
    )
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


class KilledError(Exception):
    pass


def interrupted_run(workplace: Workplace, *flags: str, after: int = 2) -> None:
    """Train, and be stopped in the epoch ``after`` this one, of 3."""

    def stopped(training, *arguments, **more):
        for losses in train(training, *arguments, **more):
            yield losses
            if training.epoch == after:
                raise KilledError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(run, "train", stopped)
        workplace.run(*flags)


@pytest.fixture(scope="module")
def trainings(tmp_path_factory) -> Path:
    """A folder with the out_paths ``complete`` and ``out``, of a training that was interrupted."""
    workplace = Workplace(tmp_path_factory.mktemp("trainings"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "SECONDS_BETWEEN_STATES", 0)
        workplace.run()
        assert not (workplace.out / "models" / "training.pth").exists()
        workplace.out.rename(workplace.out.with_name("complete"))
        interrupted_run(workplace)
    assert (workplace.out / "models" / "training.pth").exists()
    return workplace.out.parent


def put(made: Path, workplace: Workplace) -> None:
    """Let ``workplace`` have made what an out_path of `trainings` holds."""
    shutil.copytree(made, workplace.out)
    saved = workplace.out / "config.ini"
    saved.write_text(saved.read_text().replace(str(made.parent), str(workplace.out.parent)))


@pytest.fixture
def complete(workplace, trainings) -> None:
    put(trainings / "complete", workplace)


@pytest.fixture
def undisturbed(workplace, trainings, monkeypatch) -> Path:
    """The out_path of an undisturbed run; the same run, interrupted, lies in workplace.out."""
    monkeypatch.setattr(run, "SECONDS_BETWEEN_STATES", 0)
    put(trainings / "out", workplace)
    return trainings / "complete"


def test_a_resumed_training_ends_with_the_same_weights(workplace, undisturbed, capsys):
    workplace.run("--resume")
    assert "going on after epoch 2" in capsys.readouterr().out
    check_ended_alike(workplace.out, undisturbed)
    assert not (workplace.out / "models" / "training.pth").exists()


def test_a_training_is_gone_on_with_on_another_device_name(workplace, undisturbed, capsys):
    """What was calculated is the same training's; its saved masks stay as well."""
    first = workplace.out / "results_pt" / "epoch_00001" / "00000.pt"
    before = first.read_bytes(), first.stat().st_mtime_ns
    saved = workplace.out / "config.ini"
    saved.write_text(saved.read_text().replace("device = cpu", "device = auto"))
    workplace.run("--resume")
    assert "going on after epoch 2" in capsys.readouterr().out
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    check_ended_alike(workplace.out, undisturbed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(learning_rate=0.02), r"of a training with learning_rate = 0\.\d+, now it is 0\.02;"),
        ("size", r"of a training with working_h = 32, now it is 16;"),
        ("masks", r"of a training on other frames or pseudo-labels;"),
    ],
)
def test_a_training_of_other_settings_or_data_is_not_gone_on_with(
    workplace, undisturbed, change, message
):
    if change == "masks":
        torch.save(torch.zeros(32, 48, 1), workplace.masks / "00000.pt")
    elif change == "size":
        workplace.config.write_text(workplace.config.read_text().replace("h = 32", "h = 16"))
        for path in workplace.masks.iterdir():
            torch.save(torch.zeros(16, 48, 1), path)
    else:
        workplace.configure(**change)
    before = workplace.files()
    workplace.refused(rf"training\.pth: is {message} leave out --resume to", "--resume")
    assert workplace.files() == before


def test_without_resume_or_a_state_training_starts_anew(workplace, undisturbed, capsys):
    workplace.run()
    said = capsys.readouterr().out
    assert "going on" not in said
    assert "--resume would go on with the one interrupted here" in said
    check_ended_alike(workplace.out, undisturbed)
    shutil.rmtree(workplace.out)
    workplace.run("--resume")
    assert "nothing to go on with: training from the start" in capsys.readouterr().out
    check_ended_alike(workplace.out, undisturbed)


def test_a_start_without_resume_does_not_lose_the_state(workplace, undisturbed, monkeypatch):
    """As after Ctrl-C and the same command again, and Ctrl-C once more before it is as far."""
    path = workplace.out / "models" / "training.pth"
    state = path.read_bytes()
    monkeypatch.setattr(run, "SECONDS_BETWEEN_STATES", 1e9)
    interrupted_run(workplace, after=1)
    assert path.read_bytes() == state
    workplace.run("--resume")
    check_ended_alike(workplace.out, undisturbed)
    assert not path.exists()


@pytest.mark.parametrize("flags", [[], ["--resume=if_same"]])
@pytest.mark.parametrize("change", ["masks", "seed", "damage"])
def test_a_state_of_another_training_makes_way(change, flags, workplace, undisturbed, monkeypatch):
    """As in OUT of tools/run_video.sh, whose user cannot leave out --resume; and stopped early."""
    path = workplace.out / "models" / "training.pth"
    if change == "masks":
        torch.save(torch.zeros(32, 48, 1), workplace.masks / "00000.pt")
    elif change == "seed":
        workplace.configure(seed=3)
    else:
        path.write_bytes(path.read_bytes()[:100])
    monkeypatch.setattr(run, "SECONDS_BETWEEN_STATES", 1e9)
    interrupted_run(workplace, *flags, after=1)
    assert not path.exists()
    workplace.run("--resume=if_same")
    log = log_of(workplace.out)
    assert [row[0] for row in log] == ["epoch", "1", "2", "3"]
    assert (log == log_of(undisturbed)) == (change == "damage")


@pytest.mark.parametrize("change", ["nothing", "seed", "frames", "a folder"])
@pytest.mark.parametrize("resume", ["--resume", "--resume=if_same"])
def test_resume_of_a_complete_training(resume, change, workplace, complete, capsys):
    if change == "seed":
        workplace.configure(seed=3)
    if change == "frames":
        Image.new("RGB", (60, 40), "red").save(workplace.frames / "00002.jpg")
    if change == "a folder":
        shutil.rmtree(workplace.out / "results_images" / "epoch_00001")
    if resume == "--resume" and change in ("seed", "frames"):
        workplace.refused("holds a training of other settings, frames or", resume)
        return
    checkpoint = workplace.out / "models" / "epoch_00003.pth"
    before = checkpoint.stat().st_mtime_ns
    workplace.run(resume)
    assert ("this training is complete" in capsys.readouterr().out) == (change == "nothing")
    assert (checkpoint.stat().st_mtime_ns == before) == (change == "nothing")
    assert (workplace.out / "results_images" / "epoch_00001").is_dir()


def test_a_training_of_an_earlier_version_is_known():
    """The marks are what the version with light, soft_labels and weight_average computed."""
    settings = vars(read_config(ROOT / "configs" / "paper.ini").network_module)
    identity = Identity.of(
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(1, 8, 8),
        {"working_h": 8, "working_w": 8, **settings},
    )
    assert (identity.data_mark, identity.mark) == (1183454787, 354233256)
    with_soft_labels = Identity(0, identity.settings | {"soft_labels": "True"})
    assert with_soft_labels.difference(identity) == (
        "is of a training with soft_labels = True, now it is False"
    )


@pytest.mark.parametrize("found", [True, False])
def test_a_network_that_finds_nothing_is_told(found, workplace, capsys):
    if not found:
        for path in workplace.masks.iterdir():
            torch.save(torch.zeros(32, 48, 1), path)
    workplace.configure(passes_per_epoch=8)
    workplace.run()
    warned = "the network of epoch_00003 finds no object, its masks are below 0.5 everywhere"
    assert (warned in capsys.readouterr().err) == (not found)


def test_epochs_of_other_settings_do_not_stay_beside_the_new_ones(workplace):
    """Or the last of them would be taken for the result; what is the user's own stays."""
    workplace.configure(n_epochs=3, to_save_epochs="")
    workplace.run()
    own = workplace.out / "models" / "epoch_00003_best.pth"
    own.write_bytes(b"mine")
    workplace.configure(n_epochs=2, to_save_epochs="", learning_rate=0.02)
    workplace.run()
    names = ["epoch_00001", "epoch_00002"]
    assert sorted(contents(workplace.out / "models")) == [
        *(f"{name}.pth" for name in names),
        own.name,
    ]
    for folder in ("results_pt", "results_images"):
        assert sorted(path.name for path in (workplace.out / folder).iterdir()) == names


def test_a_state_of_the_last_epoch_is_named(workplace, undisturbed):
    path = workplace.out / "models" / "training.pth"
    state = torch.load(path, weights_only=True)
    state["state"]["epoch"] = 3
    torch.save(state, path)
    workplace.refused(r"training\.pth: is of epoch 3, but n_epochs = 3", "--resume")


def test_the_settings_of_the_optimiser_are_those_of_the_run(workplace, undisturbed):
    path = workplace.out / "models" / "training.pth"
    state = torch.load(path, weights_only=True)
    state["state"]["optimiser"]["param_groups"][0]["lr"] = 1e9
    torch.save(state, path)
    workplace.run("--resume")
    check_ended_alike(workplace.out, undisturbed)


def test_predict_only_gives_the_masks_of_the_training(workplace, complete):
    checkpoint = workplace.out / "models" / "epoch_00003.pth"
    trained = workplace.out
    workplace.out = trained.parent / "applied"
    shutil.rmtree(workplace.masks)
    workplace.run(f"--predict_only={checkpoint}")
    for idx in range(4):
        name = f"results_pt/epoch_00003/{idx:05d}.pt"
        assert (trained / name).read_bytes() == (workplace.out / name).read_bytes()
    assert not (workplace.out / "models").exists()


def test_predict_only_refuses_what_is_no_checkpoint(workplace):
    path = workplace.frames.parent / "other.pth"
    torch.save({"model": {"weight": torch.zeros(2)}, "base_channels": 2, "epoch": 1}, path)
    folder = workplace.masks, "masks: is a folder; give models/"
    for name, message in ((path, "is not a checkpoint"), folder):
        workplace.refused(message, f"--predict_only={name}")
    assert not (workplace.out / "config.ini").exists()


@pytest.mark.parametrize("left", ["epoch_00003.pth", "training.pth"])
def test_predict_only_refuses_the_out_path_of_a_training(left, workplace, complete):
    """Its config.ini would say of the training what is true of the prediction."""
    checkpoint = workplace.out.parent / "epoch_00003.pth"
    shutil.copy(workplace.out / "models" / "epoch_00003.pth", checkpoint)
    for path in (workplace.out / "models").iterdir():
        path.rename(path.with_name(left))
    before = workplace.files()
    workplace.refused("holds a training.*an out_path of its own", f"--predict_only={checkpoint}")
    assert workplace.files() == before
