"""Pictures, a video and a report of what the modules found in a video or in a data set."""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import re
import shlex
import sys
from pathlib import Path

from ike_data.frames import Frames, describe_frames
from ike_data.runtime.atomic import atomic_file, check_replaceable
from ike_data.runtime.command import number_argument, prepare_out_path, run_command
from ike_data.runtime.errors import InputError, warn
from ike_tools.data_sets.layouts import holds_images
from ike_tools.data_sets.sequences import add_sequences_flag
from ike_tools.flags import Parser
from ike_tools.masks.mask_values import notes
from ike_tools.report.inputs import Video, open_data_set, open_video

REPORT = "report.html"
SHOWN_OF_VIDEO, SHOWN_OF_SEQUENCE = 100, 12  # frames in a report, at most
UNKNOWN_FPS = 24.0  # of frames that come without a rate
FPS_LIMITS = 0.1, 1000.0  # of overlay.mp4
_OPENERS = {"darwin": "open", "win32": "start"}


def get_args_parser() -> argparse.ArgumentParser:
    parser = Parser(
        description="Show what each stage of the exchange found in a video. Writes "
        "OUT/overlays/STAGE/%05d.png, OUT/overlay.mp4 (all stages side by side), "
        "OUT/contact_sheet.png, OUT/flow/%05d.png where there is flow, and OUT/report.html with "
        "--report. Of a data set (folders of sequences), the same for each in OUT/SEQUENCE."
    )
    parser.add_path(
        "--frames_path",
        "folder of frames, a video file, a folder of those, or a data set (DAVIS, ...)",
        required=True,
    )
    add_sequences_flag(parser)
    parser.add_path(
        "--results",
        "a folder of masks (.pt or .png), the out_path of run_graph_module.py or of main.py, "
        "or a folder of a whole run (flow/, graph_1/, net_1/, graph_2/, ...); for a data set, a "
        "folder of such folders, named as the sequences; several are shown side by side",
        nargs="+",
        action="extend",
        required=True,
    )
    parser.add_argument(
        "--stage",
        nargs="+",
        action="extend",
        help="a folder inside each folder of --results, or inside each of its sequences, that is "
        "to be shown alone, e.g. final/masks (default: all that it holds)",
    )
    parser.add_path(
        "--annotations",
        "annotations (.png, any non-zero pixel is object), or of a data set a folder of such "
        "folders: drawn as a contour, and scored in the report",
    )
    parser.add_path(
        "--of_path",
        "out_path of extract_optical_flow.py (default: flow/ in a folder of a whole run)",
    )
    parser.add_path("--out_path", "folder; made if needed", required=True)
    parser.add_threshold()
    parser.add_argument(
        "--fps",
        type=number_argument(*FPS_LIMITS),
        help="frames a second of overlay.mp4 (default: the video's own, within 0.1 to 1000; "
        "24 for a folder)",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="also write OUT/report.html, one page with pictures, curves, scores and settings, "
        "which needs no network",
    )
    parser.add_argument(
        "--report_only", action="store_true", help="write OUT/report.html and nothing else"
    )
    return parser


def own_rate(frames: Frames) -> float:
    """The rate of overlay.mp4: that of the video, where a player can show it."""
    return min(max(frames.fps or UNKNOWN_FPS, FPS_LIMITS[0]), FPS_LIMITS[1])


