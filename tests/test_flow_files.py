"""ike_data.flow_files against hand-written bytes, OpenCV and a plain numpy reader."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from ike_data.errors import InputError
from ike_data.flow_files import (
    check_flow,
    check_flow_folders,
    flow_name,
    read_flow,
    write_flow,
)


def random_flow(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 20, (height, width, 2)).astype(np.float32)


def plain_read(path: Path) -> np.ndarray:
    """A reader from the format's description alone."""
    data = path.read_bytes()
    assert data[:4] == b"PIEH"
    width, height = struct.unpack("<ii", data[4:12])
    values = np.frombuffer(data[12:], "<f4")
    return values.reshape(height, width, 2)


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


def test_written_flow_opens_elsewhere_bit_for_bit(tmp_path):
    flow = random_flow(5, 8)
    path = tmp_path / flow_name(0)
    write_flow(path, flow)
    assert cv2.readOpticalFlow(str(path)).tobytes() == flow.tobytes()
    assert plain_read(path).tobytes() == flow.tobytes()
    assert [item.name for item in tmp_path.iterdir()] == [path.name]  # nothing temporary is left


def test_a_slice_that_is_not_contiguous_is_written_right(tmp_path):
    flow = random_flow(9, 12)[1:6, 2:10]
    write_flow(tmp_path / "a.flo", flow)
    np.testing.assert_array_equal(plain_read(tmp_path / "a.flo"), flow)


def test_reads_a_file_that_another_program_wrote(tmp_path):
    flow = random_flow(4, 7)
    path = tmp_path / "a.flo"
    path.write_bytes(struct.pack("<fii", 202021.25, 7, 4) + flow.tobytes())
    read = read_flow(path, 4, 7)
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


@pytest.mark.parametrize("value", [np.nan, np.inf])
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


def test_folders_need_every_pair_in_both_directions(tmp_path):
    forward, backward = tmp_path / "fwd_of", tmp_path / "bwd_of"
    with pytest.raises(InputError, match="fwd_of: no such folder"):
        check_flow_folders(forward, backward, 3, 4, 7)
    for folder in (forward, backward):
        folder.mkdir()
        for idx in range(2):
            write_flow(folder / flow_name(idx), random_flow(4, 7))
    check_flow_folders(forward, backward, 3, 4, 7)
    with pytest.raises(InputError, match=r"fwd_of/00002_00003\.flo: is missing"):
        check_flow_folders(forward, backward, 4, 4, 7)
    (backward / flow_name(1)).unlink()
    with pytest.raises(InputError, match=r"bwd_of/00001_00002\.flo: is missing"):
        check_flow_folders(forward, backward, 3, 4, 7)
