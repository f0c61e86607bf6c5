"""STRUCT: tables, databases, triples, and grids of small numbers."""

from __future__ import annotations

from ofasys.modality.modality import Defaults, Modality, Options, Part
from ofasys.modality.shared.part import TOKENS
from ofasys.modality.struct.options import CELLS, DatabaseOptions, GridOptions, TextOptions
from ofasys.types import Fixed, Free, Item

GENERATED = ("cross_entropy", "reward")  # the criteria of a target
_WIDGETS = {"table": "table", "database": "file", "triples": "triples", "grid": "grid"}
_TYPICAL = {"table": 128, "database": 256, "triples": 32, "grid": 100}


def _is_grid(options: Options) -> bool:
    return bool(options["preprocess"] == "grid")


def _item(slot: int, options: Options) -> Item:
    if not _is_grid(options):
        return Free(slot, "text", options["max_length"])
    if options["columns"] is None:
        return Free(slot, "cells", options["max_length"])
    return Fixed(slot, "cells", options["rows"] * options["columns"], options["values"], width=options["columns"])


def _expected(options: Options) -> int:
    if _is_grid(options) and options["columns"] is not None:
        return int(options["rows"] * options["columns"])
    return min(_TYPICAL[options["preprocess"]], options["max_length"] or 4096)


def _positions(options: Options) -> str:
    if not _is_grid(options):
        return "1-D"
    if options["columns"] is not None:
        return "2-D"
    return "1-D" if options.get("criterion") in GENERATED else "2-D (y, x)"  # where rows end is not known before


def _check(options: Options) -> str | None:
    if options["preprocess"] == "database" and options.get("criterion") in GENERATED:
        return "a database is read, not generated; a target is preprocess=table, triples or grid"
    if not _is_grid(options):
        return None
    if (options["rows"] is None) != (options["columns"] is None):
        return "rows and columns go together; leave both out where grids have several shapes"
    return None


def _part(name: str, options: type, about: str) -> Part:
    return Part(f"ofasys.modality.struct.preprocess:{name}", options, about)


STRUCT = Modality(
    tag="STRUCT",
    about="a table, a database, triples, or a grid of small numbers",
    value="struct",
    preprocess={
        "table": _part("Tables", TextOptions, "lines of text, the header first"),
        "database": _part("Databases", DatabaseOptions, "an SQLite database's schema and a few of its values, as text"),
        "triples": _part("TriplesText", TextOptions, "subject, relation and object, a line each"),
        "grid": _part("Grids", GridOptions, "a token a cell"),
    },
    adaptor={"tokens": TOKENS},
    source=Defaults(preprocess="table", adaptor="tokens", criteria=("classify",)),
    target=Defaults(
        preprocess="table", adaptor="tokens", criterion="cross_entropy", generator="search", criteria=("reward",)
    ),
    ranges=lambda options: {"cells": CELLS + 1} if _is_grid(options) else {"text": None},
    item=_item,
    positions=_positions,
    expected=_expected,
    check=_check,
    limited=True,
    save=Part("ofasys.modality.struct.save:save", about="a table, triples or a grid as CSV", suffixes=(".csv", ".tsv")),
    extra="struct",
    show=Part("ofasys.modality.struct.show:show", about="a table, a board, a schema"),
    widget=lambda options: _WIDGETS[options["preprocess"]],
    outside=Part("ofasys.modality.struct.outside:read"),
)