def main() -> None:
    args = get_args_parser().parse_args()
    videos, warnings = open_inputs(args)
    of_data_set = videos[0].sequence is not None
    report = args.report or args.report_only

    # Not at the top: they load PyTorch, and --help or a wrong path should not wait for that.
    import torch

    from ike_tools.report.findings import Findings
    from ike_tools.report.mp4 import ENCODERS, choose_encoder
    from ike_tools.report.page import read_made, report_page, video_part
    from ike_tools.report.pictures import draw_pictures, read_views

    # The pictures are small: threads that wait for each other cost more than they bring.
    torch.set_num_threads(1)
    encoder = choose_encoder()
    made = [read_made(video) if report else [] for video in videos]
    outs = [args.out_path / (video.sequence or "") for video in videos]
    for video, out in zip(videos, outs, strict=True):
        check_out(video, out, pictures=not args.report_only)
    for out in [args.out_path] if args.report_only else outs:
        prepare_out_path(out)
    warn(*warnings)

    parts = []
    for number, (video, own, out) in enumerate(zip(videos, made, outs, strict=True), 1):
        print(describe_frames(video.frames))
        for line in value_notes(video):
            print(line)
        n_shown = SHOWN_OF_SEQUENCE if of_data_set else SHOWN_OF_VIDEO
        findings = Findings(video, args.threshold, n_shown)
        fps = args.fps or own_rate(video.frames)
        if args.report_only:
            for view in read_views(video, args.threshold):
                findings.add(view)
        else:
            draw_pictures(
                video,
                out,
                threshold=args.threshold,
                fps=fps,
                encoder=encoder,
                observe=findings.add if report else None,
            )
        if report:
            rule = explain(args.threshold, video)
            heading = "h2" if of_data_set else "h1"
            parts.append(video_part(findings, own, number, rule=rule, fps=fps, heading=heading))
    if report:
        page = report_page(parts, args.frames_path if of_data_set else None, warnings)
        with atomic_file(args.out_path / REPORT) as partial:
            partial.write_text(page, encoding="utf-8")
    print_results(args, outs, ENCODERS[encoder][0])
    warn(*warnings)  # again: above the bars it is not seen


def open_inputs(args: argparse.Namespace) -> tuple[list[Video], list[str]]:
    """The video, or the sequences of the data set and what is not shown of it.

    InputError where something is missing, or does not fit the frames.
    """
    paths = args.frames_path, args.results, args.annotations, args.of_path
    inside = args.stage or [""]
    if args.frames_path.is_dir() and not holds_images(args.frames_path):
        return open_data_set(*paths, inside=inside, asked=args.sequences, out=args.out_path)
    if args.sequences is not None:
        raise InputError(f"--sequences: {args.frames_path} is one video, no data set; leave it out")
    return [open_video(*paths, inside=inside)], []


def check_out(video: Video, out: Path, *, pictures: bool) -> None:
    """Raise InputError where more than pictures would be replaced, such as a run's own flow/."""
    from ike_tools.report.pictures import FLOW, OVERLAYS

    inputs = [video.frames.path, *(stage.masks for stage in video.stages)]
    inputs += {path.parent for path in video.annotations.values()}
    if out.resolve() in (path.resolve() for path in inputs):
        raise InputError(f"--out_path {out}: is a folder of the input; choose another folder")
    if pictures:
        check_replaceable(out / OVERLAYS, re.compile(r"[^/]+/\d{5,}\.png"), inputs)
        check_replaceable(out / FLOW, re.compile(r"\d{5,}\.png"), inputs)


def value_notes(video: Video) -> list[str]:
    """How masks and annotations are read, where it is not the plain case."""
    masks = zip((stage.masks for stage in video.stages), video.mask_values, strict=True)
    folders = {path.parent for path in video.annotations.values()}
    annotations = [(folder, video.annotation_values) for folder in folders]
    return [*notes("masks", masks), *notes("annotations", annotations)]


def explain(threshold: float, video: Video) -> str:
    """How hard masks were made, in a sentence or more."""
    names = [stage.name for stage in video.stages]
    sentences = []
    if not all(values.hard for values in video.mask_values):
        sentences.append(f"Object is where the soft mask is at least {threshold:g}.")
    for name, values in zip(names, video.mask_values, strict=True):
        sentences += [f"Masks of {name} {values.note}."] if values.note else []
    if 0 < len(video.annotations) < video.frames.count:
        sentences.append(f"{len(video.annotations)} frames are annotated.")
    if video.annotation_values.note:
        sentences.append(f"Annotations {video.annotation_values.note}.")
    return " ".join(sentences)


def print_results(args: argparse.Namespace, outs: list[Path], codec: str) -> None:
    from ike_tools.report.pictures import MOVIE, OVERLAYS, SHEET

    to_open = outs[0] / SHEET
    if not args.report_only:
        where = args.out_path if outs == [args.out_path] else args.out_path / "SEQUENCE"
        print(f"overlays:      {where / OVERLAYS}")
        print(f"video ({codec}): {where / MOVIE}")
        print(f"contact sheet: {where / SHEET}")
    if args.report or args.report_only:
        to_open = args.out_path / REPORT
        print(f"report:        {to_open}")
    opener = _OPENERS.get(sys.platform, "xdg-open")
    print(f"look at it with: {opener} {shlex.quote(str(to_open))}")


if __name__ == "__main__":
    run_command(main)
