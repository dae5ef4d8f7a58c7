"""ike_data.runtime.atomic: a result appears whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ike_data.runtime.atomic import atomic_file, atomic_folder


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "mask.png"
    with atomic_file(path) as partial:
        assert partial.parent == tmp_path and partial.suffix == ".png"
        partial.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new" and names(tmp_path) == ["mask.png"]
    with atomic_file(path) as partial:
        partial.write_bytes(b"newer")
        assert path.read_bytes() == b"new"
    assert path.read_bytes() == b"newer" and names(tmp_path) == ["mask.png"]


def test_a_folder_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "made" / "on the way" / "iter_0"
    with atomic_folder(path) as partial:
        (partial / "00000.pt").write_bytes(b"new")
        assert not path.exists()
    assert names(path) == ["00000.pt"] and names(path.parent) == ["iter_0"]


def test_a_full_folder_is_replaced_not_merged(tmp_path):
    path = tmp_path / "iter_0"
    (path / "sub").mkdir(parents=True)
    (path / "00007.pt").write_bytes(b"old")
    with atomic_folder(path) as partial:
        (partial / "00000.pt").write_bytes(b"new")
        assert names(path) == ["00007.pt", "sub"]
    assert names(path) == ["00000.pt"] and names(tmp_path) == ["iter_0"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, b"old"])
def test_an_exception_leaves_everything_as_it_was(tmp_path, error, before):
    file, folder = tmp_path / "a.pth", tmp_path / "b"
    if before is not None:
        file.write_bytes(before)
        folder.mkdir()
        (folder / "old").write_bytes(before)
    expected = names(tmp_path)
    with pytest.raises(error), atomic_file(file) as partial:
        partial.write_bytes(b"half")
        raise error
    with pytest.raises(error), atomic_folder(folder) as partial:
        (partial / "half").write_bytes(b"half")
        raise error
    assert names(tmp_path) == expected
    if before is not None:
        assert file.read_bytes() == before and names(folder) == ["old"]


def test_an_interrupt_between_the_two_renames_brings_the_old_folder_back(tmp_path, monkeypatch):
    path = tmp_path / "iter_0"
    path.mkdir()
    (path / "old").touch()
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if self.name.startswith(".partial-"):
            assert not path.exists()  # the old folder was moved aside just before
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_folder(path) as partial:
        (partial / "new").touch()
    assert names(path) == ["old"] and names(tmp_path) == ["iter_0"]


def test_permissions_follow_the_umask(tmp_path, umask):
    with atomic_file(tmp_path / "file") as partial:
        partial.write_bytes(b"")
    with atomic_folder(tmp_path / "folder"):
        pass
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~umask
    assert os.umask(umask) == umask  # reading the umask has not changed it


def test_the_disk_says_no(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "no folder" / "a"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError), atomic_folder(tmp_path / "file" / "a"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), atomic_file(tmp_path / "folder") as partial:
        partial.write_bytes(b"x")
    assert names(tmp_path) == ["file", "folder"]
