"""The frame of a page: style for screen (light and dark) and paper, sections, tables, legends. Knows no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from splitinfer.picture.marks import Look, mark
from splitinfer.picture.markup import Markup, join, tag

_STYLE = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1c2128; --soft: #57606a; --line: #d5dbe1; --panel: #f5f7f9; --box: #e9f1f8; --hatch: #9aa4af;
  --device: #0072b2; --cloud: #d55e00; --accent: #b3261e; --shade: #e4eaf0; --shade2: #f3f6f8; --dead: #f6dfd3;
  --loss0: #0072b2; --loss1: #4fb0e6; --loss2: #e69f00; --loss3: #c94a00; --loss4: #8c959f;
  --way0: #57606a; --way1: #cc79a7; --way2: #e69f00; --way3: #009e73; --way4: #0072b2; }
@media screen and (prefers-color-scheme: dark) { :root {
  --paper: #10151b; --ink: #e6ebf0; --soft: #9fabb7; --line: #333d47; --panel: #171d24; --box: #182b3b; --hatch: #5b6773;
  --device: #56b4e9; --cloud: #f0883e; --accent: #ff8a80; --shade: #26303a; --shade2: #1a2129; --dead: #48291d;
  --loss0: #4f9fe0; --loss1: #a5dbfa; --loss2: #f0b429; --loss3: #ff7043; --loss4: #76818c;
  --way0: #9fabb7; --way1: #e39cc4; --way2: #f0b429; --way3: #2fc79a; --way4: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px 60px; max-width: 1160px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 40px 0 4px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 26px 0 2px; }
p { margin: 4px 0 10px; max-width: 760px; }
.soft, .note { color: var(--soft); } .note { font-size: 13px; }
code { font: 12.5px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 12px 0; font-size: 14px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.drawing, .table { overflow-x: auto; margin: 6px 0; }
svg { display: block; font: 12px system-ui, sans-serif; }
.drawing svg { width: 100%; min-width: 720px; height: auto; }
svg text { fill: var(--ink); } svg text.soft { fill: var(--soft); } svg text.tiny { font-size: 11px; fill: var(--soft); }
svg text.strong { font-weight: 600; } svg text.device { fill: var(--device); } svg text.cloud { fill: var(--cloud); }
svg text.halo { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
.frame { fill: none; stroke: var(--line); } .grid { stroke: var(--line); stroke-width: 0.7; } .axis { stroke: var(--soft); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .thin { fill: none; stroke-width: 1.2; stroke-opacity: 0.55; }
.rule { stroke-width: 1.3; stroke-dasharray: 6 4; } .cut { stroke: var(--ink); stroke-width: 1.4; stroke-dasharray: 5 4; }
.rival { fill: none; stroke-width: 1.6; stroke-dasharray: 2 3; } .whisker { stroke-width: 1.4; stroke-opacity: 0.4; }
.ring { fill: none; stroke: var(--accent); stroke-width: 1.6; }
.box { fill: var(--box); stroke: var(--device); stroke-width: 1.2; } .absent { stroke: var(--hatch); stroke-dasharray: 3 3; }
.wire { stroke: var(--soft); } .even { fill: var(--shade); } .odd { fill: var(--shade2); } .gone { fill: var(--dead); }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; min-width: 60%; }
th, td { padding: 3px 12px 3px 0; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, th.words, td.words { text-align: left; } td { white-space: nowrap; }
td.long { white-space: normal; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 500; white-space: nowrap; }
tr.lead td { font-weight: 650; }
tr.group td { border-top: 1.5px solid var(--soft); }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 3px 18px; margin: 6px 0; padding: 0; font-size: 13px; }
ul.legend li { display: flex; align-items: center; gap: 6px; }
ul.legend .head { color: var(--soft); }

.verdict p { max-width: none; } .verdict ul { margin: 6px 0; padding-left: 20px; }
summary { cursor: pointer; color: var(--soft); margin: 8px 0; }
@media print { body { padding: 0; max-width: none; font-size: 11pt; } .drawing, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; } .drawing, .table { overflow: visible; } .drawing svg { min-width: 0; }
  * { print-color-adjust: exact; } }
"""


LONG = 26
"""Characters in a cell from which on it may be broken into lines."""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole document."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(_STYLE)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', *parts), lang='en')}\n"


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Names and what they are."""
    return tag("dl", *(join([tag("dt", name), tag("dd", value)]) for name, value in pairs))


def note(words: str) -> Markup:
    """A paragraph in small print."""
    return tag("p", words, class_="note")


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], words: Sequence[int] = (0,), classes: Sequence[str] = ()
) -> Markup:
    """A table of text; columns are right-aligned unless they are in `words`.

    Args:
        columns: heads.
        rows: cells.
        words: columns of words, not of figures.
        classes: one for each row, "" for none.
    """
    heads = tag("tr", *(tag("th", name, class_="words" if i in words else None) for i, name in enumerate(columns)))
    body = [
        tag(
            "tr",
            *(tag("td", cell, class_=_cell_class(cell) if i in words else None) for i, cell in enumerate(row)),
            class_=(classes[at] if at < len(classes) else "") or None,
        )
        for at, row in enumerate(rows)
    ]
    return tag("div", tag("table", tag("thead", heads), tag("tbody", *body)), class_="table")


def _cell_class(cell: str) -> str:
    """Only long words may be broken."""
    return "words long" if len(cell) > LONG else "words"


def legend(head: str, entries: Iterable[tuple[Markup, str]]) -> Markup:
    """What the signs mean. An entry is a sign (drawn around 8, 8 in a square of 16) and its words."""
    items = [tag("li", tag("svg", sign, width=16, height=16, aria_hidden="true"), words) for sign, words in entries]
    return tag("ul", tag("li", head, class_="head"), *items, class_="legend")


def point(look: Look) -> Markup:
    """A sign for the legend: a point."""
    return mark(8, 8, look)


def patch(colour: str) -> Markup:
    """A sign for the legend: a filled square."""
    return tag("rect", x=1, y=3, width=14, height=10, fill=f"var(--{colour})")


def stroke(colour: str, class_: str = "line") -> Markup:
    """A sign for the legend: a line."""
    return tag("line", class_=class_, x1=0, x2=16, y1=8, y2=8, stroke=f"var(--{colour})")
