"""Damaged, odd and hostile files of every kind that is read: a valid value, or an InputError.

The suite tries few of them. Many, with counts of what was accepted and refused:

    IKE_FUZZ_EXAMPLES=2000 python -m pytest tests/test_fuzz.py -q -s
"""

from __future__ import annotations

import copy
import faulthandler
import io
import math
import os
import pickle
import struct
import sys
import zipfile
import zlib
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from files import RunsCode, write_clip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from torchvision.models.optical_flow import raft_small

from ike_data.command_line import PROJECT_CONFIG
from ike_data.config import Config, format_config, read_config
from ike_data.flow_files import read_flow, write_flow
from ike_data.frames import open_frames
from ike_data.runtime.errors import InputError
from ike_data.saved_config import check_saved_config, save_config
from ike_data.soft_masks import read_soft_masks
from ike_data.step_log import step_log
from ike_data.tensor_files import load_tensors
from ike_tools import feature_networks
from ike_tools.masks import mask_values
from ike_tools.report import stages
from network_module.checkpoints import (
    load_checkpoint,
    read_training,
    restore_training,
    save_checkpoint,
    save_training,
)
from network_module.identity import Identity
from network_module.pretrained_encoder import load_pretrained_encoder
from network_module.settings import Settings
from network_module.training import Training, train
from network_module.unet import ResidualBlock, seeded_unet
from RAFT import load_raft

