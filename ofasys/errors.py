"""What can go wrong, each error a sentence with place, value and next step."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class OfasysError(Exception):
    """Any error this package raises on purpose."""


class InstructionError(OfasysError, ValueError):
    """The text of an instruction is not one. Shows the text with a caret line under the place.

    message: what is wrong, in one line. text: the instruction. start, end: the place, in characters of `text`.
    hint: the next step.
    """

    def __init__(self, message: str, text: str = "", start: int = 0, end: int | None = None, hint: str = "") -> None:
        self.message, self.text, self.start, self.hint = message, text, start, hint
        self.end = max(start + 1, end if end is not None else start + 1)
        super().__init__(message, text, start, end, hint)

    def __str__(self) -> str:
        lines = [self.message]
        if self.text:
            shown = "".join(" " if c.isspace() or c in "\x85\u2028\u2029" else c for c in self.text)
            lines += [f"  {shown}", f"  {' ' * self.start}{'^' * (self.end - self.start)}"]
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)


class PlanError(OfasysError, ValueError):
    """An instruction that parses cannot be planned: a choice is missing, contradictory, or not there yet."""


class ConfigError(OfasysError, ValueError):
    """A setting, a run file or a command is wrong."""


class PluginError(ConfigError):
    """A part of a modality does not do what it promises: names slot or modality, class, method, what it gave, and what
    was expected.
    """


class CheckpointError(OfasysError):
    """A folder does not hold a checkpoint that can be loaded: torn, of another version, or not ours."""


class RankError(OfasysError, RuntimeError):
    """Another process of a run has ended, or does not do what the others do: says which, and why."""


class FullError(OfasysError, RuntimeError):
    """As many requests wait as may: ask again when some are answered."""


class DeadlineError(OfasysError, TimeoutError):
    """A request was not answered within the time it had."""


class ClosedError(OfasysError, RuntimeError):
    """What answers has been closed."""


class DataError(OfasysError, ValueError):
    """A value of a row is not what its slot expects. Names task, slot, column and sample, as far as they are known.

    Inner code raises `DataError("what is wrong", expected="what would do")`; each layer on the way out adds the
    place it knows with `at(...)`.
    """

    def __init__(
        self,
        message: str,
        *,
        expected: str = "",
        task: str | None = None,
        slot: str | None = None,
        column: str | None = None,
        sample: str | int | None = None,
    ) -> None:
        self.message, self.expected = message, expected
        self.task, self.slot, self.column, self.sample = task, slot, column, sample
        super().__init__(message)

    def at(
        self,
        *,
        task: str | None = None,
        slot: str | None = None,
        column: str | None = None,
        sample: str | int | None = None,
    ) -> DataError:
        """The same error with the places given here filled in where they were unknown."""
        self.task = self.task if self.task is not None else task
        self.slot = self.slot if self.slot is not None else slot
        self.column = self.column if self.column is not None else column
        self.sample = self.sample if self.sample is not None else sample
        return self

    def __reduce__(self) -> tuple[object, ...]:
        places = (self.task, self.slot, self.column, self.sample)
        return (_rebuild_data_error, (type(self), self.message, self.expected, *places))

    def __str__(self) -> str:
        places = {"task": self.task, "slot": self.slot, "column": self.column, "sample": self.sample}
        where = ", ".join(f"{name} {value!r}" for name, value in places.items() if value is not None)
        text = f"{self.message} ({where})" if where else self.message
        return f"{text}; expected {self.expected}" if self.expected else text


class LoadingError(DataError):
    """The data cannot be read any further, whichever row is next: it ends a run, and no row is counted as bad.

    A file has changed or is gone since it was opened, the system refuses to read it, a worker process died.
    """


def _rebuild_data_error(
    kind: type[DataError], message: str, expected: str, task: str, slot: str, column: str, sample: str
) -> DataError:
    return kind(message, expected=expected, task=task, slot=slot, column=column, sample=sample)


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean X? ` for the closest known word, or nothing when none is close: a sentence before the next step.

    What is expected is part of a sentence already: there `perhaps` says it.
    """
    names = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), list(names), n=1, cutoff=0.6)
    return f"did you mean {names[close[0]]}? " if close else ""


def perhaps(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` for the closest known word, after what was expected; nothing when none is close."""
    near = nearest(word, known)
    return f" ({near.strip()})" if near else ""


def one_of(word: str, known: Iterable[str]) -> str:
    """What was expected instead of `word`: the first few of `known`, and the nearest if one is near."""
    names = list(known)
    shown = ", ".join(repr(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
    return f"one of {shown}{perhaps(word, names)}"
