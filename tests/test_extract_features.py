"""tools/extract_features.py: maps from networks with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import call
from files import write_config
from small_run import N_FRAMES, WORKING, frame, make_run, make_video
from torchvision import models

import extract_features
import run_graph_module
from ike_data.config import read_config
from ike_data.runtime.errors import InputError
from ike_data.soft_masks import read_soft_masks
from ike_tools.feature_networks import (
    CLASS_WEIGHTS,
    SEGMENTATION,
    load_network,
    normalised,
    object_probability,
)

LRASPP = "lraspp_mobilenet_v3_large"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A video with flow, a small working size, and weights of LR-ASPP."""
    folder = make_run(make_video(tmp_path_factory.mktemp("features")))
    write_config(folder / "small.ini", working_h=WORKING[0], working_w=WORKING[1])
    torch.manual_seed(0)
    network = models.get_model(LRASPP, weights=None, weights_backbone=None, num_classes=3)
    torch.save(network.state_dict(), folder / "lraspp.pth")
    return folder


def run(place: Path, *flags: object) -> None:
    fixed = f"--frames_path={place / 'frames'}", f"--config={place / 'small.ini'}", "--device=cpu"
    call(extract_features, *fixed, *flags)


def frames() -> torch.Tensor:
    """The video, uint8 [n, 3, 37, 53]."""
    return torch.from_numpy(np.stack([frame(idx) for idx in range(N_FRAMES)])).permute(0, 3, 1, 2)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def test_frames_are_normalised_as_torchvision_does():
    published = models.get_model_weights(LRASPP).DEFAULT.transforms()
    mean, std = torch.tensor(published.mean), torch.tensor(published.std)
    image = frames()[:1]
    by_hand = (image[0, :, 12, 20] / 255 - mean) / std
    torch.testing.assert_close(normalised(image, CPU)[0, :, 12, 20], by_hand)


def test_probability_is_the_share_of_the_classes(place):
    network = load_network(LRASPP, place / "lraspp.pth")
    images = normalised(frames(), CPU)  # 37 x 53: padded to 48 x 64
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (0, 11), (0, 11)), mode="edge")
    with torch.no_grad():
        scores = network(torch.from_numpy(padded))["out"][:, :, :37, :53]
    odds = np.exp(scores.double().numpy())
    for classes, foreground in ((None, [1, 2]), ([2, 2], [2]), ([0, 2], [0, 2])):
        found = object_probability(network, images, classes).numpy()
        np.testing.assert_allclose(found, odds[:, foreground].sum(1) / odds.sum(1), atol=1e-6)
    assert found.std() > 1e-4  # the comparison is not of constants


def test_a_size_that_fits_goes_in_as_it_is(place):
    network = load_network(LRASPP, place / "lraspp.pth")
    images = normalised(frames()[:, :, :32, :48], CPU)
    with torch.no_grad():
        expected = 1 - network(images)["out"].softmax(dim=1)[:, 0]
    torch.testing.assert_close(object_probability(network, images, None), expected)


@pytest.mark.parametrize("name", SEGMENTATION)
def test_every_network_is_laid_out_as_the_loader_takes_it(name):
    with torch.device("meta"):  # no memory, no random numbers
        kinds = dict(weights=None, weights_backbone=None, num_classes=5)
        weights = models.get_model(name, **kinds).state_dict()
    assert [len(weights[key]) for key in CLASS_WEIGHTS if key in weights] == [5]


def test_the_training_classifier_is_left_out(tmp_path):
    torch.manual_seed(0)
    kinds = dict(weights=None, weights_backbone=None, num_classes=2, aux_loss=True)
    saved = models.get_model("deeplabv3_mobilenet_v3_large", **kinds).eval()
    torch.save(saved.state_dict(), tmp_path / "saved.pth")
    network = load_network("deeplabv3_mobilenet_v3_large", tmp_path / "saved.pth")
    image = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        assert set(network(image)) == {"out"}
        torch.testing.assert_close(network(image)["out"], saved(image)["out"])


