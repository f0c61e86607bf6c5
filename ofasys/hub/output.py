"""What inference answers: values by column and by kind, that print and save themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError, nearest
from ofasys.modality import Part, Registry
from ofasys.planner import Plan, SlotPlan

WORDS = ("text", "label")  # answers that are written beside another


class Output:
    """The answer to one request.

    out["cap"] is the value of a column; out.text, out.box, out.label ... the first value of that kind; lists where the
    slot stands in a repetition. score: sum of log-probabilities over length ** length_penalty; of `generator=rank` the
    log-probability. nbest: all answers, best first, this one included. str(out): the values as text.
    """

    def __init__(
        self,
        plan: Plan,
        values: Mapping[str, Any],
        score: float,
        data: Mapping[str, Any],
        registry: Registry,
        root: str | Path | None = None,
    ) -> None:
        self.plan, self.values, self.score, self.data, self.registry = plan, dict(values), score, data, registry
        self.root = root
        self.nbest: Sequence[Output] = (self,)

    def __getitem__(self, column: str) -> Any:
        if column not in self.values:
            raise KeyError(
                f"no target column {column!r}; {nearest(column, self.values)}there are {', '.join(self.values)}"
            )
        return self.values[column]

    def __getattr__(self, kind: str) -> Any:
        if kind.startswith("_") or "plan" not in self.__dict__:
            raise AttributeError(kind)
        for slot in self._slots():
            if kind == slot.answer or (kind == "label" and slot.closed_set):
                return self.values[slot.column]
        if kind == "spread" and self.spreads:
            return next(iter(self.spreads.values()))
        kinds = ", ".join(dict.fromkeys(slot.answer for slot in self._slots()))
        raise AttributeError(f"this answer has no {kind}; it has {kinds}")

    @property
    def spreads(self) -> dict[str, float]:
        """Column -> the spread of its error, in its unit, of values that have one: numbers."""
        return {name: value.spread for name, value in self.values.items() if hasattr(value, "spread")}

    def __repr__(self) -> str:
        return f"Output({', '.join(f'{name}={value!r}' for name, value in self.values.items())})"

    def __str__(self) -> str:
        parts = []
        for group, slots in groupby(self._slots(), key=lambda slot: slot.group):
            values = [self.values[slot.column] for slot in slots]
            turns = [values] if group is None else list(zip(*values, strict=False))
            parts.append("; ".join(" ".join(map(_shown, turn)) for turn in turns) or "(none)")
        return " ".join(parts)

    def save(self, path: str | Path) -> Path:
        """Write the answer: `.json` and `.txt` always; else the first of its values that such a file can hold.

        Errors: ConfigError when the answer cannot be written in that kind of file; it names those that can be.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text(
                json.dumps(self._written(), ensure_ascii=False, indent=1, default=jsonable) + "\n", encoding="utf8"
            )
        elif path.suffix == ".txt":
            path.write_text(f"{self}\n", encoding="utf8")
        else:
            slot, part = self._writer(path)
            frame = None if slot.frame is None else self._rooted(self.data[self.plan.slots[slot.frame].column])
            value = self.values[slot.column]
            beside = [s for s in self._slots() if s.answer in WORDS and s.group == slot.group]
            labels = self.values[beside[0].column] if beside else []
            many = slot.group is not None
            part.resolve()(path, value if many else [value], frame, labels if many else [labels] if labels else [])
        return path

    def _written(self) -> dict[str, Any]:
        """The values, and the spread of `price` as `price_spread`."""
        return self.values | {f"{name}_spread": spread for name, spread in self.spreads.items()}

    def _writer(self, path: Path) -> tuple[SlotPlan, Part]:
        """The first slot whose value such a file holds, and what writes it."""
        faces = ((slot, self.registry.face(slot.modality).save) for slot in self._slots() if slot.kind != "contrast")
        able = [(slot, part) for slot, part in faces if part is not None]
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

    def _slots(self) -> list[SlotPlan]:
        return list(self.plan.answered)


def jsonable(value: Any) -> Any:
    """A value that knows its own dict as that, an array as lists; of another that JSON has no word for, its text."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        digits = 1 if any(isinstance(v, float) and abs(v) > 1 for v in value) else 4  # shares of a side need more
        return "[" + ", ".join(f"{v:.{digits}f}" if isinstance(v, float) else str(v) for v in value) + "]"
    return str(value)
