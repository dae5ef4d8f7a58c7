"""The U-Net against docs/method.md section 4: sizes, counts, and forwards written by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18, resnet34

from ike_data.runtime.errors import InputError
from network_module.pretrained_encoder import load_pretrained_encoder
from network_module.unet import ResidualBlock, UNet, seeded_unet


def instance_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=(2, 3), keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * weight[:, None, None] + bias[:, None, None]


def randomise(module: torch.nn.Module) -> None:
    """Random weights also for the norms, which start as 1 and 0."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + 0.1)


def random_frames(n: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("channels", [(3, 5), (4, 4)])
def test_residual_block_against_a_forward_by_hand(channels):
    block = ResidualBlock(*channels).double()
    randomise(block)
    weights = block.state_dict()
    x = random_frames(2 * channels[0], 6, 9)[:, 0].reshape(2, channels[0], 6, 9).double()

    def conv_norm(y: torch.Tensor, idx: int) -> torch.Tensor:
        y = F.conv2d(y, weights[f"conv{idx}.weight"], padding=1)
        return instance_norm(y, weights[f"norm{idx}.weight"], weights[f"norm{idx}.bias"])

    shortcut = x
    if channels[0] != channels[1]:
        shortcut = instance_norm(
            torch.einsum("oi,nihw->nohw", weights["shortcut.0.weight"][:, :, 0, 0], x),
            weights["shortcut.1.weight"],
            weights["shortcut.1.bias"],
        )
    first = (conv_norm(conv_norm(x, 1).clamp(min=0), 2) + shortcut).clamp(min=0)
    expected = (conv_norm(conv_norm(first, 3), 4) + first).clamp(min=0)
    with_relu = (conv_norm(conv_norm(first, 3).clamp(min=0), 4) + first).clamp(min=0)

    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)
    assert not torch.allclose(block(x), with_relu, atol=1e-2)


def test_levels_are_connected_as_the_method_says():
    model = UNet(2).double()
    randomise(model)
    inputs, outputs = {}, {}
    for name, module in model.named_modules():

        def record(_module, args, output, name=name):
            inputs[name], outputs[name] = args[0], output

        module.register_forward_hook(record)
    frames = random_frames(2, 32, 48).double()
    logits = model(frames)

    weights = model.state_dict()
    stem = F.conv2d(frames, weights["stem.0.weight"], padding=3)
    stem = instance_norm(stem, weights["stem.1.weight"], weights["stem.1.bias"]).clamp(min=0)
    torch.testing.assert_close(inputs["encoder.0"], stem, rtol=0, atol=1e-12)
    below_encoder = ["encoder.1", "encoder.2", "encoder.3", "bottom"]
    for idx, below in enumerate(below_encoder):
        n, c, h, w = outputs[f"encoder.{idx}"].shape
        windows = outputs[f"encoder.{idx}"].reshape(n, c, h // 2, 2, w // 2, 2)
        assert torch.equal(inputs[below], windows.amax(dim=(3, 5)))
    deeper = outputs["bottom"]
    for idx in range(4):
        encoder_map = outputs[f"encoder.{3 - idx}"]
        up = F.conv_transpose2d(
            deeper, weights[f"upsampling.{idx}.0.weight"], stride=2, padding=1, output_padding=1
        )
        norm = f"upsampling.{idx}.1"
        up = instance_norm(up, weights[f"{norm}.weight"], weights[f"{norm}.bias"])
        expected = torch.cat([encoder_map, up], dim=1)
        torch.testing.assert_close(inputs[f"decoder.{idx}"], expected, rtol=0, atol=1e-11)
        deeper = outputs[f"decoder.{idx}"]
        assert up.shape[1] * 2 == inputs[f"upsampling.{idx}.0"].shape[1]
    expected = F.conv2d(deeper, weights["last.weight"], weights["last.bias"], padding=1)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-11)
    assert not [m for m in model.modules() if isinstance(m, torch.nn.modules.dropout._DropoutNd)]


def hand_count() -> int:
    """Weights of docs/method.md section 4's layer list, none of them taken from the model."""
    convs = [(7, 3, 64)]  # stem; kernel, in, out; each followed by a norm
    blocks = [(64, 64), (64, 128), (128, 256), (256, 512), (512, 1024)]
    for deep in (1024, 512, 256, 128):
        half = deep // 2
        convs.append((3, deep, half))  # transposed
        blocks.append((half + half, half))  # encoder's map and the upsampled one
    for a, b in blocks:
        convs += [(3, a, b), (3, b, b), (3, b, b), (3, b, b)]
        if a != b:
            convs.append((1, a, b))
    with_norms = sum(kernel**2 * a * b + 2 * b for kernel, a, b in convs)
    return with_norms + 3**2 * 64 * 2 + 2  # the last conv has a bias and no norm


def test_number_of_parameters():
    with torch.device("meta"):
        model = UNet()
    assert sum(parameter.numel() for parameter in model.parameters()) == hand_count()
    assert f"{hand_count() / 1e6:.1f}" == "67.4"