@pytest.mark.parametrize("kind", ["no_counts", "of_a_training", "half", "sorted"])
def test_weights_that_others_save_give_the_same_maps(kind, place, tmp_path):
    weights = read_weights(place / "lraspp.pth")
    changed = {
        "no_counts": {k: v for k, v in weights.items() if "num_batches" not in k},
        "of_a_training": {"model": {f"module.{k}": v for k, v in weights.items()}, "epoch": 3},
        "half": {k: v.half() if v.is_floating_point() else v for k, v in weights.items()},
        "sorted": {k: weights[k] for k in sorted(weights)},
    }[kind]
    torch.save(changed, tmp_path / "changed.pth")
    image = normalised(frames()[:1], CPU)
    expected, found = (
        object_probability(load_network(LRASPP, path), image, None)
        for path in (place / "lraspp.pth", tmp_path / "changed.pth")
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02 if kind == "half" else 0)


def test_the_graph_works_with_what_is_printed(place, tmp_path, capsys):
    out = tmp_path / "my maps"
    run(place, f"--model={LRASPP}", f"--weights={place / 'lraspp.pth'}", f"--out_path={out}")
    maps = read_soft_masks(out, N_FRAMES, *WORKING)

    printed = capsys.readouterr().out.split("\n\n")
    assert printed[-1].startswith("python run_graph_module.py --frames_path=")
    pasted = next(block for block in printed if block.startswith("ike_features_paths"))
    # A pass that only projects onto the maps of the current frame, with next to no penalty.
    changes = {"half_window": 0, "features_half_chain_size": 0, "lambda": 1e-6}
    changes |= dict.fromkeys(("motion_saliency", "motion_prior", "refinement"), "no")
    changes |= {"bootstrap_passes": 0, "n_iterations": 1, "to_save_iterations": 0}
    changes["ike_features_paths"] = pasted.partition("=")[2]
    config = write_config(tmp_path / "with.ini", place / "small.ini", **changes)
    assert read_config(config).graph_module.ike_features_paths == (out,)
    call(
        *(run_graph_module, f"--frames_path={place / 'frames'}", f"--config={config}"),
        *(f"--of_path={place / 'flow'}", f"--out_path={tmp_path / 'graph'}", "--device=cpu"),
    )
    masks = read_soft_masks(tmp_path / "graph" / "iter_0", N_FRAMES, *WORKING)
    for frame_map, mask in zip(maps.double().numpy(), masks.double().numpy(), strict=True):
        # docs/method.md section 3, "projection": the seed's regression on [features, 1].
        design = np.c_[frame_map.ravel(), np.ones(mask.size)]
        seed = np.random.RandomState(115).rand(*WORKING).ravel()
        expected = design @ np.linalg.lstsq(design, seed, rcond=None)[0]
        expected = np.maximum(expected, 0)
        expected = (expected - expected.min()) / (expected.max() - expected.min())
        np.testing.assert_allclose(mask.ravel(), expected, atol=2e-3)


def test_probability_maps_beside_maps_that_are_there(place, tmp_path, capsys):
    write_config(tmp_path / "own.ini", place / "small.ini", ike_features_paths="\n    first")
    flags = [f"--model={LRASPP}", f"--weights={place / 'lraspp.pth'}", f"--out_path={tmp_path}/m"]
    for _ in range(2):  # maps of an earlier run are replaced
        run(place, *flags, f"--config={tmp_path / 'own.ini'}")
    maps = read_soft_masks(tmp_path / "m", N_FRAMES, *WORKING)  # in [0, 1]
    assert maps.min() < maps.max()
    assert (
        f"ike_features_paths =\n    {tmp_path}/first\n    {tmp_path}/m\n" in capsys.readouterr().out
    )


