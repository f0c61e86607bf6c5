"""A row and its answer as a record of a file of answers: which columns it has, and what stands in them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from numbers import Number
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError, nearest
from ofasys.hub import Output
from ofasys.hub.output import WORDS, jsonable
from ofasys.modality import Part, Registry
from ofasys.planner import Plan, SlotPlan

LONGEST_PATH = 4096  # a longer text in a column of files is a file's content, as base64 is
OURS = ("row", "label", "score", "probability", "probabilities", "error")


@dataclass
class Recorder:
    """Makes records. The columns of an answer keep their names; ours are `answer_NAME` where an answer has that name,
    and the row's are `input_NAME` where an answer or one of ours has it.

    out: the file of answers; values that are no text and no numbers are written to a folder beside it. n_best: how many
    answers a row has columns for. every: whether `probabilities` of all labels are asked for. columns: the columns of
    the row to keep, None: all.
    """

    plan: Plan
    registry: Registry
    out: Path
    n_best: int = 1
    every: bool = False
    columns: Sequence[str] | None = None
    names: dict[str, str] = field(default_factory=dict)
    ours: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    """Columns of answers, and all others that a record may have."""

    def __post_init__(self) -> None:
        self.slots = self.plan.answered
        self.saves = {slot.column: self._saver(slot) for slot in self.slots}
        answers = {slot.column for slot in self.slots}
        self.files = {slot.column for slot in self.plan.slots if slot.value not in WORDS}
        self.closed = next((slot.column for slot in self.slots if slot.closed_set), None)
        self.alone = self.closed is not None and len(self.slots) == 1 and self.slots[0].group is None
        used = {name for name in OURS if self._used(name)}
        self.ours = {name: f"answer_{name}" if name in answers else name for name in used}
        every = answers | {f"{name}_spread" for name in answers} | set(self.ours.values())
        self.taken = every | {f"{name}_{n}" for name in every - {"row", "error"} for n in range(2, self.n_best + 1)}

    def _used(self, name: str) -> bool:
        if name == "label":  # where an answer is called so already, it is that one
            return self.closed is not None and self.closed != "label"
        return {"probability": self.alone, "probabilities": self.every}.get(name, True)

    def record(self, number: int, row: Mapping[str, Any], answer: Output | None, error: str | None) -> dict[str, Any]:
        """The record of a row: with its answer, or with what is wrong."""
        made: dict[str, Any] = {self.ours["row"]: number}
        for name, value in row.items():
            if self.columns is None or name in self.columns:
                long = isinstance(value, str) and len(value) > LONGEST_PATH and name in self.files
                made[self._input(str(name))] = None if long else _given(value)
        if answer is None:
            for slot in self.slots:
                made[slot.column] = None
            made |= {self.ours[name]: None for name in ("label", "score", "probability") if name in self.ours}
        else:
            others = answer.nbest[: self.n_best] if self.n_best > 1 else [answer]
            for place, each in enumerate(others):
                made |= self._answer(number, each, "" if place == 0 else f"_{place + 1}")
            if self.every:
                made[self.ours["probabilities"]] = {
                    str(other.values[self.closed or ""]): math.exp(other.score) for other in answer.nbest
                }
        made[self.ours["error"]] = error
        return made

    def _answer(self, number: int, answer: Output, ending: str) -> dict[str, Any]:
        made = {}
        for slot in self.slots:
            value = answer.values[slot.column]
            made[slot.column + ending] = self._value(f"{_as_file(slot.column)}{ending}-{number}", slot, value)
        made |= {f"{name}_spread{ending}": spread for name, spread in answer.spreads.items()}
        if "label" in self.ours:
            made[self.ours["label"] + ending] = answer.values[self.closed or ""]
        made[self.ours["score"] + ending] = answer.score
        if "probability" in self.ours:
            made[self.ours["probability"] + ending] = math.exp(answer.score)
        return made

    def _value(self, name: str, slot: SlotPlan, value: Any) -> Any:
        part = self.saves[slot.column]
        if isinstance(value, (list, tuple)) and value and part is not None and not _is_plain(value[0]):
            return [self._value(f"{name}-{place}", slot, one) for place, one in enumerate(value)]
        if value is None or part is None or _is_plain(value):
            return _plain(value)
        folder = self.out.with_name(f"{self.out.stem}_files")
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}{part.suffixes[0]}"
        part.resolve()(path, [value], None, [])
        return os.path.join(folder.name, path.name)

    def _saver(self, slot: SlotPlan) -> Part | None:
        part = self.registry.spec(slot.modality).save if not slot.made_as.embedded else None
        return part if part is not None and part.suffixes else None

    def _input(self, name: str) -> str:
        if name not in self.names:
            new, others = name, self.taken | set(self.names.values())
            while new in others:
                new = f"input_{new}"
            self.names[name] = new
        return self.names[name]


def _as_file(column: str) -> str:
    """A column's name as part of a file's, another for each."""
    return column.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")


def check_columns(asked: Sequence[str] | None, known: Iterable[str], where: str) -> None:
    """Errors: ConfigError for a column that none of the first rows has. known: those that they have."""
    known = list(map(str, known))
    for name in asked or ():
        if name not in known:
            raise ConfigError(
                f"--columns names {name!r}, which {where} has not; {nearest(name, known)}it has {', '.join(known)}"
            )


def _is_plain(value: Any) -> bool:
    """Whether it stands in a record as it is: text, numbers, and lists and mappings of them."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, (str, int, float))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if _is_plain(value) else _plain(jsonable(value))


def _given(value: Any) -> Any:
    """A value of a row: text, numbers and what is made of them; of anything else its path, if it has one."""
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        return value.get("path")
    if isinstance(value, Mapping):
        return {str(name): _given(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_given(inner) for inner in value]
    if _is_plain(value):
        return value
    for name in ("filename", "name", "path"):
        if isinstance(path := getattr(value, name, None), (str, os.PathLike)) and str(path):
            return str(path)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (Number, timedelta)):
        return str(value)
    return value.item() if getattr(value, "shape", None) == () else None
