"""How long the labels, the lengths and the tokenizer's text of a large text file take, and how much memory:
`python -m benchmarks.columns`.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LINE = "[TEXT:text] -> [CATEGORY:label]"


def rows(count: int) -> Iterator[dict[str, str]]:
    """Ten words and one of ten labels each."""
    made = random.Random(0)
    words = ["".join(made.choices("abcdefghijklmnop", k=3 + i % 6)) for i in range(2000)]
    for _ in range(count):
        yield {"text": " ".join(made.choices(words, k=10)), "label": words[made.randrange(10)]}


def write(path: Path, count: int) -> None:
    with path.open("w", encoding="utf8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows(count))
        else:
            writer = csv.DictWriter(file, ("text", "label"))
            writer.writeheader()
            writer.writerows(rows(count))


def measure(path: Path) -> None:
    """Print the seconds of the processor that each stage takes in this process, and its peak of memory."""
    from ofasys import Task

    start, told = time.process_time(), list[str]()

    def stage(name: str) -> None:
        nonlocal start
        now = time.process_time()
        told.append(f"{name} {now - start:.2f} s")
        start = time.process_time()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    task = Task("columns", LINE, path)
    stage("opening")
    assert len(task.labels["label"]) == 10
    stage("labels")
    assert sum(1 for _ in task.texts())
    stage("texts")
    assert task.lengths() is not None
    stage("lengths")
    source, some = task.source("train"), random.Random(1)
    drawn = [some.randrange(len(source)) for _ in range(20_000)]
    start = time.process_time()
    for i in drawn:
        source[i]
    told.append(f"a row {(time.process_time() - start) / len(drawn) * 1e6:.0f} us")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{path.suffix:7} {', '.join(told)}, memory {(peak - before) // 1024} MB", flush=True)


def main() -> None:
    """Write the files, and measure each in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", type=Path, help="measure this file only, in this process")
    args = parser.parse_args()
    if args.file is not None:
        measure(args.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"rows{suffix}") for suffix in (".jsonl", ".csv")]
        for path in paths:
            write(path, args.rows)
        print(f"{args.rows:,} rows, {', '.join(f'{p.stat().st_size / 1e6:.0f} MB as {p.suffix}' for p in paths)}")
        for _ in range(args.rounds):
            for path in paths:
                subprocess.run([sys.executable, "-m", "benchmarks.columns", "--file", str(path)], check=True)


if __name__ == "__main__":
    main()
