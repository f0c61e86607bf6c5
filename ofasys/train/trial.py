"""A training step to measure with, that leaves a run as it is."""

from __future__ import annotations

import torch

from ofasys.program.batch import to_device
from ofasys.task.loader import Assembler
from ofasys.task.ticket import Ticket
from ofasys.train.precision import Step
from ofasys.train.setup import Setup

TASKS = 16  # whose micro-batches are looked at


def trial_of(setup: Setup) -> Step | None:
    """Forward and backward of the largest of the tasks' next micro-batches, in a number format; None if there is none,
    or where the weights lie in pieces, so that one process alone makes no pass.

    Of many tasks, those of a few, evenly spread, are looked at.
    """
    if setup.shards is not None:
        return None
    model = setup.model
    names = list(setup.tasks)
    some = [names[i * len(names) // min(TASKS, len(names))] for i in range(min(TASKS, len(names)))]
    assembler = Assembler([setup.tasks[name] for name in some], setup.programs, setup.trainer.seed, setup.ranks.place)
    few = [Ticket(setup.state.step, name, setup.state.drawn.get(name, 0)) for name in some]
    found = [(d.ticket.task, d.instruction, d.batch) for d in map(assembler.__getitem__, few)]
    usable = [(setup.programs[task][number], batch) for task, number, batch in found if batch and batch.targets]
    if not usable:
        return None
    program, batch = max(usable, key=lambda one: one[1].positions)
    batch = to_device(batch, setup.device)

    def step(precision: str) -> None:
        before, model.precision = model.precision, precision
        model.train()
        try:
            with torch.random.fork_rng([]):
                model(program, batch).total.backward()
        finally:
            model.precision = before
            model.zero_grad(set_to_none=True)

    return step
