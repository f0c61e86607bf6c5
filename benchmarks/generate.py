"""Generation against CTranslate2 and Hugging Face `generate`, same weights, interleaved in one process:
`python -m benchmarks.generate`.

Width 256, 4+4 layers, 4 heads, ffn 1024, vocabulary 50,265, source 64, exactly 64 new tokens, encoding included. All
run with the same malloc settings and threads, in turns; a round's ratio compares neighbours in time. Wall time, and
the processor's time of this process, which other work on the machine touches less.

Tables, by `--table`: search (greedy and beams), ngram (n-grams barred), sampling (top-k, top-p), first (the first token
alone), detection (eight boxes, each with a label out of 80; CTranslate2 has nothing of the kind, `generate` has
`prefix_allowed_tokens_fn`). Closed sets have `benchmarks.closed_set`.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_MMAP_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
if __name__ == "__main__" and any(os.environ.get(name) != value for name, value in MALLOC.items()):
    os.environ.update(MALLOC)
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks.generate", *sys.argv[1:]])

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.bart import BOS, EOS, PAD, VOCABULARY, Joined, converted, copy, peer, words  # noqa: E402
from ofasys.generator import SearchOptions, bind  # noqa: E402
from ofasys.generator.search import search  # noqa: E402
from ofasys.program.decoding import fastest, laid_out  # noqa: E402
from ofasys.types import Fixed, Free, Loop, OneOf  # noqa: E402

SOURCE, NEW = 64, 64
BOXES, BINS, LABELS = 8, range(EOS + 1, EOS + 1001), range(2000, 2080)  # of an answer; tokens of places and of labels


@dataclass(frozen=True)
class Case:
    """A row of a table."""

    batch: int
    beams: int = 1
    ngram: int = 0
    top_k: int = 0
    top_p: float = 1.0
    new: int = NEW
    boxes: bool = False

    @property
    def sampling(self) -> bool:
        return self.top_k > 0 or self.top_p < 1

    @property
    def options(self) -> SearchOptions:
        if self.boxes:
            return SearchOptions(max_length=NEW, min_items=BOXES, max_items=BOXES)
        return SearchOptions(
            beam_size=self.beams,
            max_length=self.new,
            min_length=self.new,
            no_repeat_ngram_size=self.ngram,
            sampling=self.sampling,
            top_k=self.top_k,
            top_p=self.top_p,
        )

    def __str__(self) -> str:
        named = {"beams": self.beams, "n-grams": self.ngram, "top-k": self.top_k, "top-p": self.top_p % 1}
        told = ", ".join(f"{name} {value}" for name, value in named.items() if value) if not self.boxes else "boxes"
        return f"batch {self.batch}, {told}"


TABLES = {
    "search": [Case(1), Case(1, 5), Case(8), Case(8, 5), Case(32)],
    "ngram": [Case(1, ngram=3), Case(8, ngram=3), Case(8, 5, ngram=3)],
    "sampling": [Case(n, top_k=k, top_p=p) for n in (1, 8) for k, p in ((50, 1.0), (0, 0.9), (50, 0.9))],
    "first": [Case(1, new=1), Case(8, new=1)],
    "detection": [Case(1, boxes=True), Case(8, boxes=True)],
}
Answers = Callable[[], list[list[int]]]
Times = dict[str, list[tuple[float, float]]]  # side -> (seconds, seconds of the processor) of each round


def turns(sides: dict[str, Answers], rounds: int) -> Times:
    """Each side once a round; who goes first alternates."""
    times: Times = {name: [] for name in sides}
    for number in range(rounds):
        for name in sides if number % 2 else reversed(sides):
            began = time.perf_counter(), time.process_time()
            sides[name]()
            times[name].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    return times


def ratio(times: Times, one: str, other: str, which: int) -> float:
    """The median of the rounds' ratios: how many times as fast `one` is as `other`."""
    pairs = zip(times[one], times[other], strict=True)
    return statistics.median(b[which] / a[which] for a, b in pairs)


