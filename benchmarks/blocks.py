"""How long an epoch in random order takes over a table of many blocks, against one block of the same rows:
`python -m benchmarks.blocks`.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

from ofasys.task.source import open_source

Write = Callable[[pa.Table, Path, int], None]  # table, path, rows of a block


def texts(rows: int) -> pa.Table:
    """Two texts a row."""
    return pa.table({"a": [f"{i} and" for i in range(rows)], "b": [str(i) for i in range(rows)]})


def wide(rows: int) -> pa.Table:
    """100 columns of numbers and texts."""
    return pa.table({f"c{c}": [i * c if c % 2 else str(i * c) for i in range(rows)] for c in range(100)})


def nested(rows: int) -> pa.Table:
    """A list of structs, a dictionary, and a vector of 64 floats."""
    return pa.table(
        {
            "box": [[{"x": float(i), "name": f"n{i % 7}"}] * (i % 4) for i in range(rows)],
            "kind": pa.array([f"kind {i % 50}" for i in range(rows)]).dictionary_encode(),
            "wave": pa.array([[float(i)] * 64 for i in range(rows)], pa.list_(pa.float32())),
        }
    )


def pictures(rows: int) -> pa.Table:
    """20,000 bytes that do not compress, and a label."""
    made = random.Random(0)
    return pa.table(
        {"image": [made.randbytes(20_000) for _ in range(rows)], "label": [str(i % 9) for i in range(rows)]}
    )


def _parquet(table: pa.Table, path: Path, size: int, compression: str = "snappy") -> None:
    pq.write_table(table, path, row_group_size=size, compression=compression)


def _stream(table: pa.Table, path: Path, size: int) -> None:
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=size)


def _arrow(table: pa.Table, path: Path, size: int) -> None:
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=size)


def _feather(table: pa.Table, path: Path, size: int) -> None:
    feather.write_feather(table, path, compression="zstd", chunksize=size)


FORMS: dict[str, Write] = {
    "p.parquet": _parquet,
    "zstd.parquet": functools.partial(_parquet, compression="zstd"),
    "file.arrow": _arrow,
    "stream.arrow": _stream,
    "zstd.feather": _feather,
}
CASES: list[tuple[Callable[[int], pa.Table], int, int]] = [  # rows of a table, blocks, rows of a block
    (texts, 500, 20),
    (texts, 1000, 20),
    (texts, 4000, 20),
    (texts, 5000, 1),
    (texts, 8, 10_000),
    (wide, 500, 4),
    (nested, 1000, 5),
    (pictures, 200, 10),
]


def epoch(path: Path) -> float:
    """Seconds to open a file and to read all of its rows in random order."""
    order: list[int] | None = None
    start = time.perf_counter()
    source = open_source(path)
    order = list(range(len(source)))
    random.Random(0).shuffle(order)
    for i in order:
        source[i]
    return time.perf_counter() - start


def measure(table: pa.Table, write: Write, name: str, size: int, folder: Path, rounds: int) -> tuple[float, float]:
    """(of blocks of `size` rows, of one block): the median seconds of an epoch, measured by turns."""
    paths = [folder / f"many-{name}", folder / f"one-{name}"]
    write(table, paths[0], size)
    write(table, paths[1], table.num_rows)
    found: list[list[float]] = [[], []]
    time.sleep(0.02)  # or opening waits for the files to have settled
    for _ in range(rounds):
        for times, path in zip(found, paths, strict=True):
            times.append(epoch(path))
    for path in paths:
        path.unlink()
    return statistics.median(found[0]), statistics.median(found[1])


def main() -> None:
    """Print a line a case and form of file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    args: Any = parser.parse_args()
    print("| table | blocks x rows | form | seconds | one block | ratio |\n| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for make, blocks, size in CASES:
            table = make(blocks * size)
            for name, write in FORMS.items():
                many, one = measure(table, write, name, size, Path(folder), args.rounds)
                print(
                    f"| {make.__name__} | {blocks:,} x {size:,} | {name} | {many:.2f} | {one:.2f} | {many / one:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
