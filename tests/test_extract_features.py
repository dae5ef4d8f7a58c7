"""tools/extract_features.py: maps from networks with random weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import project_root  # noqa: F401
import pytest
import torch
from feature_networks import (
    layer_features,
    load_network,
    normalised,
    object_probability,
    principal_components,
)
from small_run import N_FRAMES, WORKING, frame, make_video
from torchvision import models

from ike_data.command_line import PROJECT_CONFIG
from ike_data.config import read_config
from ike_data.errors import InputError
from ike_data.soft_masks import read_feature_maps

SCRIPT = PROJECT_CONFIG.parent / "tools" / "extract_features.py"
LRASPP = "lraspp_mobilenet_v3_large"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A video, a small working size, and weights of a segmentation network and of a ResNet."""
    folder = make_video(tmp_path_factory.mktemp("features"))
    text = PROJECT_CONFIG.read_text()
    text = text.replace("working_h = 224", f"working_h = {WORKING[0]}")
    (folder / "small.ini").write_text(text.replace("working_w = 416", f"working_w = {WORKING[1]}"))
    torch.manual_seed(0)
    network = models.get_model(LRASPP, weights=None, weights_backbone=None, num_classes=3)
    torch.save(network.state_dict(), folder / "lraspp.pth")
    torch.save(models.resnet18(num_classes=7).state_dict(), folder / "resnet18.pth")
    return folder


def run(place: Path, *flags: object) -> subprocess.CompletedProcess[str]:
    fixed = [f"--frames_path={place / 'frames'}", f"--config={place / 'small.ini'}"]
    command = [sys.executable, str(SCRIPT), *fixed, *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True)


def frames() -> torch.Tensor:
    video = np.stack([frame(idx) for idx in range(N_FRAMES)])
    return torch.from_numpy(video).permute(0, 3, 1, 2)  # [n, 3, H, W]


def test_frames_are_normalised_as_torchvision_does():
    expected = models.ResNet18_Weights.DEFAULT.transforms(crop_size=53, resize_size=53)
    image = frames()[:1]
    ours = normalised(image, torch.device("cpu"))
    mean, std = torch.tensor(expected.mean), torch.tensor(expected.std)
    by_hand = (image[0, :, 12, 20] / 255 - mean) / std
    torch.testing.assert_close(ours[0, :, 12, 20], by_hand)


def test_probability_is_the_share_of_the_classes(place):
    network = load_network(LRASPP, place / "lraspp.pth")
    images = normalised(frames(), torch.device("cpu"))
    with torch.no_grad():
        scores = network(images)["out"].double().exp()  # [n, 3, H, W]
    share = scores / scores.sum(dim=1, keepdim=True)
    for classes, expected in (
        (None, share[:, 1] + share[:, 2]),
        ((2,), share[:, 2]),
        ((0, 2), share[:, 0] + share[:, 2]),
    ):
        found = object_probability(network, images, classes)
        torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)


def test_a_second_classifier_is_left_out(tmp_path):
    name = "fcn_resnet50"
    torch.manual_seed(0)
    kinds = dict(weights=None, weights_backbone=None, num_classes=2, aux_loss=True)
    torch.save(models.get_model(name, **kinds).state_dict(), tmp_path / "fcn.pth")
    network = load_network(name, tmp_path / "fcn.pth")
    assert set(network(torch.zeros(1, 3, 32, 40))) == {"out"}


def test_components_are_those_of_a_singular_value_decomposition():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator) * torch.tensor([5.0, 3, 2, 1, 1, 1])
    features = torch.einsum("nchw,dc->ndhw", torch.randn(4, 6, 5, 7, generator=generator), mixing)
    maps = principal_components(features, 2, (5, 7))
    assert maps.shape == (4, 5, 7, 2)
    rows = features.permute(0, 2, 3, 1).reshape(-1, 6).double().numpy()
    u, s, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    for idx in range(2):
        ours, theirs = maps[..., idx].flatten().numpy(), u[:, idx] * s[idx]
        assert abs(np.corrcoef(ours, theirs)[0, 1]) > 0.9999
        assert (ours.min(), ours.max()) == (0, 1)


def test_a_constant_component_is_zero():
    assert (principal_components(torch.ones(2, 3, 4, 5), 2, (8, 10)) == 0).all()


def test_layer_features_have_the_layers_stride(place):
    network = load_network("resnet18", place / "resnet18.pth")
    images = normalised(frames()[:, :, :32, :48], torch.device("cpu"))
    assert layer_features(network, "layer2", images.split(4)).shape == (N_FRAMES, 128, 4, 6)


def test_probability_maps_are_features_of_the_graph(place, tmp_path):
    done = run(
        place, "--model", LRASPP, "--weights", place / "lraspp.pth", "--out_path", tmp_path / "maps"
    )
    assert done.returncode == 0, done.stderr
    maps = read_feature_maps(tmp_path / "maps", N_FRAMES, *WORKING)
    assert maps.shape == (N_FRAMES, *WORKING, 1)
    assert 0 <= maps.min() < maps.max() <= 1
    # What it prints can be pasted.
    pasted = done.stdout[done.stdout.index("ike_features_paths") :].split("\n\n")[0]
    text = (place / "small.ini").read_text()
    (tmp_path / "with.ini").write_text(text.replace(";ike_features_paths =", pasted, 1))
    read = read_config(tmp_path / "with.ini").graph_module.ike_features_paths
    assert read == (tmp_path / "maps",)


def test_components_of_a_resnet(place, tmp_path):
    flags = ("--model=resnet18", "--layer=layer1", "--components=2")
    done = run(place, *flags, f"--weights={place / 'resnet18.pth'}", f"--out_path={tmp_path / 'm'}")
    assert done.returncode == 0, done.stderr
    assert read_feature_maps(tmp_path / "m", N_FRAMES, *WORKING).shape == (N_FRAMES, *WORKING, 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=alexnet"], "--model alexnet: is not known"),
        (["--components=0"], "--components 0: expected at least 1"),
        (["--classes", "-1"], "--classes -1: classes are numbered from 0"),
        (["--model=resnet18", "--weights=nowhere.pth"], "nowhere.pth: is missing"),
        (["--model=resnet18", "--weights={place}/lraspp.pth"], "is not a state dict of resnet18"),
        (
            [f"--model={LRASPP}", "--weights={place}/lraspp.pth", "--classes", "3"],
            "the network has 3, numbered 0 to 2",
        ),
        (
            ["--model=resnet18", "--weights={place}/resnet18.pth", "--components=999"],
            "--components 999: the layer has 256 channels",
        ),
    ],
)
def test_errors(flags, message, place, tmp_path):
    out = tmp_path / "out"
    flags = [flag.format(place=place) for flag in flags]
    failed = run(place, f"--out_path={out}", *flags)
    assert failed.returncode == 2
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not out.exists()


def test_published_weights_that_cannot_be_had(monkeypatch, tmp_path):
    def offline(*_args: object, **_kinds: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"put that file at .*resnet18-.*\.pth"):
        load_network("resnet18", None)
