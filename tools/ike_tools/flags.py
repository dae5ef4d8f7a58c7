"""Flags that several commands take: their names, their older names, numbers within limits."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any

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


def number_argument(
    low: float, high: float = math.inf, kind: type = float, words: Sequence[str] = ()
) -> Callable[[str], Any]:
    """The type of a flag: a number from ``low`` to ``high``, or one of ``words``.

    Args:
        kind: float or int.
    """
    limits = f"from {low:g} to {high:g}" if high < math.inf else f"of at least {low:g}"
    expected = f"a {'whole ' if kind is int else ''}number {limits}"
    if words:
        expected = f"{', '.join(words)} or {expected}"

    def parse(text: str) -> Any:
        if text in words:
            return text
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
        return value

    return parse
