"""What inference answers: values by column and by kind, that print and save themselves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence, ValuesView
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.errors import ConfigError, DataError, nearest
from ofasys.modality import Part, Registry, default_registry
from ofasys.planner import Plan, SlotPlan

WORDS = ("text", "label")  # answers that are written beside another


class Values(dict[str, Any]):
    """Column -> value. Called, as `values()` of any mapping is, it gives the values alone."""

    def __call__(self) -> ValuesView[Any]:
        """The values, in the order of the columns."""
        return dict.values(self)


class Output(Mapping[str, Any]):
    """The answer to one request: a mapping of its columns to their values, that does not change.

    out["cap"] is the value of a column; out.text, out.box, out.label ... the first value of that kind that is not left
    out; lists where the slot stands in a repetition. score: sum of log-probabilities over length ** length_penalty; of
    one closed set, the log-probability of the label; of a contrast, the cosine of its views. nbest: all answers, best
    first, this one included. error: why there is no answer, for a row that was left out (`on_bad="skip"`); the mapping
    is then empty. str(out): the values as text. Two are equal if their columns and values are, whatever their scores.
    """

    def __init__(
        self,
        plan: Plan,
        values: Mapping[str, Any],
        score: float,
        data: Mapping[str, Any],
        registry: Registry,
        root: str | Path | None = None,
        error: DataError | None = None,
    ) -> None:
        self.plan, self.score, self.data, self.registry = plan, score, data, registry
        self.values: Values = Values(values)  # called, it is what a mapping's is
        self.root, self.error = root, error
        self.nbest: Sequence[Output] = (self,)

    def __getitem__(self, column: str) -> Any:
        if self.error is not None:
            raise KeyError(f"{column!r}: there is no answer, for the row could not be used: {self.error}")
        if column not in self.values:
            raise KeyError(
                f"no target column {column!r}; {nearest(str(column), self.values)}there are {', '.join(self.values)}"
            )
        return self.values[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __contains__(self, column: object) -> bool:
        return column in self.values

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self is other or _same(self.values, dict(other))

    __hash__ = None  # type: ignore[assignment]

    @property
    def probability(self) -> float | None:
        """Of an answer that is one label of a closed set: its probability, exp(score). Of any other None: the score of
        a text, a box, or of several slots together is no probability of the answer.
        """
        return math.exp(self.score) if self._label_slot() is not None else None

    @property
    def probabilities(self) -> dict[str, float]:
        """Label -> probability of all labels that `nbest` holds, the likeliest first; empty where `probability` is
        None. With `generator=rank` these are all labels, and they sum to one. An answer that leaves the label out has
        a probability and no label.
        """
        slot = self._label_slot()
        if slot is None:
            return {}
        return {str(out.values[slot.column]): math.exp(out.score) for out in self.nbest if out._stands(slot)}

    @property
    def scores(self) -> dict[str, float]:
        """Label -> its exact probability, the likeliest first, of all labels: of an answer that was asked for with
        `scores=True`, or by `generator=rank`. Of any other as `probabilities`.
        """
        return self.probabilities

    def to_dict(self) -> dict[str, Any]:
        """The answer as strict JSON can hold it; every answer has the same keys, None where one has no such thing.

        values: column -> value; arrays and tuples are lists, a number that is not finite is None, and what JSON has no
        word for (a picture) is its text: `save` writes it to a file. label, score, probability: as the attributes.
        nbest: {values, score, probability} of each, best first. error: the text of why there is no answer.
        """
        slot = next((slot for slot in self._standing_first() if slot.closed_set), None)
        made = {name: [out._figures(name) for out in self.nbest] for name in ("score", "probability")}
        every = [plain(out.values) for out in self.nbest]
        return {
            "values": every[0] if every else plain(self.values),
            "label": None if slot is None else plain(self.values.get(slot.column)),
            "score": self._figures("score"),
            "probability": self._figures("probability"),
            "nbest": []
            if self.error is not None
            else [
                {"values": values, "score": score, "probability": probability}
                for values, score, probability in zip(every, made["score"], made["probability"], strict=True)
            ],
            "error": None if self.error is None else str(self.error),
        }

    def _figures(self, name: str) -> Any:
        return None if self.error is not None else plain(getattr(self, name))

    def _label_slot(self) -> SlotPlan | None:
        """The slot of an answer that is one label and nothing else."""
        slots = self._slots()
        alone = self.error is None and len(slots) == 1 and slots[0].closed_set and slots[0].group is None
        return slots[0] if alone else None

    def __getstate__(self) -> dict[str, Any]:
        """What travels: a registry of the installed modalities is found again where the answer arrives."""
        registry = None if self.registry is default_registry() else self.registry
        return {**self.__dict__, "registry": registry, "nbest": tuple(self.nbest)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self.registry = state["registry"] or default_registry()

    def __getattr__(self, kind: str) -> Any:
        if kind.startswith("_") or "plan" not in self.__dict__:
            raise AttributeError(kind)
        if self.error is not None:
            raise AttributeError(f"there is no {kind}, for the row could not be used: {self.error}")
        for slot in self._standing_first():
            if kind == slot.answer or (kind == "label" and slot.closed_set):
                return self.values[slot.column]
        if kind == "spread" and self.spreads:
            return next(iter(self.spreads.values()))
        kinds = ", ".join(dict.fromkeys(slot.answer for slot in self._slots()))
        raise AttributeError(f"this answer has no {kind}; it has {kinds}")

    @property
    def spreads(self) -> dict[str, float | list[float]]:
        """Column -> the spread of its error, in its unit, of values that have one: numbers. Of a repetition a list."""
        found: dict[str, float | list[float]] = {}
        for name, value in self.values.items():
            if isinstance(value, list) and value and all(hasattr(one, "spread") for one in value):
                found[name] = [one.spread for one in value]
            elif hasattr(value, "spread"):
                found[name] = value.spread
        return found

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Output(error={str(self.error)!r})"
        return f"Output({', '.join(f'{name}={value!r}' for name, value in self.values.items())})"

    def __str__(self) -> str:
        if self.error is not None:
            return "(no answer)"
        parts = []
        for group, slots in groupby(self._slots(), key=lambda slot: slot.group):
            values = [self.values[slot.column] for slot in slots if self._stands(slot)]
            turns = [values] if group is None else list(zip(*values, strict=False))
            parts.append("; ".join(" ".join(map(_shown, turn)) for turn in turns) or "(none)")
        return " ".join(parts)

    def save(self, path: str | Path) -> Path:
        """Write the answer: `.json` and `.txt` always; else the first of its values that such a file can hold.

        Errors: ConfigError when the answer cannot be written in that kind of file; it names those that can be.
        """
        if self.error is not None:
            raise ConfigError(f"there is no answer to write, for the row could not be used: {self.error}")
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text(
                json.dumps(self.written(), ensure_ascii=False, indent=1, default=jsonable) + "\n", encoding="utf8"
            )
        elif path.suffix == ".txt":
            path.write_text(f"{self}\n", encoding="utf8")
        else:
            slot, part = self._writer(path)
            frame = None if slot.refers_to is None else self._rooted(self.data[self.plan.slots[slot.refers_to].column])
            value = self.values[slot.column]
            beside = [s for s in self._standing_first() if s.answer in WORDS and s.group == slot.group]
            labels = self.values[beside[0].column] if beside else []
            many = slot.group is not None
            part.resolve()(path, value if many else [value], frame, labels if many else [labels] if labels else [])
        return path

    def written(self) -> dict[str, Any]:
        """The values, and the spread of `price` as `price_spread`."""
        return self.values | {f"{name}_spread": spread for name, spread in self.spreads.items()}

    def _writer(self, path: Path) -> tuple[SlotPlan, Part]:
        """The first slot whose value such a file holds, and what writes it."""
        specs = (
            (slot, self.registry.spec(slot.modality).save)
            for slot in self._slots()
            if self._stands(slot) and not slot.made_as.embedded
        )
        able = [(slot, part) for slot, part in specs if part is not None]
        for slot, part in able:
            if path.suffix.lower() in part.suffixes or not part.suffixes:
                return slot, part
        known = list(dict.fromkeys([".txt", ".json", *(suffix for _, part in able for suffix in part.suffixes)]))
        raise ConfigError(f"cannot write this answer as {path.name!r}; use {', '.join(known[:-1])} or {known[-1]}")

    def _rooted(self, value: Any) -> Any:
        """A path that is relative to `root`, from where we are; anything else as it is."""
        if self.root is not None and isinstance(value, str) and len(value) < 4096 and Path(self.root, value).is_file():
            return Path(self.root, value)
        return value

    def _stands(self, slot: SlotPlan) -> bool:
        """Whether the answer has it: a slot in a pattern may be left out, or what it lies in."""
        return self.values.get(slot.column) is not None

    def _standing_first(self) -> list[SlotPlan]:
        """The slots, after those that stand those that do not."""
        return sorted(self._slots(), key=lambda slot: not self._stands(slot))

    def _slots(self) -> list[SlotPlan]:
        return list(self.plan.answered)


def jsonable(value: Any) -> Any:
    """A value that knows its own dict as that, an array as lists; of another that JSON has no word for, its text."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return value.tolist() if hasattr(value, "tolist") else str(value)


