"""Rows and their answers, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofasys.cli.rows import Rows
from ofasys.errors import DataError
from ofasys.hub import OFASys, Output
from ofasys.language import Instruction

Answered = tuple[int, Mapping[str, Any], Output | DataError]  # the number of a row, the row, and its answer


@dataclass
class Answering:
    """Rows and their answers, a batch at a time.

    given: columns that hold for every row. asked: what `inference` is asked besides.
    """

    answerer: OFASys
    """The model that answers."""
    instruction: Instruction
    given: Mapping[str, Any]
    rows: Rows
    asked: dict[str, Any]

    def __post_init__(self) -> None:
        self.asked = {"root": self.rows.root, **self.asked}
        prompt = self.asked.get("negative_prompt")
        if isinstance(prompt, Mapping):
            self.asked["negative_prompt"] = {name: from_here(v, self.rows.root) for name, v in prompt.items()}

    def answers(self, skip: bool, first: int = 0) -> Iterator[Answered]:
        """In order, from row `first` on. skip: a bad row gives its error; else it is raised.

        Errors: DataError naming row and file.
        """
        rows = (row if isinstance(row, DataError) else {**row, **self.given} for row in self.rows.read(first))
        found = self.answerer.answers(self.instruction, rows, on_bad="skip", first=first, **self.asked)
        for number, answer in enumerate(found, first):
            if answer.error is None:
                yield number, answer.data, answer
                continue
            error = self._placed(answer.error, number)
            if not skip:
                raise error from error.__cause__
            yield number, answer.data, error

    def _placed(self, error: DataError, number: int) -> DataError:
        error.sample = f"row {number} of {self.rows.name}"
        return error


def from_here(value: Any, root: Path | None) -> Any:
    """A relative path that was given as a word starts where we are, and not at `root`, the folder of the rows."""
    if isinstance(value, list):
        return [from_here(one, root) for one in value]
    if isinstance(value, Mapping):
        return {name: from_here(one, root) for name, one in value.items()}
    try:
        named = isinstance(value, str) and any(Path(at, value).is_file() for at in (".", root or "."))
    except (OSError, ValueError):  # too long for a file's name, as base64 is
        return value
    return str(Path(value).absolute()) if named else value
