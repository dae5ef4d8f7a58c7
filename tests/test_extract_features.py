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
from ike_data.soft_masks import read_feature_maps, read_soft_masks
from ike_tools.feature_networks import (
    CLASS_WEIGHTS,
    LAYER_STRIDES,
    RESNETS,
    SEGMENTATION,
    cells_to_pixels,
    layer_features,
    load_network,
    normalised,
    object_probability,
    principal_components,
    scaled,
)

LRASPP = "lraspp_mobilenet_v3_large"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A video with flow, a small working size, and weights of LR-ASPP and of a ResNet-18."""
    folder = make_run(make_video(tmp_path_factory.mktemp("features")))
    write_config(folder / "small.ini", working_h=WORKING[0], working_w=WORKING[1])
    torch.manual_seed(0)
    network = models.get_model(LRASPP, weights=None, weights_backbone=None, num_classes=3)
    torch.save(network.state_dict(), folder / "lraspp.pth")
    torch.save(models.resnet18(num_classes=7).state_dict(), folder / "resnet18.pth")
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
    published = models.ResNet18_Weights.DEFAULT.transforms()
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


@pytest.mark.parametrize("name", [*SEGMENTATION, *RESNETS])
def test_every_network_is_laid_out_as_the_loader_takes_it(name):
    with torch.device("meta"):  # no memory, no random numbers
        if name in SEGMENTATION:
            kinds = dict(weights=None, weights_backbone=None, num_classes=5)
            weights = models.get_model(name, **kinds).state_dict()
            assert [len(weights[key]) for key in CLASS_WEIGHTS if key in weights] == [5]
        else:
            network = models.get_model(name, weights=None)
            assert isinstance(network.fc, torch.nn.Linear)
            features = [*layer_features(network.eval(), "layer2", [torch.zeros(1, 3, 33, 50)])]
            assert features[0].shape[2:] == (5, 8)  # cells at 0, 8 .. 32 and 0, 8 .. 56


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


@pytest.mark.parametrize("kind", ["no_classifier", "no_counts", "of_a_training", "half", "sorted"])
def test_weights_that_others_save_give_the_same_features(kind, place, tmp_path):
    weights = read_weights(place / "resnet18.pth")
    changed = {
        "no_classifier": {k: v for k, v in weights.items() if not k.startswith("fc.")},
        "no_counts": {k: v for k, v in weights.items() if "num_batches" not in k},
        "of_a_training": {"model": {f"module.{k}": v for k, v in weights.items()}, "epoch": 3},
        "half": {k: v.half() if v.is_floating_point() else v for k, v in weights.items()},
        "sorted": {k: weights[k] for k in sorted(weights)},
    }[kind]
    torch.save(changed, tmp_path / "changed.pth")
    original, other = (
        load_network("resnet18", path)
        for path in (place / "resnet18.pth", tmp_path / "changed.pth")
    )
    image = normalised(frames()[:1], CPU)
    expected, found = (next(layer_features(n, "layer2", [image])) for n in (original, other))
    atol = 0.02 if kind == "half" else 0
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def test_components_are_those_of_a_singular_value_decomposition():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator) * torch.tensor([5.0, 3, 2, 1, 1, 1])
    features = torch.einsum("nchw,dc->ndhw", torch.randn(4, 6, 5, 7, generator=generator), mixing)
    maps = principal_components((features + 100).split(3), 2)
    assert maps.shape == (4, 2, 5, 7)
    rows = features.permute(0, 2, 3, 1).reshape(-1, 6).double().numpy()
    u, s, v = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    for idx in range(2):
        sign = np.sign(v[idx, np.abs(v[idx]).argmax()])
        ours = maps[:, idx].flatten().numpy()
        np.testing.assert_allclose(ours, sign * u[:, idx] * s[idx], atol=1e-3)


def test_what_is_constant_but_for_rounding_is_zero():
    # One channel varies, the others by the last bits of float32 only.
    features = torch.full((2, 3, 4, 5), 7.0)
    features[:, 1:] += 1e-6 * torch.randn(2, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    features[1, 0, 2, 3] = 9
    maps = scaled(principal_components([features], 3))
    assert (maps[:, 1:] == 0).all()
    expected = torch.zeros(2, 4, 5)
    expected[1, 2, 3] = 1
    torch.testing.assert_close(maps[:, 0], expected, rtol=0, atol=1e-5)


def test_each_component_is_scaled_over_the_video():
    maps = torch.tensor([[[[1.0, 2.0]], [[-4.0, 0.0]]], [[[3.0, 5.0]], [[-4.0, -2.0]]]])
    expected = [[[[0, 0.25]], [[0, 1]]], [[[0.5, 1]], [[0, 0.5]]]]
    assert scaled(maps).tolist() == expected


def test_cells_stand_at_multiples_of_the_stride():
    row = torch.tensor([[0.0, 4.0, 8.0], [8.0, 12.0, 16.0]])[None, None]
    pixels = cells_to_pixels(row, 4, 5, 7)[0, 0]
    # By hand: 1 more a pixel to the right, 2 more a pixel downwards.
    assert pixels.tolist() == [[x + 2 * y for x in range(7)] for y in range(5)]


@pytest.mark.parametrize("layer", ["layer1", "layer2", "layer3"])
def test_a_spot_stays_where_it_is(layer):
    network = models.resnet18().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):  # each blurs, and by itself moves nothing
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    for y, x in ((64, 96), (80, 128)):
        image = torch.zeros(1, 3, 155, 221)
        image[..., y - 3 : y + 4, x - 3 : x + 4] = 1
        components = principal_components(layer_features(network, layer, [image]), 1)
        response = cells_to_pixels(components, LAYER_STRIDES[layer], 155, 221)[0, 0]
        response = response - response.min()
        centre_y = (response.sum(1) * torch.arange(155)).sum() / response.sum()
        centre_x = (response.sum(0) * torch.arange(221)).sum() / response.sum()
        # Read as pictures are, cells would be off by (stride - 1) / 2: 1.5, 3.5 and 7.5 pixels.
        assert (centre_y.item(), centre_x.item()) == pytest.approx((y, x), abs=1)


def test_the_graph_works_with_what_is_printed(place, tmp_path, capsys):
    out = tmp_path / "my maps"
    flags = ["--model=resnet18", "--layer=layer1", "--components=2", "--batch_size=4"]
    weights = f"--weights={place / 'resnet18.pth'}"
    run(place, *flags[:2], "--components=1", weights, f"--out_path={tmp_path / 'one'}")
    capsys.readouterr()
    run(place, *flags, weights, f"--out_path={out}")
    maps = read_feature_maps(out, N_FRAMES, *WORKING)
    assert maps.shape == (N_FRAMES, *WORKING, 2)
    assert maps.amin(dim=(0, 1, 2)).tolist() == [0, 0]
    assert maps.amax(dim=(0, 1, 2)).tolist() == [1, 1]
    first = read_feature_maps(tmp_path / "one", N_FRAMES, *WORKING)
    torch.testing.assert_close(first, maps[..., :1])  # the largest comes first

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
        design = np.c_[frame_map.reshape(-1, 2), np.ones(mask.size)]
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
    for name, flags in {
        LRASPP: [f"--weights={place / 'lraspp.pth'}", "--classes", "2"],
        "resnet18": [f"--weights={place / 'resnet18.pth'}"],
    }.items():
        found = []
        for size in (1, 4):
            out = tmp_path / f"{name}_{size}"
            run(place, f"--model={name}", *flags, f"--batch_size={size}",
                f"--out_path={out}")  # fmt: skip
            found.append(read_feature_maps(out, N_FRAMES, *WORKING))
        torch.testing.assert_close(*found, rtol=0, atol=1e-4)


RESNET, RESNET_WEIGHTS = "--model=resnet18", "--weights={place}/resnet18.pth"
ASPP, ASPP_WEIGHTS = f"--model={LRASPP}", "--weights={place}/lraspp.pth"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=alexnet"], "--model alexnet: is not known; known are deeplabv3_"),
        (["--model=resnet19"], "--model resnet19: is not known; did you mean resnet1"),
        (["--components=0"], "--components: '0': expected a whole number of at least 1"),
        (["--batch_size=0"], "--batch_size: '0': expected a whole number of at least 1"),
        (["--classes=-1"], "--classes: '-1': expected a whole number of at least 0"),
        (["--frames_path=nowhere"], "frames_path nowhere: no such folder"),
        (["--config=nowhere.ini"], "nowhere.ini: no such file"),
        ([RESNET, RESNET_WEIGHTS, "--classes=1"], "--classes: is for segmentation networks only"),
        ([ASPP, "--layer=layer1"], "--layer: is for ResNets only"),
        ([ASPP, "--components=2"], "--components: is for ResNets only"),
        ([RESNET, RESNET_WEIGHTS, "--layer=layer5"], "--layer layer5: expected one of layer1, l"),
        ([RESNET, RESNET_WEIGHTS, "--components=999"], "components 999: the layer has 256 chan"),
        ([RESNET, "--weights=nowhere.pth"], "nowhere.pth: is missing; give a state"),
        ([RESNET, "--weights={place}/small.ini"], "small.ini: is damaged or holds"),
        ([RESNET, "--weights={place}/graph_1/iter_2/00000.pt"], "holds a Tensor, not a state dict"),
        ([RESNET, ASPP_WEIGHTS], "unknown, as backbone.0.0.weight; 100 missing"),
        (["--model=resnet34", RESNET_WEIGHTS], "(tensors: 80 missing, as layer1"),
        (["--model=wide_resnet50_2", "--weights={place}/resnet50.pth"], "wide_resnet50_2 has ["),
        ([RESNET, "--weights={place}/nan.pth"], "bn1.weight has values that are not"),
        ([RESNET, "--weights={place}/huge.pth"], "features are not finite; use other"),
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
    weights = read_weights(place / "resnet18.pth")
    for name, value in (("nan", float("nan")), ("huge", 1e38)):
        changed = {**weights, "bn1.weight": torch.full((64,), value)}
        torch.save(changed, place / f"{name}.pth")
    kinds = dict(weights=None, weights_backbone=None, num_classes=1)
    torch.save(models.get_model(LRASPP, **kinds).state_dict(), place / "one.pth")
    torch.save(models.resnet50().state_dict(), place / "resnet50.pth")


def test_published_weights_put_in_their_place(monkeypatch, place, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = models.ResNet18_Weights.DEFAULT.url.rsplit("/", 1)[1]
    path = tmp_path / "hub" / "checkpoints" / name
    path.parent.mkdir(parents=True)
    path.write_bytes((place / "resnet18.pth").read_bytes())
    loaded = load_network("resnet18", None).state_dict()
    torch.testing.assert_close(loaded["conv1.weight"], read_weights(path)["conv1.weight"])
    path.write_bytes(b"cut off")
    with pytest.raises(InputError, match=r"is damaged .* or delete it, and it is downloaded again"):
        load_network("resnet18", None)
