"""Reading and writing files while the computation goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

_MOST_WAITING = 2  # items that are ready, or still to be written: what bounds the memory


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """``items``, in order, each fetched by another thread while those before it are in use."""
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, iterator, end) for _ in range(_MOST_WAITING))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, iterator, end))
            yield item  # type: ignore[misc]


@contextmanager
def write_behind() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Yield a function that has another thread call what it is given, in order.

    An error of such a call is raised by one of the next calls, or at the end of the block, when
    all has been written.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[None]] = deque()

        def write(call: Callable[[], None]) -> None:
            if len(waiting) == _MOST_WAITING:
                waiting.popleft().result()
            waiting.append(thread.submit(call))

        yield write
        for call in waiting:
            call.result()
