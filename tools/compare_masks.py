"""Compare the masks of this checkout with those of another one, byte for byte.

    git worktree add /tmp/before COMMIT
    python tools/compare_masks.py /tmp/before [--frames DAVIS/JPEGImages/480p/libby]

Runs both checkouts on a small synthetic video, and on the frames that are given, with the same flow
and in each of CASES. For a change of the code that must not change a result.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from ike_data.command_line import PROJECT_CONFIG
from ike_data.runtime.command import path_argument, run_command
from ike_data.runtime.errors import InputError

PROJECT = PROJECT_CONFIG.parent


class Case(NamedTuple):
    """One run of a command. It may read what an earlier case of the same checkout has written."""

    name: str  # of its out_path, beside those of the other cases
    program: str
    config: str  # of the checkout that is run
    changes: dict[str, str]  # of keys that both checkouts know by this name
    flags: tuple[str, ...]  # {frames}, {flow} and {out}, the folder above the out_paths


ALL_ITERATIONS = {"to_save_iterations": ""}
GRAPH = "run_graph_module.py", ("--frames_path={frames}", "--of_path={flow}")


def graph_case(name: str, config: str = "config.ini", **changes: str) -> Case:
    program, flags = GRAPH
    return Case(name, program, config, changes, flags)


CASES = (
    graph_case("ours"),
    graph_case("paper", "configs/paper.ini", **ALL_ITERATIONS),
    graph_case("fast", propagation="fast"),
    graph_case("recomputed_links", links_memory="0"),
    graph_case("pytorch", engine="torch", n_iterations="3", to_save_iterations="2"),
    graph_case("second_cycle", ike_features_paths="ours/iter_19"),
    graph_case("paper_with_maps", "configs/paper.ini", ike_features_paths="ours/iter_19"),
)


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=path_argument, help="another checkout of the project")
    parser.add_argument(
        "--frames", type=path_argument, nargs="*", default=[], help="folders of frames, or videos"
    )
    parser.add_argument(
        "--working_size",
        nargs=2,
        default=("56", "104"),
        metavar=("H", "W"),
        help="for --frames (default: 56 104, which is quick; that of config.ini is 224 416)",
    )
    parser.add_argument("--cases", nargs="*", choices=[c.name for c in CASES], metavar="CASE",
                        help=f"only these of {', '.join(c.name for c in CASES)}")  # fmt: skip
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    if not (args.other / "run_graph_module.py").is_file():
        raise InputError(f"{args.other}: is not a checkout of the project")
    cases = [case for case in CASES if not args.cases or case.name in args.cases]
    n_different = 0
    with tempfile.TemporaryDirectory(prefix="ike-compare-") as folder:
        synthetic = Path(folder) / "synthetic"
        _run(PROJECT, "tools/make_synthetic_video.py", f"--out_path={synthetic}",
             "--n_frames=8", "--height=60", "--width=108")  # fmt: skip
        videos = [(synthetic / "frames", ("48", "80"))]
        videos += [(frames.resolve(), tuple(args.working_size)) for frames in args.frames]
        for idx, (frames, working_size) in enumerate(videos):
            flow = Path(folder) / f"{idx}" / "flow"
            flags = f"--frames_path={frames}", f"--out_path={flow}", "--method=dis"
            _run(PROJECT, "extract_optical_flow.py", *flags)
            for case in cases:
                results = []
                for name, checkout in (("here", PROJECT), ("there", args.other.resolve())):
                    out = flow.with_name(name)
                    _run_case(case, checkout, frames, flow, out, working_size)
                    results.append(_tensors(out / case.name))
                text = _difference(*results)
                n_different += bool(text)
                print(f"{frames.parent.name}/{frames.name} {case.name}: {text or 'same'}, "
                      f"{len(results[0])} files", flush=True)  # fmt: skip
    if n_different:
        raise InputError(f"{n_different} cases differ from {args.other}")


def _run_case(
    case: Case, checkout: Path, frames: Path, flow: Path, out: Path, working_size: tuple[str, ...]
) -> None:
    """Run one case of one checkout in a folder of its own below ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    changes = dict(zip(("working_h", "working_w"), working_size, strict=True)) | case.changes
    text = (checkout / case.config).read_text(encoding="utf-8")
    for key, value in changes.items():
        if key == "ike_features_paths":  # commented out, or not there
            text = text.replace("[Graph Module]", f"[Graph Module]\n{key} = {value}")
        else:
            text, n = re.subn(rf"^{key} =.*$", f"{key} = {value}", text, flags=re.MULTILINE)
            if n != 1:
                raise InputError(f"{checkout / case.config}: has no key {key}")
    config = out / f"{case.name}.ini"
    config.write_text(text, encoding="utf-8")
    flags = [flag.format(frames=frames, flow=flow, out=out) for flag in case.flags]
    same = f"--out_path={out / case.name}", f"--config={config}", "--device=cpu"
    _run(checkout, case.program, *flags, *same)


def _run(checkout: Path, program: str, *flags: str) -> None:
    done = subprocess.run(
        [sys.executable, checkout / program, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise InputError(f"{checkout / program} failed: {done.stdout[-500:]}")


def _tensors(folder: Path) -> dict[str, bytes]:
    files = sorted(folder.rglob("*.pt"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _difference(here: dict[str, bytes], there: dict[str, bytes]) -> str:
    """What differs, or nothing."""
    if not here:
        return "no .pt files"
    if alone := sorted(here.keys() ^ there.keys()):
        return f"{alone[0]} is in one of them only"
    if different := [name for name in here if here[name] != there[name]]:
        return f"{len(different)} of {len(here)} files differ, first {different[0]}"
    return ""


if __name__ == "__main__":
    run_command(main)