def plain(value: Any) -> Any:
    """A value as strict JSON holds it: None, truth values, numbers that are finite, texts, lists and dicts of them."""
    if isinstance(value, Output):
        return value.to_dict()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "to_dict"):
        return [plain(one) for one in value]
    known = jsonable(value)
    return str(known) if known is value else plain(known)


def _same(mine: Any, theirs: Any) -> bool:
    """Whether two values are equal: of arrays, in shape and every number; of what holds values, in each of them."""
    if isinstance(mine, np.ndarray) or isinstance(theirs, np.ndarray):
        return type(mine) is type(theirs) and np.array_equal(mine, theirs)
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        return mine.keys() == theirs.keys() and all(_same(mine[name], theirs[name]) for name in mine)
    if isinstance(mine, (list, tuple)) and isinstance(theirs, (list, tuple)):
        return len(mine) == len(theirs) and all(_same(a, b) for a, b in zip(mine, theirs, strict=True))
    if hasattr(mine, "to_dict") and type(mine) is type(theirs):
        return _same(mine.to_dict(), theirs.to_dict())
    return bool(mine == theirs)


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        digits = 1 if any(isinstance(v, float) and abs(v) > 1 for v in value) else 4  # shares of a side need more
        return "[" + ", ".join(f"{v:.{digits}f}" if isinstance(v, float) else str(v) for v in value) + "]"
    return str(value)
