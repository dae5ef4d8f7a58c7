"""Progress bars are passed in, so that the functions of this package print nothing themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """What wraps a loop to show how far it is: `silent`, or tqdm's ``tqdm``, of a notebook too."""

    def __call__(
        self, iterable: Iterable[Item], /, *, desc: str, total: int, unit: str
    ) -> Iterable[Item]: ...


def silent(iterable: Iterable[Item], /, *, desc: str, total: int, unit: str) -> Iterable[Item]:
    """Shows nothing."""
    return iterable
