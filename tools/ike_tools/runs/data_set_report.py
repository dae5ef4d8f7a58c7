"""Scores and report of a data set whose sequences have been run, in the OUT of run_dataset.py."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from ike_data.runtime.atomic import remove_leftovers
from ike_data.runtime.claim import NO_LOCKS, claim
from ike_data.runtime.errors import warn
from ike_tools.data_sets.layouts import Annotations, Videos
from ike_tools.data_sets.sequences import listed
from ike_tools.runs.steps import Steps

MASKS = "final/masks"  # of each sequence
SCORES, REPORT = "scores.csv", "report.html"


def score_and_report(
    out: Path, videos: Videos, annotations: Annotations, done: Sequence[str], missing: Sequence[str]
) -> None:
    """Print the scores of the sequences ``done``, and write them and the report.

    Args:
        missing: those that are not done, or have no annotations.

    Raises:
        SystemExit: a command failed, with its exit status; it has said why.
    """
    out = Path(os.path.abspath(out))
    if missing:
        of = f"{len(done)} of {len(done) + len(missing)} sequences"
        warn(f"scored: only the {of} that are done and annotated; not {listed(missing, 100)}")
    lock = claim(out)
    if lock is None:
        print(f"{out}: waits for another run that scores it", flush=True)
        while (lock := claim(out)) is None:
            time.sleep(1)
    try:
        if lock != NO_LOCKS:
            remove_leftovers(out)
        steps = Steps(out, videos.folder, lock)
        flags = [f"--results={out}", f"--stage={MASKS}", f"--annotations={annotations.folder}"]
        # An older result of a sequence that failed now is not to be scored.
        if set(done) != set(annotations.of) or set(done) != set(videos.frames):
            flags += [f"--sequences={name}" for name in done]
        steps.run(
            "scores",
            ["tools/evaluate.py", *flags, f"--out_path={out / SCORES}"],
            None,
            reads=[path for name in done for path in (out / name / MASKS, annotations.of[name])],
        )
        frames = f"--frames_path={videos.folder}"
        steps.run(
            "report",
            ["tools/visualize.py", frames, *flags, f"--out_path={out}", "--report_only"],
            out / REPORT,
        )
    finally:
        if lock != NO_LOCKS:
            os.close(lock)
    print(f"\nscores: {out / SCORES}\nreport: {out / REPORT}")
