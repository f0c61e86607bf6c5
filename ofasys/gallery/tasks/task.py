"""A task of the gallery on real data: what it asks, of which packages, how its rows are made and parted, and figures
to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError
from ofasys.gallery.data import PACKAGES, Archive, Package, fetched

Row = dict[str, Any]
Splits = Mapping[str, Sequence[Row]]
"""train, valid and test -> their rows."""


@dataclass(frozen=True)
class Data:
    """What rows are made of."""

    folder: Path
    """Where files that rows refer to are written; the rows lie beside them, so paths are relative to it."""
    packages: Mapping[str, Path] = field(default_factory=dict)
    """Name -> the folder of the files that were fetched."""

    def archive(self, name: str) -> Archive:
        """The archive of a package of one file."""
        (file,) = PACKAGES[name].files
        return Archive(self.packages[name] / file)

    def text(self, name: str, file: str) -> str:
        """A file of a package that is no archive."""
        return (self.packages[name] / file).read_text(encoding="utf8")


OPTIMIZER = "muon"  # of recipes, and of several tasks together


@dataclass(frozen=True)
class Figure:
    """What somebody reached on the test rows, by the task's metric."""

    value: float
    """The headline of the metric."""
    how: str
    """By what, in words."""
    date: str | None = None
    """The day it was measured, as 2026-11-28."""
    given: tuple[str, ...] = ()
    """What its run was given in place of the recipe's, as on the command line: `trainer.max_steps=300`."""


@dataclass(frozen=True)
class GalleryTask:
    """A task on real data, and what is known about it."""

    name: str
    """Of the task; `gallery:NAME` on the command line."""
    title: str
    """What it is about, in a few words."""
    instructions: tuple[str, ...]
    """Wordings of the same; each micro-batch has one of them."""
    metric: str
    """What it is judged by."""
    packages: tuple[str, ...]
    """What has to be fetched."""
    about: str
    """What a row is, and how the splits were parted."""
    make: Callable[[Data], Splits] = field(repr=False)
    """Makes the rows; of the same packages always the same."""
    rows: tuple[int, int, int]
    """How many train, valid and test rows there are."""
    digest: str
    """Of all rows; see `digest` of rows.py. Figures are of these rows."""
    trivial: Figure
    """The best answer without looking."""
    classical: Figure
    """A method without a neural network, learned from the same training rows."""
    expected: Figure | None = None
    """What its own recipe reaches here, or a shorter run of it as `given` says; None where that was not measured."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the `Task`, beside its name, instructions, rows and metric."""
    steps: int = 2000
    """Of training."""
    lr: float = 1e-3
    """The highest learning rate."""
    optimizer: str = OPTIMIZER
    """What trains it alone."""
    text_pieces: int = 2000
    """The most pieces of the tokenizer."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Libraries that the rows are made with -> the extra that brings them."""

    @property
    def records(self) -> list[Package]:
        """Its packages."""
        return [PACKAGES[name] for name in self.packages]

    def data(self, folder: Path) -> Data:
        """Its packages, checked. Errors: DataError for one that is not fetched or not whole, ConfigError for a library
        that is missing.
        """
        missing = {library: extra for library, extra in self.needs.items() if find_spec(library) is None}
        if missing:
            extras = ",".join(dict.fromkeys(missing.values()))
            raise ConfigError(
                f'gallery:{self.name} makes its rows with {", ".join(missing)}: pip install "ofasys[{extras}]"'
            )
        return Data(folder, {package.name: fetched(package) for package in self.records})
