"""ike_data.flow_files against hand-written bytes, OpenCV and a plain numpy reader."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from ike_data.flow_files import check_flow, check_flow_folders, flow_name, read_flow, write_flow
from ike_data.runtime.errors import InputError


def random_flow(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 20, (height, width, 2)).astype(np.float32)


def test_file_names_count_from_zero_with_five_digits():
    assert flow_name(0) == "00000_00001.flo"
    assert flow_name(99_998) == "99998_99999.flo"


def test_bytes_of_a_2x3_flow(tmp_path):
    flow = np.array(
        [[[1, -1], [2, -2], [3, -3]], [[0.5, 10], [0.25, 20], [0.125, 30]]], dtype=np.float32
    )
    write_flow(tmp_path / "a.flo", flow)
    values = (1, -1, 2, -2, 3, -3, 0.5, 10, 0.25, 20, 0.125, 30)
    expected = b"PIEH" + b"\x03\0\0\0" + b"\x02\0\0\0" + struct.pack("<12f", *values)
    assert (tmp_path / "a.flo").read_bytes() == expected
    assert struct.unpack("<f", b"PIEH")[0] == 202021.25


@pytest.mark.parametrize("part", [np.s_[:], np.s_[1:6, 2:10]], ids=["whole", "not contiguous"])
def test_written_flow_opens_elsewhere_bit_for_bit(tmp_path, part):
    flow, path = random_flow(9, 12)[part], tmp_path / flow_name(0)
    write_flow(path, flow)
    assert cv2.readOpticalFlow(str(path)).tobytes() == flow.tobytes()
    assert [item.name for item in tmp_path.iterdir()] == [path.name]  # nothing temporary is left


def test_reads_a_file_that_another_program_wrote(tmp_path):
    flow = random_flow(4, 7)
    cv2.writeOpticalFlow(str(tmp_path / "a.flo"), flow)
    read = read_flow(tmp_path / "a.flo", 4, 7)
    assert read.dtype == np.float32 and read.shape == (4, 7, 2)
    assert read.tobytes() == flow.tobytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"PIEX" + data[4:], "not a .flo file"),
        (lambda data: data[:-1], "truncated"),
        (lambda data: data[:11], "truncated"),
        (lambda data: b"", "truncated"),
        (lambda data: data + b"\0", "too long"),
        (lambda data: data[:4] + struct.pack("<ii", 4, 7) + data[12:], "4 x 7 pixels"),
        (lambda data: data[:4] + struct.pack("<ii", -7, -4) + data[12:], "-7 x -4 pixels"),
    ],
    ids=["magic", "last byte", "header", "empty", "too long", "sides swapped", "negative"],
)
@pytest.mark.parametrize("read", [read_flow, check_flow])
def test_damaged_file_is_one_clear_error(tmp_path, damage, message, read):
    path = tmp_path / "00000_00001.flo"
    path.write_bytes(damage(struct.pack("<fii", 202021.25, 7, 4) + random_flow(4, 7).tobytes()))
    with pytest.raises(InputError, match=message) as caught:
        read(path, 4, 7)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_flow, check_flow])
def test_missing_file_says_which_command_makes_it(tmp_path, read):
    with pytest.raises(InputError, match=r"missing; run extract_optical_flow\.py"):
        read(tmp_path / "00000_00001.flo", 4, 7)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9, -1e9, 3e38])
def test_values_that_are_not_finite_are_neither_read_nor_written(tmp_path, value):
    flow = random_flow(4, 7)
    flow[2, 3, 1] = value
    path = tmp_path / "a.flo"
    path.write_bytes(struct.pack("<fii", 202021.25, 7, 4) + flow.tobytes())
    with pytest.raises(InputError, match="not finite"):
        read_flow(path, 4, 7)
    with pytest.raises(ValueError, match="not finite"):
        write_flow(path, flow)


@pytest.mark.parametrize("shape", [(4, 7), (2, 4, 7), (4, 7, 3)])
def test_wrong_shape_is_refused_and_the_older_file_stays(tmp_path, shape):
    path = tmp_path / "a.flo"
    write_flow(path, random_flow(4, 7))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="shape"):
        write_flow(path, np.zeros(shape, np.float32))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# --- flow of other tools


@pytest.fixture
def told(tmp_path):
    """What is said of FLOW, with these files of flow in it, as the flow of 4 frames."""

    def told_of(*files: str) -> str:
        for name in files:
            path = tmp_path / "FLOW" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_flow(path, random_flow(4, 7))
        with pytest.raises(InputError) as error:
            check_flow_folders(tmp_path / "FLOW/fwd_of", tmp_path / "FLOW/bwd_of", 4, 4, 7)
        assert "\n" not in str(error.value)
        return str(error.value).replace(str(tmp_path) + "/", "")

    return told_of


BOTH = "both fwd_of (from frame idx to idx+1) and bwd_of (from idx+1 to idx) are needed"
OURS = [flow_name(idx) for idx in range(3)]


def in_both(*names: str) -> list[str]:
    return [f"{folder}/{name}" for folder in ("fwd_of", "bwd_of") for name in names]


@pytest.mark.parametrize(
    "names",
    [
        ["00000.flo", "00001.flo", "00002.flo"],
        ["frame_1.flo", "frame_9.flo", "frame_10.flo"],  # as text 10 comes before 9
        ["00001_00002.flo", "00002_00003.flo", "00003_00004.flo"],
        ["00001_00000.flo", "00002_00001.flo", "00003_00002.flo"],
    ],
)
def test_files_under_other_names_are_to_be_renamed(tmp_path, told, names):
    text = told(*in_both(*names))
    expected = "expected 00000_00001.flo (frame {}) ... 00002_00003.flo (3 files); rename them"
    holds = f"holds {names[0]} ... {names[2]} (3 files); "
    assert text == f"FLOW/fwd_of: {holds}{expected.format('0 to 1')}"
    for folder, then in (("fwd_of", "bwd_of"), ("bwd_of", None)):  # what it says helps
        for name, ours in zip(names, OURS, strict=True):
            (tmp_path / "FLOW" / folder / name).rename(tmp_path / "FLOW" / folder / ours)
        if then:
            assert told() == f"FLOW/bwd_of: {holds}{expected.format('1 to 0')}"
    check_flow_folders(tmp_path / "FLOW/fwd_of", tmp_path / "FLOW/bwd_of", 4, 4, 7)


@pytest.mark.parametrize("n_files", [2, 4])
def test_another_number_of_files_is_told(told, n_files):
    text = told(*in_both(*(f"{idx}.flo" for idx in range(n_files))))
    assert f"holds 0.flo ... {n_files - 1}.flo ({n_files} files); expected" in text
    assert text.endswith("(3 files); rename those of these frames")


def test_a_direction_that_is_missing_is_told(told):
    text = told("fwd_of/0.flo", "fwd_of/1.flo", "fwd_of/2.flo")
    assert text.endswith(f"rename them; {BOTH}")


@pytest.mark.parametrize("there", ["fwd_of", "bwd_of"])
def test_one_folder_alone(told, there):
    missing = {"fwd_of": "bwd_of", "bwd_of": "fwd_of"}[there]
    text = told(*(f"{there}/{name}" for name in OURS))
    run = "run extract_optical_flow.py --out_path=FLOW, which makes what is missing"
    assert text == f"FLOW/{missing}: no such folder; {BOTH}; {run}"


@pytest.mark.parametrize("name", ["{:06}_10.png", "flow{}.npy", "{}.PFM"])
def test_other_formats_are_not_to_be_renamed_only(told, name):
    names = [name.format(idx) for idx in range(3)]
    text = told(*in_both(*names), "fwd_of/notes.md")
    assert text.startswith(f"FLOW/fwd_of: holds {names[0]} ... {names[2]} (3 files); expected 0000")
    remedy = "under these names in Middlebury's format (docs/usage.md, Files), or run extract_"
    assert f"; write them {remedy}" in text


@pytest.mark.parametrize("suffix", ["flo", "png"])
def test_files_directly_in_the_folder(told, suffix):
    text = told(*(f"{idx:05}.{suffix}" for idx in range(3)), "config.ini")
    holds = f"FLOW: holds 00000.{suffix} ... 00002.{suffix} (3 files); {BOTH}"
    each = "with 00000_00001.flo ... 00002_00003.flo (3 files) in each; put the files there under"
    assert text.startswith(f"{holds}, {each} these names")
    assert ("Middlebury" in text) == (suffix == "png")


def test_folders_of_other_names(told):
    text = told(*(f"{folder}/{idx}.flo" for folder in ("forward", "backward") for idx in range(3)))
    assert text == f"FLOW: holds the folders backward, forward; {BOTH}; rename them"


def test_a_folder_too_high(told):
    text = told(*(f"bear/{name}" for name in in_both(*OURS)))
    assert text == "FLOW: holds no fwd_of; give --of_path=FLOW/bear"
    text = told(*(f"camel/{name}" for name in in_both(*OURS)))
    assert text.endswith("FLOW/bear, or the other folder there that is of this video")


def test_where_there_is_no_flow_nothing_is_made_of_it(told):
    run = "FLOW/fwd_of: no such folder; run extract_optical_flow.py first"
    assert told() == run
    assert told("config.ini", "frames/00000.png", "fwd.txt") == run
    text = told("bwd_of/notes.txt", "fwd_of/notes.txt")
    assert text == "FLOW/fwd_of/00000_00001.flo: is missing; run extract_optical_flow.py first"
