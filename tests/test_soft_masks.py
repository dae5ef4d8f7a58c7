"""ike_data.soft_masks and tensor_files: what is written, and every file that must be refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ike_data.runtime.errors import InputError
from ike_data.soft_masks import (
    mask_name,
    read_feature_maps,
    read_soft_masks,
    write_mask_images,
    write_soft_masks,
)

N, H, W = 3, 4, 6


def random_masks() -> torch.Tensor:
    return torch.rand(N, H, W, generator=torch.Generator().manual_seed(0))


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_masks_come_back_as_they_were(tmp_path):
    masks = random_masks()
    masks[0, 0, :2] = torch.tensor([0.0, 1.0])
    write_soft_masks(tmp_path / "iter_0", masks)
    assert names(tmp_path / "iter_0") == ["00000.pt", "00001.pt", "00002.pt"]
    for idx in range(N):
        # torch.load itself, as anybody would read them.
        saved = torch.load(tmp_path / "iter_0" / mask_name(idx), weights_only=True)
        assert saved.dtype == torch.float32 and saved.shape == (H, W, 1)
        assert torch.equal(saved[..., 0], masks[idx])
    assert torch.equal(read_soft_masks(tmp_path / "iter_0", N, H, W), masks)
    assert torch.equal(read_feature_maps(tmp_path / "iter_0", N, H, W), masks[..., None])


def test_a_file_holds_its_mask_alone_and_the_same_bytes_each_time(tmp_path):
    masks = torch.rand(50, 30, 40)
    write_soft_masks(tmp_path / "a", masks)
    write_soft_masks(tmp_path / "b", masks.double().requires_grad_())
    for idx in range(50):
        data = (tmp_path / "a" / mask_name(idx)).read_bytes()
        assert 30 * 40 * 4 < len(data) < 30 * 40 * 4 + 3000  # all 50 would be 240 kB
        assert data == (tmp_path / "b" / mask_name(idx)).read_bytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_masks_that_are_not_finite_are_not_written(tmp_path, value):
    masks = random_masks()
    write_soft_masks(tmp_path / "iter_0", masks)
    with pytest.raises(ValueError, match="not finite"):
        write_soft_masks(tmp_path / "iter_0", torch.full((N, H, W), value))
    assert torch.equal(read_soft_masks(tmp_path / "iter_0", N, H, W), masks)


def test_images_of_the_same_size_are_rounded(tmp_path):
    # times 255: 0, 50.75, 50.99.. -> 51, 127.5 -> 128 (to even), 254.4, 255
    values = torch.tensor([[[0, 0.19901961, 0.19996, 0.5, 0.9976, 1]]])
    write_mask_images(tmp_path / "png", values, 1, 6)
    image = Image.open(tmp_path / "png" / "00000.png")
    assert image.mode == "L" and image.size == (6, 1)
    assert list(image.tobytes()) == [0, 51, 51, 128, 254, 255]


def test_an_image_of_another_size_is_bilinear(tmp_path):
    # 1 x 2 to 2 x 4 without align_corners: output centres lie at -0.25, 0.25, 0.75, 1.25 between
    # the input's centres 0 and 1, so the weights of the right pixel are 0, 0.25, 0.75, 1.
    # 0.2 and 0.6: 0.2, 0.3, 0.5, 0.6; times 255: 51, 76.5, 127.5, 153
    write_mask_images(tmp_path / "png", torch.tensor([[[0.2, 0.6]]]), 2, 4)
    rows = np.asarray(Image.open(tmp_path / "png" / "00000.png")).astype(int)
    assert rows.shape == (2, 4)
    for row in rows:
        assert row[0] == 51 and row[1] in (76, 77) and row[2] in (127, 128) and row[3] == 153


def save_all(folder: Path, content: object, idx: int = 1) -> Path:
    """A good folder whose file ``idx`` holds ``content`` instead."""
    write_soft_masks(folder, random_masks())
    torch.save(content, folder / mask_name(idx))
    return folder


def refusal(folder: Path, read=read_soft_masks) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, N, H, W)
    line = str(caught.value)
    assert "\n" not in line and line.startswith(str(folder))
    return line.removeprefix(str(folder)).lstrip("/")


def test_a_missing_folder_and_a_missing_file(tmp_path):
    assert refusal(tmp_path / "none").startswith(": no such folder; give a folder of .pt maps")
    write_soft_masks(tmp_path / "two", random_masks()[:2])
    assert refusal(tmp_path / "two") == (
        "00002.pt: is missing; the video has 3 frames, so its folder needs 00000.pt to 00002.pt, "
        "a tensor [4, 6, 1] each"
    )


BAD_CONTENT = {
    "transposed": (torch.zeros(W, H, 1), "has shape [6, 4, 1], expected [4, 6, channels]"),
    "a number": (torch.tensor(0.5), "has shape [], expected [4, 6, channels]"),
    "two channels": (torch.zeros(H, W, 2), "has shape [4, 6, 2], the first map of the folder has"),
    "NaN": (torch.full((H, W, 1), float("nan")), "has values that are NaN or infinite"),
    "infinite": (torch.full((H, W, 1), float("-inf")), "has values that are NaN or infinite"),
    "too large": (
        torch.full((H, W, 1), 1e300, dtype=torch.float64),
        "has values that are NaN or infinite",
    ),
    "above 1": (
        torch.full((H, W, 1), 1.5),
        "has values from 1.5 to 1.5; a soft mask lies in [0, 1]",
    ),
    "below 0": (torch.linspace(-0.25, 1, H * W).view(H, W, 1), "has values from -0.25 to 1;"),
    "0 to 255": (torch.full((H, W, 1), 255, dtype=torch.uint8), "has values from 255 to 255;"),
    "just above 1": (torch.full((H, W, 1), 1.001), "has values from 1.001 to 1.001;"),
    "list": ([torch.zeros(H, W, 1)], "holds a list, not one tensor; the video has 3 frames"),
    "sparse": (torch.zeros(H, W, 1).to_sparse(), "is not a dense real tensor; save it as float32"),
}


@pytest.mark.parametrize("case", BAD_CONTENT)
def test_content_that_is_no_soft_mask(tmp_path, case):
    content, expected = BAD_CONTENT[case]
    assert refusal(save_all(tmp_path / "a", content)).startswith(f"00001.pt: {expected}")


def test_values_that_leave_the_range_by_rounding_are_cut_off(tmp_path):
    mask = torch.linspace(-1e-6, 1 + 1e-6, H * W).view(H, W)
    assert mask.max() > 1
    read = read_soft_masks(save_all(tmp_path / "a", mask), N, H, W)
    assert (read.min(), read.max()) == (0, 1)
    assert torch.equal(read[1].flatten()[1:-1], mask.flatten()[1:-1])
    save_all(tmp_path / "a", 255 * mask)
    assert refusal(tmp_path / "a").endswith("divide it by 255 if it is of bytes")


def test_a_folder_that_holds_no_maps(tmp_path):
    write_mask_images(tmp_path / "iter_19_images", random_masks(), H, W)
    missing = "00000.pt: is missing; the video has 3 frames, so its folder needs 00000.pt to 00002"
    assert refusal(tmp_path / "iter_19_images").startswith(missing)
    with pytest.raises(InputError, match=r"iter_19: no such folder; .* such as iter_19 or results"):
        read_soft_masks(tmp_path / "iter_19", 3, H, W)


def test_several_channels_are_features_but_no_soft_mask(tmp_path):
    maps = torch.randn(N, H, W, 2) * 10
    for idx in range(N):
        torch.save(maps[idx], tmp_path / mask_name(idx))
    assert torch.equal(read_feature_maps(tmp_path, N, H, W), maps)
    assert refusal(tmp_path) == ": its maps have 2 channels; a soft mask has 1, [4, 6, 1]"


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.int64, torch.bool]
)
def test_other_number_types_are_accepted(tmp_path, dtype):
    mask = (torch.arange(H * W).view(H, W, 1) % 2).to(dtype)
    folder = save_all(tmp_path / "a", mask)
    masks = read_soft_masks(folder, N, H, W)
    assert masks.dtype == torch.float32
    assert masks[1].tolist() == [[0.0, 1.0] * (W // 2)] * H


def test_maps_without_a_channel_axis_and_parameters_are_accepted(tmp_path):
    mask = torch.linspace(0, 1, H * W).view(H, W)
    folder = save_all(tmp_path / "a", mask, idx=0)
    torch.save(torch.nn.Parameter(mask), folder / mask_name(1))
    torch.save(mask.T.contiguous().T[..., None], folder / mask_name(2))  # other strides
    masks = read_soft_masks(folder, N, H, W)
    assert not masks.requires_grad
    assert all(torch.equal(masks[idx], mask) for idx in range(N))


def test_a_damaged_file_and_a_folder_in_its_place(tmp_path):
    """Other damage: test_fuzz.py."""
    write_soft_masks(tmp_path, random_masks())
    path = tmp_path / mask_name(1)
    path.write_bytes(path.read_bytes()[:-1])
    line = refusal(tmp_path)
    assert line.startswith("00001.pt: is damaged or holds more than tensors (")
    assert line.endswith("a tensor [4, 6, 1] each")
    path.unlink()
    path.mkdir()
    assert refusal(tmp_path).startswith("00001.pt: is missing; the video has 3 frames")
