"""Render the HTML templates of `kit/reports/template/`. Jinja2 escapes every value; an unknown name is an error."""

from __future__ import annotations

import datetime as dt
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.files import write_text
from kit.reports.timeline import clock

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("template")


def render(template: str, /, **values: Any) -> str:
    """Render one template as markup."""
    return _environment().get_template(template).render(values)


def write_page(path: Path, template: str, /, **values: Any) -> None:
    """Replace the page at `path` in one step."""
    write_text(path, render(template, **values))


def utc(value: float | str | None) -> str:
    """Format epoch seconds or an ISO 8601 time as YYYY-MM-DD HH:MM:SS in UTC; empty for no time."""
    if isinstance(value, int | float):
        value = dt.datetime.fromtimestamp(value, dt.UTC).isoformat()
    return (value or "")[:19].replace("T", " ")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clock": clock, "utc": utc}
    return environment
