"""Which Python the shell tools take: IKE_VENV's, the active one if it lacks nothing, or .venv's.

The environments are real ones that hold nothing but the metadata of what requirements.txt names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import packaging
import pytest

from ike_data.command_line import PROJECT_CONFIG

ROOT = PROJECT_CONFIG.parent
REQUIREMENTS = (ROOT / "requirements.txt").read_text().splitlines()
PARTS = Path("tools/ike_tools")
TOOLS = ("run_video.sh", "test.sh", "check.sh")
VENDORS = "99.0.0a0+vendor"  # as in a GPU maker's container
# Stands for pip: notes how it was called.
PIP = "import sys; open(sys.prefix + '/pip', 'w').write(' '.join(sys.argv[1:]))"


class Environment:
    """A virtual environment with the oldest release that each requirement admits."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True)
        self.python = folder / "bin" / "python"
        (self.site,) = folder.glob("lib/python*/site-packages")
        (self.site / "packaging").symlink_to(Path(packaging.__file__).parent)
        for line in REQUIREMENTS:
            if found := re.match(r"([a-z0-9-]+)[>=]=([\d.]*\d)", line):
                self.put(*found.groups())

    def put(self, name: str, number: str) -> None:
        self.remove(name)
        folder = self.site / f"{name.replace('-', '_')}-{number}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: {number}\n")

    def remove(self, name: str) -> None:
        for folder in self.site.glob(f"{name.replace('-', '_')}-*.dist-info"):
            shutil.rmtree(folder)


@pytest.fixture
def active(tmp_path, monkeypatch) -> Environment:
    environment = Environment(tmp_path / "my env")
    monkeypatch.setenv("PATH", f"{environment.python.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("IKE_VENV", raising=False)
    return environment


@pytest.fixture
def project(tmp_path) -> Path:
    """A project with a .venv that lacks nothing."""
    folder = tmp_path / "a project"
    (folder / PARTS).mkdir(parents=True)
    for name in ("requirements.txt", PARTS / "environment.sh", PARTS / "missing_requirements.py"):
        shutil.copy(ROOT / name, folder / name)
    for name in TOOLS:
        text = 'set -euo pipefail\nsource "${0%/*}/ike_tools/environment.sh"\necho "$PYTHON"\n'
        (folder / "tools" / name).write_text(text)
    own = Environment(folder / ".venv")
    (own.site / "pip.py").write_text(PIP)
    return folder


def chosen(project: Path, tool: str = "run_video.sh") -> tuple[Path, str]:
    """The Python that a tool takes, and what it says."""
    done = subprocess.run(
        ["bash", str(project / "tools" / tool)], capture_output=True, text=True, cwd=project.parent
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.removesuffix("\n")), done.stderr


def test_an_active_environment_that_lacks_nothing_is_used(active, project):
    active.put("torch", VENDORS)
    active.remove("opencv-python")
    active.put("opencv-python-headless", "99.0")
    assert chosen(project, "test.sh") == (active.python, "")


@pytest.mark.parametrize(
    ("name", "found", "tool", "other_tool"),
    [
        ("av", None, "run_video.sh", None),
        ("torch", "2.5.1", "check.sh", None),
        ("scipy", None, "test.sh", "run_video.sh"),
        ("ruff", "99.0", "check.sh", "test.sh"),
    ],
)
def test_a_tool_takes_no_environment_that_lacks_what_it_needs(
    name, found, tool, other_tool, active, project
):
    active.remove(name)
    if found is not None:
        active.put(name, found)
    python, said = chosen(project, tool)
    assert python == project / ".venv/bin/python"
    line = next(line for line in REQUIREMENTS if line.startswith(name))
    has = f" (it has {found})" if found else ""
    assert said == (
        f"{active.python} lacks {line.partition(' ')[0]}{has}; to use it: "
        f"'{active.python}' -m pip install -r '{project}/requirements.txt'\n"
        f"instead of it {project}/.venv is used\n"
    )
    if other_tool is not None:
        assert chosen(project, other_tool) == (active.python, "")


def test_what_is_missing_is_installed_into_the_projects_own_environment(active, project):
    active.remove("numba")
    (active.site / "pip.py").write_text(PIP)
    for folder in (project / ".venv").glob("lib/*/site-packages/numba-*"):
        shutil.rmtree(folder)
    python, said = chosen(project)
    assert python == project / ".venv/bin/python"
    assert f"{active.python} lacks numba>=" in said
    assert f"installing requirements.txt into {project}/.venv" in said
    options = "install --quiet --disable-pip-version-check"
    assert (project / ".venv/pip").read_text() == f"{options} -r {project}/requirements.txt"
    assert not (active.python.parents[1] / "pip").exists()


def test_an_environment_without_pip_is_made_again(active, project, tmp_path, monkeypatch):
    """As the first try leaves it where the system's Python lacks ensurepip."""
    active.remove("numba")
    (site,) = (project / ".venv").glob("lib/*/site-packages")
    (site / "pip.py").unlink()
    shutil.rmtree(next(site.glob("numba-*")))
    (tmp_path / "pip.py").write_text(PIP)
    makes_venv = tmp_path / "bin/python3"
    makes_venv.parent.mkdir()
    makes_venv.write_text(
        f'#!/bin/sh\n[ "$2" = venv ] || exec "{active.python}" "$@"\n'
        f'cp "{tmp_path}/pip.py" "{site}"\n'
    )
    makes_venv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{makes_venv.parent}:{os.environ['PATH']}")
    assert chosen(project)[0] == project / ".venv/bin/python"
    assert "install" in (project / ".venv/pip").read_text()


def test_ike_venv_decides(active, project, monkeypatch):
    other = Environment(project.parent / "other")
    monkeypatch.setenv("IKE_VENV", "other")  # from the folder where the tool is started
    assert chosen(project) == (other.python, "")


def test_pips_own_copy_of_packaging_is_enough(active, project):
    pip = pytest.importorskip("pip")
    active.put("torch", VENDORS)
    (active.site / "packaging").unlink()
    (active.site / "pip").symlink_to(Path(pip.__file__).parent)
    assert chosen(project) == (active.python, "")
    (active.site / "pip").unlink()
    assert "has neither pip nor packaging, which compare versions; to use it," in chosen(project)[1]
