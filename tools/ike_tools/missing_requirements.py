"""What the Python that runs this lacks of requirements.txt; environment.sh asks.

    python tools/ike_tools/missing_requirements.py [TOOL]

Exit status 0: it lacks nothing. What requirements.txt has below `# For tools/test.sh only` counts
for this TOOL alone, and so on. Otherwise one line says what is missing and how to add it; but a
Python outside any environment, without PyTorch, is a system's own: nothing is said of that one.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
_HEADING = re.compile(r"# For (tools/\S+\.sh) only")
# Distributions of the same module, of which an environment is to have one.
_OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python",
           "opencv-contrib-python-headless")  # fmt: skip


def requirement_class() -> type[Requirement]:
    """packaging's, of which pip has a copy."""
    for package in ("packaging", "pip._vendor.packaging"):
        with suppress(ImportError):
            return import_module(f"{package}.requirements").Requirement  # type: ignore[no-any-return]
    sys.exit(
        f"{sys.executable} has neither pip nor packaging, which compare versions; to use it, "
        "install packaging"
    )


def wanted(tool: str, requirement: type[Requirement]) -> Iterator[Requirement]:
    """What ``tool`` needs, a requirement for each line of requirements.txt."""
    only = None
    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        if heading := _HEADING.match(line):
            only = heading[1]
        text = line.partition("#")[0].strip()
        if text and only in (None, tool):
            yield requirement(text)


def installed(name: str) -> str | None:
    """The version of a distribution, None where there is none."""
    for known in _OPENCV if name == "opencv-python" else (name,):
        try:
            return version(known)
        except PackageNotFoundError:
            continue
    return None


def main() -> None:
    active = sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ
    if not active and installed("torch") is None:
        sys.exit(1)
    missing = []
    for requirement in wanted(" ".join(sys.argv[1:]), requirement_class()):
        found = installed(requirement.name)
        # Pre-releases count, as with pip: PyTorch in a vendor's container may be one.
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            missing.append(f"{requirement} (it has {found})" if found else str(requirement))
    if missing:
        remedy = shlex.join([sys.executable, "-m", "pip", "install", "-r", str(REQUIREMENTS)])
        sys.exit(f"{sys.executable} lacks {', '.join(missing)}; to use it: {remedy}")


if __name__ == "__main__":
    main()
