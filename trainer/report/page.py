"""The page: panels under a head, with its style and script, and a policy that admits no other.

The browser runs the one script whose hash stands in the page, and loads nothing: whatever a run
smuggled into it would be dead.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from trainer.report.markup import Markup, element, joined
from trainer.report.panel import Panel

_HERE = Path(__file__).parent
_HEAD = '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
_HEAD += '<meta name="viewport" content="width=device-width, initial-scale=1">\n'


def page(
    title: str,
    subtitle: str,
    figures: Sequence[tuple[str, str, str]],  # a value, what it is, what to hold against it
    panels: Sequence[Panel],
    footer: str,
) -> str:
    """The whole file."""
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        f"form-action 'none'; script-src 'sha256-{_digest(script)}'"
    )
    links = [element("a", panel.title, href=f"#{panel.id}") for panel in panels]
    cells = [
        element(
            "div",
            element("span", value, class_="value"),
            element("span", what, class_="what"),
            element("span", beside, class_="beside"),
        )
        for value, what, beside in figures
    ]
    head = joined(
        element("h1", title),
        element("p", subtitle, class_="subtitle"),
        element("div", *cells, class_="headline") if cells else Markup(""),
        element("nav", *links),
    )
    body = joined(
        element("header", head),
        element("main", *(panel.markup() for panel in panels)),
        element("footer", footer),
    )
    return "".join(
        (
            _HEAD,
            element("meta", http_equiv="Content-Security-Policy", content=Markup(policy)),
            "\n",
            element("title", title),
            f"\n<style>\n{style}</style>\n</head>\n<body>\n",
            body,
            f"\n<script>{script}</script>\n</body>\n</html>\n",
        )
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
