"""The report's templates, Jinja's, in the folder beside this file; any text is escaped in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ike_tools.report.drawing import NEUTRAL

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["NEUTRAL"] = NEUTRAL
PARTS: Any = _TEMPLATES.get_template("parts.html").module  # its macros


def fill(template: str, **values: object) -> Markup:
    """A template with these values in it."""
    return Markup(_TEMPLATES.get_template(template).render(**values))
