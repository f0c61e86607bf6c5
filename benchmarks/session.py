"""Mixed requests answered one at a time, in static batches, and by 32 clients of a session: `python -m
benchmarks.session`.

Width 256, 4+4 layers, 4 heads, ffn 1024, about 50,000 pieces, sources of about 64 tokens. Requests: texts, greedy,
drawn or by four beams, and labels out of 100. Texts have 8 to 64 tokens, each length as often, or, `--lengths mixed`, 4
to 240, most of them short and a few long, log-normal about a median of 24. A static batch is of one kind, at most 8
rows in the order they came, and goes on until its longest is done. A client asks when it has been answered. Each round
has texts of its own, so that no source is one the session has read before. Seconds are of the process's CPU time, and
of the wall clock.
"""

from __future__ import annotations

import argparse
import math
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any

import torch

from ofasys import AnswerSession, GeneralistModel, OFASys, plan
from ofasys.model.sizes import ModelConfig

CONFIG = ModelConfig(width=256, heads=4, ffn=1024, encoder_layers=4, decoder_layers=4, max_positions=512, max_grid=16)
TEXT, SHORT, LABEL = (
    "[TEXT:a] say it -> [TEXT:b]",
    "[TEXT:a] in short -> [TEXT:b]",
    "[TEXT:a] of what kind -> [CATEGORY:c]",
)
LABELS = {"c": [f"kind {i} {'of thing' * (i % 3)}" for i in range(100)]}
Answer = dict[int, Any]


@dataclass(frozen=True)
class Asked:
    """One request."""

    line: str
    text: str
    length: int
    options: dict[str, Any]

    @property
    def all_options(self) -> dict[str, Any]:
        """With its length; a label has one of its own."""
        return self.options if self.line == LABEL else {**self.options, **exactly(self.length)}


def exactly(length: int) -> dict[str, int]:
    """A text of so many tokens."""
    return {"min_length": length, "max_length": length}


def made_model(pieces: int, config: ModelConfig = CONFIG) -> tuple[OFASys, random.Random]:
    """A model of random weights, with a tokenizer of made-up words."""
    draw = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(4, 9))) for _ in range(pieces)]
    model = GeneralistModel(config=config, text_pieces=pieces, seed=0)
    model.grow([(plan(line), LABELS) for line in (TEXT, SHORT, LABEL)], lambda: [" ".join(words)] * 2)
    return OFASys(model.eval()), draw


def even(draw: random.Random) -> int:
    """Each length as often."""
    return draw.randint(8, 64)


def mixed(draw: random.Random) -> int:
    """Most short, a few long."""
    return min(240, max(4, round(draw.lognormvariate(math.log(24), 1.0))))


LENGTHS = {"even": even, "mixed": mixed}


def requests(draw: random.Random, count: int, length: Callable[[random.Random], int]) -> list[Asked]:
    """In the order they come, with texts of these lengths."""
    kinds: list[tuple[str, dict[str, Any]]] = [(TEXT, {})] * 4 + [(SHORT, {})] * 3 + [(TEXT, {"sampling": True})] * 3
    kinds += [(TEXT, {"beam_size": 4})] * 2 + [(LABEL, {"closed_set": LABELS})] * 4
    chosen = [kinds[i % len(kinds)] for i in range(count)]
    draw.shuffle(chosen)
    words = [f"word{i}" for i in range(50)]
    return [Asked(line, " ".join(draw.choices(words, k=16)), length(draw), more) for line, more in chosen]


def one_at_a_time(model: OFASys, asked: Sequence[Asked]) -> Answer:
    """As people ask who know no batches."""
    return {i: model.inference(one.line, {"a": one.text}, first=i, **one.all_options) for i, one in enumerate(asked)}


def in_batches(model: OFASys, asked: Sequence[Asked], size: int = 8) -> Answer:
    """Of one kind each, in the order they came."""
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for i, one in enumerate(asked):
        kinds.setdefault((one.line, str(one.options)), []).append(i)
    found: Answer = {}
    for members in kinds.values():
        for part in (members[at : at + size] for at in range(0, len(members), size)):
            first = asked[part[0]]
            longest = {} if first.line == LABEL else exactly(max(asked[i].length for i in part))
            rows = [{"a": asked[i].text} for i in part]
            found |= zip(
                part, model.inference(first.line, rows, batch_size=size, **first.options, **longest), strict=True
            )
    return found


def in_session(session: AnswerSession, asked: Sequence[Asked], clients: int = 32) -> Answer:
    """Each client asks as soon as it has been answered."""
    found: Answer = {}
    left = iter(range(len(asked)))
    lock = Lock()

    def work() -> None:
        while True:
            with lock:
                i = next(left, None)
            if i is None:
                return
            one = asked[i]
            found[i] = session.submit(one.line, {"a": one.text}, first=i, **one.all_options).result()

    threads = [Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=96)
    parser.add_argument("--pieces", type=int, default=50_000)
    parser.add_argument("--lengths", choices=LENGTHS, default="even")
    parser.add_argument("--decoding", default="float32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, draw = made_model(args.pieces)
    rounds = [requests(draw, args.requests, LENGTHS[args.lengths]) for _ in range(args.rounds + 1)]
    decoding = model.model.decode_in(args.decoding)
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {args.threads} threads, "
        f"{model.model.head.shape[0]:,} tokens, {args.requests} requests of {args.lengths} lengths, "
        f"{args.rounds} rounds, decoding in {decoding.precision}"
    )
    with AnswerSession(model) as session:
        ways: dict[str, Callable[[Sequence[Asked]], Answer]] = {
            "one at a time": lambda asked: one_at_a_time(model, asked),
            "static batches of 8": lambda asked: in_batches(model, asked),
            "session": lambda asked: in_session(session, asked),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        answers = {name: way(rounds[0]) for name, way in ways.items()}  # and all is warm
        for asked in rounds[1:]:
            for name, way in ways.items():
                began = time.process_time(), time.perf_counter()
                way(asked)
                times[name].append((time.process_time() - began[0], time.perf_counter() - began[1]))
    alone, together = answers["one at a time"], answers["session"]
    equal = sum(alone[i] == together[i] for i in alone)
    cpu = {name: statistics.median(one for one, _ in spent) for name, spent in times.items()}
    print(f"{'':22}{'CPU s':>8}{'wall s':>8}{'requests/CPU s':>16}")
    for name, spent in times.items():
        wall = statistics.median(one for _, one in spent)
        print(f"{name:22}{cpu[name]:8.2f}{wall:8.2f}{args.requests / cpu[name]:16.1f}")
    print(
        f"session: {cpu['one at a time'] / cpu['session']:.2f} times one at a time, "
        f"{cpu['static batches of 8'] / cpu['session']:.2f} times static batches; "
        f"{equal} of {args.requests} answers as alone"
    )


if __name__ == "__main__":
    main()
