"""A request that was handed in: its answer when it is there, what of it is there already, and the way to give it up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Literal

from ofasys.errors import DeadlineError
from ofasys.hub.output import Output

Kind = Literal["text", "slot", "done", "error"]


@dataclass(frozen=True, eq=False)
class Event:
    """Something of an answer is there."""

    kind: Kind
    """ "text": more of a text that is being written; "slot": a slot is whole; "done": all are; "error": none will be.
    """
    column: str | None
    """Of "text" and "slot" the column of the target; else None."""
    value: Any
    """Of "text" what has come since the last one, of "slot" its value, of "done" the Output, of "error" the error."""


class Pending:
    """One request. Any thread may ask it.

    future: the answer, or why there is none, for what waits on futures.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.future: Future[Output] = Future()
        self._wake = wake
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._told: dict[str, str] = {}  # column -> what of its text was told
        self._whole: set[str] = set()  # columns that were told
        self.watched = False

    def result(self, timeout: float | None = None) -> Output:
        """The answer, as `OFASys.inference` gives it; waited for `timeout` seconds, without end if None.

        Errors: TimeoutError when it takes longer, and the request goes on; CancelledError after `cancel`; else what
        went wrong with this request: DeadlineError, ClosedError, DataError and so on.
        """
        return self.future.result(timeout)

    def events(self) -> Iterator[Event]:
        """What becomes of the answer, as it comes, the last one "done" or "error"; for one reader.

        A text comes piece by piece where one answer is searched for with one beam; all other slots come whole. Texts
        that were written before this was called come as one piece.
        """
        self.watched = True
        while True:
            event = self._events.get()
            yield event
            if event.kind in ("done", "error"):
                return

    def cancel(self) -> bool:
        """Give the request up -> whether it was not answered yet. Its rows are free at the next step."""
        gone = not self.future.done() and self.future.cancel()
        if gone:
            self.tell(Event("error", None, CancelledError()))
            self._wake()
        return gone

    @property
    def over(self) -> bool:
        """Whether it was answered, given up, or failed."""
        return self.future.done()

    def tell(self, event: Event) -> None:
        """Hand on to whoever reads `events`."""
        self._events.put(event)

    def text(self, column: str, so_far: str) -> None:
        """A text is so far written; a character of several bytes that is not whole yet is held back."""
        whole, told = so_far.rstrip("\ufffd"), self._told.get(column, "")
        if len(whole) > len(told) and whole.startswith(told):
            self._told[column] = whole
            self.tell(Event("text", column, whole[len(told) :]))

    def slot(self, column: str, value: Any) -> None:
        """A slot is whole; of a text first the rest of it."""
        if column in self._whole:
            return
        told = self._told.get(column)
        if told is not None and isinstance(value, str) and value.startswith(told) and value != told:
            self.tell(Event("text", column, value[len(told) :]))
        self._whole.add(column)
        self.tell(Event("slot", column, value))

    def answer(self, output: Output) -> bool:
        """Here is the answer -> whether anyone still waits for it."""
        try:
            self.future.set_result(output)
        except InvalidStateError:
            return False
        self.tell(Event("done", None, output))
        return True

    def fail(self, error: BaseException) -> bool:
        """There will be no answer -> whether anyone still waited for it."""
        try:
            self.future.set_exception(error)
        except InvalidStateError:
            return False
        self.tell(Event("error", None, error))
        return True


def late(seconds: float) -> DeadlineError:
    """Why a request whose time is over has no answer."""
    return DeadlineError(
        f"the answer was not there within {seconds:g} s; give a longer deadline, a smaller max_length, or ask when "
        "fewer do"
    )