def test_batches_make_no_difference(place, tmp_path):
    found = []
    for size in (1, 4):
        flags = f"--weights={place / 'lraspp.pth'}", "--classes", "2", f"--batch_size={size}"
        run(place, f"--model={LRASPP}", *flags, f"--out_path={tmp_path / str(size)}")
        found.append(read_soft_masks(tmp_path / str(size), N_FRAMES, *WORKING))
    torch.testing.assert_close(*found, rtol=0, atol=1e-4)


ASPP, ASPP_WEIGHTS = f"--model={LRASPP}", "--weights={place}/lraspp.pth"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=alexnet"], "--model alexnet: is not known; known are deeplabv3_"),
        (["--model=fcn_resnet51"], "--model fcn_resnet51: is not known; did you mean fcn_resnet50"),
        (["--batch_size=0"], "--batch_size: '0': expected a whole number of at least 1"),
        (["--classes=-1"], "--classes: '-1': expected a whole number of at least 0"),
        (["--frames_path=nowhere"], "frames_path nowhere: no such folder"),
        (["--config=nowhere.ini"], "nowhere.ini: no such file"),
        ([ASPP, "--weights=nowhere.pth"], "nowhere.pth: is missing; give a state"),
        ([ASPP, "--weights={place}/small.ini"], "small.ini: is damaged or holds"),
        ([ASPP, "--weights={place}/graph_1/iter_2/00000.pt"], "holds a Tensor, not a state dict"),
        (["--model=deeplabv3_mobilenet_v3_large", ASPP_WEIGHTS], "unknown, as classifier.cbr.0.w"),
        ([ASPP, "--weights={place}/wide.pth"], "backbone.0.0.weight has shape [16, 3, 5, 5], that"),
        ([ASPP, "--weights={place}/nan.pth"], "backbone.0.0.weight has values that are not"),
        ([ASPP, "--weights={place}/huge.pth"], "gives maps that are not finite; use other"),
        ([ASPP, "--weights={place}/one.pth"], "one.pth: has a single class"),
        ([ASPP, ASPP_WEIGHTS, "--classes", "1", "3"], "the network has 3, numbered 0 to 2"),
        (["--out_path={place}"], "holds annotations/00000.png, and is replaced as a whole"),
        (["--out_path={place}/small.ini"], "small.ini: is a file; give a folder"),
    ],
)
def test_errors(flags, message, place, bad_weights, tmp_path, capsys):
    flags = [flag.format(place=place) for flag in flags]
    before = sorted(place.rglob("*"))
    with pytest.raises((InputError, SystemExit)) as error:
        run(place, f"--out_path={tmp_path / 'out'}", *flags)
    assert message in (str(error.value) if error.type is InputError else capsys.readouterr().err)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
    assert sorted(place.rglob("*")) == before


@pytest.fixture(scope="module")
def bad_weights(place) -> None:
    weights = read_weights(place / "lraspp.pth")
    for name, first in (
        ("nan", torch.full((16, 3, 3, 3), torch.nan)),
        ("huge", torch.full((16, 3, 3, 3), 1e38)),
        ("wide", torch.zeros(16, 3, 5, 5)),
    ):
        torch.save({**weights, "backbone.0.0.weight": first}, place / f"{name}.pth")
    kinds = dict(weights=None, weights_backbone=None, num_classes=1)
    torch.save(models.get_model(LRASPP, **kinds).state_dict(), place / "one.pth")


def test_published_weights_put_in_their_place(monkeypatch, place, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = models.get_model_weights(LRASPP).DEFAULT.url.rsplit("/", 1)[1]
    path = tmp_path / "hub" / "checkpoints" / name
    path.parent.mkdir(parents=True)
    path.write_bytes((place / "lraspp.pth").read_bytes())
    loaded, first = load_network(LRASPP, None).state_dict(), "backbone.0.0.weight"
    torch.testing.assert_close(loaded[first], read_weights(path)[first])
    path.write_bytes(b"cut off")
    with pytest.raises(InputError, match=r"is damaged .* or delete it, and it is downloaded again"):
        load_network(LRASPP, None)
