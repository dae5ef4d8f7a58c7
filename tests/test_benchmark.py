"""What tools/benchmark.py refuses before it measures."""

from __future__ import annotations

import pytest
from commands import call, refused

import benchmark


def test_each_video_needs_its_flow():
    flags = "--frames_path", "a", "b", "--of_path", "c"
    refused("--of_path: 1 given for 2 of --frames_path", benchmark, "graph", *flags)


def test_no_pair_is_an_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        call(benchmark, "raft", "--frames_path=a", "--n_pairs=0")
    assert "--n_pairs: '0': expected a whole number of at least 1" in capsys.readouterr().err