class Sides:
    """Who answers, of one model: ours in each precision, the peers where they are asked for."""

    def __init__(self, folder: str, threads: int, peers: list[str]) -> None:
        self.theirs = peer()
        self.model = copy(self.theirs)
        self.table = self.theirs.lm_head.weight.detach()
        self.constraint = bind(
            [Free(0, "text")], encode=lambda text: [], ranges={"text": (EOS + 1, VOCABULARY)}, end=EOS
        )
        self.boxes = bind(
            [Loop((Fixed(0, "bins", 4), OneOf(1)))],
            encode=lambda text: [],
            ranges={"bins": (BINS.start, BINS.stop)},
            end=EOS,
            closed={1: [[label] for label in LABELS]},
        )
        self.decoding = fastest(self.model, self.table)
        self.rows = {name: laid_out(self.table, name) for name in {"float32", self.decoding.precision}}
        self.peers, self.translators = peers, dict[str, Any]()
        if "ctranslate2" in peers:
            import ctranslate2

            converted(self.theirs, folder)
            for kind in ("float32", "int8"):
                self.translators[kind] = ctranslate2.Translator(
                    f"{folder}/{kind}", device="cpu", compute_type=kind, intra_threads=threads, inter_threads=1
                )

    def of(self, source: torch.Tensor, case: Case) -> dict[str, Answers]:
        """Name -> what answers these sources."""
        sides: dict[str, Answers] = {"float32": lambda: self.ours(source, case, "float32")}
        if self.decoding.precision != "float32":
            sides["fastest"] = lambda: self.ours(source, case, self.decoding.precision)
        for kind in () if case.boxes else self.translators:
            sides[f"ctranslate2 {kind}"] = lambda kind=kind: self.translated(source, case, kind)  # type: ignore[misc]
        if "generate" in self.peers:
            sides["generate"] = lambda: self.generated(source, case)
        return sides

    def ours(self, source: torch.Tensor, case: Case, precision: str) -> list[list[int]]:
        self.model.reduced = precision != "float32"
        decoder = Joined(self.model, self.table, self.rows[precision], source)
        constraint = self.boxes if case.boxes else self.constraint
        found = search(decoder, constraint, [np.array([BOS])] * len(source), case.options)
        return [answers[0].tokens[: None if case.boxes else case.new].tolist() for answers in found]

    def generated(self, source: torch.Tensor, case: Case) -> list[list[int]]:
        length: dict[str, Any] = {"min_new_tokens": case.new, "max_new_tokens": case.new}
        if case.boxes:
            length = {"max_new_tokens": NEW, "eos_token_id": PAD, "prefix_allowed_tokens_fn": next_of_boxes}
        drawn = {"top_k": case.top_k, "top_p": case.top_p} if case.sampling else {}
        out = self.theirs.generate(
            source,
            attention_mask=torch.ones_like(source),
            do_sample=case.sampling,
            num_beams=case.beams,
            no_repeat_ngram_size=case.ngram,
            **length,
            **drawn,
        )
        rows: list[list[int]] = out[:, 1:].tolist()
        return [[token for token in row if token != PAD] + [EOS] for row in rows] if case.boxes else rows

    def translated(self, source: torch.Tensor, case: Case, kind: str) -> list[list[int]]:
        names = words()
        drawn = {"sampling_topk": case.top_k, "sampling_topp": case.top_p} if case.sampling else {}
        found = self.translators[kind].translate_batch(
            [[names[token] for token in row] for row in source.tolist()],
            beam_size=case.beams,
            min_decoding_length=case.new,
            max_decoding_length=case.new,
            no_repeat_ngram_size=case.ngram,
            **drawn,
        )
        ids = {name: token for token, name in enumerate(names)}
        return [[ids[name] for name in one.hypotheses[0]] for one in found]


def next_of_boxes(batch: int, row: torch.Tensor) -> Sequence[int]:
    """What `generate` may go on with: four places, a label and its end mark a box."""
    whole, within = divmod(len(row) - 1, 6)
    if whole == BOXES:
        return [PAD]
    return BINS if within < 4 else LABELS if within == 4 else [EOS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--table", nargs="*", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--peers", nargs="*", default=["ctranslate2", "generate"], choices=["ctranslate2", "generate"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(folder, args.threads, args.peers)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {args.threads} threads")
    print(f"decodes in {sides.decoding}")
    for table in args.table:
        print(f"\n{table}\n")
        for number, case in enumerate(TABLES[table]):
            told = measured(sides, case, args.rounds)
            if not number:
                print("| " + " | ".join(told) + " |\n" + "|---" * len(told) + "|")
            print("| " + " | ".join(told.values()) + " |", flush=True)


def measured(sides: Sides, case: Case, rounds: int) -> dict[str, str]:
    """A row of a table: milliseconds a batch, ratios (of the processor's time in brackets), and answers alike."""
    asked = sides.of(torch.randint(4, VOCABULARY, (case.batch, SOURCE)), case)
    answers = {name: work() for name, work in asked.items()}
    times = turns(asked, rounds)
    told = {"": str(case)}
    told |= {f"{name}, ms": f"{1000 * statistics.median(cpu for _, cpu in times[name]):.1f}" for name in asked}
    for one, other in (
        ("float32", "ctranslate2 float32"),
        ("fastest", "ctranslate2 int8"),
        ("float32", "generate"),
    ):
        if one in times and other in times:
            told[f"{one} / {other}"] = f"{ratio(times, one, other, 0):.2f} ({ratio(times, one, other, 1):.2f})"
    if not case.sampling:
        for name in list(asked)[1:]:
            same = np.mean([a == b for a, b in zip(answers["float32"], answers[name], strict=True)])
            told[f"same: {name}"] = f"{same:.0%}"
    return told


if __name__ == "__main__":
    main()
