"""Tickets in, batches out: what a data worker does. The order of everything is arithmetic, so workers share nothing."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ofasys import flow
from ofasys.errors import ConfigError, DataError, OfasysError
from ofasys.program.program import Program
from ofasys.task.order import Order, key_of, sample_seed
from ofasys.task.source import Row
from ofasys.task.task import Task
from ofasys.types import Batch, Sample


@dataclass(frozen=True)
class Ticket:
    """Micro-batch number `k` of a task, to be used at `step`, which takes `of` micro-batches in all."""

    step: int
    task: str
    k: int
    of: int = 1


@dataclass(frozen=True)
class Bad:
    """A row that could not be used."""

    epoch: int
    row: int
    error: DataError


@dataclass(frozen=True)
class Delivery:
    """What a ticket gave. batch is None when every row of it was bad. instruction: which of the task's it is.

    rows: (epoch, row) of each that was drawn. stop: the error that ends the run: of a task that stops at bad rows, or
    of a setting or library that no row can be read with.
    """

    ticket: Ticket
    batch: Batch | None
    instruction: int
    rows: tuple[tuple[int, int], ...]
    bad: tuple[Bad, ...]
    stop: OfasysError | None = None


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
        """Read, preprocess and collate the rows of a ticket."""
        task = self.tasks[ticket.task]
        programs = self.programs[ticket.task]
        chosen = key_of("instruction", self.seed, ticket.task, ticket.k) % len(programs)
        program = programs[chosen]
        epochs, rows = self.orders[ticket.task].batch(ticket.k)
        places = tuple(zip(epochs.tolist(), rows.tolist(), strict=True))
        samples, bad = [], []
        for epoch, row in places:
            random = np.random.Generator(np.random.PCG64(sample_seed(self.seed, task.name, epoch, row)))
            try:
                samples.append(read(task, program, "train", row, random, training=True)[1])
            except DataError as error:
                if task.on_bad == "stop":
                    return Delivery(ticket, None, chosen, places, (), error)
                bad.append(Bad(epoch, row, error))
            except ConfigError as error:
                return Delivery(ticket, None, chosen, places, (), error)
        batch = flow.collate(program, samples) if samples else None
        return Delivery(ticket, batch, chosen, places, tuple(bad))


def read(
    task: Task, program: Program, split: str, row: int, random: np.random.Generator, training: bool = False
) -> tuple[Row, Sample]:
    """One row of a split, and its sample. Errors: DataError naming task and row, whatever went wrong in reading it."""
    source, origin = task.source(split), f"{split} row {row}"
    root = None if source.root is None else str(source.root)
    with of_row(task, origin):
        values = source[row]
        learned = task.learned(values, random)
        return values, flow.preprocess(program, learned, training=training, random=random, root=root, origin=origin)


@contextmanager
def of_row(task: Task, origin: str) -> Iterator[None]:
    """Whatever goes wrong within it is wrong with this row. Errors: DataError naming task and row.

    ConfigError naming the task where it is no fault of a row: a setting is wrong, or a library is missing.
    """
    try:
        yield
    except DataError as error:
        raise error.at(task=task.name, sample=origin) from error.__cause__
    except ConfigError as error:
        raise type(error)(f"task {task.name!r}: {error}") from error.__cause__
    except Exception as error:
        raise _unexpected(error).at(task=task.name, sample=origin) from error


def _unexpected(error: Exception) -> DataError:
    """A row whose reading raised something of its own: named by its kind, with the last place in the code."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return DataError(f"reading it raised {type(error).__name__}: {error} ({frame.name}, line {frame.lineno})")


def deliveries(assembler: Assembler, tickets: Iterable[Ticket], workers: int) -> Generator[Delivery, None, None]:
    """Deliveries in the order of the tickets, prepared in this process or by `workers` others.

    tickets: taken a few ahead of what is used, never all at once. Errors: DataError of a task that stops at bad rows.
    """
    if workers == 0:
        made: Iterable[Delivery] = (assembler[ticket] for ticket in tickets)
    else:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # or tokenizers warns in every forked worker
        made = DataLoader(
            assembler,
            batch_size=None,
            sampler=tickets,
            num_workers=workers,
            prefetch_factor=4,
            worker_init_fn=_begin_worker,
            multiprocessing_context="fork",
        )
    for delivery in made:
        if delivery.stop is not None:
            raise delivery.stop
        yield delivery


def _begin_worker(worker: int) -> None:
    """One thread a worker; a Ctrl-C is for the process that trains, which still wants its batches."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
