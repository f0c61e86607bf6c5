"""Ctrl-C, heard at the end of a step."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupt:
    """Within it a first Ctrl-C only sets `asked`, so that the step can end and be saved; a second one interrupts.

    Where Ctrl-C means something else already, or in another thread than the first, nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self.before: Any = None

    def __enter__(self) -> Interrupt:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *problem: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
