"""Generation against CTranslate2 and Hugging Face `generate`, same weights, interleaved in one process:
`python -m benchmarks.generate`.

Width 256, 4+4 layers, 4 heads, ffn 1024, vocabulary 50,265, source 64, exactly 64 new tokens, encoding included. All
run with the same malloc settings and threads, in turns; a round's ratio compares neighbours in time. Wall time, and
the processor's time of this process, which other work on the machine touches less.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
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

from benchmarks.bart import BOS, EOS, VOCABULARY, Joined, converted, copy, peer, words  # noqa: E402
from ofasys.generator import SearchOptions, bind  # noqa: E402
from ofasys.generator.search import search  # noqa: E402
from ofasys.program.decoding import fastest, laid_out  # noqa: E402
from ofasys.types import Free  # noqa: E402

SOURCE, NEW = 64, 64
CASES = [(1, 1, 0), (1, 5, 0), (8, 1, 0), (8, 5, 0), (32, 1, 0), (8, 1, 3), (8, 5, 3)]  # batch, beams, n-grams barred
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

    def of(self, source: torch.Tensor, beams: int, ngram: int) -> dict[str, Answers]:
        """Name -> what answers these sources."""
        sides: dict[str, Answers] = {"float32": lambda: self.ours(source, beams, ngram, "float32")}
        if self.decoding.precision != "float32":
            sides["fastest"] = lambda: self.ours(source, beams, ngram, self.decoding.precision)
        for kind in self.translators:
            sides[f"ctranslate2 {kind}"] = lambda kind=kind: self.translated(source, beams, ngram, kind)  # type: ignore[misc]
        if "generate" in self.peers:
            sides["generate"] = lambda: self.generated(source, beams, ngram)
        return sides

    def ours(self, source: torch.Tensor, beams: int, ngram: int, precision: str) -> list[list[int]]:
        self.model.reduced = precision != "float32"
        options = SearchOptions(beam_size=beams, max_length=NEW, min_length=NEW, no_repeat_ngram_size=ngram)
        decoder = Joined(self.model, self.table, self.rows[precision], source)
        found = search(decoder, self.constraint, [np.array([BOS])] * len(source), options)
        return [answers[0].tokens[:NEW].tolist() for answers in found]

    def generated(self, source: torch.Tensor, beams: int, ngram: int) -> list[list[int]]:
        out = self.theirs.generate(
            source,
            attention_mask=torch.ones_like(source),
            do_sample=False,
            num_beams=beams,
            min_new_tokens=NEW,
            max_new_tokens=NEW,
            no_repeat_ngram_size=ngram,
        )
        return out[:, 1:].tolist()  # type: ignore[no-any-return]

    def translated(self, source: torch.Tensor, beams: int, ngram: int, kind: str) -> list[list[int]]:
        names = words()
        found = self.translators[kind].translate_batch(
            [[names[token] for token in row] for row in source.tolist()],
            beam_size=beams,
            min_decoding_length=NEW,
            max_decoding_length=NEW,
            no_repeat_ngram_size=ngram,
        )
        ids = {name: token for token, name in enumerate(names)}
        return [[ids[name] for name in one.hypotheses[0]] for one in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--case", type=int, nargs="*", default=list(range(len(CASES))))
    parser.add_argument("--peers", nargs="*", default=["ctranslate2", "generate"], choices=["ctranslate2", "generate"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(folder, args.threads, args.peers)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {args.threads} threads")
    print(f"decodes in {sides.decoding}")
    first = True
    for batch, beams, ngram in (CASES[number] for number in args.case):
        asked = sides.of(torch.randint(4, VOCABULARY, (batch, SOURCE)), beams, ngram)
        answers = {name: work() for name, work in asked.items()}
        times = turns(asked, args.rounds)
        pairs = [(a, b) for a, b in (("float32", "ctranslate2 float32"), ("fastest", "ctranslate2 int8")) if b in times]
        pairs += [("float32", "generate")] if "generate" in times else []
        if first:
            head = [
                "batch",
                "beams",
                "n-gram",
                *(f"{name}, tokens/s" for name in asked),
                *(f"{a} / {b}" for a, b in pairs),
            ]
            print("| " + " | ".join([*head, *(f"same: {name}" for name in list(asked)[1:])]) + " |")
            print("|---" * (len(head) + len(asked) - 1) + "|")
            first = False
        rates = [f"{batch * NEW / statistics.median(wall for wall, _ in times[name]):.0f}" for name in asked]
        ratios = [f"{ratio(times, a, b, 0):.2f} ({ratio(times, a, b, 1):.2f})" for a, b in pairs if a in times]
        same = [np.mean([a == b for a, b in zip(answers["float32"], found, strict=True)]) for found in answers.values()]
        cells = [batch, beams, ngram, *rates, *ratios, *(f"{share:.0%}" for share in same[1:])]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
