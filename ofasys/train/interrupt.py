"""Ctrl-C, and the signals that ask a process to end, heard at the end of a step."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENDING = (signal.SIGTERM, signal.SIGHUP)
_AT_ONCE: list[Any] = []  # handlers that `at_once` has set


class Terminated(SystemExit):
    """A run that ended, saved, because it was asked to by a signal other than Ctrl-C.

    It ends the process with 128 + the signal's number (143 of SIGTERM) unless it is caught.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


@contextmanager
def at_once() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP end what runs as Ctrl-C does, by an exception: what is held is let go.

    Where a signal means something else already, or in another thread than the first, nothing is changed.
    """
    before: list[int] = []
    process = os.getpid()

    def end(number: int, frame: Any) -> None:
        _as_usual_elsewhere(process, number)
        raise Terminated(number)

    if threading.current_thread() is threading.main_thread():
        before = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in before:
        signal.signal(number, end)
    _AT_ONCE.append(end)
    try:
        yield
    finally:
        _AT_ONCE.remove(end)
        for number in before:
            signal.signal(number, signal.SIG_DFL)


def _as_usual_elsewhere(process: int, number: int) -> None:
    """In a data worker, forked with this handler: do what the signal does without one."""
    if os.getpid() != process:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


class Interrupt:
    """Within it a first SIGINT, SIGTERM or SIGHUP only sets `asked`, so that the step can end and be saved; a second
    one interrupts.

    Where a signal means something else already, or in another thread than the first, nothing is changed.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self.process = os.getpid()
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        usual = {signal.SIGINT: signal.default_int_handler}
        usual |= dict.fromkeys(ENDING, signal.SIG_DFL)  # type: ignore[arg-type]
        if threading.current_thread() is threading.main_thread():
            for number, handler in usual.items():
                if signal.getsignal(number) in (handler, *_AT_ONCE):
                    self.before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *problem: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def end(self) -> BaseException:
        """What to raise at the end of the step in which it was asked."""
        return KeyboardInterrupt() if self.asked == signal.SIGINT else Terminated(self.asked or signal.SIGTERM)

    def _ask(self, number: int, frame: Any) -> None:
        _as_usual_elsewhere(self.process, number)
        if self.asked is not None:
            self.asked = number
            raise self.end()
        self.asked = number
