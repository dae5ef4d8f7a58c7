"""DAVIS-2016 evaluation: J and F of one or several results against annotations."""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a while
    from ike_tools import begin

    begin()

import argparse
import itertools
from pathlib import Path

from tqdm import tqdm

from ike_data.runtime.command import path_argument, prepare_out_path, run_command
from ike_data.runtime.errors import InputError, warn
from ike_tools.data_sets.sequences import Result, add_sequences_flag
from ike_tools.flags import Parser
from ike_tools.masks.mask_values import harden, notes
from ike_tools.scores.davis_metrics import boundary_measure, region_similarity
from ike_tools.scores.result_masks import AnnotatedSequence, pair_with_annotations
from ike_tools.scores.score_table import (
    SequenceScore,
    format_comparison,
    format_table,
    table_rows,
    write_scores,
)


def get_args_parser() -> argparse.ArgumentParser:
    parser = Parser(
        description="Evaluate masks as DAVIS-2016 does: region similarity J and boundary measure "
        "F, each with its mean, recall and decay, without the first and the last frame of a "
        "sequence. Prints a table and writes a CSV."
    )
    parser.add_path(
        "--results",
        "folder of masks: .pt of either module, or .png of any method: soft masks in grey, or "
        "labels, of which any but 0 is object; for a data set, a folder of such folders, named as "
        "the sequences; several results are compared, over the sequences that all of them have",
        nargs="+",
        action="extend",
        required=True,
    )
    parser.add_argument(
        "--stage",
        nargs="+",
        action="extend",
        help="folder of the masks inside each folder of --results, or inside each of its "
        "sequences, e.g. graph_1/iter_19 (default: that folder itself); several are compared",
    )
    parser.add_path(
        "--annotations",
        "annotations of a sequence (a folder of .png, any non-zero pixel is object; void, 255 "
        "beside other labels of a palette, does not count), a folder of such folders, or a data "
        "set that has them (DAVIS, ...)",
        required=True,
    )
    parser.add_path(
        "--frames_path",
        "the frames of the sequence or of the data set: where some are annotated, their names "
        "tell which (default: frames.csv beside the masks, else the numbers of the annotations)",
    )
    add_sequences_flag(parser)
    parser.add_threshold()
    parser.add_argument(
        "--out_path",
        type=csv_argument,
        default="results.csv",
        help="the CSV, or a folder for results.csv (default: results.csv)",
    )
    parser.add_argument(
        "--all_frames",
        action="store_true",
        help="score the first and the last frame of a sequence too; DAVIS-2016 does not",
    )
    return parser


def csv_argument(text: str) -> Path:
    """The CSV: ``text`` itself, or results.csv in it where it is a folder."""
    path = path_argument(text)
    return path / "results.csv" if text.endswith("/") or path.is_dir() else path


def main() -> None:
    args = get_args_parser().parse_args()
    results = [Result(folder, stage) for folder in args.results for stage in (args.stage or [""])]
    groups, warnings = pair_with_annotations(
        results, args.annotations, args.sequences, args.frames_path
    )
    groups = left_to_score(groups, args.all_frames, warnings)
    prepare_out_path(args.out_path.parent)
    how_read = value_notes([*itertools.chain(*groups)])
    warn(*warnings)

    rows = []
    for number, sequences in enumerate(groups, start=1):
        scores = []
        only = len(sequences) == 1
        for sequence in tqdm(sequences, unit="sequence", delay=2, leave=False, disable=only):
            frames = scored_frames(sequence, args.all_frames)
            scores.append(score_sequence(sequence, frames, args.threshold))
            if not any(scores[-1].region):
                warnings.append(
                    f"{_folder(sequence.mask_files)}: J is 0 in all frames, no pixel of the object "
                    f"reaches {args.threshold:g} (--threshold); are these 0 to 255, and of this "
                    "video?"
                )
        rows.append(table_rows(scores))
        print(f"[{number}] {sequences[0].results}\n{format_table(rows[-1])}\n")
    if len(groups) > 1:
        n_sequences = len(groups[0])
        if n_sequences > 1:
            print(f"side by side, over the {n_sequences} sequences that all results have:")
        print(f"{format_comparison(rows)}\n")
    write_scores(args.out_path, [*itertools.chain(*rows)])

    if not all(sequence.mask_values.hard for sequence in itertools.chain(*groups)):
        print(f"masks:  object is where the soft mask >= {args.threshold:g}")
    for line in how_read:
        print(line)
    print("frames:", "all" if args.all_frames else "all but the first and last of each sequence")
    if partly := partly_annotated(groups[0]):
        print(partly)
    print(f"CSV:    {args.out_path}")
    warn(*warnings)  # again: above a long table it is not seen


def value_notes(sequences: list[AnnotatedSequence]) -> list[str]:
    """How masks and annotations are read, where it is not the plain case; looks into them all."""
    masks = ((_folder(s.mask_files), s.mask_values) for s in sequences)
    annotations = ((_folder(s.annotation_files), s.annotation_values) for s in sequences)
    return [*notes("masks", masks), *notes("annotations", annotations)]


def partly_annotated(sequences: list[AnnotatedSequence]) -> str:
    """How many frames are annotated, in a line; empty where all are."""
    n_annotated = sum(len(sequence.annotation_files) for sequence in sequences)
    n_frames = sum(sequence.n_frames for sequence in sequences)
    if n_annotated == n_frames:
        return ""
    return f"        {n_annotated} of {n_frames} frames are annotated; the others are not scored"


def _folder(files: dict[int, Path]) -> Path:
    return next(iter(files.values())).parent


def scored_frames(sequence: AnnotatedSequence, all_frames: bool) -> list[int]:
    """The annotated frames that count: all but the video's first and last, or all of them."""
    left_out = () if all_frames else (0, sequence.n_frames - 1)
    return [idx for idx in sequence.annotation_files if idx not in left_out]


def left_to_score(
    groups: list[list[AnnotatedSequence]], all_frames: bool, warnings: list[str]
) -> list[list[AnnotatedSequence]]:
    """The sequences with frames that count, in each result; ``warnings`` get a line on the others.

    InputError where none is left.
    """
    without = {
        sequence.name: f"{_folder(sequence.annotation_files)}: no frame is left of "
        f"{len(sequence.annotation_files)} annotated without the video's first and last, which "
        "DAVIS-2016 does not score; give --all_frames"
        for sequence in itertools.chain(*groups)
        if not scored_frames(sequence, all_frames)
    }
    left = [[sequence for sequence in group if sequence.name not in without] for group in groups]
    if not left[0]:
        raise InputError(next(iter(without.values())))
    warnings += [f"not scored: {line}" for line in without.values()]
    return left


def score_sequence(
    sequence: AnnotatedSequence, frames: list[int], threshold: float
) -> SequenceScore:
    """J and F of ``frames``, read one at a time."""
    threshold = sequence.mask_values.threshold(threshold)
    region, boundary = [], []
    what = f"{sequence.name}: J and F"
    for idx in tqdm(frames, desc=what, unit="frame", delay=2, leave=False):
        soft, (annotation, void) = sequence.read(idx)
        mask = harden(soft, threshold)
        region.append(region_similarity(mask, annotation, void=void))
        boundary.append(boundary_measure(mask, annotation, void=void))
    return SequenceScore(sequence.results, sequence.name, threshold, tuple(region), tuple(boundary))


if __name__ == "__main__":
    run_command(main)