def test_operations_of_a_frame():
    with torch.device("meta"):
        model, frame = UNet(64), torch.empty(1, 3, 224, 416)
        with FlopCounterMode(display=False) as counter:
            model(frame)
    assert f"{counter.get_total_flops() / 1e9:.0f}" == "284"


@pytest.mark.parametrize("size", [(32, 48), (64, 32), (33, 47), (8, 70), (1, 1), (100, 9)])
def test_any_size_is_padded_inside_and_cut_back(size):
    height, width = size
    model = UNet(1)
    padded_sizes = []
    model.stem.register_forward_pre_hook(lambda _, args: padded_sizes.append(args[0].shape[2:]))
    frames = random_frames(2, height, width)
    with torch.inference_mode():
        logits = model(frames)
        assert logits.shape == (2, 2, height, width)
        assert torch.isfinite(logits).all()

        rows = max(32, -(-height // 16) * 16) - height
        columns = max(32, -(-width // 16) * 16) - width
        before = rows // 2, columns // 2
        after = rows - before[0], columns - before[1]
        edges = [(0, 0), (0, 0), (before[0], after[0]), (before[1], after[1])]
        whole = model(torch.from_numpy(np.pad(frames.numpy(), edges, mode="edge")))
    # The hand-padded frames needed no padding of their own.
    assert padded_sizes == [whole.shape[2:], whole.shape[2:]]
    cut = whole[:, :, before[0] : before[0] + height, before[1] : before[1] + width]
    torch.testing.assert_close(logits, cut)


@pytest.mark.parametrize("base_channels", [1, 3])
def test_every_parameter_gets_a_gradient(base_channels):
    model = UNet(base_channels).double()
    randomise(model)
    model(random_frames(1, 48, 64).double()).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_seed_decides_the_weights():
    first, other = seeded_unet(2, seed=5), seeded_unet(2, seed=6)
    assert not torch.equal(first.last.weight, other.last.weight)


@pytest.fixture(scope="module")
def big_unet():
    return UNet(64)


@pytest.fixture
def checkpoint():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = resnet18(weights=None).state_dict()
        for name, value in weights.items():
            if "bn" in name and value.is_floating_point():
                weights[name] = torch.rand_like(value)  # untrained ones are 1 and 0
    return weights


def test_pretrained_encoder_copies_layers_1_to_4(tmp_path, big_unet, checkpoint):
    path = tmp_path / "resnet18.pth"
    torch.save(checkpoint, path)
    untouched = {
        name: value.clone()
        for name, value in big_unet.state_dict().items()
        if not name.startswith("encoder.")
    }
    load_pretrained_encoder(big_unet, path)

    for layer, block in enumerate(big_unet.encoder, start=1):
        basic = {
            name.removeprefix(f"layer{layer}."): value
            for name, value in checkpoint.items()
            if name.startswith(f"layer{layer}.")
        }
        pairs = [
            (block.conv1, "0.conv1"),
            (block.norm1, "0.bn1"),
            (block.conv2, "0.conv2"),
            (block.norm2, "0.bn2"),
            (block.conv3, "1.conv1"),
            (block.norm3, "1.bn1"),
            (block.conv4, "1.conv2"),
            (block.norm4, "1.bn2"),
        ]
        if layer > 1:
            pairs += [(block.shortcut[0], "0.downsample.0"), (block.shortcut[1], "0.downsample.1")]
        for module, name in pairs:
            assert torch.equal(module.weight, basic[f"{name}.weight"]), name
            if "conv" not in name and not name.endswith("downsample.0"):
                assert torch.equal(module.bias, basic[f"{name}.bias"]), name
        assert len(list(block.parameters())) == 4 * 3 + (3 if layer > 1 else 0)
    for name, value in untouched.items():
        assert torch.equal(big_unet.state_dict()[name], value), name


def test_what_is_not_a_resnet18_is_refused_and_changes_nothing(tmp_path, big_unet, checkpoint):
    path = tmp_path / "weights.pth"
    before = big_unet.encoder[0].conv1.weight.clone()

    def refused(content: object, match: str) -> None:
        torch.save(content, path)
        with pytest.raises(InputError, match=match):
            load_pretrained_encoder(big_unet, path)
        assert torch.equal(big_unet.encoder[0].conv1.weight, before)

    with torch.device("meta"):
        deeper = resnet34(weights=None).state_dict()
    deeper = {name: torch.zeros(1) for name in deeper}
    refused(deeper, r"not a state dict of torchvision's ResNet-18 .* unknown, as layer1\.2")
    refused({"conv1.weight": torch.ones(2)}, r"missing, as layer1\.0\.bn1\.bias")
    refused(torch.ones(2), "holds a Tensor, not a state dict")
    refused({**checkpoint, "layer3.0.conv1.weight": torch.ones(2, 3)}, r"layer3.*\[2, 3\]")
    refused({**checkpoint, "layer3.0.conv1.weight": "text"}, r"1 missing, as layer3\.0\.conv1")
    nan = torch.full((256, 256, 3, 3), float("nan"))
    refused({**checkpoint, "layer3.0.conv2.weight": nan}, r"layer3\.0\.conv2\.weight.*not finite")
