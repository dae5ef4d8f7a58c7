"""RAFT/ from Python: against the authors' results, torchvision's own forward, sums by hand."""

from __future__ import annotations

import doctest
import importlib
import sys
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.models.optical_flow import RAFT, raft_large, raft_small

import RAFT as raft_package  # noqa: N811
from ike_data.runtime.errors import InputError
from ike_data.state_dicts import read_state_dict
from RAFT import DisFlow, RaftFlow, ShrunkFlow, flow_between, load_raft, video_flow
from RAFT.checkpoint import translate_names
from RAFT.frame_fitting import cut_flow, fit_frame

REFERENCES = {"large": "raft-things-random.pth", "small": "raft-small-random.pth"}


def random_raft(size: str) -> RAFT:
    """torchvision's RAFT with seeded weights, and batch norms that are not the identity."""
    torch.manual_seed(5)
    model = raft_small() if size == "small" else raft_large()
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.3)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return model.eval()


def random_frames(count: int, height: int, width: int) -> list[np.ndarray]:
    """Smooth random textures, uint8 RGB."""
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 300, (count, height, width, 3))  # a deviation of 42 once it is smooth
    smooth = [cv2.GaussianBlur(image, (0, 0), 2) for image in noise]
    return [np.clip(image + 128, 0, 255).astype(np.uint8) for image in smooth]


