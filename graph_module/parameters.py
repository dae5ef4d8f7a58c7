"""Numbers with a range, as fields of the frozen dataclasses of settings."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any


def parameter(
    default: float, *, low: float = 0, high: float = math.inf, low_excluded: bool = False
) -> Any:
    """A dataclass field that `check_ranges` checks; where ``default`` is an int, a whole number."""
    checked = {"range": (low, high, low_excluded)}
    return dataclasses.field(default=default, metadata=checked)


def check_ranges(settings: Any) -> None:
    """Check the fields of a dataclass that were declared by `parameter`.

    Raises:
        ValueError: one is out of its range; the message names it and what is expected.
    """
    for field in dataclasses.fields(settings):
        if "range" not in field.metadata:
            continue
        value, (low, high, low_excluded) = getattr(settings, field.name), field.metadata["range"]
        whole = isinstance(field.default, int)
        expected = "a whole number" if whole else "a number"
        expected += f" above {low:g}" if low_excluded else f" of at least {low:g}"
        expected += f" and at most {high:g}" if high < math.inf else ""
        right_type = isinstance(value, numbers.Integral if whole else numbers.Real)
        if (
            not right_type
            or isinstance(value, bool)
            or not math.isfinite(value)
            or not low <= value <= high
            or (low_excluded and value == low)
        ):
            name = f"{type(settings).__name__}.{field.name}"
            raise ValueError(f"{name} should be {expected}, got {value!r}")
