"""Results appear whole or not at all: write under a temporary name, then rename."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path (same folder, same suffix) that becomes ``path`` on success.

    On any exception the temporary file is removed and an older ``path`` stays as it was.
    """
    # The suffix is kept because image and flow writers choose the format by it.
    handle, name = tempfile.mkstemp(prefix=".partial-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` that replaces ``path`` on success.

    A folder that exists under its final name therefore always holds a complete result. On any
    exception the temporary folder is removed and an older ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o777 & ~_umask())
        if path.exists():
            # A folder cannot be renamed over a full one: move the old one aside first.
            old = Path(tempfile.mkdtemp(prefix=".old-", dir=path.parent))
            try:
                path.replace(old / path.name)
                partial.replace(path)
            except BaseException:
                if not path.exists():
                    (old / path.name).replace(path)
                raise
            finally:
                shutil.rmtree(old)
        else:
            partial.replace(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _umask() -> int:
    # mkstemp and mkdtemp create private files; results get the user's usual permissions. The
    # umask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
