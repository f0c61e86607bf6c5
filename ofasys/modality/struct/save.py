"""Answers as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError
from ofasys.modality.struct.table import Table


def save(
    path: str | Path,
    values: Sequence[Any],
    frame: Any = None,
    labels: Sequence[str] = (),
    root: str | Path | None = None,
) -> None:
    """Write the one value, a table (with its header), triples or a grid, as CSV; as TSV if the name ends in .tsv."""
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".tsv"):
        raise ConfigError(
            f"cannot write a {'table' if values else 'value'} into {path.name!r}; use .csv, .tsv, .json or .txt"
        )
    if len(values) != 1:
        raise ConfigError(f"{len(values)} values do not go into one {path.suffix} file; use .json")
    (value,) = values
    if isinstance(value, str) or value is None:
        raise ConfigError(f"the answer reads as no table, triples or grid, so it is no {path.suffix} file; use .txt")
    with path.open("w", encoding="utf8", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        if isinstance(value, Table):
            writer.writerow(value.columns)
            writer.writerows([row[name] for name in value.columns] for row in value)
        else:
            writer.writerows(value)
