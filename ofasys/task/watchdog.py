"""Which row each process that prepares rows is at: to name one that takes too long, and one that ended its process."""

from __future__ import annotations

import logging
import mmap
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from torch.utils.data import get_worker_info

SLOW = 30.0
"""Seconds after which a row is named."""
PERIOD = 5.0
"""Seconds between two looks."""
_PROCESSES = 1024  # that are noted
_FIELDS = ("process", "task", "epoch", "row", "since", "told")

_log = logging.getLogger("ofasys")


class Watchdog:
    """Notes in memory that all processes of a run share; each writes its own, the one that trains reads all of them.

    tasks: their names. clock: seconds, the same in all processes.
    """

    def __init__(self, tasks: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.tasks, self.clock = tuple(tasks), clock
        self.notes = np.frombuffer(mmap.mmap(-1, _PROCESSES * 8 * len(_FIELDS)), dtype=np.float64)
        self.notes = self.notes.reshape(_PROCESSES, len(_FIELDS))
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def at(self, task: str, epoch: int, row: int) -> Iterator[None]:
        """Within it this process reads and prepares a row."""
        info = get_worker_info()
        note = self.notes[(0 if info is None else info.id) % _PROCESSES]
        note[:] = os.getpid(), self.tasks.index(task), epoch, row, self.clock(), 0
        try:
            yield
        finally:
            if not note[-1] and self.clock() - note[-2] > SLOW:
                self._tell(note, "took")
            note[:] = 0

    def look(self) -> None:
        """Tell of each row that a process has been at for too long; of each once."""
        now = self.clock()
        for i in np.flatnonzero((self.notes[:, 0] != 0) & (self.notes[:, -1] == 0) & (now - self.notes[:, -2] > SLOW)):
            self.notes[i, -1] = 1
            self._tell(self.notes[i], "has taken")

    def _tell(self, note: np.ndarray, what: str) -> None:
        _log.warning(
            f"{self._named(note)} {what} {self.clock() - note[-2]:.0f} seconds to be read and prepared; what it holds, "
            "or what reads it, is slower than training can wait for"
        )

    def _named(self, note: np.ndarray) -> str:
        return f"task {self.tasks[int(note[1])]!r}, train row {int(note[3])} (epoch {int(note[2])})"

    def begin(self) -> None:
        """Look every PERIOD from now on, in a thread. Workers are to have begun before: a fork wants no threads."""
        self.close()
        self._ended.clear()
        self._thread = threading.Thread(target=self._watch, name="ofasys-watchdog", daemon=True)
        self._thread.start()
        _watching.append(self)

    def _watch(self) -> None:
        while not self._ended.wait(PERIOD):
            self.look()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            _watching.remove(self)


_watching: list[Watchdog] = []


def in_hand(said: str) -> str:
    """The rows that processes were at whose numbers stand in a text, as more of that text."""
    numbers = set(map(int, re.findall(r"\b\d+\b", said)))
    rows = [dog._named(note) for dog in _watching for note in dog.notes if note[0] and int(note[0]) in numbers]
    return f", while it was at {' and '.join(rows)}" if rows else ""
