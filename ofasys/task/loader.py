"""Tickets in, batches out: what a data worker does. The order of everything is arithmetic, so workers share nothing."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ofasys import flow
from ofasys.errors import DataError
from ofasys.program.program import Program
from ofasys.task.order import Order, key_of, sample_seed
from ofasys.task.task import Task
from ofasys.types import Batch


@dataclass(frozen=True)
class Ticket:
    """Micro-batch number `k` of a task, to be used at `step`."""

    step: int
    task: str
    k: int


@dataclass(frozen=True)
class Bad:
    """A row that could not be used, for the quarantine file."""

    task: str
    epoch: int
    row: int
    problem: str


@dataclass(frozen=True)
class Delivery:
    """What a ticket gave. batch is None when every row of it was bad. instruction: which of the task's it is."""

    ticket: Ticket
    batch: Batch | None
    instruction: int
    rows: tuple[tuple[int, int], ...]
    bad: tuple[Bad, ...]


class Assembler(Dataset[Delivery]):
    """ticket -> Delivery. Everything random is a function of (seed, task, epoch, row)."""

    def __init__(self, tasks: Sequence[Task], programs: Mapping[str, Sequence[Program]], seed: int) -> None:
        self.tasks = {task.name: task for task in tasks}
        self.programs, self.seed = programs, seed
        self.orders = {
            task.name: Order(
                len(task.source("train")), task.micro_batch_size, seed, task.name, task.shuffle, task.lengths()
            )
            for task in tasks
        }

    def __getitem__(self, ticket: Ticket) -> Delivery:
        """Read, preprocess and collate the rows of a ticket. Errors: DataError if the task stops at bad rows."""
        task = self.tasks[ticket.task]
        programs = self.programs[ticket.task]
        chosen = key_of("instruction", self.seed, ticket.task, ticket.k) % len(programs)
        program, source = programs[chosen], task.source("train")
        epochs, rows = self.orders[ticket.task].batch(ticket.k)
        samples, bad = [], []
        for epoch, row in zip(epochs.tolist(), rows.tolist(), strict=True):
            random = np.random.Generator(np.random.PCG64(sample_seed(self.seed, task.name, epoch, row)))
            try:
                values = source[row]
                samples.append(
                    flow.preprocess(program, values, training=True, random=random, root=source.root, origin=f"train row {row}")
                )
            except Exception as error:
                problem = error if isinstance(error, DataError) else _unexpected(error)
                problem.at(task=task.name, sample=f"train row {row}")
                if task.on_bad == "stop":
                    raise problem from error
                bad.append(Bad(task.name, epoch, row, str(problem)))
        batch = flow.collate(program, samples) if samples else None
        places = tuple(zip(epochs.tolist(), rows.tolist(), strict=True))
        return Delivery(ticket, batch, chosen, places, tuple(bad))


def _unexpected(error: Exception) -> DataError:
    """A row whose reading raised something of its own: named by its kind, with the last place in the code."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return DataError(f"reading it raised {type(error).__name__}: {error} ({frame.name}, line {frame.lineno})")


def deliveries(assembler: Assembler, tickets: Iterable[Ticket], workers: int) -> Iterator[Delivery]:
    """Deliveries in the order of the tickets, prepared in this process or by `workers` others."""
    if workers == 0:
        yield from (assembler[ticket] for ticket in tickets)
        return
    loader: DataLoader[Any] = DataLoader(
        assembler,
        batch_size=None,
        sampler=tickets,  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=4,
        worker_init_fn=_one_thread,
        multiprocessing_context="fork",
    )
    yield from loader


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
