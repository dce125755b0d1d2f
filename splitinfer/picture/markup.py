"""Elements of HTML and SVG as text. What is not `Markup` is escaped, so a hostile name cannot become an element.

Knows no chart. Everything is well-formed XML too: tests read whole pages with a plain XML parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_EMPTY = frozenset(["meta", "br", "hr", "col"])


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Plain text as markup; characters that XML does not have become U+FFFD."""
    return value if isinstance(value, Markup) else Markup(escape(_UNPRINTABLE.sub("\ufffd", value)))


def join(parts: Iterable[str]) -> Markup:
    """Several pieces, one after the other."""
    return Markup("".join(map(text, parts)))


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """An element.

    Args:
        name: of the element.
        children: markup, or plain text that gets escaped.
        attributes: `class_` is written class, `stroke_width` is written stroke-width; None leaves it out.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}={_value(value)}" for key, value in attributes.items() if value is not None
    )
    if name in _EMPTY:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def label(x: float, y: float, words: str, class_: str = "", anchor: str = "middle") -> Markup:
    """A line of SVG text."""
    return tag("text", words, x=x, y=y, class_=class_ or None, text_anchor=anchor)


def fitted(words: str, width: float, size: float = 11.0) -> str:
    """Shortens text to a width in pixels, at its middle. An estimate: no font is known here."""
    room = max(int(width / (0.58 * size)), 3)
    if len(words) <= room:
        return words
    tail = (room - 1) // 2
    return f"{words[: room - 1 - tail]}…{words[len(words) - tail :]}"


def _value(value: str | float) -> str:
    return quoteattr(_UNPRINTABLE.sub("\ufffd", value if isinstance(value, str) else f"{round(value, 2):g}"))
