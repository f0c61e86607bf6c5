"""Useful tokens a second on a mixed stream: flat streams with length buckets against plain padded batches of the same
model, interleaved in one process: `python -m benchmarks.mixed_stream`.

Three tasks in turn: captioning a picture, infilling texts of very mixed length, detection. The padded side runs the
same weights and code over whole rectangles, in the order the data comes; it is spared the attention mask and the loss
at padding, which favours it a little.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from benchmarks.train_step import MALLOC

if __name__ == "__main__" and any(os.environ.get(name) != value for name, value in MALLOC.items()):
    os.environ.update(MALLOC)
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks.mixed_stream", *sys.argv[1:]])

import torch

from ofasys import GeneralistModel, Task, flow
from ofasys.gallery import emoji
from ofasys.program.program import Program
from ofasys.task.loader import Assembler
from ofasys.task.ticket import Ticket
from ofasys.types import AdaptorInput, Batch, Layout, SideBatch

SIZE = "small"
BATCH = 16


def texts(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Made-up texts of 8 to 240 words, log-normal: the spread of real corpora of paragraphs."""
    g = random.Random(seed)
    words = ["".join(g.choice("abcdefghijklmnoprstuvw") for _ in range(g.randint(2, 9))) for _ in range(3000)]
    weights = [1 / (i + 10) for i in range(len(words))]
    lengths = [max(8, min(240, round(g.lognormvariate(3.6, 0.9)))) for _ in range(count)]
    return [{"text": " ".join(g.choices(words, weights, k=n))} for n in lengths]


def tasks(buckets: bool) -> list[Task]:
    """The three tasks."""
    image = {"IMAGE.size": 64, "IMAGE.patch": 8}
    infill = 'what is the complete text of " [TEXT:text,mask_ratio=0.3] "? -> [TEXT:text]'
    given: list[tuple[str, str, object, dict[str, int]]] = [
        ("caption", "[IMAGE:img] what does the image describe? -> [TEXT:cap]", emoji.caption("train"), image),
        ("infill", infill, texts(4000), {}),
        ("detect", "[IMAGE:img] detect the objects. -> ([BOX:box] [TEXT:label])*", emoji.detection("train"), image),
    ]
    return [
        Task(name, text, rows, micro_batch_size=BATCH, settings=settings, buckets=buckets)
        for name, text, rows, settings in given
    ]


def padded(batch: Batch) -> Batch:
    """The same batch as rectangles: padding is embedded and computed like everything else."""

    def side(half: SideBatch | None) -> SideBatch | None:
        if half is None:
            return None
        old = half.layout
        size = old.batch * old.length
        positions = torch.full((size, 3), -1)
        positions[:, 0] = torch.arange(size) % old.length
        positions[old.padded_index] = old.positions
        rows = torch.ones(size, dtype=torch.bool)
        rows[old.padded_index] = False
        pads = rows.nonzero()[:, 0]
        inputs = [replace(s, rows=old.padded_index[s.rows]) for s in half.inputs]
        if len(pads):
            inputs.append(AdaptorInput("tokens", {"tokens": torch.zeros(len(pads), dtype=torch.int64)}, pads))
        layout = Layout(old.batch, old.length, torch.arange(size), positions, old.lengths, full=True)
        return SideBatch(tuple(inputs), layout)

    assert batch.target is not None
    place = batch.target.layout.padded_index
    targets = tuple(replace(one, at=place[one.at]) for one in batch.targets)
    return replace(batch, source=side(batch.source), target=side(batch.target), targets=targets)


def train_on(model: GeneralistModel, optimizer: torch.optim.Optimizer, work: list[tuple[Program, Batch]]) -> float:
    """Seconds for a training step on each batch."""
    start = time.perf_counter()
    for program, batch in work:
        optimizer.zero_grad(set_to_none=True)
        scale = batch.weights / batch.units.clamp(min=1)
        model(program, batch, scale).total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
    return time.perf_counter() - start


def prepare(
    model: GeneralistModel, own: list[Task], steps: int, shape: Callable[[Batch], Batch]
) -> list[tuple[Program, Batch]]:
    """`steps` batches, the tasks in turn."""
    programs = {task.name: [flow.bind(model, task.plan, task.labels)] for task in own}
    assembler = Assembler(own, programs, seed=0)
    work = []
    for step in range(steps):
        name = own[step % len(own)].name
        batch = assembler[Ticket(step, name, step // len(own))].batch
        assert batch is not None
        work.append((programs[name][0], shape(batch)))
    return work


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    args = parser.parse_args()
    ours, plain = tasks(buckets=True), tasks(buckets=False)
    model = GeneralistModel(size=SIZE, seed=0)
    model.grow([(t.plan, t.labels) for t in ours], lambda: (text for t in ours for text in t.texts()))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    model.train()
    total = args.steps * (args.rounds + 1)
    sides = {"flat, buckets": prepare(model, ours, total, lambda b: b), "padded": prepare(model, plain, total, padded)}
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(args.rounds + 1):
        for name, work in sides.items():
            part = work[round_ * args.steps : (round_ + 1) * args.steps]
            seconds = train_on(model, optimizer, part)
            if round_:
                speeds[name].append(sum(batch.positions for _, batch in part) / seconds)
    for name, work in sides.items():
        useful = sum(b.positions for _, b in work) / sum(_computed(b) for _, b in work)
        print(f"{name:14} {statistics.median(speeds[name]):8.0f} useful tokens/s   useful share {useful:.2f}")
    ratios = [a / b for a, b in zip(speeds["flat, buckets"], speeds["padded"], strict=True)]
    print(
        f"ratio {statistics.median(ratios):.2f} (rounds: {', '.join(f'{r:.2f}' for r in ratios)}), size {SIZE}, batch "
        f"{BATCH}"
    )


def _computed(batch: Batch) -> int:
    return sum(len(half.layout.padded_index) for half in (batch.source, batch.target) if half is not None)


if __name__ == "__main__":
    main()
