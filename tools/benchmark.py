"""Measure speed and memory, as ratios within one run.

    python tools/benchmark.py graph --frames_path FRAMES... --of_path FLOW... [--annotations A...]
    python tools/benchmark.py stages --frames_path FRAMES --of_path FLOW --n_frames 25 50 100
    python tools/benchmark.py network --frames_path FRAMES --pseudo_gt_path MASKS --config A B
    python tools/benchmark.py raft --frames_path FRAMES
    python tools/benchmark.py gpu [--count]

Compare only what one run printed: another machine, or the same on another day, has other times.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import csv
import dataclasses
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from ike_data.command_line import PROJECT_CONFIG
from ike_data.config import Config, format_config, read_config
from ike_data.frames import Frames, open_frames
from ike_data.layout import LOG, epoch_masks, iteration_masks
from ike_data.runtime.command import number_argument, run_command
from ike_data.runtime.errors import InputError
from ike_tools.flags import Parser

if TYPE_CHECKING:
    import torch

    from graph_module import GraphSettings

Item = TypeVar("Item")
PROJECT = PROJECT_CONFIG.parent
PLAIN, EXACT, FAST = "plain", "exact", "fast"
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, of ru_maxrss
SIZE: dict[str, Any] = dict(type=int, nargs=2, metavar=("H", "W"))  # of a flag
# Seconds that are aimed at on a GPU, 50 frames of 224 x 416, RAFT's of 480 x 854.
GOALS = {
    "links": 0.05,
    "features": 0.05,
    "an iteration": 0.005,
    "motion saliency": 0.1,
    "motion prior": 0.1,
    "appearance": 0.13,
    "graph, config.ini": 1.5,
    "training, an epoch": 17 * 0.017,
    "RAFT large, bfloat16 or float16": 0.04,
}
# "links" to "appearance" are what the loops of the graph call themselves; "the rest" has no loop of
# its own, as saliency and prior.
STAGES = ("reading", "links", "features", "power iteration", "appearance", "the rest", "writing")


class Measured(NamedTuple):
    """One run of a command."""

    seconds: float
    n_bytes: int  # peak memory of the process


def get_args_parser() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)

    graph = commands.add_parser(
        "graph",
        help="the graph module, files in and files out, against docs/method.md section 3 as it is "
        "written",
    )
    graph.add_path("--frames_path", "frames of one or several videos", nargs="+", required=True)
    graph.add_path("--of_path", "flow of each of --frames_path", nargs="+", required=True)
    graph.add_path("--annotations", "annotations of each, to measure J too", nargs="+", default=[])
    graph.add_argument(
        "--repeats",
        type=number_argument(1, kind=int),
        default=3,
        help="runs of ours (default: 3); plain runs once",
    )
    graph.add_argument("--without_plain", action="store_true", help="exact and fast only")
    text = "settings of exact and fast, less propagation (default: config.ini)"
    graph.add_path("--config", text, default=PROJECT_CONFIG)

    plain = commands.add_parser("plain", help="docs/method.md section 3 as written, for graph")
    plain.add_path("--of_path", "flow", required=True)
    plain.add_path("--out_path", "folder for the masks", required=True)
    plain.add_argument("--working_size", default=(224, 416), **SIZE)

    stages = commands.add_parser("stages", help="the share of each stage of the graph module")
    stages.add_path("--frames_path", "folder of frames", required=True)
    stages.add_path("--of_path", "their flow", required=True)
    stages.add_argument("--n_frames", type=int, nargs="+", required=True, help="first frames")
    text = "links_memory = 0: links are recomputed, else stored (default: config.ini)"
    stages.add_path("--config", text, default=PROJECT_CONFIG)
    text = "may be given several times (default: 224 416)"
    stages.add_argument("--working_size", action="append", help=text, **SIZE)

    network = commands.add_parser(
        "network", help="main.py with several settings, against the first: time, memory and J"
    )
    network.add_path("--frames_path", "frames, or a video", required=True)
    network.add_path("--pseudo_gt_path", "pseudo-labels", required=True)
    network.add_path("--annotations", "annotations, to measure J too")
    network.add_path("--config", "settings of each way", nargs="+", required=True)
    network.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])

    raft = commands.add_parser(
        "raft", help="both directions of a pair, against two plain calls of torchvision's RAFT"
    )
    raft.add_path("--frames_path", "frames, or a video", required=True)
    raft.add_argument(
        "--n_pairs",
        type=number_argument(1, kind=int),
        default=3,
        help="pairs that are timed, at most (default: 3)",
    )
    raft.add_argument("--size", help="resize frames to it", **SIZE)
    raft.add_argument("--small", action="store_true")
    raft.add_argument("--iters", type=int, default=20)
    raft.add_path("--models", "weights (default: random ones)")
    raft.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])

    gpu = commands.add_parser("gpu", help="the stages on a CUDA GPU, of a made-up video")
    gpu.add_argument(
        "--count",
        action="store_true",
        help="how many operations a GPU is given, in place of seconds; needs no GPU",
    )
    return parser


def main() -> None:
    args = get_args_parser().parse_args()
    print(f"machine: {_machine()}")
    {
        "graph": compare_graph,
        "plain": run_plain,
        "stages": measure_stages,
        "network": compare_network,
        "raft": compare_raft,
        "gpu": count_operations if getattr(args, "count", False) else time_on_gpu,
    }[args.what](args)


def compare_graph(args: argparse.Namespace) -> None:
    """Whole processes: start of Python, reading, graph, writing."""
    from ike_tools.plain_graph import N_ITERATIONS

    annotations = args.annotations or [None] * len(args.frames_path)
    for flag, paths in (("--of_path", args.of_path), ("--annotations", annotations)):
        if len(paths) != len(args.frames_path):
            raise InputError(
                f"{flag}: {len(paths)} given for {len(args.frames_path)} of --frames_path; give "
                "one for each, in the same order"
            )
    config = read_config(args.config)
    size = config.general.working_h, config.general.working_w
    last = config.graph_module.n_iterations - 1
    with tempfile.TemporaryDirectory(prefix="ike-benchmark-") as folder:
        videos = zip(args.frames_path, args.of_path, annotations, strict=True)
        for idx, (frames, flow, annotated) in enumerate(videos):
            n_frames = open_frames(frames).count
            out = Path(folder) / str(idx)  # two videos may have one name
            out.mkdir()
            runs: dict[str, list[Measured]] = {PLAIN: [], EXACT: [], FAST: []}
            if not args.without_plain:
                runs[PLAIN].append(
                    _run(Path(__file__), "plain", f"--of_path={flow}", f"--out_path={out / PLAIN}",
                         "--working_size", *map(str, size))
                )  # fmt: skip
            for _ in range(args.repeats):
                for way in (EXACT, FAST):
                    settings = dataclasses.replace(
                        config.graph_module, propagation=way, to_save_iterations=(last,)
                    )
                    path = _write_config(
                        dataclasses.replace(config, graph_module=settings), out / f"{way}.ini"
                    )
                    runs[way].append(
                        _run(PROJECT / "run_graph_module.py", f"--frames_path={frames}",
                             f"--of_path={flow}", f"--out_path={out / way}", f"--config={path}",
                             "--device=cpu")
                    )  # fmt: skip
            masks = {way: iteration_masks(out / way, last) for way in (EXACT, FAST)}
            masks[PLAIN] = iteration_masks(out / PLAIN, N_ITERATIONS - 1)
            _print_comparison(frames.name, n_frames, runs, masks)
            if annotated is not None:
                _evaluate(annotated, [masks[way] for way in runs if runs[way]])


def _write_config(config: Config, path: Path) -> Path:
    path.write_text(format_config(config), encoding="utf-8")
    return path


def _print_comparison(
    name: str, n_frames: int, runs: dict[str, list[Measured]], masks: dict[str, Path]
) -> None:
    print(f"\n{name}, {n_frames} frames; median of {len(runs[EXACT])} runs (lowest - highest)")
    print("  way     seconds               s/frame  times faster  peak MB  masks against exact")
    for way, measured in runs.items():
        if not measured:
            continue
        seconds = [run.seconds for run in measured]
        faster = (
            f"{median(run.seconds for run in runs[PLAIN]) / median(seconds):.1f}"
            if runs[PLAIN]
            else "-"
        )
        spread = f"{median(seconds):.2f} ({min(seconds):.2f} - {max(seconds):.2f})"
        mean, largest = _mask_difference(masks[way], masks[EXACT])
        print(
            f"  {way:6}  {spread:20}  {median(seconds) / n_frames:7.3f}  {faster:>12}  "
            f"{max(run.n_bytes for run in measured) / 1e6:7.0f}  "
            f"mean {mean:.5f}, largest {largest:.4f}"
        )


def _mask_difference(ours: Path, others: Path) -> tuple[float, float]:
    from ike_data.tensor_files import load_tensors

    differences = [
        (load_tensors(path, "") - load_tensors(others / path.name, "")).abs()
        for path in sorted(ours.iterdir())
    ]
    means, largest = zip(*((d.mean().item(), d.max().item()) for d in differences), strict=True)
    return float(np.mean(means)), max(largest)


def _run(program: Path, *flags: str) -> Measured:
    start = time.perf_counter()
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            [sys.executable, program, *flags], stdout=messages, stderr=subprocess.STDOUT
        )
        # Not resource.getrusage(RUSAGE_CHILDREN): that is the largest of all children so far.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        if process.returncode != 0:
            messages.seek(0)
            sys.exit(f"{program.name} failed:\n{messages.read().decode()}")
    return Measured(seconds, usage.ru_maxrss * RSS_UNIT)


def run_plain(args: argparse.Namespace) -> None:
    from ike_tools.plain_graph import write_plain_masks

    write_plain_masks(args.of_path, args.out_path, *args.working_size)


def measure_stages(args: argparse.Namespace) -> None:
    """Seconds of each stage of the graph module on the CPU, and the peak memory so far."""
    from graph_module.run import settings_of

    config = read_config(args.config).graph_module
    ways = settings_of(config), config.links_memory > 0
    sizes = [tuple(size) for size in args.working_size or [(224, 416)]]
    _stage_seconds(args, min(args.n_frames), sizes[0], *ways)  # compiles
    print("  frames  size       seconds  " + "  ".join(f"{name:>15}" for name in STAGES) + "  peak")
    for height, width in sizes:
        for n_frames in sorted(args.n_frames):
            seconds = _stage_seconds(args, n_frames, (height, width), *ways)
            total = sum(seconds.values())
            shares = "  ".join(
                f"{seconds.get(name, 0):8.2f} {100 * seconds.get(name, 0) / total:4.0f} %"
                for name in STAGES
            )
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / 1e9
            row = f"  {n_frames:6}  {height}x{width:<5}  {total:7.2f}  {shares}  {peak:.2f} GB"
            print(row, flush=True)


def _stage_seconds(
    args: argparse.Namespace,
    n_frames: int,
    size: tuple[int, int],
    settings: GraphSettings,
    store_links: bool,
) -> dict[str, float]:
    from graph_module import Execution, segment
    from graph_module.working_flow import read_working_flow
    from ike_data.flow_files import BACKWARD, FORWARD
    from ike_data.soft_masks import write_mask_images, write_soft_masks

    frames = open_frames(args.frames_path)
    own_size = frames.height, frames.width
    seconds: dict[str, float] = {}
    with _clock(seconds, "reading"):
        fwd, bwd = (
            read_working_flow(args.of_path / way, n_frames, own_size, size)
            for way in (FORWARD, BACKWARD)
        )
        video = _first_frames(frames, n_frames, size) if settings.uses_video else None

    def clocked(loop: Iterable[Item], /, *, desc: str, total: int, unit: str) -> Iterator[Item]:
        with _clock(seconds, desc):
            yield from loop

    start, outside = time.perf_counter(), sum(seconds.values())
    ways = Execution(store_links=store_links, progress=clocked)
    masks = segment(fwd, bwd, video=video, settings=settings, execution=ways)
    seconds["the rest"] = time.perf_counter() - start + outside - sum(seconds.values())
    with tempfile.TemporaryDirectory() as folder, _clock(seconds, "writing"):
        write_soft_masks(Path(folder) / "last", masks)
        write_mask_images(Path(folder) / "last_images", masks, *own_size)
    return seconds


def _first_frames(frames: Frames, n_frames: int, size: tuple[int, int]) -> torch.Tensor:
    from ike_data.working_frames import read_working_frames

    if frames.names is None:
        raise InputError(f"frames_path {frames.path}: stages reads a folder of frames, not a video")
    with tempfile.TemporaryDirectory() as folder:
        for name in frames.names[:n_frames]:
            (Path(folder) / name).symlink_to(frames.path.absolute() / name)
        return read_working_frames(open_frames(Path(folder)), *size)


def compare_network(args: argparse.Namespace) -> None:
    """Whole processes; training is the seconds of the log, without the start and the masks."""
    with tempfile.TemporaryDirectory(prefix="ike-benchmark-") as folder:
        print(args.frames_path.name)
        print("  way             whole s  times faster  training s  peak MB")
        first_seconds, results = 0.0, []
        for idx, config in enumerate(args.config):
            out = Path(folder) / str(idx)
            settings = read_config(config)
            n_epochs = settings.network_module.n_epochs
            network = dataclasses.replace(settings.network_module, to_save_epochs=(n_epochs,))
            settings = dataclasses.replace(settings, network_module=network)
            measured = _run(
                PROJECT / "main.py",
                f"--frames_path={args.frames_path}",
                f"--pseudo_gt_path={args.pseudo_gt_path}",
                f"--out_path={out}",
                f"--config={_write_config(settings, Path(folder) / f'{idx}.ini')}",
                f"--device={args.device}",
            )
            with (out / LOG).open(newline="") as file:
                training = float(list(csv.DictReader(file))[-1]["seconds"])
            first_seconds = first_seconds or measured.seconds
            results.append(epoch_masks(out, n_epochs))
            print(
                f"  {config.stem:14}  {measured.seconds:7.1f}  "
                f"{first_seconds / measured.seconds:12.2f}  {training:10.1f}  "
                f"{measured.n_bytes / 1e6:7.0f}",
                flush=True,
            )
        if args.annotations:
            _evaluate(args.annotations, results)


def _evaluate(annotations: Path, results: Sequence[Path]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, PROJECT / "tools/evaluate.py", "--annotations", annotations,
             "--out_path", Path(folder) / "scores.csv", "--results", *results],
            check=True,
        )  # fmt: skip


def compare_raft(args: argparse.Namespace) -> None:
    """Seconds a pair, both directions, encoders included; random weights take the same time."""
    import torch
    from torchvision.models.optical_flow import raft_large, raft_small

    from ike_data.command_line import choose_device
    from RAFT import RaftFlow, load_raft, video_flow
    from RAFT.frame_fitting import cut_flow, fit_frame

    device = choose_device(args.device)
    torch.manual_seed(0)
    if args.models is None:
        model = (raft_small if args.small else raft_large)().eval()
    else:
        model = load_raft(args.models, args.small)
    model.to(device)
    frames = list(islice(open_frames(args.frames_path), args.n_pairs + 1))
    n_pairs = len(frames) - 1  # a short video has fewer than asked for
    if n_pairs < 1:
        raise InputError(f"--frames_path {args.frames_path}: has one frame; a pair has two")
    if args.size:
        import cv2

        frames = [cv2.resize(frame, tuple(args.size[::-1])) for frame in frames]

    height, width = frames[0].shape[:2]

    def plain() -> torch.Tensor:
        """Two calls of the network for each pair; [n_pairs, 2, 2, h, w] on the CPU."""
        with torch.inference_mode():
            images = [
                fit_frame(2 * (torch.from_numpy(f).to(device).permute(2, 0, 1)[None] / 255) - 1)
                for f in frames
            ]
            flows = [
                cut_flow(model(*order, num_flow_updates=args.iters)[-1], height, width).cpu()
                for pair in pairwise(images)
                for order in (pair, pair[::-1])
            ]
        return torch.cat(flows).unflatten(0, (-1, 2))

    def ours(mixed_precision: bool) -> torch.Tensor:
        method = RaftFlow(model, iters=args.iters, mixed_precision=mixed_precision, device=device)
        return torch.stack(video_flow(frames, method), dim=1)  # [n_pairs, 2, 2, h, w]

    ways = {"plain": plain, "fp32": lambda: ours(False), "mixed": lambda: ours(True)}
    if device.type == "cuda":
        for way in ways.values():
            way()  # loads the kernels
    results: dict[str, torch.Tensor] = {}
    seconds: dict[str, float] = {}
    for name, way in ways.items():
        with _clock(seconds, name):
            results[name] = way()
    print(f"RAFT, {height} x {width}, {args.iters} updates, {n_pairs} pairs on {device.type}")
    for name in ways:
        error = (results[name] - results["plain"]).norm(dim=2).mean()
        print(
            f"  {name:6} {seconds[name] / n_pairs:8.3f} s/pair  "
            f"{seconds['plain'] / seconds[name]:5.2f} x  mean end-point difference {error:.5f} px"
        )


def count_operations(args: argparse.Namespace) -> None:
    """Of each stage, on frames as small as they may be."""
    import torch

    from graph_module import GraphSettings
    from ike_data.runtime.cores import as_on_gpu
    from ike_tools.gpu_stages import graph_stages, moving_block, raft_stages, training_stage
    from ike_tools.operation_count import OperationCount
    from network_module.settings import Settings

    torch.set_num_threads(1)  # frames as small as these are not worth sharing
    counts: dict[str, list[int]] = {}
    for n_frames in (8, 16):
        video = moving_block(n_frames, 32, 48)
        one_step = Settings.paper(base_channels=2, n_epochs=2, batch_size=n_frames)
        with as_on_gpu():
            with torch.no_grad():
                stages = [*graph_stages(video, GraphSettings.with_extensions())]
            stages += [training_stage(video, one_step), *raft_stages(torch.device("cpu"), 128, 128)]
            for name, stage in stages:
                with OperationCount() as operations:
                    stage()
                counts.setdefault(name, []).append(operations.total())
    print("  operations                        8 frames  16 frames")
    for name, (few, many) in counts.items():
        print(f"  {name:32}  {few:8}  {many:9}")


def time_on_gpu(args: argparse.Namespace) -> None:
    """Seconds of each stage, the second time that it is done."""
    import torch

    from graph_module import GraphSettings
    from ike_tools.gpu_stages import graph_stages, moving_block, raft_stages, training_stage
    from network_module.settings import Settings

    if not torch.cuda.is_available():
        raise InputError("PyTorch sees no CUDA GPU here; use --count, which needs none")
    device = torch.device("cuda")
    video = moving_block(50, 224, 416).to(device)
    with torch.no_grad():
        stages = [*graph_stages(video, GraphSettings.with_extensions())]
    stages += [training_stage(video, Settings.paper()), *raft_stages(device, 480, 854)]
    print(
        "  50 frames of 224 x 416; RAFT: a pair of 480 x 854\n  stage" + 29 * " " + "seconds  goal"
    )
    for name, stage in stages:
        for _ in range(2):  # the first one loads the kernels
            seconds: dict[str, float] = {}
            with _clock(seconds, name):
                stage()
                torch.cuda.synchronize()
        print(f"  {name:32}  {seconds[name]:7.3f}  {GOALS.get(name, '')}", flush=True)


@contextmanager
def _clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that this block takes, also where it is left early."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0) + time.perf_counter() - start


def _machine() -> str:
    import torch

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = names[0].split(":", 1)[1].strip() if names else name
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{name}, {os.cpu_count()} cores{gpu}, Python {platform.python_version()}, "
        f"PyTorch {torch.__version__}, {time.strftime('%Y-%m-%d')}"
    )


if __name__ == "__main__":
    run_command(main)
