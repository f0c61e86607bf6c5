"""Before the first step: how much of each task the run will see, when its rows come again, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import torch

from ofasys.program.batch import to_device
from ofasys.program.program import Program
from ofasys.task.loader import Assembler, Ticket
from ofasys.task.schedule import Follows, Ledger, find
from ofasys.train.ahead import Looked
from ofasys.train.balance import Balancing
from ofasys.train.balance import find as find_balancer
from ofasys.types import Batch

if TYPE_CHECKING:
    from ofasys.train.setup import Setup

TIMED = 4  # tasks of which a micro-batch is timed, evenly spread
PLACES = 64  # of a run, at which its turns are counted
WALKED = 100_000  # steps of a schedule that cannot count, up to which its turns are gone through

clock = time.perf_counter  # estimates how long a run takes, and nothing else


@dataclass(frozen=True)
class Expected:
    """What a task is going to have in the steps that are left."""

    task: str
    rows: int
    """Of its training split."""
    samples: int
    """That it will draw."""
    tokens: float
    """Stream positions, as of the few rows that were read."""
    share: float
    """Of all tokens."""
    epochs: float
    """Samples over rows."""
    repeats: int | None
    """About the first update in which a row comes again. None: none does; 0: before these steps."""
    seconds: float
    """Its passes, as of a few micro-batches that were timed; not its optimizer steps, evaluations or waiting."""


@dataclass(frozen=True)
class Forecast:
    """Of a run, before its first step; prints as a table."""

    tasks: tuple[Expected, ...]
    """In the order of the run."""
    steps: int
    """Updates that are left."""
    looked: tuple[Looked, ...]
    """What was seen of each split."""
    notes: tuple[str, ...] = ()
    """What the numbers do not say."""

    def __str__(self) -> str:
        """A row a task, and their sum."""
        heads = ("task", "rows", "samples", "tokens", "share", "epochs", "repeats from", "time")
        lines = [heads, *(_row(one) for one in self.tasks)]
        if len(self.tasks) > 1:
            lines.append(_row(self.total))
        widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
        table = ["  ".join(_set(line[i], widths[i], i) for i in range(len(heads))).rstrip() for line in lines]
        return "\n".join([*table, *self.notes])

    @property
    def total(self) -> Expected:
        """Of all tasks."""
        rows, samples = (sum(getattr(one, name) for one in self.tasks) for name in ("rows", "samples"))
        tokens, seconds = (sum(getattr(one, name) for one in self.tasks) for name in ("tokens", "seconds"))
        repeats = [one.repeats for one in self.tasks if one.repeats is not None]
        return Expected("all", rows, samples, tokens, 1.0, samples / rows, min(repeats, default=None), seconds)


def forecast(setup: Setup, looked: Sequence[Looked]) -> Forecast:
    """Of the steps that are left. looked: what was seen of the training rows before the first step."""
    steps, per = max(0, setup.max_steps - setup.state.step), setup.trainer.accumulate
    start = setup.state.step * per
    ledger = Ledger(setup.ledger.schedule, setup.ledger.entries, setup.ledger.max_steps, (start, setup.state.drawn))
    tokens = {one.task: one.tokens for one in looked if one.split == "train"} | setup.state.tokens
    drawn, repeats = _turns(ledger, start, start + steps * per)
    pace = _seconds_of_a_token(setup) if steps else 0.0
    found = []
    for entry in ledger.entries:
        samples = drawn.get(entry.name, 0) * entry.micro_batch_size
        own, rows = samples * tokens.get(entry.name, 0.0), entry.size or 0
        found.append((entry.name, rows, samples, own, repeats.get(entry.name), own * pace))
    whole = sum(one[3] for one in found) or 1.0
    return Forecast(
        tuple(
            Expected(name, rows, samples, own, own / whole, samples / max(1, rows), _update(first, per), seconds)
            for name, rows, samples, own, first, seconds in found
        ),
        steps,
        tuple(looked),
        tuple(_notes(setup)),
    )


def _turns(ledger: Ledger, start: int, stop: int) -> tuple[dict[str, int], dict[str, float]]:
    """(micro-batches of each task over these steps, the step after its first micro-batch with a row that came before).

    The step is read off a line between places that are counted. Of a schedule that cannot count, a long run is as its
    first part is.
    """
    end = stop if ledger.counts else min(stop, start + WALKED)
    at = sorted({start + (end - start) * i // PLACES for i in range(PLACES + 1)})
    drawn = [ledger.positions(step) for step in at]
    scale = (stop - start) / (end - start) if end > start else 1.0
    repeats = {}
    for entry in ledger.entries:
        own = [position[entry.name] for position in drawn]
        first = (entry.size or 0) // entry.micro_batch_size + 1  # micro-batches, the last of which goes round
        if own[0] >= first or own[-1] >= first:
            repeats[entry.name] = 0.0 if own[0] >= first else _reached(own, at, first)
    return {name: round((drawn[-1][name] - count) * scale) for name, count in drawn[0].items()}, repeats


def _reached(own: Sequence[int], at: Sequence[int], count: int) -> float:
    """The step at which a task has had `count` micro-batches. own: how many at the steps `at`."""
    after = next(i for i, had in enumerate(own) if had >= count)
    part = (count - own[after - 1]) / (own[after] - own[after - 1])
    return at[after - 1] + (at[after] - at[after - 1]) * part


def _seconds_of_a_token(setup: Setup) -> float:
    """Forward and backward passes of a few micro-batches, the second time each, over their positions."""
    names = list(setup.tasks)
    few = [names[i * len(names) // min(TIMED, len(names))] for i in range(min(TIMED, len(names)))]
    assembler = Assembler([setup.tasks[name] for name in few], setup.programs, setup.trainer.seed)
    seconds = positions = 0.0
    for name in few:
        made = assembler[Ticket(setup.state.step, name, setup.state.drawn.get(name, 0))]
        if made.batch is not None and made.batch.targets:
            program, batch = setup.programs[name][made.instruction], to_device(made.batch, setup.device)
            seconds += min(_timed(setup, program, batch) for _ in range(2))
            positions += batch.positions
    return seconds / positions if positions else 0.0


def _timed(setup: Setup, program: Program, batch: Batch) -> float:
    began = clock()
    setup.model.train()
    try:
        with torch.random.fork_rng([setup.device] if setup.device.type == "cuda" else []):
            setup.model(program, batch).total.backward()
    finally:
        setup.model.zero_grad(set_to_none=True)
    return clock() - began


def _notes(setup: Setup) -> list[str]:
    found = [f"balance: {setup.balancer}, which costs {find_balancer(setup.trainer.balance).cost}"]
    notes = found if type(setup.balancing) is not Balancing else []
    if isinstance(find(setup.trainer.schedule), Follows):
        notes.append("schedule: it goes by what the run finds; these are its shares at the beginning")
    waiting = [
        f"{name} {field}s at {getattr(task, field)!r}"
        for name, task in setup.tasks.items()
        for field in task.conditions
    ]
    if waiting:
        notes.append("not counted: " + ", ".join(waiting[:8]) + (", ..." if len(waiting) > 8 else ""))
    return notes


def _row(one: Expected) -> tuple[str, ...]:
    again = {None: "-", 0: "before"}.get(one.repeats, f"step {one.repeats}")
    figures = (f"{one.rows:,}", f"{one.samples:,}", f"{one.tokens:,.0f}", f"{one.share:.1%}", f"{one.epochs:.2f}")
    return (one.task, *figures, again, _duration(one.seconds))


def _set(text: str, width: int, column: int) -> str:
    return text.rjust(width) if column else text.ljust(width)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _update(step: float | None, per: int) -> int | None:
    """The update that ends with or after a step of the schedule."""
    return None if step is None else ceil(step / per)
