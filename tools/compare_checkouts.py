"""Compare what this checkout and another one give, byte for byte: the graph's masks, the networks.

    git worktree add /tmp/before COMMIT
    python tools/compare_checkouts.py /tmp/before [--frames_path DAVIS/JPEGImages/480p/libby]

Runs both in each of CASES on a small synthetic video, with the same flow and pseudo-labels; the
cases of the graph also on the frames that are given. For a change of the code that must not change
a result.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import configparser
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ike_data.command_line import PROJECT_CONFIG
from ike_data.runtime.command import run_command
from ike_data.runtime.errors import InputError
from ike_tools.flags import Parser

PROJECT = PROJECT_CONFIG.parent
GRAPH, NETWORK = "run_graph_module.py", "main.py"
SECTIONS = {GRAPH: "Graph Module", NETWORK: "Network Module"}
OURS, PAPER = "config.ini", "configs/paper.ini"
# config.ini learns at half the size where that is at least 96 pixels.
SIZES = {OURS: (192, 208), PAPER: (64, 96)}  # of the networks
SMALL = {"base_channels": "4", "n_epochs": "4", "passes_per_epoch": "2", "to_save_epochs": "2, 4",
         "mixed_precision": "no"}  # fmt: skip
# Saves the state of the training after every epoch, not once a minute, so that it can be resumed.
STATE_AFTER_EVERY_EPOCH = """
import runpy, sys
sys.path.insert(0, "")
try:
    import network_module.run as run
except ImportError:
    import network_module.learning as run
