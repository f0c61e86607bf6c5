"""Tickets in, batches out: what a data worker does. The order of everything is arithmetic, so workers share nothing."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ofasys import flow
from ofasys.errors import ConfigError, DataError, LoadingError, OfasysError
from ofasys.parallel.place import Place
from ofasys.program.program import Program
from ofasys.seeds import key_of
from ofasys.task.cost import costs
from ofasys.task.crew import SETTLED, Crew, crew_that_lost
from ofasys.task.message import pack, unpack
from ofasys.task.order import Order, sample_seed
from ofasys.task.source import Row
from ofasys.task.source.row import said
from ofasys.task.source.watch import exhausted, unreadable
from ofasys.task.task import Task
from ofasys.task.ticket import Ticket
from ofasys.task.watchdog import Watchdog, in_hand
from ofasys.types import Batch, Sample

AHEAD = 4  # micro-batches that each worker prepares before they are asked for
_PR_SET_PDEATHSIG = 1  # of prctl(2)
ALONE = Place()


@dataclass(frozen=True)
class Bad:
    """A row that could not be used."""

    epoch: int
    """In which it was drawn."""
    row: int
    error: DataError
    """Why, naming task, slot and column."""


@dataclass(frozen=True)
class Delivery:
    """What a ticket gave. batch is None when every row of it was bad. instruction: which of the task's it is.

    rows: (epoch, row) of each that was drawn for this process. stop: the error that ends the run: of a task that stops
    at bad rows, of data that cannot be read any further, or of a setting or library that no row can be read with.
    """

    ticket: Ticket
    batch: Batch | None
    instruction: int
    rows: tuple[tuple[int, int], ...]
    bad: tuple[Bad, ...]
    stop: OfasysError | None = None


class Assembler(Dataset[Delivery]):
    """ticket -> Delivery. Everything random is a function of (seed, task, epoch, row).

    place: of several processes that share each micro-batch, which one this is.
    """

    def __init__(
        self, tasks: Sequence[Task], programs: Mapping[str, Sequence[Program]], seed: int, place: Place = ALONE
    ) -> None:
        self.tasks = {task.name: task for task in tasks}
        self.programs, self.seed, self.place = programs, seed, place
        self.watchdog = Watchdog(list(self.tasks))
        self.orders = {task.name: self._order(task) for task in tasks}

    def _order(self, task: Task) -> Order:
        lengths = task.lengths() if task.buckets else None
        counted = costs(task, partial(self._tokens, task)) if task.by_tokens else None
        rows = len(task.source("train"))
        return Order(rows, task.micro_batch_size, self.seed, task.name, task.shuffle, lengths, costs=counted)

    def _tokens(self, task: Task, row: int) -> int | None:
        """Stream positions of a row; None of one that cannot be used."""
        program = self.programs[task.name][0]
        random = np.random.Generator(np.random.PCG64(sample_seed(self.seed, f"{task.name}/cost", 0, row)))
        try:
            return flow.collate(program, [read(task, program, "train", row, random, training=True)[1]]).positions
        except DataError:
            return None

    def __getitem__(self, ticket: Ticket) -> Delivery:
        """Read, preprocess and collate the rows of a ticket. Whatever goes wrong is told in the Delivery."""
        task = self.tasks[ticket.task]
        programs = self.programs[ticket.task]
        chosen = key_of("instruction", self.seed, ticket.task, ticket.k) % len(programs)
        program = programs[chosen]
        epochs, rows = self.orders[ticket.task].batch(ticket.k)
        places = tuple(self.place.share(list(zip(epochs.tolist(), rows.tolist(), strict=True))))
        samples, bad = [], []
        for epoch, row in places:
            random = np.random.Generator(np.random.PCG64(sample_seed(self.seed, task.name, epoch, row)))
            try:
                with self.watchdog.at(task.name, epoch, row):
                    samples.append(read(task, program, "train", row, random, training=True)[1])
            except DataError as error:
                if task.on_bad == "stop" or isinstance(error, LoadingError):
                    return Delivery(ticket, None, chosen, places, (), error)
                bad.append(Bad(epoch, row, error))
            except ConfigError as error:
                return Delivery(ticket, None, chosen, places, (), error)
        try:
            batch = flow.collate(program, samples) if samples else None
        except OfasysError as error:
            return Delivery(ticket, None, chosen, places, (), error)
        except (Exception, SystemExit) as error:
            what = f"the samples of rows {', '.join(str(row) for _, row in places)} make no batch: {_raised(error)}"
            return Delivery(ticket, None, chosen, places, (), LoadingError(what, task=task.name))
        return Delivery(ticket, batch, chosen, places, tuple(bad))

    def pieces(self, delivery: Delivery, many: int) -> list[Batch]:
        """The rows of a delivery again, those that were good, as batches of equal size but for one row: `many` of them,
        or one a row.
        """
        task, bad = self.tasks[delivery.ticket.task], {(one.epoch, one.row) for one in delivery.bad}
        program = self.programs[task.name][delivery.instruction]
        samples = []
        for epoch, row in delivery.rows:
            if (epoch, row) not in bad:
                random = np.random.Generator(np.random.PCG64(sample_seed(self.seed, task.name, epoch, row)))
                samples.append(read(task, program, "train", row, random, training=True)[1])
        edges = np.linspace(0, len(samples), min(many, len(samples)) + 1).round().astype(int).tolist()
        return [flow.collate(program, samples[start:stop]) for start, stop in pairwise(edges)]


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

    LoadingError where it is wrong with all of them, such as a file that has changed, or too many open files.
    ConfigError naming the task where it is no fault of a row: a setting is wrong, or a library is missing.
    """
    try:
        yield
    except LoadingError as error:
        raise error.at(task=task.name, sample=origin) from error.__cause__
    except ConfigError as error:
        raise type(error)(f"task {task.name!r}: {error}") from error.__cause__
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and type(error) is not SystemExit:
            raise  # a signal that ends the run, and no exit() in the code that reads a row
        if (refusal := exhausted(error)) is not None:
            raise unreadable(origin, refusal).at(task=task.name) from error
        if isinstance(error, DataError):
            raise error.at(task=task.name, sample=origin) from error.__cause__
        raise DataError(f"reading it raised {_raised(error)}", task=task.name, sample=origin) from error


