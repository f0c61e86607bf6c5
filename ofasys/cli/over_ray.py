"""`ofasys infer --ray N`: the same rows answered by N workers of a Ray cluster, by Ray Data.

A worker is given numbers of batches, opens the rows and the model itself, and hands the answers back; they arrive in
the order of the rows, so what is done with them is what is done with those of one process.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.cli.answering import Answered, Answering
from ofasys.cli.rows import Rows
from ofasys.errors import ConfigError, LoadingError, OfasysError
from ofasys.hub import OFASys
from ofasys.hub.ofasys import DECODED
from ofasys.language import Instruction

AT_ONCE = 64  # batches that are one task of Ray, at most
EACH = 4  # tasks a worker, at least, where there are so many batches
RETRIES = 3  # of a task whose worker died; Ray by itself would try for ever
PATIENCE = 10  # seconds for the head of a cluster; Ray by itself asks a wrong address for minutes


@dataclass(frozen=True)
class Work:
    """What each worker needs to know."""

    folder: Path
    """Of the model, the same on each machine."""
    instruction: Instruction
    given: Mapping[str, Any]
    """Columns that hold for every row."""
    asked: Mapping[str, Any]
    """What `inference` is asked besides."""
    rows: Callable[[], Rows]
    """Opens the rows again."""
    name: str
    """What a person calls them."""
    told: str | None
    """What tells their content."""
    total: int
    """How many there are."""
    precision: str | None = None
    """What is computed in, as of `OFASys.from_pretrained`."""
    decoding: str = "float32"
    """What tokens are found in, the same in all workers."""

    @property
    def size(self) -> int:
        """Rows of a batch."""
        return int(self.asked["batch_size"])

    @property
    def batches(self) -> int:
        """How many there are."""
        return -(-self.total // self.size)


class Worker:
    """Answers batches by their numbers, for `Dataset.map_batches`. What it needs is opened for the first of them."""

    def __init__(self, work: Work, device: str = "cpu") -> None:
        self.work, self.device = work, device

    def __call__(self, asked: Mapping[str, Sequence[Any]]) -> dict[str, np.ndarray]:
        """{"item": numbers of batches} -> {"answers": of each its answers, or the error that ends all}: objects, which
        Ray hands over as they are.
        """
        answers = np.empty(len(asked["item"]), dtype=object)
        for place, number in enumerate(asked["item"]):
            answers[place] = self._batch(int(number))
        return {"answers": answers}

    def _batch(self, number: int) -> list[Answered] | OfasysError:
        first = number * self.work.size
        try:
            count = min(self.work.size, self.work.total - first)
            found = self._answering.answers(True, first)
            return [next(found) for _ in range(count)]
        except OfasysError as error:
            return error

    @cached_property
    def _answering(self) -> Answering:
        """Errors: LoadingError where the rows are not those that the command was given."""
        work, rows = self.work, self.work.rows()
        if rows.told != work.told or rows.total != work.total:
            raise LoadingError(
                f"{work.name} holds other rows on the machine of a worker than where the command was begun",
                expected="the same file below the same path on every machine",
            )
        answerer = OFASys.from_pretrained(work.folder, device=self.device, precision=work.precision)
        answerer.model.decode_in(work.decoding)
        return Answering(answerer, work.instruction, work.given, replace(rows, name=work.name), dict(work.asked))


@dataclass
class Spread(Answering):
    """Rows and their answers by workers of Ray. Errors: ConfigError for rows that cannot be opened again, and where Ray
    is missing.
    """

    folder: Path
    """Of the model."""
    workers: int
    precision: str | None = None
    """Of the model, in each worker."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers < 1:
            raise ConfigError(f"--ray is {self.workers}; it is 1 or more")
        if self.rows.again is None or self.rows.total is None:
            raise ConfigError(
                f"--ray goes with rows that every worker can open, and {self.rows.name} comes but once; write it to a "
                "file"
            )
        asked = self.asked | {"root": (self.rows.root or Path.cwd()).absolute()}
        rows = self.rows.again, self.rows.name, self.rows.told, self.rows.total
        self.work = Work(
            self.folder.absolute(),
            self.instruction,
            self.given,
            asked,
            *rows,
            None if self.precision in DECODED else self.precision,
        )

    def answers(self, skip: bool, first: int = 0) -> Iterator[Answered]:
        """As of `Answering`. first: that of a batch.

        Errors: LoadingError too, where a worker dies again and again.
        """
        work = replace(self.work, decoding=self.answerer.decoding.precision)
        begin = first // work.size
        with _cluster() as ray:
            device = _device(ray, self.workers)
            for packed in _packed(ray, work, begin, self.workers, device):
                for number, row, answer in packed:
                    if isinstance(answer, OfasysError) and not skip:
                        raise answer
                    yield number, row, answer


