"""One run at a time in a folder of results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ike_data.runtime.atomic import remove_leftovers
from ike_data.runtime.errors import InputError

LOCK_NAME = ".lock"
NO_LOCKS = -1  # in place of a file descriptor


def claim(folder: Path) -> int | None:
    """A file descriptor that holds the lock of ``folder``; None where another run holds it.

    A command that is started with the descriptor holds the lock as well: what outlives a killed
    run still keeps others away. `NO_LOCKS` where the system or the file system has none.
    """
    try:
        import fcntl
    except ImportError:  # on Windows
        return NO_LOCKS

    path = folder / LOCK_NAME
    while True:
        with ExitStack() as closing:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            closing.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Not where the run before has removed the file in the meantime.
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(lock), path.stat()):
                        closing.pop_all()
                        return lock
            except BlockingIOError:
                return None
            except OSError:
                return NO_LOCKS


def inherited(lock: int) -> list[int]:
    """``pass_fds`` of a command that is to hold the ``lock`` of `claim` as well."""
    return [] if lock == NO_LOCKS else [lock]


@contextmanager
def claimed(out_path: Path, *folders: str) -> Iterator[None]:
    """Keep other runs away from ``out_path`` in this block.

    What killed runs left half written in it, and in its ``folders``, is removed first, if it can be
    locked.

    Raises:
        InputError: another run works on it.
    """
    lock = claim(out_path)
    if lock == NO_LOCKS:  # then a half-written file may be another run's
        yield
        return
    if lock is None:
        raise InputError(
            f"out_path {out_path}: another run works on it; wait for its end, or choose another "
            "out_path"
        )
    try:
        for folder in (".", *folders):
            remove_leftovers(out_path / folder)
        yield
    finally:
        (out_path / LOCK_NAME).unlink(missing_ok=True)
        os.close(lock)
