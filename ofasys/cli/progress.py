"""How far a long command is, on standard error: a line that renews itself in a terminal, else a line every so often."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

EVERY_IN_TERMINAL, EVERY = 0.5, 30.0  # seconds between two lines


class Progress:
    """Counts rows and says so. Use as a context.

    total: how many rows there are, None where that is not known. clock: seconds; terminal: whether standard error is
    one, None: as it is.
    """

    def __init__(
        self, total: int | None, clock: Callable[[], float] = time.monotonic, terminal: bool | None = None
    ) -> None:
        self.total, self.clock = total, clock
        self.terminal = sys.stderr.isatty() if terminal is None else terminal
        self.done = self.bad = self.shown = self.before = 0
        self.began = self.last = clock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.terminal and self.shown:
            self._clear()

    def take_up(self, done: int, bad: int) -> None:
        """Rows that were counted before this call, and how many of them were bad."""
        self.done = self.before = done
        self.bad = bad

    def add(self, good: bool) -> None:
        """One row more. good: whether it was answered."""
        self.done += 1
        self.bad += not good
        now = self.clock()
        if now - self.last < (EVERY_IN_TERMINAL if self.terminal else EVERY):
            return
        self.last = now
        text = self.line(now)
        if self.terminal:
            self._clear()
            self.shown = len(text)
            print(text, end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def line(self, now: float) -> str:
        """`1,200 of 10,000 rows, 85.0 a second, 0:01:43 left, 3 bad`."""
        speed = (self.done - self.before) / max(now - self.began, 1e-9)
        parts = [f"{self.done:,}{'' if self.total is None else f' of {self.total:,}'} rows", f"{speed:,.1f} a second"]
        if self.total is not None:
            left = int((self.total - self.done) / speed)
            parts.append(f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left")
        return ", ".join(parts + ([f"{self.bad:,} bad"] if self.bad else []))

    def _clear(self) -> None:
        print("\r" + " " * self.shown + "\r", end="", file=sys.stderr, flush=True)