def _raised(error: BaseException) -> str:
    """An error that is none of ours: its kind, what it says, and the last place in the code."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {said(error)} ({frame.name}, line {frame.lineno})"


def deliveries(assembler: Assembler, tickets: Iterable[Ticket], workers: int) -> Generator[Delivery, None, None]:
    """Deliveries in the order of the tickets, prepared in this process or by `workers` others.

    tickets: taken a few ahead of what is used, never all at once. Errors: DataError of a task that stops at bad rows;
    LoadingError when data cannot be read any further, or a worker died.
    """
    made = _from_workers(assembler, tickets, workers) if workers else (assembler[ticket] for ticket in tickets)
    with closing(assembler.watchdog), closing(made):
        if not workers:
            assembler.watchdog.begin()
        for delivery in made:
            if delivery.stop is not None:
                raise delivery.stop
            yield delivery


class Feed:
    """Deliveries from a step on, and begun anew at another step where what was prepared ahead is no longer right."""

    def __init__(self, begin: Callable[[int], Generator[Delivery, None, None]], step: int) -> None:
        """begin: step -> the deliveries from there on."""
        self.begin, self.made = begin, begin(step)

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> Delivery:
        return next(self.made)

    def reopen(self, step: int) -> None:
        """What was prepared ahead is dropped."""
        self.made.close()
        self.made = self.begin(step)

    def close(self) -> None:
        """Workers end."""
        self.made.close()


def _from_workers(assembler: Assembler, tickets: Iterable[Ticket], workers: int) -> Generator[Delivery, None, None]:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # or tokenizers warns in every forked worker
    crew = Crew(tickets)
    loader = DataLoader(
        _Packer(assembler),
        batch_size=None,
        sampler=crew.given(),
        num_workers=workers,
        prefetch_factor=AHEAD,
        worker_init_fn=_begin_worker,
        multiprocessing_context="fork",
    )
    try:
        _begin(crew, loader)
        _heed_workers()
        assembler.watchdog.begin()
        for packed in crew.batches():
            yield unpack(packed)
    except OfasysError:
        raise
    except Exception as error:
        crew.lost.wait(SETTLED)
        raise _ended(error, crew) from error
    finally:
        crew.end()  # at once: whoever holds the error holds the workers too


def _begin(crew: Crew, loader: DataLoader[bytes]) -> None:
    """Errors: LoadingError where the system has no room for workers."""
    try:
        crew.begin(loader)
    except OSError as error:
        raise LoadingError(
            f"the {loader.num_workers} workers that prepare data cannot be started: {said(error)}",
            expected=_room(str(error)) or "fewer workers, or workers=0",
        ) from error


class _Packer(Dataset[bytes]):
    """ticket -> its Delivery as bytes. What cannot be sent is told here; the loader's own queue would lose it, and the
    run would wait for it."""

    def __init__(self, assembler: Assembler) -> None:
        self.assembler = assembler

    def __getitem__(self, ticket: Ticket) -> bytes:
        made = self.assembler[ticket]
        try:
            return pack(made)
        except Exception as error:
            stop = LoadingError(
                f"a micro-batch cannot be sent from its worker to the process that trains: {type(error).__name__}: "
                f"{error}",
                expected=_room(str(error)) or "values that can be pickled; or train with workers=0",
                task=ticket.task,
            )
            return pack(replace(made, batch=None, bad=(), stop=stop))


def _heed_workers() -> None:
    """Where a worker dies the loader raises its RuntimeError in whatever the main thread does: let it be ours."""
    heed = signal.getsignal(signal.SIGCHLD)
    if threading.current_thread() is threading.main_thread() and callable(heed) and not isinstance(heed, _Heed):
        signal.signal(signal.SIGCHLD, _Heed(heed))


class _Heed:
    """A handler of SIGCHLD. before: the loader's own."""

    def __init__(self, before: Callable[[int, Any], Any]) -> None:
        self.before = before

    def __call__(self, number: int, frame: Any) -> None:
        try:
            self.before(number, frame)
        except RuntimeError as error:
            raise _ended(error, crew_that_lost()) from None