N_EXAMPLES = int(os.environ.get("IKE_FUZZ_EXAMPLES", "25"))
settings.register_profile(
    "fuzz",
    max_examples=N_EXAMPLES,
    derandomize=True,
    database=None,  # leaves no folder
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
FUZZ = settings.get_profile("fuzz")
# Seconds that no input may take, and bytes that no input may bring the process to hold: far from
# what any of these small files needs, so that a busy machine does not matter.
HANGS, HUGE = 300, 1 << 30
H, W = 5, 7
counts: dict[str, Counter[str]] = {}


@pytest.fixture(scope="module", autouse=True)
def print_counts() -> Iterator[None]:
    yield
    print("\n\nkind, inputs, accepted, refused")
    for kind, count in counts.items():
        print(f"{kind}, {count.total()}, {count['accepted']}, {count['refused']}")


def judge(kind: str, path: Path, read: Callable[[Path], None]) -> bool:
    """Whether the file is accepted; fails on anything but a valid value or one clear line."""
    before = memory_peak(reset=True)
    faulthandler.dump_traceback_later(HANGS, exit=True, file=sys.__stderr__)
    try:
        read(path)
    except InputError as error:
        # In its repr a name without an odd character stands as it is.
        assert path.name in str(error), error
        assert len(str(error).splitlines()) == 1, error
        accepted = False
    else:
        accepted = True
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert memory_peak() < before + HUGE
    counts.setdefault(kind, Counter())["accepted" if accepted else "refused"] += 1
    return accepted


def memory_peak(*, reset: bool = False) -> int:
    """The most bytes that the process has held since the last reset; 0 where that is not told."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


# Damage

HUGE_FIELDS = [
    *(struct.pack("<i", value) for value in (-1, 2**31 - 1, -(2**31), 100_000, 60_000)),
    *(struct.pack(">i", value) for value in (2**31 - 1, -(2**31), 100_000, 60_000)),
    *(struct.pack("<f", value) for value in (math.nan, math.inf, -3e38, 1e9, 1e-45)),
    struct.pack("<q", 2**63 - 1),
    b"\xff\xff",
]


@st.composite
def damaged(draw: st.DrawFn, wholes: list[bytes]) -> bytes:
    """One of ``wholes`` with one to four places flipped, cut, doubled, zeroed or made huge."""
    data = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(1, 4))):
        # The ends are where headers and indices stand.
        start = draw(st.integers(0, len(data)) | st.integers(0, 100) | st.integers(-100, -1))
        start = max(start + len(data), 0) if start < 0 else min(start, len(data))
        end = start + draw(st.integers(1, 20) | st.integers(1, 2000))
        match draw(st.sampled_from(("flip", "cut", "rest", "insert", "double", "zeros", "huge"))):
            case "flip" if start < len(data):
                data[start] ^= draw(st.integers(1, 255))
            case "cut":
                del data[start:end]
            case "rest":
                del data[start:]
            case "insert":
                data[start:start] = draw(st.binary(min_size=1, max_size=30))
            case "double":
                data[start:start] = data[start:end]
            case "zeros":
                data[start:end] = bytes(len(data[start:end]))
            case "huge":
                field = draw(st.sampled_from(HUGE_FIELDS))
                data[start : start + len(field)] = field
    return bytes(data)


def fuzz(
    kind: str,
    path: Path,
    wholes: list[bytes],
    read: Callable[[Path], None],
    share: float = 1,
    others: Iterable[bytes] = (),
) -> None:
    """Every whole file is accepted; ``others``, damaged ones and any bytes are judged."""
    for data in others:
        path.write_bytes(data)
        judge(kind, path, read)
    for whole in wholes:
        path.write_bytes(whole)
        assert judge(kind, path, read), "a valid file is refused"
    starts = st.sampled_from([b"", *(whole[:size] for whole in wholes for size in (4, 12, 40))])
    noise = st.builds(lambda start, rest: start + rest, starts, st.binary(max_size=400))

    @settings(FUZZ, max_examples=max(int(N_EXAMPLES * share), 5))
    @given(damaged(wholes) | damaged(wholes) | damaged(wholes) | noise)
    def run(data: bytes) -> None:
        path.write_bytes(data)
        judge(kind, path, read)

    run()


# config.ini

KEYS = st.sampled_from(
    [
        line.split("=")[0].strip()
        for line in PROJECT_CONFIG.read_text().splitlines()
        if "=" in line and not line.startswith((";", "#", " "))
    ]
    + ["ike_features_paths", "unknown", "%(working_h)s", ""]
)
SECTIONS = st.sampled_from(
    ["General", "PATHS", "Optical Flow", "Graph Module", "Network Module", "DEFAULT", "general"]
)
NUMBERS = st.sampled_from(
    [
        *("nan", "inf", "-inf", "1e400", "-0", "1_000", "٣٢", "²", "0x10", "1e-400", "5e-324"),
        *("9" * 400, "9" * 5000, "-1, 19", "0,,1", "True", "yes", "1.5", "8", "224", "4\n    5"),
    ]
)
VALUES = (
    NUMBERS
    | st.integers(-2, 30).map(str)
    | st.floats(0, 1).map(str)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.text(max_size=30)
    | st.sampled_from(
        [
            *("%(working_h)s", "${General:working_h}", "%", "~", "~nobody\0", "a\0b", "/a\n    /b"),
            *("; note", "a ; note", "# x\n    y", "\x85", "a\x1cb", "raft", "auto", "é\u2028ü"),
        ]
    )
)


def read_and_format(path: Path) -> None:
    config = read_config(path)
    assert isinstance(config, Config)
    try:
        text = format_config(config)
    except InputError as error:  # a path that an ini file cannot hold
        raise InputError(f"{path}: {error}") from error
    again = path.with_name("again.ini")
    again.write_text(text, encoding="utf-8")
    assert read_config(again) == config
    assert format_config(read_config(again)) == text


def test_config_of_damaged_bytes(tmp_path):
    text = PROJECT_CONFIG.read_text()
    wholes = [text.encode(), text.encode("utf-8-sig"), text.replace("\n", "\r\n").encode()]
    others = [f"{text}; ä€\n+".encode(encoding) for encoding in ("utf-16", "utf-32", "utf-7")]
    fuzz("config.ini, bytes", tmp_path / "a.ini", wholes, read_and_format, others=others)


@FUZZ
@given(
    st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=3),
    st.just([]) | st.lists(st.tuples(SECTIONS, KEYS, VALUES), max_size=2),
)
def test_config_of_odd_keys_and_values(tmp_path_factory, replaced, added):
    values, lines = dict(replaced), []
    for line in PROJECT_CONFIG.read_text().splitlines():
        key = line.split("=")[0].strip()
        lines.append(f"{key} = {values[key]}" if key in values and "=" in line else line)
    lines += [f"[{section}]\n{key} = {value}" for section, key, value in added]
    path = tmp_path_factory.getbasetemp() / "odd.ini"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    judge("config.ini, keys and values", path, read_and_format)


# What a run has recorded


def read_record(path: Path) -> None:
    for values in stages.read_log(path.parent).values():
        assert all(math.isfinite(value) for value in values)


def test_log(tmp_path):
    whole = b"epoch,loss,seconds\r\n1,0.5,0.10\r\n2,0.25,0.22\r\n"
    others = b"", b"\r\n", b"a,a\n1,nan\n", b"a\n\xff\n", b"a\n\0\n", b'a\n"', b"9" * 200_000
    fuzz("log.csv", tmp_path / "log.csv", [whole], read_record, others=others)


def test_saved_settings(tmp_path):
    def read(path: Path) -> None:
        stages.read_settings(path.parent)
        check_saved_config(path.parent, "main.py")

    save_config(read_config(PROJECT_CONFIG), tmp_path, ["command: python main.py"])
    whole = (tmp_path / "config.ini").read_bytes()
    fuzz("config.ini, saved", tmp_path / "config.ini", [whole], read)


# .flo


def read_a_flow(path: Path) -> None:
    flow = read_flow(path, H, W)
    assert flow.shape == (H, W, 2) and flow.dtype == np.float32
    assert (np.abs(flow) < 1e9).all()


def test_flow(tmp_path):
    path = tmp_path / "00000_00001.flo"
    write_flow(path, np.random.default_rng(0).normal(0, 9, (H, W, 2)).astype(np.float32))
    whole = path.read_bytes()
    for size in ((100_000, 100_000), (-W, -H), (2**31 - 1, 2**31 - 1), (W, 0)):
        path.write_bytes(whole[:4] + struct.pack("<2i", *size) + whole[12:])
        assert not judge(".flo", path, read_a_flow)
    fuzz(".flo", path, [whole], read_a_flow)


# .pt and .pth: bytes


def saved(content: Any, *, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def packed(data: bytes, change: Callable[[str, bytes], bytes], compression: int = 0) -> bytes:
    """A .pt file whose records went through ``change``, packed anew with right checksums."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for record in old.infolist():
            new.writestr(record.filename, change(record.filename, old.read(record)))
    return file.getvalue()


def as_records(data: bytes, share: float = 1) -> Iterator[bytes]:
    """Files that are whole as an archive and hold a damaged pickle: many of them get to the end."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        content = archive.read(name)
    rng = np.random.default_rng(0)
    for _ in range(max(int(N_EXAMPLES * share), 10)):
        changed = bytearray(content)
        for place in rng.integers(0, len(changed), rng.integers(1, 4)):
            changed[place] = rng.integers(0, 256)

        def put(record: str, old: bytes, new: bytes = bytes(changed)) -> bytes:
            return new if record == name else old

        yield packed(data, put)


def read_a_mask(path: Path) -> None:
    masks = read_soft_masks(path.parent, 1, H, W)
    assert masks.shape == (1, H, W) and masks.dtype == torch.float32
    assert masks.min() >= 0 and masks.max() <= 1


def read_a_mask_to_show(path: Path) -> None:
    mask = mask_values.read_soft_mask(path, 2 * H, 3 * W, mask_values.mask_values([path]))
    assert mask.shape == (2 * H, 3 * W) and mask.dtype == np.float32
    assert mask.min() >= 0 and mask.max() <= 1


@pytest.mark.parametrize("read", [read_a_mask, read_a_mask_to_show])
def test_soft_masks(tmp_path, read):
    mask = torch.rand(H, W, 1, generator=torch.Generator().manual_seed(0))
    wholes = [saved(mask), saved(mask, legacy=True), saved(mask[..., 0].half())]
    wholes.append(saved(torch.nn.Parameter(mask)))
    others = as_records(wholes[0])
    fuzz(".pt soft mask", tmp_path / "00000.pt", wholes, read, share=0.5, others=others)


@pytest.fixture(scope="module")
def raft_files() -> list[bytes]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = raft_small().state_dict()
    wrapped = {f"module.{name}": value for name, value in weights.items()}
    training = {"model": wrapped, "args": Namespace(lr=np.float64(1e-4)), "epoch": 3}
    return [saved(weights), saved(training), safetensors.torch.save(weights)]


def read_raft(path: Path) -> None:
    model = load_raft(path, small=True)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_raft_checkpoint(tmp_path, raft_files):
    others = [data for whole in raft_files[:2] for data in as_records(whole, 0.1)]
    fuzz(".pth of RAFT", tmp_path / "raft.pth", raft_files, read_raft, others=others)


def read_network(path: Path) -> None:
    model, epoch = load_checkpoint(path)
    assert isinstance(epoch, int) and epoch >= 1
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_network_checkpoint(tmp_path):
    path = tmp_path / "epoch_00003.pth"
    save_checkpoint(path, seeded_unet(1, 0), 3, (H, W), 0)
    whole = path.read_bytes()
    fuzz(".pth of the network", path, [whole], read_network, others=as_records(whole))


SETTINGS = Settings.paper(n_epochs=10**6, batch_size=1, learning_rate=0.01, flips=True)
IDENTITY = Identity(7, {"seed": "0", "flips": "True"})


def new_training() -> Training:
    return Training.of(torch.nn.Conv2d(3, 2, 3, padding=1), SETTINGS)


def saved_training(path: Path) -> Path:
    """Write the state of a training of one epoch."""
    training = new_training()
    train_an_epoch(training)
    save_training(path, training, IDENTITY, [["1", "0.5", "0.10"]])
    return path


def train_an_epoch(training: Training) -> None:
    frames = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    masks = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(1))
    next(train(training, frames.to(torch.uint8), masks, SETTINGS))


def resume_training(path: Path) -> None:
    training = new_training()
    kept = read_training(path)
    kept.identity.difference(IDENTITY)
    restore_training(path, training, kept, SETTINGS.n_epochs)
    assert isinstance(training.epoch, int) and training.epoch >= 1
    train_an_epoch(training)
    with step_log(path.parent, "epoch", "loss", kept=kept.log) as log:
        log(3, 0.125)


def test_state_of_a_training(tmp_path):
    path = saved_training(tmp_path / "training.pth")
    whole = path.read_bytes()
    fuzz(".pth to resume from", path, [whole], resume_training, others=as_records(whole))


# .pt and .pth: content

ODD_TENSORS: dict[str, Callable[[torch.Tensor], Any]] = {
    "of another shape": lambda value: torch.zeros(3, 5, 2),
    "complex": lambda value: value.to(torch.complex64),
    "of 8-bit floats": lambda value: value.to(torch.float8_e4m3fn),
    "without data": lambda value: value.to("meta"),
    "sparse": lambda value: value.to_sparse(),
    "nested": lambda value: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    "quantized": lambda value: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.quint8),
    "one number for all": lambda value: torch.zeros(()).expand(value.shape),
    "not finite": lambda value: torch.full(value.shape, math.nan),
    "no tensor": lambda value: "zeros",
    "a number": lambda value: 3,
    "nothing": lambda value: None,
    "empty": lambda value: torch.zeros(0),
    "a scalar": lambda value: torch.tensor(0.5),
}
ODD_CONTENTS = [
    *(None, 3, "text", [], {}, (), [torch.zeros(2)], torch.zeros(2), torch.tensor(1)),
    *({1: torch.zeros(2)}, {None: 1}, {"model": 3}, {b"model": {}}, {(1, 2): torch.zeros(1)}),
    {"layer1.0.conv1.weight": 3, "layer9": None},
    {"classifier.4.weight": torch.zeros(())},
    {"classifier.4.weight": torch.zeros(1, 1, 1, 1).expand(10**9, 1, 1, 1)},
    *({"base_channels": value, "epoch": 1, "model": {}} for value in (-1, 0, 10**6, 2.5, math.inf)),
]


def refused_with(content: Any, path: Path, read: Callable[[Path], None], kind: str) -> None:
    torch.save(content, path)
    assert not judge(kind, path, read), content


@pytest.mark.filterwarnings("ignore")  # PyTorch's, about layouts that are refused
@pytest.mark.parametrize("odd", ODD_TENSORS)
def test_a_tensor_that_is_not_plain(tmp_path, odd, raft_files):
    change = ODD_TENSORS[odd]
    path = tmp_path / "00000.pt"
    try:
        content = change(torch.rand(H, W, 1))
        torch.save(content, path)
    except (RuntimeError, NotImplementedError) as error:
        pytest.skip(f"this PyTorch cannot save it: {error}")
    for read in (read_a_mask, read_a_mask_to_show):
        assert not judge(".pt, odd content", path, read)

    weights = torch.load(io.BytesIO(raft_files[0]), weights_only=True)
    name = "feature_encoder.conv.weight"
    refused_with(weights | {name: change(weights[name])}, path, read_raft, ".pth, odd content")

    save_checkpoint(path, seeded_unet(1, 0), 3, (H, W), 0)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["model"]["last.weight"] = change(checkpoint["model"]["last.weight"])
    refused_with(checkpoint, path, read_network, ".pth, odd content")

    kept = torch.load(saved_training(path), weights_only=True)
    state = kept["state"]
    for place, key in (
        (state["model"], "weight"),
        (state["optimiser"]["state"][0], "exp_avg"),
        (state, "shuffling"),
        (state, "epoch"),
        *((kept, key) for key in ("state", "data_mark", "settings", "log")),
    ):
        old = place[key]
        place[key] = change(torch.as_tensor(old if key not in ("settings", "log", "state") else 0))
        if not isinstance(place[key], int):  # a number is an epoch, or a mark
            refused_with(kept, path, resume_training, ".pth, odd content")
        place[key] = old


def read_encoder(path: Path) -> None:
    class Small(torch.nn.Module):  # what of the U-Net it looks at, but a small part of the weights
        encoder = torch.nn.ModuleList([ResidualBlock(2, 2)])
        last = torch.nn.Conv2d(64, 2, 1)

    load_pretrained_encoder(Small(), path)  # type: ignore[arg-type]


def read_segmentation(path: Path) -> None:
    feature_networks.load_network("lraspp_mobilenet_v3_large", path)
    feature_networks.load_network("fcn_resnet50", path)


READERS = {
    **{"mask": read_a_mask, "shown": read_a_mask_to_show, "raft": read_raft},
    **{"network": read_network, "training": read_training, "encoder": read_encoder},
    "segmentation": read_segmentation,
}


@pytest.mark.parametrize("reader", READERS)
def test_content_of_another_kind(tmp_path, reader):
    for content in ODD_CONTENTS:
        refused_with(content, tmp_path / "00000.pt", READERS[reader], ".pth, odd content")
        pickled = io.BytesIO()
        torch.save(content, pickled, _use_new_zipfile_serialization=False)
        (tmp_path / "00000.pt").write_bytes(pickled.getvalue())
        assert not judge(".pth, odd content", tmp_path / "00000.pt", READERS[reader])


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("way", ["archive", "legacy", "pickle"])
def test_a_file_that_would_run_code(tmp_path, reader, way):
    path, made = tmp_path / "00000.pt", tmp_path / "made by the file"
    for content in (RunsCode(made), {"model": RunsCode(made)}, Namespace(a=RunsCode(made))):
        data = pickle.dumps(content) if way == "pickle" else saved(content, legacy=way == "legacy")
        path.write_bytes(data)
        assert not judge(".pt and .pth that run code", path, READERS[reader])
        assert not made.exists()
        if way != "pickle":
            torch.load(path, weights_only=False)  # here it does run
            made.rmdir()


def test_an_archive_that_grows_when_it_is_read(tmp_path):
    path = tmp_path / "00000.pt"
    size = 1 << 28
    small = saved(torch.zeros(size // 4, dtype=torch.float32)[:4].clone())

    def blown_up(name: str, old: bytes) -> bytes:
        return bytes(size) if "/data/" in name else old

    path.write_bytes(packed(small, blown_up, zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < size / 500
    for read in READERS.values():
        assert not judge(".pt that is compressed", path, read)


def test_a_tensor_that_is_larger_than_its_record(tmp_path):
    """Neither memory beyond the record is read, nor is the size that it claims taken."""
    path = tmp_path / "00000.pt"
    whole = saved(torch.rand(H, W, 1))
    claimed = struct.pack("<i", 1 << 29)

    def claim(name: str, old: bytes) -> bytes:
        size, shape = bytes([ord("K"), H * W]), bytes([75, H, 75, W, 75, 1])
        assert not name.endswith("data.pkl") or (size in old and shape in old)
        return old.replace(size + b"t", b"J" + claimed + b"t").replace(
            shape, b"J" + claimed + b"K\1K\1"
        )

    path.write_bytes(packed(whole, claim))
    with pytest.raises(InputError, match=r"00000\.pt: is damaged"):
        load_tensors(path, "make it again")


# Images


def image_files() -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (24, 20), dtype=np.uint16))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    files = []
    for image, suffix, options in (
        (colour, ".jpg", {}),
        (colour, ".jpg", {"progressive": True}),
        (colour, ".jpg", {"exif": turned}),
        (colour.convert("L"), ".jpg", {}),
        (colour.convert("CMYK"), ".jpg", {}),
        (colour, ".png", {}),
        (colour.convert("RGBA"), ".png", {}),
        (colour.convert("LA"), ".png", {}),
        (colour.convert("P"), ".png", {"transparency": 3}),
        (colour.convert("1"), ".png", {}),
        (deep, ".png", {}),
        (deep, ".png", {"exif": turned}),
        (deep, ".tif", {"exif": turned}),
        (colour, ".tif", {"compression": "tiff_lzw"}),
        (colour, ".bmp", {}),
        (colour, ".webp", {"exif": turned}),
        (colour, ".ppm", {}),
    ):
        file = io.BytesIO()
        image.save(file, Image.registered_extensions()[suffix], **options)
        files.append((suffix, file.getvalue()))
    deep_colour = rng.integers(0, 4096, (24, 20, 3), dtype=np.uint16)
    for suffix in (".png", ".tif", ".ppm"):
        files.append((suffix, cv2.imencode(suffix, deep_colour)[1].tobytes()))
    return files


def read_a_frame(path: Path) -> None:
    frames = open_frames(path.parent)
    (image,) = frames
    assert image.shape == (frames.height, frames.width, 3) and image.dtype == np.uint8


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(width: int, height: int, data: bytes) -> bytes:
    """A PNG of 8-bit grey whose checksums are right."""
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [png_chunk(b"IHDR", header), png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")]
    )


def as_chunks(pngs: list[bytes]) -> Iterator[bytes]:
    """PNGs with a damaged chunk whose checksum is right: these are not refused for that alone."""
    rng = np.random.default_rng(0)
    for _ in range(N_EXAMPLES):
        png = pngs[rng.integers(len(pngs))]
        starts = [8]
        while starts[-1] < len(png):
            starts.append(starts[-1] + 12 + int.from_bytes(png[starts[-1] :][:4], "big"))
        start, end = starts[idx := rng.integers(len(starts) - 1)], starts[idx + 1]
        content = bytearray(png[start + 8 : end - 4])
        for place in rng.integers(0, max(len(content), 1), 2 if content else 0):
            content[place] = rng.choice([0, 1, 3, 16, 127, 255])
        kind = png[start + 4 : start + 8]
        yield png[:start] + png_chunk(kind, bytes(content)) + png[end:]


def with_chunk(png: bytes, chunk: bytes) -> bytes:
    return png[:33] + chunk + png[33:]  # after IHDR


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp", ".webp", ".ppm"])
@pytest.mark.filterwarnings("ignore")  # Pillow's, about damaged metadata
def test_images(tmp_path, suffix):
    wholes = [data for kind, data in image_files() if kind == suffix]
    others = as_chunks(wholes) if suffix == ".png" else ()
    fuzz(f"{suffix} frame", tmp_path / f"00000{suffix}", wholes, read_a_frame, others=others)


def read_an_annotation(path: Path) -> None:
    annotation = mask_values.read_annotation(path, mask_values.annotation_values([path]))
    assert annotation.object.dtype == bool and annotation.object.ndim == 2


def read_a_grey_mask(path: Path) -> None:
    mask = mask_values.read_soft_mask(path, 24, 20, mask_values.mask_values([path]))
    assert mask.shape == (24, 20) and mask.min() >= 0 and mask.max() <= 1


@pytest.mark.parametrize("read", [read_an_annotation, read_a_grey_mask])
@pytest.mark.filterwarnings("ignore")
def test_masks_and_annotations_that_are_images(tmp_path, read):
    png = [data for kind, data in image_files() if kind == ".png"]
    grey = [data for data in png if not Image.open(io.BytesIO(data)).mode.startswith(("RGB", "P"))]
    wholes = png if read is read_an_annotation else grey  # colours must be few in a mask
    fuzz(".png mask or annotation", tmp_path / "00000.png", wholes, read, share=0.5)


@pytest.mark.parametrize("read", [read_a_frame, read_an_annotation, read_a_grey_mask])
@pytest.mark.filterwarnings("ignore")
def test_images_that_are_bombs(tmp_path, read):
    rows = zlib.compress(bytes(1000))
    whole = png_of_size(20, 24, zlib.compress(bytes(24 * 21)))
    bomb = zlib.compress(bytes(1 << 28))
    path = tmp_path / "00000.png"
    for data in (
        png_of_size(60_000, 60_000, rows),
        png_of_size(2**31 - 1, 2**31 - 1, rows),
        png_of_size(13_000, 13_000, rows),
        png_of_size(20, 8_388_376, rows),
        png_of_size(0, 0, rows),
        png_of_size(2**31, 1, rows),
        with_chunk(whole, png_chunk(b"zTXt", b"a\0\0" + bomb)),
        with_chunk(whole, png_chunk(b"iTXt", b"a\0\1\0\0\0" + bomb)),
    ):
        path.write_bytes(data)
        assert not judge("image that is a bomb", path, read)
    path.write_bytes(with_chunk(whole, png_chunk(b"iCCP", b"a\0\0" + bomb)))
    judge("image that is a bomb", path, read)  # Pillow leaves such a profile out


def test_a_picture_of_another_format_under_the_name_of_a_png(tmp_path):
    path = tmp_path / "00000.png"
    for kind in ("EPS", "GIF", "TIFF", "BMP", "PCX", "PDF"):
        Image.new("RGB", (20, 24)).save(path, kind)
        for read in (read_a_frame, read_an_annotation, read_a_grey_mask):
            accepted = judge("picture of another format", path, read)
            assert accepted == (read is read_a_frame and kind in ("TIFF", "BMP"))


# Videos


def video_file(path: Path, codec: str, pixel_format: str) -> bytes:
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 48, 3), dtype=np.uint8)
    return write_clip(path, images, codec, 12, pixel_format).read_bytes()


def read_a_video(path: Path) -> None:
    frames = open_frames(path)
    assert frames.count >= 1
    assert frames.fps is None or 0 < frames.fps < math.inf
    images = list(frames)
    assert len(images) == frames.count
    assert all(image.shape == (frames.height, frames.width, 3) for image in images)
    assert all(image.dtype == np.uint8 for image in images)
    assert all(np.array_equal(one, two) for one, two in zip(images, frames, strict=True))


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [
        (".ts", "mpeg2video", "yuv420p"),
        (".mp4", "mpeg4", "yuv420p"),
        (".mkv", "ffv1", "yuv420p"),
        (".avi", "mjpeg", "yuvj420p"),
        (".gif", "gif", "rgb8"),
    ],
)
def test_videos(tmp_path, suffix, codec, pixel_format):
    whole = video_file(tmp_path / f"whole{suffix}", codec, pixel_format)
    fuzz("video file", tmp_path / f"clip{suffix}", [whole], read_a_video, share=0.25)


def test_videos_of_any_bytes(tmp_path):
    headers = [b"", b"#EXTM3U\n", b"ffconcat version 1.0\nfile ", b"RIFF", b"GIF89a", b"BM", b"FWS"]

    @FUZZ
    @given(st.sampled_from(headers), st.binary(max_size=300))
    def run(start: bytes, rest: bytes) -> None:
        path = tmp_path / "clip.mp4"
        path.write_bytes(start + rest)
        judge("video file", path, read_a_video)

    run()


def test_a_list_of_other_files_is_no_video(tmp_path):
    """Nothing that a file names is opened."""
    video_file(tmp_path / "other.mp4", "mpeg4", "yuv420p")
    for text in ("ffconcat version 1.0\nfile other.mp4\n", "#EXTM3U\n#EXTINF:1,\nother.mp4\n"):
        (tmp_path / "list.mp4").write_text(text)
        assert not judge("video file", tmp_path / "list.mp4", read_a_video)


def test_a_codec_that_is_not_known_and_a_frame_that_is_too_large(tmp_path):
    path = tmp_path / "clip.avi"
    data = video_file(path, "mjpeg", "yuvj420p")
    path.write_bytes(data.replace(b"MJPG", b"QZWQ"))
    with pytest.raises(InputError, match=r"clip\.avi: cannot be decoded .*codec is not known"):
        open_frames(path)
    # An empty GIF of 65535 x 4096 pixels.
    path.write_bytes(b"GIF89a\xff\xff\0\x10\0\0\0,\0\0\0\0\xff\xff\0\x10\0\2\2L\1\0;")
    assert not judge("video file", path, read_a_video)


def test_a_title_that_is_not_utf_8_does_not_matter(tmp_path):
    path = tmp_path / "clip.mp4"
    data = video_file(path, "mpeg4", "yuv420p")
    assert data.count(b"Lavf") >= 1  # the name of the program that wrote it
    path.write_bytes(data.replace(b"Lavf", b"Caf\xe9"))
    assert judge("video file", path, read_a_video)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nothing"])
def test_what_is_no_file(tmp_path, kind):
    """A pipe would be waited for, and for ever."""
    cases: list[tuple[str, Callable[[Path], None]]] = [
        ("00000.png", read_a_frame),
        ("00000.pt", read_a_mask),
        ("00000_00001.flo", read_a_flow),
        ("raft.pth", read_raft),
        ("clip.mp4", read_a_video),
    ]
    for name, read in cases:
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        path = folder / name
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(folder / "nothing")
        assert not judge("no file", path, read)


def test_counting_does_not_hide_what_is_judged():
    """The judge itself: a value is accepted, an InputError refused, all else a failure."""
    kept = copy.deepcopy(counts)

    def fail(error: Exception) -> Callable[[Path], None]:
        def read(path: Path) -> None:
            raise error

        return read

    path = Path("a.pt")
    assert judge("judge", path, lambda path: None)
    assert not judge("judge", path, fail(InputError("a.pt: is damaged")))
    for error in (ValueError("a.pt"), InputError("nothing named"), InputError("a.pt:\ntwo lines")):
        with pytest.raises((ValueError, AssertionError)):
            judge("judge", path, fail(error))
    counts.clear()
    counts.update(kept)
