"""How fast rows become batches, per modality, with one and with two data workers; and how long a mixed run waits for
them: `python -m benchmarks.pipeline`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import closing

import torch

from benchmarks.rows import LINES, rows
from ofasys import GeneralistModel, Task, Trainer, flow
from ofasys.task.loader import Assembler, deliveries
from ofasys.task.ticket import Ticket

BATCH = 16


def task(name: str) -> Task:
    """The task of one line."""
    return Task(name.replace(" ", "_"), LINES[name][0], rows(name), micro_batch_size=BATCH)


def speed(assembler: Assembler, name: str, workers: int, batches: int) -> float:
    """Samples a second, without the start of the workers."""
    tickets = [Ticket(step, name, step) for step in range(batches + 2 * max(workers, 1))]
    with closing(deliveries(assembler, iter(tickets), workers)) as stream:
        for _ in range(2 * max(workers, 1)):
            next(stream)
        start = time.perf_counter()
        done = sum(1 for _ in stream)
        return done * BATCH / (time.perf_counter() - start)


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--steps", type=int, default=120, help="of the mixed run")
    args = parser.parse_args()
    tasks = {name: task(name) for name in LINES}
    model = GeneralistModel(size="tiny")
    own = list(tasks.values())
    model.grow(
        [(t.plan, t.labels) for t in own],
        lambda: (text for t in own for text in t.texts()),
        lambda plan, slot: (value for t in own if plan in t.plans for value in t.examples(plan, slot)),
    )
    print(f"{'':16}" + "".join(f"{w} workers".rjust(14) for w in (0, 1, 2)) + "   samples/s, batches of 16")
    for name, one in tasks.items():
        assembler = Assembler([one], {one.name: [flow.bind(model, one.plan, one.labels)]}, seed=0)
        found = [
            statistics.median(speed(assembler, one.name, workers, args.batches) for _ in range(args.rounds))
            for workers in (0, 1, 2)
        ]
        print(f"{name:16}" + "".join(f"{value:14.0f}" for value in found), flush=True)
    for size in ("tiny", "small"):
        for workers in (0, 1, 2):
            print(
                f"mixed run, {size}, {workers} workers: {waiting(size, workers, args.steps):.1%} of the time waited "
                f"for data",
                flush=True,
            )


def waiting(size: str, workers: int, steps: int) -> float:
    """Share of a mixed run's time spent waiting for batches; the first tenth is not counted."""
    mixed = [task(name) for name in ("IMAGE", "AUDIO source", "VIDEO", "STRUCT table", "MOTION target", "PHONE")]
    trainer = Trainer(max_steps=steps, workers=workers, live=False, log_every=max(1, steps // 10))
    trainer.fit(model=GeneralistModel(size=size), tasks=mixed)
    lines = [line for line in trainer.history if line["kind"] == "train" and line["step"] > steps // 10]
    return statistics.fmean(line["waiting"] for line in lines)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