def torchvision_flow(
    model: RAFT, first: np.ndarray, second: np.ndarray, iters: int
) -> torch.Tensor:
    """torchvision's own forward on frames of a size that it takes: [2, height, width]."""
    images = (
        torch.from_numpy(frame.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
        for frame in (first, second)
    )
    with torch.no_grad():
        return model(*images, num_flow_updates=iters)[-1][0]


def end_point_error(flow: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    assert flow.shape == expected.shape and flow.dtype == torch.float32
    return (flow - expected).norm(dim=0)


# --- numbers


def test_flow_of_the_small_raft_is_the_authors(shared):
    # test_extract_optical_flow.py has the same of the large one, through the command.
    folder = shared / "reference" / "raft"
    frames = [np.array(Image.open(folder / name)) for name in ("00000.png", "00001.png")]
    flows = flow_between(*frames, RaftFlow(load_raft(folder / REFERENCES["small"], small=True)))
    for flow, direction in zip(flows, ("fwd", "bwd"), strict=True):
        expected = cv2.readOpticalFlow(str(folder / f"small_{direction}.flo"))
        assert end_point_error(flow, torch.from_numpy(expected).permute(2, 0, 1)).mean() <= 0.01


@pytest.mark.parametrize(("size", "n_pairs", "iters"), [("large", 1, 2), ("small", 2, 5)])
def test_flow_is_torchvisions_own(size, n_pairs, iters):
    model, frames = random_raft(size), random_frames(n_pairs + 1, 128, 144)
    # RaftFlow puts the model back into eval mode.
    fwd_flow, bwd_flow = video_flow(frames, RaftFlow(model.train(), iters=iters))
    assert fwd_flow.shape == bwd_flow.shape == (n_pairs, 2, 128, 144)
    for idx in range(n_pairs):
        there = torchvision_flow(model, frames[idx], frames[idx + 1], iters)
        back = torchvision_flow(model, frames[idx + 1], frames[idx], iters)
        assert (there - back).abs().max() > 0.1  # else the directions could be mixed up
        assert (fwd_flow[idx] - there).abs().max() <= 1e-3
        assert (bwd_flow[idx] - back).abs().max() <= 1e-3


def test_frame_that_is_not_a_multiple_of_8_is_padded_on_both_sides():
    model, frames = random_raft("small"), random_frames(2, 131, 150)
    padded = [np.pad(frame, ((2, 3), (1, 1), (0, 0)), mode="edge") for frame in frames]
    expected = torchvision_flow(model, *padded, iters=3)[:, 2:-3, 1:-1]
    forward, _ = flow_between(*frames, RaftFlow(model, iters=3))
    assert forward.shape == (2, 131, 150)
    assert (forward - expected).abs().max() <= 1e-3


def test_small_frame_is_enlarged_and_its_flow_made_small_again():
    # 100 x 120 pixels become 128 x 154 (154 = 120 * 1.28, rounded), padded to 128 x 160.
    model, frames = random_raft("small"), random_frames(2, 100, 120)
    enlarged = [
        F.interpolate(
            torch.from_numpy(frame).permute(2, 0, 1)[None].double(), (128, 154), mode="bilinear"
        )[0].permute(1, 2, 0)
        for frame in frames
    ]
    padded = [np.pad(image.numpy(), ((0, 0), (3, 3), (0, 0)), mode="edge") for image in enlarged]
    large = torchvision_flow(model, *padded, iters=3)[:, :, 3:-3].permute(1, 2, 0).numpy()
    expected = cv2.resize(large, (120, 100), interpolation=cv2.INTER_LINEAR)
    expected *= np.array([120 / 154, 100 / 128], dtype=np.float32)
    forward, _ = flow_between(*frames, RaftFlow(model, iters=3))
    assert np.abs(forward.permute(1, 2, 0).numpy() - expected).max() <= 2e-3


def test_mixed_precision_keeps_correlation_and_flow_in_float32(monkeypatch):
    model, frames = random_raft("large"), random_frames(2, 128, 136)
    correlations, updates = [], []
    sample = model.corr_block.index_pyramid

    def watched_sample(coords: torch.Tensor) -> torch.Tensor:
        sampled = sample(coords)
        correlations.extend([*model.corr_block.corr_pyramid, sampled])
        return sampled

    monkeypatch.setattr(model.corr_block, "index_pyramid", watched_sample)
    model.update_block.flow_head.register_forward_hook(lambda *args: updates.append(args[2]))
    flows = {}
    for mixed in (False, True):
        flows[mixed] = flow_between(*frames, RaftFlow(model, iters=2, mixed_precision=mixed))
    assert {tensor.dtype for tensor in correlations} == {torch.float32}
    assert [tensor.dtype for tensor in updates] == [torch.float32] * 2 + [torch.bfloat16] * 2
    for full, half in zip(flows[False], flows[True], strict=True):
        error = end_point_error(half, full).mean()
        assert 0 < error < 0.05 * full.norm(dim=0).mean()


def test_each_frame_is_encoded_once_and_one_flow_of_a_pair_is_upsampled():
    model, frames = random_raft("large"), random_frames(3, 128, 136)
    calls: dict[str, list[int]] = {}  # batch size of each call
    for name in ("feature_encoder", "context_encoder", "mask_predictor"):
        batches = calls.setdefault(name, [])
        getattr(model, name).register_forward_hook(
            lambda _module, inputs, _output, batches=batches: batches.append(len(inputs[0]))
        )
    video_flow(frames, RaftFlow(model, iters=2))
    assert calls == {
        "feature_encoder": [1] * 3,
        "context_encoder": [1] * 3,
        "mask_predictor": [2] * 2,
    }


# --- frames, sizes and arguments


def test_the_example_of_the_package():
    results = doctest.testmod(raft_package)
    assert results.attempted > 5 and results.failed == 0


def test_frames_may_be_tensors_and_arrays_of_any_layout(recwarn):
    method, arrays = RaftFlow(random_raft("small"), iters=1), random_frames(2, 128, 136)
    tensors = [torch.from_numpy(array).permute(2, 0, 1) for array in arrays]
    from_bgr = [np.ascontiguousarray(array[..., ::-1])[..., ::-1] for array in arrays]
    read_only = [np.asarray(Image.fromarray(array)) for array in arrays]
    expected = flow_between(*arrays, method)
    for pair in (tensors, from_bgr, read_only):
        assert all(map(torch.equal, flow_between(*pair, method), expected))
    assert not recwarn.list  # PyTorch warns of arrays that are read-only


def test_flow_at_a_working_size():
    (image,) = random_frames(1, 96, 136)
    moved = np.roll(image, (-6, 4), axis=(0, 1))  # 4 pixels to the right, 6 up
    frames = [image, moved, np.roll(moved, (2, 8), axis=(0, 1))]
    fwd_flow, bwd_flow = video_flow(iter(frames), DisFlow(), working_size=(48, 34))
    assert fwd_flow.shape == bwd_flow.shape == (2, 2, 48, 34)
    # A pixel is 4 times as wide and twice as high.
    for idx, motion in enumerate(torch.tensor([[1.0, -3], [2, 1]])):
        for flow, expected in ((fwd_flow, motion), (bwd_flow, -motion)):
            found = flow[idx, :, 10:-10, 5:-5].flatten(1).median(dim=1).values
            torch.testing.assert_close(found, expected, atol=0.1, rtol=0)


def test_one_frame_has_no_flow():
    frame = np.zeros((20, 30, 3), np.uint8)
    assert [flow.shape for flow in video_flow([frame], DisFlow())] == [(0, 2, 20, 30)] * 2
    at_size, _ = video_flow([frame], DisFlow(), working_size=(10, 12))
    assert at_size.shape == (0, 2, 10, 12)


FRAME = np.zeros((20, 30, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: video_flow([], DisFlow()), "frames should be at least one frame"),
        (
            lambda: video_flow([FRAME, FRAME / 255], DisFlow()),
            r"frames\[1\] should be a frame, uint8 RGB.* got ndarray of float64, \[20, 30, 3\]",
        ),
        (lambda: video_flow(FRAME, DisFlow()), r"frames\[0\] .* got ndarray of uint8, \[30, 3\]"),
        (lambda: video_flow(torch.zeros(2, 20, 30, 3).byte(), DisFlow()), r"frames\[0\] should be"),
        (lambda: video_flow("clip.mp4", DisFlow()), r"frames\[0\] should be .* got str"),
        (
            lambda: video_flow([FRAME, FRAME[:, 1:]], DisFlow()),
            r"frames\[1\] should have 20 x 30 pixels \(h x w\) .*, got 20 x 29",
        ),
        (lambda: flow_between(None, FRAME, DisFlow()), "first should be a frame"),
        (lambda: flow_between(FRAME, FRAME[1:], DisFlow()), "second should have 20 x 30 pixels"),
        (lambda: flow_between(FRAME, FRAME, DisFlow), "method should be .* got <class .*DisFlow"),
        (lambda: video_flow([FRAME], "dis"), "method should be a FlowMethod, .* got str"),
        *(
            (
                lambda size=size: video_flow([FRAME], DisFlow(), working_size=size),
                r"working_size should be \(H, W\)",
            )
            for size in ((0, 8), (8,), (8.5, 8), 8)
        ),
        (lambda: RaftFlow(raft_small), "model should be a RAFT of torchvision, got function"),
        (lambda: RaftFlow(raft_small(), iters=0), "iters should be a whole number of at least 1"),
        (lambda: RaftFlow(raft_small(), device="nowhere"), "device: .*nowhere"),
        (lambda: ShrunkFlow(DisFlow(), -1), "max_side should be a whole number of at least 0"),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_torchvision_is_imported_only_for_raft(monkeypatch):
    for name in list(sys.modules):
        if name.split(".")[0] == "RAFT":
            monkeypatch.delitem(sys.modules, name)
        elif name.split(".")[0] == "torchvision":
            monkeypatch.setitem(sys.modules, name, None)  # importing it is an error
    anew = importlib.import_module("RAFT")
    assert anew is not raft_package
    anew.video_flow([FRAME, FRAME], anew.DisFlow())
    with pytest.raises(ImportError, match="torchvision"):
        anew.RaftFlow  # noqa: B018


# --- fitting


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((480, 854), (480, 856)),
        ((128, 136), (128, 136)),
        ((121, 300), (128, 304)),  # 128 after padding: not enlarged
        ((120, 200), (128, 216)),  # 120 is a multiple of 8: enlarged to 128 x 213
        ((90, 60), (192, 128)),
        ((1, 1), (128, 128)),
        ((5, 7), (128, 184)),  # 7 * 128 / 5 = 179.2
    ],
)
def test_fitted_size_and_way_back(size, fitted):
    frame = torch.rand(1, 3, *size)
    assert fit_frame(frame).shape == (1, 3, *fitted)
    assert cut_flow(torch.zeros(2, 2, *fitted), *size).shape == (2, 2, *size)


# --- names


def authors_names(size: str) -> dict[str, list[str]]:
    """torchvision's module -> the authors' modules of the same weights, written from both codes."""
    names = {
        "update_block.motion_encoder.convcorr1.0": ["update_block.encoder.convc1"],
        "update_block.motion_encoder.convcorr2.0": ["update_block.encoder.convc2"],
        "update_block.motion_encoder.convflow1.0": ["update_block.encoder.convf1"],
        "update_block.motion_encoder.convflow2.0": ["update_block.encoder.convf2"],
        "update_block.motion_encoder.conv.0": ["update_block.encoder.conv"],
        "update_block.flow_head.conv1": ["update_block.flow_head.conv1"],
        "update_block.flow_head.conv2": ["update_block.flow_head.conv2"],
        "mask_predictor.convrelu.0": ["update_block.mask.0"],
        "mask_predictor.conv": ["update_block.mask.2"],
    }
    for gate in ("convz", "convr", "convq"):
        if size == "small":
            names[f"update_block.recurrent_block.convgru1.{gate}"] = [f"update_block.gru.{gate}"]
        else:
            for gru in (1, 2):
                names[f"update_block.recurrent_block.convgru{gru}.{gate}"] = [
                    f"update_block.gru.{gate}{gru}"
                ]
    for ours, theirs in (("feature_encoder", "fnet"), ("context_encoder", "cnet")):
        names[f"{ours}.convnormrelu.0"] = [f"{theirs}.conv1"]
        names[f"{ours}.convnormrelu.1"] = [f"{theirs}.norm1"]
        names[f"{ours}.conv"] = [f"{theirs}.conv2"]
        for block in ("layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1"):
            for conv in (1, 2, 3):
                names[f"{ours}.{block}.convnormrelu{conv}.0"] = [f"{theirs}.{block}.conv{conv}"]
                names[f"{ours}.{block}.convnormrelu{conv}.1"] = [f"{theirs}.{block}.norm{conv}"]
            shortcut = f"{block}.downsample"
            names[f"{ours}.{shortcut}.0"] = [f"{theirs}.{shortcut}.0"]
            names[f"{ours}.{shortcut}.1"] = [f"{theirs}.{shortcut}.1", f"{theirs}.{block}.norm3"]
    return names


def as_authors_checkpoint(model: RAFT, size: str) -> dict[str, torch.Tensor]:
    names, checkpoint = authors_names(size), {}
    for name, tensor in model.state_dict().items():
        module, parameter = name.rsplit(".", 1)
        for theirs in names[module]:
            checkpoint[f"module.{theirs}.{parameter}"] = tensor
    return checkpoint


@pytest.mark.parametrize("size", ["large", "small"])
def test_every_name_of_the_reference_checkpoints_is_translated(shared, size):
    path = shared / "reference" / "raft" / REFERENCES[size]
    checkpoint = torch.load(path, weights_only=True)
    assert all(name.startswith("module.") for name in checkpoint)
    translated = translate_names(read_state_dict(path, "give another"))
    expected = random_raft(size).state_dict()
    assert {name: t.shape for name, t in translated.items()} == {
        name: t.shape for name, t in expected.items()
    }
    left_out = {name for name in checkpoint if ".norm3." in name}
    assert len(checkpoint) - len(translated) == len(left_out) == (10 if size == "large" else 0)
    shortcut = "layer2.0.downsample.1.running_var"  # not norm3's, which differs in this file
    own = translated[f"context_encoder.{shortcut}"] if size == "large" else None
    assert own is None or torch.equal(own, checkpoint[f"module.cnet.{shortcut}"])


# --- loading


@pytest.fixture
def save(tmp_path):
    def save_checkpoint(content: object) -> Path:
        torch.save(content, tmp_path / "checkpoint.pth")
        return tmp_path / "checkpoint.pth"

    return save_checkpoint


@pytest.mark.parametrize(("size", "n_names"), [("large", 179), ("small", 106)])
def test_half_precision_weights_of_either_naming_become_float32(save, size, n_names):
    weights = random_raft(size).state_dict()
    half = {name: t.half() if t.is_floating_point() else t for name, t in weights.items()}
    own = load_raft(save(half), size == "small")
    renamed = as_authors_checkpoint(own.half(), size)
    assert len(renamed) == n_names  # as in the authors' files
    authors = load_raft(save(renamed), size == "small")
    assert not authors.training
    for name, tensor in authors.state_dict().items():
        assert tensor.dtype == weights[name].dtype
        assert torch.equal(tensor, half[name].to(tensor.dtype))


@pytest.mark.parametrize(("held", "flag"), [("large", "--no-small"), ("small", "--small")])
@pytest.mark.parametrize("naming", ["authors", "torchvision"])
def test_checkpoint_of_the_other_size_names_the_flag(save, held, flag, naming):
    model = random_raft(held)
    path = save(as_authors_checkpoint(model, held) if naming == "authors" else model.state_dict())
    with pytest.raises(InputError, match=f"holds the {held} RAFT; give {flag}, or small="):
        load_raft(path, small=held == "large")


def test_files_that_are_not_raft_are_refused(save, tmp_path):
    weights = random_raft("small").state_dict()
    one_less = dict(list(weights.items())[:-1])
    wide = weights | {"feature_encoder.conv.bias": torch.zeros(7)}
    for content, message in [
        ({"fc.weight": torch.zeros(2, 3)}, "is not a state dict of the small RAFT .*; 106 missing"),
        ({"epoch": 3, "head": {"fc.weight": torch.zeros(2)}}, "1 unknown, as fc.weight"),
        (one_less, "1 missing, as update_block.flow_head.conv2.bias"),
        (wide, r"feature_encoder.conv.bias has shape \[7\], that of the small RAFT has \[128\]"),
        ({"epoch": 3}, "holds epoch, not a state dict; .*RAFT/models/README.md says where"),
        (torch.zeros(3), "holds a Tensor, not a state dict; .*RAFT/models/README.md says where"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            load_raft(save(content), small=True)
        assert str(tmp_path / "checkpoint.pth") in str(caught.value)
        assert "\n" not in str(caught.value)


def test_missing_files_are_refused(tmp_path):
    for path in (tmp_path / "no_such.pth", tmp_path):
        with pytest.raises(InputError, match=r"is missing.*--method dis"):
            load_raft(path, small=True)


@pytest.mark.parametrize(
    ("small", "name"),
    [(False, "raft_large_C_T_V1-22a6c225.pth"), (True, "raft_small_C_T_V1-ad48884c.pth")],
)
def test_without_a_network_the_error_says_where_to_put_the_weights(
    tmp_path, monkeypatch, small, name
):
    def offline(*_args: object, **_kwargs: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", offline)
    place = tmp_path / "checkpoints" / name
    with pytest.raises(InputError, match=r"--models.*--method dis") as caught:
        load_raft(None, small)
    assert f"put that file at {place}" in str(caught.value)
    assert list(place.parent.iterdir()) == []
    # A file that is put there is taken, and nothing is downloaded.
    torch.save(random_raft("small" if small else "large").state_dict(), place)
    assert isinstance(load_raft(None, small), RAFT)


def test_download_with_a_wrong_hash_is_refused(tmp_path, monkeypatch):
    source = tmp_path / "other.pth"
    source.write_bytes(b"not the weights")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    opener = urllib.request.urlopen
    monkeypatch.setattr(torch.hub, "urlopen", lambda _request: opener(source.as_uri()))
    with pytest.raises(InputError, match="invalid hash value"):
        load_raft(None, small=True)
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []
