"""HTML in which nothing that a file says can be more than words.

Whatever is no `Markup` is escaped, and shown on one line without control characters. Only this file
and the page's own style, script and charts make `Markup` of text.
"""

import html
import json
from typing import Any

from shards.errors import one_line

NARROW = "\N{NARROW NO-BREAK SPACE}"  # between a number and its unit
_EMPTY = ("img", "circle", "rect", "meta", "path", "line")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


SPACE = Markup(" ")  # between two elements


def element(name: str, *children: str, **attributes: Any) -> Markup:
    """An element; `class_` is its class, `data_i` its data-i; None and False leave one out."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_safe(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _EMPTY and not children:
        return Markup(f"<{name}{words}>" if name in ("img", "meta") else f"<{name}{words}/>")
    return Markup(f"<{name}{words}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """One after the other; what is no Markup is escaped."""
    return Markup("".join(map(_safe, children)))


def data_element(id: str, values: Any) -> Markup:
    """Values for the page's script, as JSON that no text in it can end."""
    text = json.dumps(values)  # ASCII alone
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{_escaped(id)}">{text}</script>')


def table(head: tuple[str, ...], rows: list[tuple[str, ...]], numbers: tuple[int, ...]) -> Markup:
    """A table that scrolls by itself where it is too wide; `numbers` are columns of numbers."""

    def cells(tag: str, row: tuple[str, ...]) -> Markup:
        return joined(
            *(element(tag, c, class_="number" if i in numbers else None) for i, c in enumerate(row))
        )

    body = joined(*(element("tr", cells("td", row)) for row in rows))
    top = element("thead", element("tr", cells("th", head)))
    return element("div", element("table", top, element("tbody", body)), class_="scroll")


def plain(value: float, form: str = ".4g") -> str:
    """A number with a minus, not a hyphen."""
    return f"{value:{form}}".replace("-", "\N{MINUS SIGN}")


def percent(share: float) -> str:
    """`43.2 %`."""
    return f"{100 * share:.1f}{NARROW}%"


def duration(seconds: float) -> str:
    """`3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}{NARROW}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{NARROW}min {rest:02d}{NARROW}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NARROW}h {minutes:02d}{NARROW}min"


def _safe(value: Any) -> str:
    return value if isinstance(value, Markup) else _escaped(str(value))


def _escaped(text: str) -> str:
    # To `one_line` a narrow space is one like any other.
    return html.escape(NARROW.join(map(one_line, text.split(NARROW))), quote=True)