def _ended(error: Exception, crew: Crew | None) -> LoadingError:
    """The error for a worker that died, or cannot be reached."""
    ends, tasks = (crew.ends(), crew.lacking()) if crew is not None else ("", ())
    text = " ".join(said(error).split()) + ends
    text += in_hand(crew.processes() if crew is not None and crew.dead else text)
    advice = _room(text)
    if "Killed" in text or "SIGKILL" in text:
        advice = (
            "memory for all workers (the system ends a process when there is none left): "
            "fewer of them, workers=0, or a smaller micro_batch_size"
        )
    elif "Bus error" in text or "SIGBUS" in text:
        advice = "room for shared memory (/dev/shm), and files that nobody cuts while they are read; or workers=0"
    of = f" (with micro-batches of tasks {', '.join(map(repr, tasks))})" if len(tasks) > 1 else ""
    return LoadingError(
        f"a worker that prepares data{of} has ended: {text or type(error).__name__}",
        expected=advice or "workers that live as long as the run; workers=0 shows what goes wrong in them",
        task=tasks[0] if len(tasks) == 1 else None,
    )


def _room(said: str) -> str:
    """What to do where an error speaks of room; nothing for others."""
    if "No space left" in said:
        return "room for shared memory (/dev/shm); or train with workers=0"
    if "oo many open files" in said:
        return "a higher limit of open files (ulimit -n), fewer workers, or workers=0"
    return "memory for the workers; fewer of them, or workers=0" if "annot allocate memory" in said else ""


def _heard_once(number: int, frame: Any) -> None:
    """A second SIGTERM ends the worker: the loader sends one to a worker that is stuck."""
    signal.signal(number, signal.SIG_DFL)


def _end_with_parent() -> None:
    """Where the system can, end this process when its parent is no more: one that is writing a batch into a pipe which
    nobody reads would wait without end.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if parent is not None and os.getppid() != parent.pid:  # it was gone before this was asked for
            os._exit(1)


def _begin_worker(worker: int) -> None:
    """One thread a worker, which ends with the process that trains; a signal to all processes of a run is for that one,
    which still wants its batches.
    """
    _end_with_parent()
    gc.freeze()  # what the parent has is not let go of here: that copies its pages, and may wait for threads of its own
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _heard_once)
