"""tools/compare_masks.py, with programs that write a byte in place of masks."""

from __future__ import annotations

from pathlib import Path

import pytest

import compare_masks
from ike_data.config import read_config
from ike_data.runtime.errors import InputError


@pytest.mark.parametrize("different", [None, "paper"])
def test_what_differs_is_told(different, tmp_path, monkeypatch, capsys):
    other = tmp_path / "other"
    (other / "configs").mkdir(parents=True)
    for name in ("run_graph_module.py", "config.ini", "configs/paper.ini"):
        (other / name).write_bytes((compare_masks.PROJECT / name).read_bytes())
    flows, configs = set(), {}

    def run(checkout: Path, program: str, *flags: str) -> None:
        given = dict(flag[2:].split("=", 1) for flag in flags)
        if program != "run_graph_module.py":
            return
        out = Path(given["out_path"])
        flows.add(given["of_path"])
        configs[checkout, out.name] = read_config(Path(given["config"]))
        (out / "iter_19").mkdir(parents=True)
        changed = checkout == other and out.name == different
        (out / "iter_19" / "00000.pt").write_bytes(b"1" if changed else b"0")

    monkeypatch.setattr(compare_masks, "_run", run)
    monkeypatch.setattr("sys.argv", ["compare_masks.py", str(other)])
    if different is None:
        compare_masks.main()
    else:
        with pytest.raises(InputError, match="1 cases differ"):
            compare_masks.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(compare_masks.CASES)
    told = [line for line in lines if "1 of 1 files differ, first iter_19/00000.pt" in line]
    assert [line.split()[1] for line in told] == ([] if different is None else ["paper:"])
    assert len(flows) == 1
    for case in compare_masks.CASES:
        here, there = (configs[checkout, case.name] for checkout in (compare_masks.PROJECT, other))
        assert here.graph_module.propagation == there.graph_module.propagation
        assert (here.general.working_h, there.general.working_h) == (48, 48)
        assert bool(here.graph_module.ike_features_paths) == ("ike_features_paths" in case.changes)
