"""One self-contained HTML page: text, tables and pictures, nothing loaded from elsewhere.

Templates escape all that is not ``Markup``, which the functions here return.
"""

import base64
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wsi.evaluation.report import NOTICE

_LONGEST = 32
"""Characters of a cell that may stay on one line: 0.1234 (-0.1234 to -0.1234)."""


@lru_cache(maxsize=1)
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("wsi.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.tests["figure"] = _is_figure
    return found


def _is_figure(cell: str) -> bool:
    """Whether a cell is a figure, which stays with its interval or unit on one line."""
    return len(cell) < _LONGEST and re.match(r"-?\d", cell) is not None


def part(macro: str, *values: Any, **more: Any) -> Markup:
    """What a macro of ``templates/parts.html`` makes of these values."""
    made: Markup = getattr(_templates().get_template("parts.html").module, macro)(*values, **more)
    return made


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Markup:
    """A table; cells are escaped."""
    return part("table", caption, header, [[str(cell) for cell in row] for row in rows])


def picture(data: bytes, kind: str, description: str, *, css: str = "") -> Markup:
    """An embedded picture.

    Args:
        data: the file's bytes.
        kind: ``svg+xml`` or ``png``.
        description: what it shows, for those who cannot see it.
        css: a class.
    """
    return part("picture", base64.b64encode(data).decode(), kind, description, css=css)


def plot(svg: str, description: str) -> Markup:
    """An embedded plot."""
    return picture(svg.encode(), "svg+xml", description)


def plots(parts: Sequence[str]) -> Markup:
    """Pictures beside each other."""
    return part("plots", parts)


def heading(text: str) -> Markup:
    """A section's title."""
    return part("heading", text)


def paragraph(text: str) -> Markup:
    """A paragraph of plain text."""
    return part("paragraph", text)


def page(title: str, parts: Sequence[str]) -> str:
    """The whole page; parts that are not ``Markup`` are escaped."""
    return _templates().get_template("page.html").render(title=title, notice=NOTICE, parts=parts)
