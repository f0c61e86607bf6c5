"""How long a large file takes to the first steps of a run, and how much memory: `python -m benchmarks.big_files`."""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.columns import LINE, rows, write

FEW_ROWS = 2_000  # of the file beside which a large one is measured: what a model costs anyway
PIECE_ROWS = 50_000


def write_parquet(path: Path, count: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = rows(count)
    schema = pa.schema([("text", pa.string()), ("label", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        while piece := [row for _, row in zip(range(PIECE_ROWS), made, strict=False)]:
            writer.write_table(pa.Table.from_pylist(piece, schema))


def measure(path: Path) -> dict[str, float]:
    """Of this process: seconds of the processor from the task to the end of three steps, and the peak of its memory."""
    from ofasys import GeneralistModel, Task, Trainer

    start = time.process_time()
    task = Task("big", LINE, path)
    Trainer(max_steps=3, precision="float32", log_every=100).fit(model=GeneralistModel("tiny"), tasks=[task])
    seconds = time.process_time() - start
    return {"seconds": seconds, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measured(path: Path) -> dict[str, float]:
    """The same, in a process of its own with one thread."""
    command = [sys.executable, "-m", "benchmarks.big_files", "--file", str(path)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def told(name: str, runs: list[dict[str, float]], few: dict[str, float]) -> None:
    middle = {key: statistics.median(run[key] for run in runs) for key in few}
    print(
        f"{name:24} {middle['seconds']:6.2f} s, {middle['seconds'] - few['seconds']:6.2f} s beyond few rows; "
        f"{middle['memory']:4.0f} MB, {middle['memory'] - few['memory']:4.0f} MB beyond few rows",
        flush=True,
    )


def one(folder: Path, suffix: str, count: int, rounds: int) -> None:
    """Measure a kind of file: of few rows, of many at the first start, and at a later one."""
    make = write_parquet if suffix == ".parquet" else write
    small, large = folder / f"few{suffix}", folder / f"many{suffix}"
    make(small, FEW_ROWS)
    make(large, count)
    print(f"{suffix}: {count:,} rows, {large.stat().st_size / 1e6:.0f} MB", flush=True)
    runs: dict[str, list[dict[str, float]]] = {"few rows": [], "first start": [], "later start": []}
    for _ in range(rounds):
        shutil.rmtree(folder / ".ofasys", ignore_errors=True)
        for name, found in runs.items():
            found.append(measured(small if name == "few rows" else large))
    few = {key: statistics.median(run[key] for run in runs["few rows"]) for key in ("seconds", "memory")}
    for name, found in runs.items():
        told(name, found, few)


def main() -> None:
    """Write the files, and measure each in processes of their own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", type=Path, help="measure this file only, in this process")
    args = parser.parse_args()
    if args.file is not None:
        print(json.dumps(measure(args.file)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".jsonl", ".csv", ".parquet"):
            one(Path(folder), suffix, args.rows, args.rounds)


if __name__ == "__main__":
    main()
