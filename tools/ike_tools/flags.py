"""Names of flags, and their older names."""

from __future__ import annotations

import argparse
from typing import Any

from ike_data.runtime.command import number_argument, path_argument

# Flags that once had another name, with that name: it is still taken, and --help does not show it.
OLDER_NAMES = {
    "--frames_path": "--frames",
    "--out_path": "--out",
    "--of_path": "--flow",
    "--pseudo_gt_path": "--masks",
    "--all_frames": "--all-frames",
    "--report_only": "--report-only",
}


class Parser(argparse.ArgumentParser):
    """argparse's parser, which takes flags by their `OLDER_NAMES` too."""

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:  # type: ignore[override]
        older = [OLDER_NAMES[name] for name in names if name in OLDER_NAMES]
        action = super().add_argument(*names, *older, **settings)
        # What --help and error messages show; the parser has noted all names by now.
        action.option_strings = [name for name in action.option_strings if name not in older]
        return action

    def add_path(self, name: str, text: str, **settings: Any) -> None:
        """Add an argument that is a path; ``text`` is what --help says of it."""
        self.add_argument(name, type=path_argument, help=text, **settings)

    def add_threshold(self) -> None:
        """Add --threshold, at which soft masks are made hard."""
        text = "object is where the soft mask is at least this, in [0, 1] (default: 0.5)"
        self.add_argument("--threshold", type=number_argument(0, 1), default=0.5, help=text)
