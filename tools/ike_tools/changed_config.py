"""A config.ini with other values of some keys."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path


def changed_config(base: Path, changes: Mapping[str, Mapping[str, object]], path: Path) -> Path:
    """Write ``base`` to ``path`` with the ``changes``, by section and key; gives ``path``."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # keep upper case
    parser.read_string(base.read_text(encoding="utf-8"))
    for section, values in changes.items():
        parser[section].update({key: str(value) for key, value in values.items()})
    with path.open("w", encoding="utf-8") as file:
        parser.write(file)
    return path
