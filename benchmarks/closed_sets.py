"""Large closed sets and many tasks, from the outside: `python -m benchmarks.closed_sets`.

Labels are two made-up words each, so they share their beginnings as names do; the model has its first values and so
finds nearly all labels as likely, which is the worst case of a search for the likeliest. Times are medians a row.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from ofasys import GeneralistModel, OFASys
from ofasys.flow import parse, plan
from ofasys.types import TaskCard

LINE = "[TEXT:t] -> [CATEGORY:y]"
RANKED = "[TEXT:t] -> [CATEGORY:y,generator=rank]"
SYLLABLES = ["ba", "ko", "ri", "ta", "mel", "sun", "dor", "vi", "pla", "ne", "gro", "thi", "os", "un", "er", "al"]


def make_labels(count: int) -> list[str]:
    """Labels of two words of two or three syllables, each once."""
    random, found = np.random.default_rng(0), dict[str, None]()
    while len(found) < count:
        words = ["".join(random.choice(SYLLABLES, size=random.integers(2, 4))) for _ in range(2)]
        found[" ".join(words)] = None
    return list(found)


def seconds(work: Callable[[], object], times: int) -> float:
    """The median of a few times; once before for nothing."""
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def sets(size: str, counts: Sequence[int], times: int) -> None:
    """A line of the table for each number of labels."""
    labels = make_labels(max(counts))
    model = GeneralistModel(size)
    model.grow([(plan(parse(LINE)), {"y": labels[:100]})], lambda: labels[:5000])
    one, eight = {"t": "it"}, [{"t": f"it {i}"} for i in range(8)]
    for count in counts:
        served, own = OFASys(model), labels[:count]
        began = time.perf_counter()
        served.inference(LINE, data=one, closed_set=own)
        first = time.perf_counter() - began
        again = seconds(lambda served=served, own=own: served.programs.of(parse(LINE), list(own)), times)
        best = seconds(lambda served=served, own=own: served.inference(LINE, data=one, closed_set=own), times)
        every = seconds(lambda served=served, own=own: served.inference(RANKED, data=one, closed_set=own), times)
        batch = seconds(lambda served=served, own=own: served.inference(RANKED, data=eight, closed_set=own), times) / 8
        figures = (first, again, best, every, batch)
        print(f"| {size} | {count:,} | " + " | ".join(f"{figure * 1e3:.1f}" for figure in figures) + " |", flush=True)


def lines(counts: Sequence[int], times: int) -> None:
    """What a line that was not seen before costs a model of so many tasks."""
    model = GeneralistModel("tiny", text_pieces=300)
    model.grow([(plan(parse(LINE)), {"y": ["yes", "no"]})], lambda: ["a text"])
    for count in counts:
        cards = [
            TaskCard(
                f"t{i}", (f"task {i}: [TEXT:t] -> [CATEGORY:y{i}]",), {"TEXT.max_length": 64}, {f"y{i}": ["yes", "no"]}
            )
            for i in range(count)
        ]
        served, numbers = OFASys(model, cards), iter(range(10**6))

        def ask(served: OFASys = served, numbers: Iterator[int] = numbers) -> object:
            return served.programs.of(parse(f"{next(numbers)} [TEXT:t] -> [CATEGORY:y3]"))

        print(f"| {count} | {seconds(ask, 20 * times) * 1e3:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--sizes", nargs="*", default=["tiny", "small"])
    parser.add_argument("--counts", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{platform.machine()}, torch {torch.__version__}, {args.threads} threads; milliseconds")
    print("| model | labels | first time | set again | likeliest | all, 1 row | all, a row of 8 |")
    print("|---|---|---|---|---|---|---|")
    for size in args.sizes:
        sets(size, args.counts, args.times)
    print("\n| tasks | a new line, ms |\n|---|---|")
    lines([10, 300], args.times)


if __name__ == "__main__":
    main()