run.SECONDS_BETWEEN_STATES = 0
sys.argv = sys.argv[1:]
runpy.run_path("main.py", run_name="__main__")
"""


class Case(NamedTuple):
    """One run of a command. It may read what an earlier case of the same checkout has written."""

    name: str  # of its out_path, beside those of the other cases
    program: str
    config: str  # of the checkout that is run
    changes: dict[str, str]  # of keys that both checkouts know by this name
    way: str = ""  # RESUMED, APPLIED, or empty: in one go


RESUMED, APPLIED = "_resumed", "_applied"  # after an interruption; to frames, without training
ALL_ITERATIONS = {"to_save_iterations": ""}
CASES = (
    Case("ours", GRAPH, OURS, {}),
    Case("paper", GRAPH, PAPER, ALL_ITERATIONS),
    Case("fast", GRAPH, OURS, {"propagation": "fast"}),
    Case("recomputed_links", GRAPH, OURS, {"links_memory": "0"}),
    Case("pytorch", GRAPH, OURS,
         {"engine": "torch", "n_iterations": "3", "to_save_iterations": "2"}),
    Case("second_cycle", GRAPH, OURS, {"ike_features_paths": "ours/iter_19"}),
    Case("paper_with_maps", GRAPH, PAPER, {"ike_features_paths": "ours/iter_19"}),
    *(Case(name + way, NETWORK, config, SMALL, way)
      for name, config in (("network", OURS), ("paper_network", PAPER))
      for way in ("", RESUMED, APPLIED)),
)  # fmt: skip


class Inputs(NamedTuple):
    """A video, and what this checkout has made of it for the cases of both."""

    name: str
    frames: Path
    flow: Path
    size: tuple[int, int]  # height and width at which the graph works
    pseudo_labels: dict[str, Path]  # by the config of the networks; empty: no networks


def get_args_parser() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_path("other", "another checkout of the project")
    parser.add_path("--frames_path", "folders of frames, or videos", nargs="*", default=[])
    parser.add_argument(
        "--working_size",
        type=int,
        nargs=2,
        default=(56, 104),
        metavar=("H", "W"),
        help="for --frames_path (default: 56 104, which is quick; config.ini's is 224 416)",
    )
    names = [case.name for case in CASES]
    parser.add_argument(
        "--cases", nargs="*", choices=names, metavar="CASE", help=f"only these of {names}"
    )
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    other = args.other.resolve()
    if not (other / GRAPH).is_file():
        raise InputError(f"{args.other}: is not a checkout of the project; give the folder of one")
    cases = [case for case in CASES if not args.cases or case.name in args.cases]
    n_different = 0
    with tempfile.TemporaryDirectory(prefix="ike-compare-") as temporary:
        folder = Path(temporary)
        videos = [synthetic_inputs(folder / "synthetic")]
        for number, frames in enumerate(args.frames_path):
            flow = make_flow(frames.resolve(), folder / f"{number}")
            videos.append(Inputs(frames.name, frames.resolve(), flow, tuple(args.working_size), {}))
        for inputs in videos:
            for case in cases:
                if case.program == NETWORK and not inputs.pseudo_labels:
                    continue
                ours, theirs = (
                    run_case(case, checkout, inputs, inputs.flow.with_name(name))
                    for name, checkout in (("here", PROJECT), ("there", other))
                )
                text = difference(ours, theirs)
                n_different += bool(text)
                print(f"{inputs.name} {case.name}: {text or 'same'}, {len(ours)} files", flush=True)
    if n_different:
        raise InputError(f"{n_different} cases differ from {args.other}")


def synthetic_inputs(folder: Path) -> Inputs:
    video = folder / "video"
    run(PROJECT, "tools/make_synthetic_video.py", f"--out_path={video}", "--n_frames=8",
        "--height=60", "--width=108")  # fmt: skip
    pseudo_labels = {name: folder / f"labels_{size[0]}" for name, size in SIZES.items()}
    for name, masks in pseudo_labels.items():
        write_pseudo_labels(video / "annotations", masks, SIZES[name])
    frames = video / "frames"
    return Inputs("synthetic", frames, make_flow(frames, folder), (48, 80), pseudo_labels)


def make_flow(frames: Path, folder: Path) -> Path:
    flow = folder / "flow"
    flags = f"--frames_path={frames}", f"--out_path={flow}", "--method=dis"
    run(PROJECT, "extract_optical_flow.py", *flags)
    return flow


def write_pseudo_labels(annotations: Path, folder: Path, size: tuple[int, int]) -> None:
    """Soft masks that a network can learn from: the annotations, none of them quite sure."""
    import torch
    import torch.nn.functional as F

    from ike_data.images import read_image
    from ike_data.soft_masks import write_soft_masks

    masks = [torch.from_numpy(read_image(path))[..., 0] for path in sorted(annotations.iterdir())]
    soft = F.interpolate(torch.stack(masks)[:, None] / 255, size=size, mode="bilinear")
    write_soft_masks(folder, 0.05 + 0.9 * soft[:, 0])


def run_case(case: Case, checkout: Path, inputs: Inputs, folder: Path) -> dict[str, bytes]:
    """The masks and networks that a checkout gives, by the names of their files."""
    folder.mkdir(exist_ok=True)
    out = folder / case.name
    size = inputs.size if case.program == GRAPH else SIZES[case.config]
    flags = [f"--frames_path={inputs.frames}", f"--out_path={out}", "--device=cpu"]
    changes = {
        "General": {"working_h": str(size[0]), "working_w": str(size[1])},
        SECTIONS[case.program]: case.changes,
    }
    config = changed_config(checkout / case.config, changes, folder / f"{case.name}.ini")
    flags.append(f"--config={config}")
    if case.program == GRAPH:
        flags.append(f"--of_path={inputs.flow}")
    elif case.way == APPLIED:
        trained = folder / case.name.removesuffix(APPLIED)
        flags.append(f"--predict_only={trained / 'models/epoch_00004.pth'}")
    else:
        flags.append(f"--pseudo_gt_path={inputs.pseudo_labels[case.config]}")
    if case.way == RESUMED:
        interrupt(checkout, flags, out)
        flags.append("--resume")
    said = run(checkout, case.program, *flags)
    if case.way == RESUMED and "going on after epoch" not in said:
        raise InputError(f"{checkout}: its main.py did not go on with an interrupted training")
    files = [*out.rglob("*.pt"), *out.rglob("epoch_*.pth")]
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(files)}


def changed_config(base: Path, changes: Mapping[str, Mapping[str, str]], path: Path) -> Path:
    """Write ``base`` to ``path`` with the ``changes``, by section and key; gives ``path``.

    Not with `read_config`: the other checkout may have other keys.
    """
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # keep upper case
    parser.read(base, encoding="utf-8-sig")
    for section, values in changes.items():
        parser[section].update(values)
    with path.open("w", encoding="utf-8") as file:
        parser.write(file)
    return path


def run(checkout: Path, program: str, *flags: str) -> str:
    command = [sys.executable, program, *flags]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise InputError(f"{checkout / program} failed: {done.stderr[-500:]}")
    return done.stdout


def interrupt(checkout: Path, flags: Sequence[str], out: Path) -> None:
    """Kill a training when it has saved its state for the first time."""
    command = [sys.executable, "-c", STATE_AFTER_EVERY_EPOCH, NETWORK, *flags]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=checkout, stdout=quiet, stderr=quiet) as training:
        while not (out / "models/training.pth").exists():
            if training.poll() is not None:
                raise InputError(f"{checkout}: a training ended without saving its state")
            time.sleep(0.01)
        training.kill()


def difference(here: dict[str, bytes], there: dict[str, bytes]) -> str:
    """What differs, or nothing."""
    if not here:
        return "no files"
    if alone := sorted(here.keys() ^ there.keys()):
        return f"{alone[0]} is in one of them only"
    if different := [name for name in here if here[name] != there[name]]:
        return f"{len(different)} of {len(here)} files differ, first {different[0]}"
    return ""


if __name__ == "__main__":
    run_command(main)
