"""A Task: a name, one or more instructions, data, metrics, and how it takes part in a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ofasys.errors import ConfigError, DataError, nearest
from ofasys.generator.options import SearchOptions
from ofasys.language import Instruction
from ofasys.metric import Metric, find
from ofasys.modality import Registry, default_registry, lexicon
from ofasys.planner import Plan, Prompt, Repeat, SlotPlan, plan
from ofasys.program.program import Labels
from ofasys.task.schedule import Entry
from ofasys.task.source import Source, open_source

SPLITS = ("train", "valid", "test")
MOST_TEXTS = 20_000
MOST_LABELS = 100_000


class Task:
    """What to learn, from what, and how it is judged.

    instruction: one, or several of which each micro-batch samples one. train, valid, test: rows, see `open_source`.
    metrics: names, `Metric`s, or functions (predictions, references) -> dict. weight: its share in the schedule.
    join, leave: the steps between which it takes part. closed_set: column -> labels, or the labels of the only column
    that has a set; without it the labels are gathered from the training rows. settings: defaults for the plan, such as
    {"IMAGE.size": 64}. generate: search options used in evaluation. on_bad: "skip" bad training rows (counted, written
    to quarantine.jsonl, at most bad_limit of them) or "stop". smoothing: label smoothing. buckets: batches of like
    length where text lengths are known.
    """

    def __init__(
        self,
        name: str,
        instruction: str | Instruction | Sequence[str | Instruction],
        train: Any = None,
        valid: Any = None,
        test: Any = None,
        *,
        metrics: Sequence[str | Metric | Callable[..., Mapping[str, float]]] = (),
        micro_batch_size: int = 16,
        weight: float = 1.0,
        join: int = 0,
        leave: int | None = None,
        closed_set: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        generate: Mapping[str, Any] | None = None,
        on_bad: str = "skip",
        bad_limit: int = 100,
        smoothing: float = 0.0,
        shuffle: bool = True,
        buckets: bool = True,
        modalities: Registry | None = None,
    ) -> None:
        if not name or not all(c.isalnum() or c in "_-." for c in name):
            raise ConfigError(f"a task is named {name!r}; a name is letters, digits, '_', '-' and '.'")
        if on_bad not in ("skip", "stop"):
            raise ConfigError(f"task {name!r} has on_bad={on_bad!r}; it is 'skip' or 'stop'")
        if not 0 <= smoothing < 1:
            raise ConfigError(f"task {name!r} has smoothing={smoothing}; it is 0 or more and less than 1")
        if bad_limit < 0:
            raise ConfigError(f"task {name!r} has bad_limit={bad_limit}; it is 0 or more")
        self.name = name
        self.modalities = modalities or default_registry()
        texts = [instruction] if isinstance(instruction, (str, Instruction)) else list(instruction)
        if not texts:
            raise ConfigError(f"task {name!r} has no instruction; give at least one")
        words = lexicon(self.modalities)
        self.instructions = tuple(Instruction(t, words) if isinstance(t, str) else t for t in texts)
        self.settings = dict(settings or {})
        self.plans: tuple[Plan, ...] = tuple(
            plan(i, modalities=self.modalities, settings=self.settings) for i in self.instructions
        )
        self.metrics = tuple(find(metric) for metric in metrics)
        self.micro_batch_size, self.weight, self.join, self.leave = micro_batch_size, weight, join, leave
        self.generate = SearchOptions.from_dict(generate or {})
        self.on_bad, self.bad_limit, self.smoothing = on_bad, bad_limit, smoothing
        self.shuffle, self.buckets = shuffle, buckets
        self.sources: dict[str, Source] = {}
        self._given = self._named(closed_set)
        self._labels: dict[str, tuple[str, ...]] | None = None
        self.entry()  # a weight, join or leave that cannot be is an error now
        for split, rows in zip(SPLITS, (train, valid, test), strict=True):
            if rows is not None:
                self.add_dataset(rows, split)

    def __repr__(self) -> str:
        data = ", ".join(f"{split}: {len(source)}" for split, source in self.sources.items()) or "no data"
        return f"Task({self.name!r}, {str(self.instructions[0])!r}, {data})"

    @property
    def plan(self) -> Plan:
        """The plan of the first instruction."""
        return self.plans[0]

    def add_dataset(self, rows: Any, split: str = "train") -> Task:
        """Give the rows of a split. Errors: ConfigError for an unknown split or kind of rows, DataError for no rows."""
        if split not in SPLITS:
            raise ConfigError(f"task {self.name!r}: no split {split!r}; {nearest(split, SPLITS)}there are {', '.join(SPLITS)}")
        try:
            self.sources[split] = open_source(rows)
        except DataError as error:
            raise error.at(task=self.name) from error.__cause__
        return self

    def source(self, split: str) -> Source:
        """The rows of a split. Errors: ConfigError when it has none."""
        if split not in self.sources:
            have = ", ".join(self.sources) or "none"
            raise ConfigError(f"task {self.name!r} has no {split} rows (it has: {have}); give {split}= or add_dataset(rows, {split!r})")
        return self.sources[split]

    def entry(self) -> Entry:
        """The task as a schedule sees it."""
        size = len(self.sources["train"]) if "train" in self.sources else None
        return Entry(self.name, self.weight, self.join, self.leave, size, self.micro_batch_size)

    @property
    def labels(self) -> Labels:
        """Column -> closed set: as given, else the distinct values of the training rows, sorted."""
        if self._labels is None:
            self._labels = dict(self._given)
            for slot in self.closed_slots():
                if slot.column not in self._labels:
                    self._labels[slot.column] = self._gathered(slot)
        return self._labels

    def restore_labels(self, labels: Labels) -> None:
        """Take the closed sets of a saved run instead of gathering them anew."""
        self._labels = {**{name: tuple(values) for name, values in labels.items()}, **self._given}

    def closed_slots(self) -> list[SlotPlan]:
        """Slots whose values come from a closed set."""
        return [slot for p in self.plans for slot in p.slots if slot.closed_set]

    def texts(self) -> Iterator[str]:
        """The task's own text: prompts, labels and text of the training rows; what a tokenizer is trained on."""
        for p in self.plans:
            for step in (*p.source, *p.target):
                yield from (s.text for s in (step.steps if isinstance(step, Repeat) else (step,)) if isinstance(s, Prompt))
        for values in self.labels.values():
            yield from values
        if "train" not in self.sources:
            return
        columns = {s.column: s for p in self.plans for s in p.slots if any(name == "text" for name, _ in s.ranges)}
        for name, slot in columns.items():
            if not slot.closed_set:
                for value in self._values(name, MOST_TEXTS):
                    for one in value if slot.group is not None and isinstance(value, (list, tuple)) else (value,):
                        if isinstance(one, str) and one:
                            yield one.lower() if slot.values.get("uncased") else one

    def lengths(self) -> np.ndarray | None:
        """A length per training row for bucketing: characters of its text columns; None where they are not at hand."""
        if not self.buckets:
            return None
        source = self.source("train")
        columns = {s.column for p in self.plans for s in p.slots if s.value == "text" and not s.closed_set}
        found = [column for column in (source.column(name) for name in sorted(columns)) if column is not None]
        if not found or len(found) < len(columns):
            return None
        return np.array([sum(len(v) if isinstance(v, str) else 4 for v in row) for row in zip(*found, strict=True)])

    def references(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """The true values of the scored slots in a row."""
        return tuple(row.get(slot.column) for slot in self.plan.scored)

    def _values(self, column: str, most: int) -> Iterator[Any]:
        source = self.sources["train"]
        whole = source.column(column)
        if whole is not None:
            yield from whole
            return
        step = max(1, len(source) // most)
        for i in range(0, len(source), step):
            row = source[i]
            if isinstance(row, Mapping) and column in row:
                yield row[column]

    def _gathered(self, slot: SlotPlan) -> tuple[str, ...]:
        if "train" not in self.sources:
            raise ConfigError(
                f"task {self.name!r}: the closed set of {slot.name} is not known; give closed_set={{{slot.column!r}: [...]}} or training rows"
            )
        found: set[str] = set()
        for value in self._values(slot.column, MOST_LABELS):
            for one in value if slot.group is not None and isinstance(value, (list, tuple)) else (value,):
                if one is not None and str(one).strip():
                    found.add(str(one))
            if len(found) > MOST_LABELS:
                raise ConfigError(f"task {self.name!r}: {slot.name} has more than {MOST_LABELS:,} labels; is it free text?")
        if not found:
            raise DataError("no training row holds a label", task=self.name, slot=slot.name, column=slot.column)
        return tuple(sorted(found))

    def _named(self, closed_set: Mapping[str, Sequence[str]] | Sequence[str] | None) -> dict[str, tuple[str, ...]]:
        if closed_set is None:
            return {}
        columns = sorted({slot.column for slot in self.closed_slots()})
        if not isinstance(closed_set, Mapping):
            if len(columns) != 1:
                raise ConfigError(f"task {self.name!r}: closed_set={{column: labels}} is needed; columns with a set: {columns or 'none'}")
            closed_set = {columns[0]: closed_set}
        for column in closed_set:
            if column not in columns:
                raise ConfigError(
                    f"task {self.name!r}: closed_set names {column!r}, which has none; {nearest(column, columns)}"
                    f"columns with a set: {columns or 'none'} (write closed_set in the slot, or use CATEGORY)"
                )
        return {column: tuple(dict.fromkeys(map(str, values))) for column, values in closed_set.items()}
