"""Ranges of numbers: of the keys of config.ini, and of the frozen dataclasses of settings."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any


@dataclasses.dataclass(frozen=True)
class Range:
    """The finite numbers from ``low`` to ``high``."""

    low: float = -math.inf
    high: float = math.inf
    low_excluded: bool = False

    def __contains__(self, number: float) -> bool:
        # NaN is in no range. A whole number may be too large for math.isfinite.
        inside = self.low <= number <= self.high and abs(number) != math.inf
        return inside and not (self.low_excluded and number == self.low)

    def __str__(self) -> str:
        """Follows "a number", say."""
        low = " above" if self.low_excluded else " of at least"
        parts = [f"{low} {self.low}"] if self.low > -math.inf else []
        parts += [f" at most {self.high}"] if self.high < math.inf else []
        return " and".join(parts)


def parameter(
    default: float, *, low: float = 0, high: float = math.inf, low_excluded: bool = False
) -> Any:
    """A dataclass field that `check_ranges` checks; where ``default`` is an int, a whole number."""
    return dataclasses.field(default=default, metadata={"range": Range(low, high, low_excluded)})


@dataclasses.dataclass(frozen=True)
class Parameters:
    """Base of dataclasses whose fields are `parameter`: one out of its range is a ValueError."""

    def __post_init__(self) -> None:
        check_ranges(self)


def check_kind(name: str, value: object, expected: type, what: str) -> None:
    """Raise ValueError unless the argument ``name`` is an ``expected``, ``what`` in words."""
    if not isinstance(value, expected):
        raise ValueError(f"{name} should be {what}, got {type(value).__name__}")


def check_ranges(settings: Any) -> None:
    """Check the fields of a dataclass that were declared by `parameter`.

    Raises:
        ValueError: one is out of its range; the message names it and what is expected.
    """
    for field in dataclasses.fields(settings):
        if "range" not in field.metadata:
            continue
        value, allowed = getattr(settings, field.name), field.metadata["range"]
        whole = isinstance(field.default, int)
        right_type = isinstance(value, numbers.Integral if whole else numbers.Real)
        if not right_type or isinstance(value, bool) or value not in allowed:
            name = f"{type(settings).__name__}.{field.name}"
            kind = "a whole number" if whole else "a number"
            raise ValueError(f"{name} should be {kind}{allowed}, got {value!r}")
