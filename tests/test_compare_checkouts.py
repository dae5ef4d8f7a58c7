"""tools/compare_checkouts.py, with programs that write a byte in place of masks and networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import compare_checkouts
from compare_checkouts import APPLIED, CASES, GRAPH, NETWORK, PROJECT, RESUMED, SIZES
from ike_data.config import read_config
from ike_data.runtime.errors import InputError

# Notes its flags; fails, too, where it should go on with what nothing has interrupted.
PROGRAM = """
import json, os, pathlib, signal, sys
flags = dict(flag[2:].partition("=")[::2] for flag in sys.argv[1:])
out = pathlib.Path(flags["out_path"])
if "config" in flags:
    flags["config"] = pathlib.Path(flags["config"]).read_text()
with open("calls", "a") as calls:
    calls.write(json.dumps(flags) + "\\n")
made, state = out / "iter_19/00000.pt", out / "models/training.pth"
if "network" in out.name:
    import network_module.run
    made = out / "models/epoch_00004.pth"
    made.parent.mkdir(parents=True, exist_ok=True)
    if hasattr(network_module.run, "SECONDS_BETWEEN_STATES"):
        state.touch()
        signal.pause()
    if "resume" in flags:
        assert state.exists()
        print("going on after epoch 1")
    state.write_bytes(os.urandom(4))  # of a run, and not of its result
made.parent.mkdir(parents=True, exist_ok=True)
made.write_text("different" if out.name in DIFFERENT else "same")
"""


@pytest.fixture
def checkouts(tmp_path, monkeypatch) -> list[Path]:
    """This one and another; the other gives a mask and a network of its own."""
    folders = [tmp_path / "this", tmp_path / "other"]
    for folder in folders:
        (folder / "network_module").mkdir(parents=True)
        (folder / "network_module/run.py").touch()
        for name in ("config.ini", "configs", "tools"):
            (folder / name).symlink_to(PROJECT / name)
        different = ["paper", "paper_network_resumed"] if folder.name == "other" else []
        for name in (GRAPH, NETWORK, "extract_optical_flow.py"):
            (folder / name).write_text(f"DIFFERENT = {different}\n{PROGRAM}")
    monkeypatch.setattr(compare_checkouts, "PROJECT", folders[0])
    return folders


def test_what_differs_is_told(checkouts, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["compare_checkouts.py", str(checkouts[1])])
    with pytest.raises(InputError, match="2 cases differ"):
        compare_checkouts.main()
    lines = capsys.readouterr().out.splitlines()
    said = dict(line.removeprefix("synthetic ").split(": ") for line in lines)
    assert list(said) == [case.name for case in CASES]
    assert said.pop("paper") == "1 of 1 files differ, first iter_19/00000.pt, 1 files"
    network = "1 of 1 files differ, first models/epoch_00004.pth, 1 files"
    assert said.pop("paper_network_resumed") == network
    assert set(said.values()) == {"same, 1 files"}

    calls = [
        [json.loads(line) for line in (folder / "calls").read_text().splitlines()]
        for folder in checkouts
    ]
    assert "config" not in calls[0].pop(0)  # the flow, which only this one makes
    for case in CASES:
        configs = []
        for of_checkout in calls:
            if case.way == RESUMED:
                assert "resume" not in of_checkout.pop(0)  # it is interrupted
            flags = of_checkout.pop(0)
            assert Path(flags["out_path"]).name == case.name
            assert ("resume" in flags) == (case.way == RESUMED)
            assert ("predict_only" in flags) == (case.way == APPLIED)
            configs.append(flags["config"])
            shared = {flags.get("of_path"), flags.get("pseudo_gt_path")} - {None}
            assert len(shared) == (case.way != APPLIED)
            assert all("/synthetic/" in path for path in shared)
        assert configs[0] == configs[1]
        (checkouts[0] / "saved.ini").write_text(configs[0])
        config = read_config(checkouts[0] / "saved.ini")
        height = 48 if case.program == GRAPH else SIZES[case.config][0]
        assert config.general.working_h == height
        features = config.graph_module.ike_features_paths
        assert bool(features) == ("ike_features_paths" in case.changes)
        assert config.graph_module.propagation == case.changes.get("propagation", "exact")
    assert calls == [[], []]
