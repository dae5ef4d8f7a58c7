"""Whether two checkouts give the same networks and masks, byte for byte.

python tools/compare_networks.py OTHER_CHECKOUT runs main.py of this checkout and of the other one
on a small synthetic video: with config.ini's and with configs/paper.ini's settings at a small width
and size, with --resume after an interruption, and with --predict_only.
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
from pathlib import Path

import torch
import torch.nn.functional as F

from ike_data.images import read_image
from ike_data.runtime.command import path_argument, run_command
from ike_data.runtime.errors import InputError
from ike_data.soft_masks import write_soft_masks

SMALL = {
    "base_channels": "4",
    "n_epochs": "4",
    "passes_per_epoch": "2",
    "to_save_epochs": "2, 4",
    "mixed_precision": "no",
}
# config.ini learns at half the size where that is at least 96 pixels.
CASES = {"config.ini": (192, 208), "configs/paper.ini": (64, 96)}
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


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=path_argument, help="a checkout of the project to compare to")
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        different = compare_networks(
            Path(__file__).resolve().parent.parent, args.other.resolve(), Path(temporary)
        )
    if different:
        raise InputError(f"{args.other}: gives other files: {', '.join(different)}")
    print("both checkouts give the same files")


def compare_networks(ours: Path, theirs: Path, folder: Path) -> list[str]:
    """Run both checkouts in ``folder``; the names of the files in which they differ."""
    inputs = make_inputs(ours, folder / "inputs")
    results = [folder / "ours", folder / "theirs"]
    for checkout, result in zip((ours, theirs), results, strict=True):
        for name, size in CASES.items():
            masks = inputs / f"masks_{size[0]}"
            run_network(checkout, inputs / "video/frames", masks, result / name, name, size)
    files = [
        {path.relative_to(result): path.read_bytes() for path in result.glob("**/epoch_*/**/*.pt")}
        | {path.relative_to(result): path.read_bytes() for path in result.glob("**/epoch_*.pth")}
        for result in results
    ]
    if not files[0]:
        raise InputError(f"{ours}: its main.py saved nothing")
    names = files[0].keys() | files[1].keys()
    return [str(name) for name in sorted(names) if files[0].get(name) != files[1].get(name)]


def make_inputs(checkout: Path, folder: Path) -> Path:
    """A synthetic video, and soft masks of it of each size in `CASES`."""
    video = folder / "video"
    script = "tools/make_synthetic_video.py"
    small = ["--n_frames=4", "--height=192", "--width=208"]
    run(checkout, [script, f"--out_path={video}", *small])
    for height, width in CASES.values():
        paths = sorted((video / "annotations").iterdir())
        annotations = [torch.from_numpy(read_image(path))[..., 0] / 255 for path in paths]
        masks = F.interpolate(
            torch.stack(annotations)[:, None], size=(height, width), mode="bilinear"
        )[:, 0]
        write_soft_masks(folder / f"masks_{height}", 0.05 + 0.9 * masks)
    return folder


def run_network(
    checkout: Path, frames: Path, masks: Path, out: Path, name: str, size: tuple[int, int]
) -> None:
    """Train, once in one go and once with an interruption, and apply the result."""
    out.mkdir(parents=True)
    config = small_config(checkout / name, out / "small.ini", size)
    common = [f"--frames_path={frames}", f"--config={config}", "--device=cpu"]
    training = [*common, f"--pseudo_gt_path={masks}"]
    run(checkout, ["main.py", *training, f"--out_path={out}/whole"])
    interrupt(checkout, [*training, f"--out_path={out}/resumed"], out / "resumed")
    said = run(checkout, ["main.py", *training, f"--out_path={out}/resumed", "--resume"])
    if "going on after epoch" not in said:
        raise InputError(f"{checkout}: its main.py did not go on with an interrupted training")
    network = f"{out}/whole/models/epoch_00004.pth"
    run(checkout, ["main.py", *common, f"--predict_only={network}", f"--out_path={out}/applied"])


def small_config(source: Path, path: Path, size: tuple[int, int]) -> Path:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(source, encoding="utf-8")
    parser["General"].update(working_h=str(size[0]), working_w=str(size[1]))
    parser["Network Module"].update(SMALL)
    with path.open("w", encoding="utf-8") as file:
        parser.write(file)
    return path


def run(checkout: Path, command: list[str]) -> str:
    print(f"{checkout}: {command[0]}", flush=True)
    done = subprocess.run([sys.executable, *command], cwd=checkout, capture_output=True, text=True)
    if done.returncode != 0:
        raise InputError(f"{checkout}: {command[0]} failed: {done.stderr}")
    return done.stdout


def interrupt(checkout: Path, flags: list[str], out: Path) -> None:
    """Kill a training when it has saved its state for the first time."""
    command = [sys.executable, "-c", STATE_AFTER_EVERY_EPOCH, "main.py", *flags]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=checkout, stdout=quiet, stderr=quiet) as training:
        while not (out / "models/training.pth").exists():
            if training.poll() is not None:
                raise InputError(f"{checkout}: a training ended without saving its state")
            time.sleep(0.01)
        training.kill()


if __name__ == "__main__":
    run_command(main)
