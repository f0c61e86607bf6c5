"""Closed sets against `prefix_allowed_tokens_fn` with a dict trie, same weights: `python -m benchmarks.closed_set`.

Labels of 3-6 pieces, batch 8, source 64; the models of `benchmarks.generate`. Both sides keep their trie between calls
and run with the same malloc settings and threads, in turns, from an encoded source on; times are the processor's. They
give the same labels, so the ratio of times is the ratio per position of the answer; where a label has only one way on,
we take no step.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
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
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks.closed_set", *sys.argv[1:]])

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.bart import BOS, EOS, PAD, VOCABULARY, Joined, copy, peer  # noqa: E402
from benchmarks.generate import ratio, turns  # noqa: E402
from ofasys.generator import SearchOptions, bind  # noqa: E402
from ofasys.generator.rank import rank  # noqa: E402
from ofasys.generator.search import search  # noqa: E402
from ofasys.generator.vocabulary import OutputRows  # noqa: E402
from ofasys.types import OneOf  # noqa: E402

BATCH, SOURCE = 8, 64


def make_labels(count: int) -> list[list[int]]:
    """Word pieces are shared as in real label sets: drawn from the frequent tenth more often than from the rest."""
    rng = np.random.default_rng(count)
    share = 1 / (np.arange(4, VOCABULARY) + 50.0)
    pool = rng.permutation(np.arange(4, VOCABULARY))
    lengths = rng.integers(3, 7, count)
    pieces = rng.choice(pool, size=int(lengths.sum()), p=share / share.sum())
    return [part.tolist() for part in np.split(pieces, np.cumsum(lengths)[:-1])]


def dict_trie(labels: list[list[int]]) -> dict[int, Any]:
    root: dict[int, Any] = {}
    for label in labels:
        node = root
        for token in [*label, EOS]:
            node = node.setdefault(token, {})
    return root


def best_of(work: Callable[[], object], times: int = 5) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--counts", type=int, nargs="*", default=[10, 1_000, 10_000, 100_000])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    theirs = peer()
    model = copy(theirs)
    table = theirs.lm_head.weight.detach()
    output = OutputRows(table)
    steps = {"ours": 0, "theirs": 0}

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def count_ours(*given: Any) -> Any:
            steps["ours"] += 1
            return work(*given)

        return count_ours

    for name in ("step", "fill", "grow"):
        setattr(model, name, counted(getattr(model, name)))

    def count_theirs(*_: object) -> None:
        steps["theirs"] += 1

    theirs.model.decoder.register_forward_hook(count_theirs)
    source = torch.randint(4, VOCABULARY, (BATCH, SOURCE))
    prefixes = [np.array([BOS])] * BATCH
    decoder = Joined(model, table, output, source)
    with torch.inference_mode():
        encoded = theirs.get_encoder()(source)
    print(f"{platform.machine()}, torch {torch.__version__}, {args.threads} threads")
    print("| labels | beams | build, ms: ours / dict | batch, ms: ours / theirs | steps | ratio | same |")
    print("|---|---|---|---|---|---|---|")
    for count in args.counts:
        labels = make_labels(count)
        build = [bind([OneOf(0)], encode=list, ranges={}, end=EOS, closed={0: labels}) for _ in range(5)]
        constraint = build[0]
        seconds = statistics.median(one.seconds for one in build)
        trie = dict_trie(labels)
        their_seconds = best_of(lambda labels=labels: dict_trie(labels))

        def fits(batch: int, row: torch.Tensor, trie: dict[int, Any] = trie) -> list[int]:
            node = trie
            for token in row.tolist()[1:]:
                node = node.get(token, {})
            return list(node) or [PAD]

        for beams in (1, 5):
            options = SearchOptions(beam_size=beams, max_length=16, normalise="allowed")
            exact = SearchOptions(beam_size=beams, max_length=16, normalise="vocabulary")

            def ours(options: SearchOptions = options, constraint: Any = constraint) -> list[list[int]]:
                found = search(decoder, constraint, prefixes, options)
                return [answers[0].tokens.tolist() for answers in found]

            def peers(beams: int = beams, fits: Any = fits) -> list[list[int]]:
                out = theirs.generate(
                    encoder_outputs=type(encoded)(last_hidden_state=encoded.last_hidden_state),
                    attention_mask=torch.ones_like(source),
                    do_sample=False,
                    num_beams=beams,
                    max_new_tokens=16,
                    prefix_allowed_tokens_fn=fits,
                )
                return [[*row[: row.index(EOS)], EOS] for row in out[:, 1:].tolist()]

            same = np.mean([a == b for a, b in zip(ours(exact), peers(), strict=True)])
            steps["ours"] = steps["theirs"] = 0
            ours(), peers()
            once = dict(steps)
            times = turns({"ours": ours, "theirs": peers}, args.rounds)
            a, b = (statistics.median(cpu for _, cpu in times[name]) for name in ("ours", "theirs"))
            print(
                f"| {count} | {beams} | {seconds * 1e3:.1f} / {their_seconds * 1e3:.1f} | {a * 1e3:.0f} / "
                f"{b * 1e3:.0f} "
                f"| {once['ours']} / {once['theirs']} | {ratio(times, 'ours', 'theirs', 1):.2f} | {same:.0%} |",
                flush=True,
            )
        taken = best_of(lambda c=constraint: rank(decoder, c, prefixes))
        print(f"exact ranking of all {count} labels: {taken * 1e3:.0f} ms a batch of {BATCH}", flush=True)


if __name__ == "__main__":
    main()
