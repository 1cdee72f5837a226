"""One self-contained HTML page: text, tables and pictures, nothing loaded from elsewhere."""

import base64
import html
import re
from collections.abc import Sequence

from wsi.evaluation.report import NOTICE

_LONGEST = 32
"""Characters of a cell that may stay on one line: 0.1234 (-0.1234 to -0.1234)."""

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;
padding:0 1rem;color:#1b1b1b}
h1{margin-bottom:.2rem}.notice{color:#7a2e00;font-weight:600}
table{border-collapse:collapse;margin:.6rem 0 1.4rem;font-size:13px}
th,td{border:1px solid #ccc;padding:.25rem .5rem;text-align:right}
.number{white-space:nowrap}
th{background:#f3f3f3}th:first-child,td:first-child{text-align:left}
caption{font-size:15px;text-align:left;font-weight:600;padding:.2rem 0}
.plots{display:flex;flex-wrap:wrap;gap:1rem}.plots img{max-width:100%;width:500px}
figure{margin:0}figcaption{font-size:13px;color:#444}
.slide{border-top:1px solid #ccc;margin-top:1.2rem}.slide h3{margin:.6rem 0 .2rem}
.maps{display:grid;grid-template-columns:repeat(auto-fill,minmax(195px,1fr));gap:.6rem}
.maps img{width:100%}.bar{width:260px;text-align:left}
.bar span{display:block;height:.8em;background:#D55E00}
"""


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; cells are escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(_cell(str(cell)) for cell in row) + "</tr>" for row in rows)
    return (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(text: str) -> str:
    """A cell; a figure stays with its interval or unit on one line."""
    kind = ' class="number"' if re.match(r"-?\d", text) and len(text) < _LONGEST else ""
    return f"<td{kind}>{html.escape(text)}</td>"


def picture(data: bytes, kind: str, description: str, *, css: str = "") -> str:
    """An embedded picture.

    Args:
        data: the file's bytes.
        kind: ``svg+xml`` or ``png``.
        description: what it shows, for those who cannot see it.
        css: a class.
    """
    encoded = base64.b64encode(data).decode()
    alt = html.escape(description, quote=True)
    return f'<img class="{css}" alt="{alt}" src="data:image/{kind};base64,{encoded}">'


def plot(svg: str, description: str) -> str:
    """An embedded plot."""
    return picture(svg.encode(), "svg+xml", description)


def plots(parts: Sequence[str]) -> str:
    """Pictures beside each other."""
    return f'<div class="plots">{"".join(parts)}</div>'


def heading(text: str) -> str:
    """A section's title."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{html.escape(text)}</p>"


def page(title: str, parts: Sequence[str]) -> str:
    """The whole page."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{html.escape(title)}</h1><p class="notice">{NOTICE}</p>'
        f"{''.join(parts)}</body></html>\n"
    )
