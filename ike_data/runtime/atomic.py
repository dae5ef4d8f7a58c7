"""Results appear whole or not at all: write under a temporary name, then rename."""

from __future__ import annotations

import csv
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ike_data.runtime.errors import InputError

# tempfile adds eight characters.
_PARTIAL = re.compile(r"\.partial-[a-z0-9_]{8}(\..*)?")
_OLD = re.compile(r"\.old-[a-z0-9_]{8}")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of the disk that names no file, as a full one's, names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


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
        with naming(path):
            yield partial
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV as an `atomic_file`; names of files in it need not be valid UTF-8."""
    with (
        atomic_file(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` that replaces ``path`` on success.

    A folder that exists under its final name therefore always holds a complete result. On any
    exception the temporary folder is removed and an older ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=path.parent))
    try:
        with naming(path):
            yield partial
        partial.chmod(0o777 & ~_umask())
        if os.path.lexists(path):
            # A folder cannot be renamed over a full one: move the old one aside first.
            old = Path(tempfile.mkdtemp(prefix=".old-", dir=path.parent))
            try:
                path.replace(old / path.name)
                partial.replace(path)
            except BaseException:
                if not os.path.lexists(path):
                    (old / path.name).replace(path)
                raise
            finally:
                shutil.rmtree(old)
        else:
            partial.replace(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def check_replaceable(path: Path, names: re.Pattern[str], inputs: Iterable[Path]) -> None:
    """Raise InputError unless an --out_path is new, or holds one kind of result alone.

    Args:
        names: matches each file of such a result, by its path in ``path``.
        inputs: folders that are read.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"--out_path {path}: is a file; give a folder")
    sources = [source.resolve() for source in inputs]
    if path.resolve() in sources:
        raise InputError(f"--out_path {path}: is a folder of the input; give a new folder")
    files = (file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir())
    others = [name for name in sorted(files) if not names.fullmatch(name)]
    others += [f"{source}, which is read" for source in sources if path.resolve() in source.parents]
    if others:
        raise InputError(
            f"--out_path {path}: holds {others[0]}, and is replaced as a whole; give a new folder, "
            "or one that holds an earlier result only"
        )


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left half written in ``folder``; no run may be working there.

    An older result that was moved aside, while the new one had not yet its name, is put back.
    """
    if not folder.is_dir():
        return
    for path in list(folder.iterdir()):
        if _OLD.fullmatch(path.name) and path.is_dir():
            for result in path.iterdir():
                if not (folder / result.name).exists():
                    result.replace(folder / result.name)
        elif not _PARTIAL.fullmatch(path.name):
            continue
        remove(path)


def remove(path: Path) -> None:
    """Remove a file, a folder with all it holds, or a link and not what it names; or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _umask() -> int:
    # mkstemp and mkdtemp create private files; results get the user's usual permissions. The
    # umask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
