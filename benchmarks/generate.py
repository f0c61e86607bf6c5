"""Generation against Hugging Face `generate`, same weights, interleaved in one process:
`python -m benchmarks.generate`.

Width 256, 4+4 layers, 4 heads, ffn 1024, vocabulary 50,265, source 64, exactly 64 new tokens, encoding included.
Both sides run with the same malloc settings and threads, in turns; a round's ratio compares neighbours in time.
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
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks.generate", *sys.argv[1:]])

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.bart import BOS, EOS, VOCABULARY, Joined, copy, peer  # noqa: E402
from ofasys.generator import SearchOptions, bind  # noqa: E402
from ofasys.generator.search import search  # noqa: E402
from ofasys.types import Free  # noqa: E402

SOURCE, NEW = 64, 64
CASES = [(batch, beams, ngram) for batch in (1, 8) for beams in (1, 5) for ngram in (0, 3)]


def duel(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Median seconds of each, and the median of the rounds' ratios theirs / ours; who goes first alternates."""
    ours(), theirs()
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            began = time.perf_counter()
            (ours, theirs)[side]()
            times[side].append(time.perf_counter() - began)
    ratios = [b / a for a, b in zip(*times, strict=True)]
    return statistics.median(times[0]), statistics.median(times[1]), statistics.median(ratios)


@torch.inference_mode()
def exact(model: Any, source: torch.Tensor, answer: list[int]) -> float:
    """Log-probability of an answer by the peer's own full pass, summed in double precision."""
    logits = model(source, decoder_input_ids=torch.tensor([[BOS, *answer[:-1]]])).logits[0].double()
    return float(logits.log_softmax(-1)[torch.arange(len(answer)), torch.tensor(answer)].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--case", type=int, nargs="*", default=list(range(len(CASES))))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    theirs = peer()
    model = copy(theirs)
    table = theirs.lm_head.weight.detach()
    transposed = table.t().contiguous()
    constraint = bind([Free(0, "text")], encode=lambda text: [], ranges={"text": (EOS + 1, VOCABULARY)}, end=EOS)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {args.threads} threads")
    print("| batch | beams | no_repeat_ngram_size | ours, tokens/s | theirs, tokens/s | ratio | same answers |")
    print("|---|---|---|---|---|---|---|")
    for batch, beams, ngram in (CASES[number] for number in args.case):
        source = torch.randint(4, VOCABULARY, (batch, SOURCE))
        options = SearchOptions(beam_size=beams, max_length=NEW, min_length=NEW, no_repeat_ngram_size=ngram)

        def run_ours(
            source: torch.Tensor = source, options: SearchOptions = options, batch: int = batch
        ) -> list[list[int]]:
            found = search(Joined(model, table, transposed, source), constraint, [np.array([BOS])] * batch, options)
            return [answers[0].tokens[:NEW].tolist() for answers in found]

        def run_theirs(source: torch.Tensor = source, beams: int = beams, ngram: int = ngram) -> list[list[int]]:
            out = theirs.generate(
                source,
                attention_mask=torch.ones_like(source),
                do_sample=False,
                num_beams=beams,
                min_new_tokens=NEW,
                max_new_tokens=NEW,
                no_repeat_ngram_size=ngram,
            )
            return out[:, 1:].tolist()  # type: ignore[no-any-return]

        pairs = list(zip(run_ours(), run_theirs(), strict=True))
        same = np.mean([a == b for a, b in pairs])
        for row, (a, b) in enumerate(pairs):
            if a != b:  # beams that differ by less than float32 can tell: which of them was the better answer?
                scores = [exact(theirs, source[row : row + 1], answer) for answer in (a, b)]
                print(f"source {row}: log-probability of ours {scores[0]:.6f}, of theirs {scores[1]:.6f}")
        a, b, ratio = duel(run_ours, run_theirs, args.rounds)
        tokens = batch * NEW
        print(
            f"| {batch} | {beams} | {ngram} | {tokens / a:.0f} | {tokens / b:.0f} | {ratio:.2f} | {same:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
