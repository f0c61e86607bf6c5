"""Small SQLite databases of one table each, of three packages: cars, countries, elements, weather ..."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofasys.gallery.data import Archive
from ofasys.gallery.tasks.task import Data

MOST_ROWS = 2000  # of a table
Value = str | int | float | None


@dataclass(frozen=True)
class Table:
    """A table with its values. Names are words with `_` between them, as a question says them with blanks."""

    name: str
    """Of the database too; in the plural."""
    columns: tuple[str, ...]
    """Their names, the first one what a row is called by."""
    rows: tuple[tuple[Value, ...], ...]
    """Of each row its values."""

    def write(self, folder: Path) -> str:
        """Write the database into a folder; the name of its file."""
        path = folder / f"{self.name}.db"
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            kinds = ", ".join(f"{name} {self._kind(i)}" for i, name in enumerate(self.columns))
            connection.execute(f"CREATE TABLE {self.name} ({kinds})")
            marks = ", ".join("?" for _ in self.columns)
            connection.executemany(f"INSERT INTO {self.name} VALUES ({marks})", self.rows)
        connection.close()
        return path.name

    def values(self, column: str) -> list[Value]:
        """Those of a column, without missing ones."""
        place = self.columns.index(column)
        return [row[place] for row in self.rows if row[place] is not None]

    def _kind(self, place: int) -> str:
        values = {type(row[place]) for row in self.rows if row[place] is not None}
        return "TEXT" if str in values else "REAL" if float in values else "INTEGER"


# Table -> the file of the package vega-datasets, and column -> what the file calls it.
VEGA: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "airports": ("airports.csv", {"name": "name", "city": "city", "state": "state", "latitude": "latitude"}),
    "harvests": ("barley.json", {"variety": "variety", "site": "site", "year": "year", "yield": "yield"}),
    "bacteria": (
        "burtin.json",
        {
            "name": "Bacteria",
            "genus": "Genus",
            "gram_staining": "Gram_Staining",
            "penicillin": "Penicillin",
            "neomycin": "Neomycin",
        },
    ),
    "cars": (
        "cars.json",
        {
            "name": "Name",
            "origin": "Origin",
            "cylinders": "Cylinders",
            "horsepower": "Horsepower",
            "weight": "Weight_in_lbs",
            "acceleration": "Acceleration",
        },
    ),
    "losses": ("crimea.json", {"month": "date", "wounds": "wounds", "disease": "disease", "other": "other"}),
    "journeys": ("driving.json", {"year": "year", "side": "side", "miles": "miles", "gas": "gas"}),
    "power_figures": (
        "iowa-electricity.csv",
        {"year": "year", "source": "source", "net_generation": "net_generation"},
    ),
    "flowers": (
        "iris.json",
        {
            "species": "species",
            "sepal_length": "sepalLength",
            "sepal_width": "sepalWidth",
            "petal_length": "petalLength",
            "petal_width": "petalWidth",
        },
    ),
    "deaths": (
        "la-riots.csv",
        {"last_name": "last_name", "neighborhood": "neighborhood", "type": "type", "age": "age"},
    ),
    "prices": ("ohlc.json", {"day": "date", "signal": "signal", "open": "open", "high": "high", "low": "low"}),
    "days": (
        "seattle-weather.csv",
        {
            "day": "date",
            "weather": "weather",
            "precipitation": "precipitation",
            "warmest": "temp_max",
            "coldest": "temp_min",
            "wind": "wind",
        },
    ),
    "stocks": ("stocks.csv", {"day": "date", "symbol": "symbol", "price": "price"}),
    "wages": ("wheat.json", {"year": "year", "wheat": "wheat", "wage": "wages"}),
}
# Table -> its query of the database in the package mendeleev.
MENDELEEV: Mapping[str, tuple[tuple[str, ...], str]] = {
    "elements": (
        ("name", "symbol", "block", "period", "atomic_weight", "density", "discovery_year"),
        "SELECT name, symbol, block, period, atomic_weight, density, discovery_year FROM elements",
    ),
    "isotopes": (
        ("element", "mass_number", "parity", "mass", "abundance", "discovery_year"),
        "SELECT e.name, i.mass_number, i.parity, i.mass, i.abundance, i.discovery_year FROM isotopes i JOIN elements e "
        "USING (atomic_number) ORDER BY i.id",
    ),
    "ions": (
        ("element", "charge", "coordination", "ionic_radius", "crystal_radius"),
        "SELECT e.name, r.charge, r.coordination, r.ionic_radius, r.crystal_radius FROM ionicradii r JOIN elements e "
        "USING (atomic_number) ORDER BY r.id",
    ),
    "transitions": (
        ("element", "block", "melting_point", "boiling_point"),
        "SELECT e.name, e.block, t.melting_point, t.boiling_point FROM phasetransitions t JOIN elements e "
        "USING (atomic_number) ORDER BY t.id",
    ),
}
COUNTRIES = {
    "name": "name",
    "capital": "capital",
    "region": "region",
    "subregion": "subregion",
    "area": "area",
    "population": "population",
}


def tables(data: Data) -> Iterator[Table]:
    """Every table, of all three packages."""
    yield from of_vega(data.archive("vega-datasets"))
    yield from of_mendeleev(data.archive("mendeleev"))
    yield of_countries(data.archive("countryinfo"))


def of_vega(archive: Archive) -> Iterator[Table]:
    """Of files of records, JSON or CSV."""
    files = dict(archive.files(*(f"vega_datasets/_data/{file}" for file, _ in VEGA.values())))
    for name, (file, columns) in VEGA.items():
        content = files[f"vega_datasets/_data/{file}"].decode("utf8")
        yield _table(name, json.loads(content) if file.endswith(".json") else _csv(content), columns)


def of_mendeleev(archive: Archive) -> Iterator[Table]:
    """Of a database."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(archive.read("mendeleev/elements.db"))
    for name, (columns, query) in MENDELEEV.items():
        yield Table(name, columns, tuple(connection.execute(query).fetchmany(MOST_ROWS)))
    connection.close()


def of_countries(archive: Archive) -> Table:
    """Of a file of JSON for each country."""
    found = (json.loads(content) for _, content in archive.files("countryinfo/data/*.json"))
    return _table("countries", sorted(found, key=lambda one: str(one["name"])), COUNTRIES)


def _table(name: str, records: list[dict[str, Any]], columns: Mapping[str, str]) -> Table:
    rows = (tuple(_value(record.get(given)) for given in columns.values()) for record in records[:MOST_ROWS])
    return Table(name, tuple(columns), tuple(rows))


def _csv(content: str) -> list[dict[str, Any]]:
    return [{name: _number(text) for name, text in row.items()} for row in csv.DictReader(io.StringIO(content))]


def _number(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _value(given: Any) -> Value:
    """An empty text is missing."""
    return given if isinstance(given, (int, float)) or (isinstance(given, str) and given) else None
