"""The frame of a page: its style, its head, tables of figures."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #212529; max-width: 1080px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.25rem; margin: 2.4rem 0 .3rem; border-top: 3px solid #dee2e6; padding-top: 1rem }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .2rem } h4 { font-size: .95rem; margin: 1rem 0 0 } h4 .muted { font-weight: normal }
code { background: #f1f3f5; padding: .15em .4em; border-radius: 4px; font-size: .92em; overflow-wrap: anywhere }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font-size: .85em }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .35rem .9rem; text-align: right; border-bottom: 1px solid #dee2e6 }
td:first-child, th:first-child, td:nth-child(2), th:nth-child(2), td:last-child, th:last-child { text-align: left }
.row { display: flex; flex-wrap: wrap; gap: 14px; margin-top: .6rem }
figure { margin: 0; width: 192px } figure img { width: 192px; height: 192px; border: 1px solid #dee2e6; border-radius: 6px; image-rendering: auto }
figure.plot { width: 500px; max-width: 100% } figure.plot.wide { width: 100% } figure.plot svg { width: 100%; font-size: 11px } figure.plot text { fill: #868e96 }
figcaption { font-size: .82rem; line-height: 1.35; margin-top: .25rem; overflow-wrap: anywhere }
.right { color: #2b8a3e } .wrong { color: #c92a2a } .muted { color: #868e96 } .bad { color: #c92a2a; font-size: .85rem; overflow-wrap: anywhere }
.card { font-size: .82rem; line-height: 1.5; width: 232px; border: 1px solid #dee2e6; border-radius: 6px; padding: .5rem .6rem; overflow-wrap: anywhere }
.card.pair { width: 322px } .card.wide { width: 486px } .card.wide code { white-space: pre-wrap }
.card audio { width: 100%; height: 32px; margin-top: .2rem } .card img { border-radius: 4px; margin-right: 6px; max-width: 100% } .pixels { image-rendering: pixelated }
.card table { max-width: 100%; display: block; overflow-x: auto }
table.data { font-size: .82rem; margin: .3rem 0 } table.data td, table.data th { text-align: left; padding: .15rem .6rem }
table.numbers td:not(:first-child), table.numbers th:not(:first-child) { text-align: right; font-variant-numeric: tabular-nums }
table.board { border: 2px solid #495057; margin: .3rem 0; display: inline-table; margin-right: 7px }
table.board td { width: 1.38rem; height: 1.38rem; padding: 0; text-align: center !important; border: 1px solid #adb5bd }
table.board td.edge-right { border-right: 2px solid #495057 } table.board td.edge-below { border-bottom: 2px solid #495057 }
.scroll { overflow-x: auto } table.heat { font-size: .78rem; margin: .4rem 0 } table.heat td, table.heat th { border: 1px solid #fff; padding: .15rem .35rem }
table.heat td { text-align: center !important; min-width: 1.6rem; background: #f8f9fa } table.heat th { text-align: right !important; font-weight: normal; vertical-align: bottom; white-space: nowrap }
table.heat .side { display: inline-block; max-width: 240px; overflow: hidden; text-overflow: ellipsis; vertical-align: middle }
table.heat th.up { text-align: left !important; padding: .3rem .1rem } table.heat th.up span { writing-mode: vertical-rl; transform: rotate(180deg); display: inline-block; max-height: 150px; overflow: hidden; text-overflow: ellipsis }
details { margin: .5rem 0 } summary { cursor: pointer; color: #495057 }
nav { margin: 1.4rem 0 0 } nav a { margin-right: .9rem; display: inline-block }
"""


def head(title: str) -> str:
    """The beginning of a page."""
    return f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{html.escape(title)}</title><style>{STYLE}</style>"


def figures(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of figures; cells are HTML already."""
    line = "".join(f"<th>{html.escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='scroll'><table><tr>{line}</tr>{body}</table></div>"


def number(value: float | None) -> str:
    """A figure as a person reads it; of one that is not there or not finite, a word."""
    if value is None or not math.isfinite(value):
        return "none"
    if float(value).is_integer() and abs(value) >= 10:
        return f"{value:,.0f}"
    return f"{value:.4g}"
