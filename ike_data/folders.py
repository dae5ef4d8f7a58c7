"""What a folder holds, by name and without hidden files; nothing where there is no such folder."""

from __future__ import annotations

from pathlib import Path


def visible_in(folder: Path) -> list[Path]:
    """Files and folders."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in paths if not path.name.startswith("."))


def files_of(folder: Path, *suffixes: str) -> list[Path]:
    """Those with one of ``suffixes``, in upper or lower case."""
    return [path for path in visible_in(folder) if path.suffix.lower() in suffixes]


def folders_in(folder: Path) -> list[Path]:
    """The folders alone."""
    return [path for path in visible_in(folder) if path.is_dir()]