def _packed(ray: Any, work: Work, begin: int, workers: int, device: str) -> Iterator[list[Answered]]:
    """The answers of each batch from number `begin` on, in order."""
    count = work.batches - begin
    if count <= 0:
        return
    tasks = min(count, max(EACH * workers, -(-count // AT_ONCE)))
    numbers = list(range(begin, work.batches))  # here, since a task that makes them would wait for a worker's CPU
    with warnings.catch_warnings():  # of the limit, for which Ray has no other word
        warnings.simplefilter("ignore")
        answers = ray.data.from_items(numbers, override_num_blocks=tasks).map_batches(
            Worker,
            fn_constructor_args=(work, device),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, tasks)),
            max_task_retries=RETRIES,
            **({"num_gpus": 1} if device == "cuda" else {"num_cpus": 1}),
        )
    done = 0
    try:
        for row in answers.iter_rows():
            found = row["answers"]
            if isinstance(found, OfasysError):
                raise found
            yield found
            done += 1
    except ray.exceptions.RayError as error:
        raise LoadingError(
            f"a worker of Ray failed after row {(begin + done) * work.size}: {_first_line(error)}",
            expected="memory enough for each worker, and the same ofasys on every machine",
        ) from error


def _first_line(error: Exception) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)[:300]


@contextmanager
def _cluster() -> Iterator[Any]:
    """Ray, at the cluster that RAY_ADDRESS names, else begun on this machine; ended where it was begun here."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError('--ray needs the library `ray`: pip install "ofasys[ray]"') from error
    context = ray.data.DataContext.get_current()
    before = context.execution_options.preserve_order, context.enable_progress_bars
    begun = not ray.is_initialized()
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ended_by = signal.getsignal(signal.SIGTERM)
    if begun:
        _begin(ray)
    context.execution_options.preserve_order, context.enable_progress_bars = True, False
    try:
        yield ray
    finally:
        context.execution_options.preserve_order, context.enable_progress_bars = before
        if begun:
            ray.shutdown()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, ended_by)  # Ray takes it at its beginning and never gives it back


def _begin(ray: Any) -> None:
    address = os.environ.get("RAY_ADDRESS")
    try:
        _check_reached(address or "")
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ray.exceptions.RayError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"no cluster of Ray can be reached or begun: {_first_line(error)}; RAY_ADDRESS is {address!r}, give that "
            "of its head as host:6379, or unset it to begin one here"
        ) from error


def _check_reached(address: str) -> None:
    """Errors: OSError where nothing listens at a host and port."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()


def _device(ray: Any, workers: int) -> str:
    """Where the workers answer: each on a GPU, where the cluster has any. Errors: ConfigError where there are fewer."""
    have = ray.cluster_resources()
    kind = "GPU" if have.get("GPU", 0) >= 1 else "CPU"
    if (most := int(have.get(kind, 0))) < workers:
        raise ConfigError(f"--ray is {workers}, and the cluster has {most} {kind}s, one a worker; give at most {most}")
    return "cuda" if kind == "GPU" else "cpu"
