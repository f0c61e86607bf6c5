"""Why a request, or a row of one, is not answered: a status, and the place, the value and the next step as JSON."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

from ofasys.errors import (
    ClosedError,
    DataError,
    DeadlineError,
    FullError,
    InstructionError,
    OfasysError,
    PluginError,
)

LONGEST = 500  # characters of a value that is shown
AGAIN = 1  # seconds after which one may ask again


class Refusal(Exception):  # noqa: N818
    """status: of HTTP. message: what is wrong, in a sentence. place: where. value: what was found there. next: the next
    step. caret: of an instruction its text with a line of carets below. start, end: the place, in its characters.
    retry_after: seconds, where asking again may do.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        place: str,
        value: str = "",
        next: str,
        caret: str | None = None,
        start: int | None = None,
        end: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.place, self.next = status, message, place, next
        self.value = value if len(value) <= LONGEST else value[: LONGEST - 3] + "..."
        self.caret, self.start, self.end, self.retry_after = caret, start, end, retry_after

    def to_dict(self) -> dict[str, Any]:
        """As JSON; without what it does not have."""
        found = {"message": self.message, "place": self.place, "value": self.value, "next": self.next}
        more = {"caret": self.caret, "start": self.start, "end": self.end, "retry_after": self.retry_after}
        return found | {name: one for name, one in more.items() if one is not None}


def refusal_of(error: BaseException) -> Refusal | None:
    """The refusal that an error is; None for one that is a fault of the server."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, InstructionError):
        return _of_instruction(error)
    if isinstance(error, DataError):
        return _of_data(error)
    if isinstance(error, FullError):
        return Refusal(
            429, str(error), place="the queue", next="ask again after `Retry-After` seconds", retry_after=AGAIN
        )
    if isinstance(error, (DeadlineError, TimeoutError)):
        return Refusal(
            504,
            str(error) or "the answer was not there in time",
            place="deadline",
            next="give a longer `deadline`, or ask for less",
        )
    if isinstance(error, (ClosedError, CancelledError)):
        return closing()
    if isinstance(error, OfasysError) and not isinstance(error, PluginError):
        message = str(error)
        said, _, step = message.partition("; ")
        return Refusal(422, message, place="the request", value=said, next=step or "correct it, and ask again")
    return None


def closing() -> Refusal:
    """What is told while the server ends."""
    return Refusal(
        503, "the server is ending", place="the server", next="ask again after `Retry-After` seconds", retry_after=AGAIN
    )


def _of_instruction(error: InstructionError) -> Refusal:
    lines = str(error).split("\n")
    caret = "\n".join(lines[1:3]) if error.text else None
    return Refusal(
        422,
        error.message,
        place=f"instruction, characters {error.start + 1} to {error.end}",
        value=error.text[error.start : error.end],
        next=error.hint or "correct the instruction at the caret",
        caret=caret,
        start=error.start,
        end=error.end,
    )


def _of_data(error: DataError) -> Refusal:
    places = {"row": error.sample, "slot": error.slot, "column": error.column}
    place = ", ".join(f"{name} {value}" for name, value in places.items() if value is not None)
    step = f"give {error.expected}" if error.expected else "correct the value"
    return Refusal(422, str(error), place=place or "data", value=error.message, next=step)
