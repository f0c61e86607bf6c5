"""Evaluation: the loss and the metrics of a task on a split, by the same verbs as training and inference."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ofasys import flow
from ofasys.errors import DataError, LoadingError, nearest
from ofasys.generalist import GeneralistModel
from ofasys.metric import Confusion, Metric
from ofasys.modality import Context, plugin
from ofasys.parallel.place import Place
from ofasys.parallel.ranks import ALONE, Ranks
from ofasys.planner import Plan, SlotPlan
from ofasys.planner.slot import leaves_of
from ofasys.program.answer import Answer
from ofasys.program.batch import to_device
from ofasys.program.program import Program
from ofasys.program.sample import Row, elements
from ofasys.task.loader import of_row, read
from ofasys.task.order import sample_seed, sequential
from ofasys.task.task import Task, metric_columns
from ofasys.types import Batch, Free, Hidden, Sample, SlotTargets

_log = logging.getLogger("ofasys")


def evaluate_task(
    model: GeneralistModel,
    task: Task,
    split: str,
    *,
    batch_size: int = 32,
    limit: int | None = None,
    instruction: int = 0,
    program: Program | None = None,
    classes: dict[str, Confusion] | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """loss (as in training: per slot its mean times its weight), samples, and the figures of the task's metrics, on one
    split.

    The loss is NaN where a slot has nothing that could be judged; values left out of it are counted under `WHY/COLUMN`.

    A figure that two metrics give, or that is called as one of these two, stands under `METRIC/figure`, a metric's
    headline excepted: ["per", "wer"] give `per`, `wer`, `per/substitutions` and `wer/substitutions`.

    limit: rows at most, spread over the split. classes: is given, by column, what the labels of closed sets are taken
    for. ranks: processes that all call this, each of which answers a share of the batches; the figures are those of
    one. Errors: DataError at the first bad row, naming it; what fails on one process fails on all.
    """
    program = program or flow.bind(model, task.plans[instruction], task.labels)

    wanted = _reads_answers(task, program.plan, classes is not None)

    def answer() -> Answered:
        return answer_rows(model, task, split, program, batch_size, limit, generated=wanted, place=ranks.place)

    def judge() -> tuple[dict[str, float], dict[str, Confusion]] | None:
        if not ranks.first:
            return None
        return figures_of(task, split, program, answered), classes_of(program, answered) if wanted else {}

    answered = Answered.joined(ranks.together(f"the answers of {task.name!r}", answer))
    figures, confusions = ranks.together(f"the figures of {task.name!r}", judge)[0]
    if classes is not None:
        classes |= confusions
    return figures


def _reads_answers(task: Task, plan: Plan, classes: bool) -> bool:
    """Whether anything reads what would be generated: a metric, a pattern, or the classes of closed sets."""
    closed = any(slot.closed_set and slot.group is None for slot in plan.answered)
    return bool(task.metrics or plan.ways or (classes and closed))


def figures_of(task: Task, split: str, program: Program, answered: Answered) -> dict[str, float]:
    """loss, samples and the figures of the task's metrics."""
    judged = answered.judged
    found = {"loss": judged.loss(program), "samples": float(len(answered.references))}
    found |= left_out(program, judged.left_out)
    found |= ways_of(program.plan, answered)
    figures = []
    for metric in task.metrics:
        rows, answers, truths = scored(program, metric, answered)
        if not rows and answered.rows:
            figures.append({metric.main: nan})  # no row has what it judges
            continue
        try:
            figures.append(metric(answers, truths, root=task.source(split).root))
        except DataError as error:
            raise _of_its_row(error, task, split, rows) from error.__cause__
    return found | _named(task.metrics, figures, found)


def ways_of(plan: Plan, answered: Answered) -> dict[str, float]:
    """Of each pattern of the target, by `Plan.ways`: the share of rows answered in the way that is true of them."""
    found: dict[str, float] = {}
    for name, step in plan.ways.items():
        columns = [column for part in step.columns.columns for column in part]
        right = [
            all((one.get(c) is None) == (true.get(c) is None) for c in columns)
            for one, true in zip(answered.predictions, answered.references, strict=True)
        ]
        found |= {name: sum(right) / len(right)} if right else {}
    return found


def scored(program: Program, metric: Metric, answered: Answered) -> tuple[list[int], list[Any], list[Any]]:
    """The numbers of the rows that a metric judges; what it reads of their answers; and of what is true.

    A metric of what a row may lack is over the rows that have it; an answer that leaves it out says nothing there: the
    empty text of a text, else None.
    """
    columns = metric_columns(metric, program.plan)
    optional = [slot for slot in program.plan.slots if slot.optional and slot.column in columns]
    nothing = {slot.column: _nothing(program, slot) for slot in optional}
    there = [i for i, row in enumerate(answered.references) if all(row.get(column) is not None for column in nothing)]
    answers, truths = ([rows[i] for i in there] for rows in (answered.predictions, answered.references))
    if nothing:
        answers = [row | {name: no for name, no in nothing.items() if row.get(name) is None} for row in answers]
    return [answered.rows[i] for i in there], column_values(answers, columns), column_values(truths, columns)


def _nothing(program: Program, slot: SlotPlan) -> Any:
    """What no tokens at all are as a value, where they may be one; else None."""
    if not any(isinstance(s.item, Free) and s.item.slot == slot.index for s in leaves_of(program.plan.target)):
        return None
    back = program.preprocessors[slot.index].postprocess
    return plugin.called(slot.name, back, np.zeros(0, dtype=np.int64), Context(labels=program.labels.get(slot.index)))


def classes_of(program: Program, answered: Answered) -> dict[str, Confusion]:
    """Column -> what its labels are taken for, of the answered columns with a closed set and one right label a row."""
    found = {}
    for slot in program.plan.answered:
        pairs = [
            (one.get(slot.column), true[slot.column])
            for one, true in zip(answered.predictions, answered.references, strict=True)
            if not slot.optional or true[slot.column] is not None
        ]
        truths = [true for _, true in pairs]
        if slot.closed_set and slot.group is None and truths and not any(isinstance(one, list) for one in truths):
            found[slot.column] = Confusion.of([answer for answer, _ in pairs], truths)
    return found


def _of_its_row(error: DataError, task: Task, split: str, rows: Sequence[int]) -> DataError:
    """A metric counts the samples it is given; a person, the rows of the split."""
    if isinstance(error.sample, int):
        error.sample = f"{split} row {rows[error.sample]}"
    return error.at(task=task.name)


def _named(metrics: Sequence[Metric], figures: Sequence[Mapping[str, float]], taken: Iterable[str]) -> dict[str, float]:
    """The figures of several metrics: a headline as it is called; `METRIC/figure` for another that two of them have."""
    often = Counter(name for own in figures for name in own)
    found: dict[str, float] = {}
    for metric, own in zip(metrics, figures, strict=True):
        for name, value in own.items():
            plain = name not in found and name not in taken and (name == metric.main or often[name] == 1)
            found[name if plain else f"{metric.name}/{name}"] = value
    return found


@dataclass
class Answered:
    """Rows of a split, answered. rows: their numbers. predictions, references: a dict a row, by column. answers: what
    was generated for each. bad: (number of the row, why) of those that could not be read.
    """

    judged: Judged
    rows: list[int] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    bad: list[tuple[int, DataError]] = field(default_factory=list)
    batches: list[tuple[int, Answered]] = field(default_factory=list)
    """What it is made of, each with its number, where others have the rest."""

    @classmethod
    def joined(cls, shares: Sequence[Answered]) -> Answered:
        """What several processes answered, in the order of the batches."""
        if len(shares) == 1:
            return shares[0]
        whole = cls(Judged())
        for _, batch in sorted((one for share in shares for one in share.batches), key=lambda one: one[0]):
            whole.take(batch)
        return whole

    def take(self, other: Answered) -> None:
        """The rows of `other` too, after its own."""
        self.judged.take(other.judged)
        for name in ("rows", "predictions", "references", "answers", "bad"):
            getattr(self, name).extend(getattr(other, name))


def predict_task(
    model: GeneralistModel, task: Task, split: str, program: Program, batch_size: int = 32, limit: int | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Judged]:
    """(answers of each row, by column; its true values; what the criteria found)."""
    found = answer_rows(model, task, split, program, batch_size, limit)
    return found.predictions, found.references, found.judged


@torch.no_grad()
def answer_rows(
    model: GeneralistModel,
    task: Task,
    split: str,
    program: Program,
    batch_size: int = 32,
    limit: int | None = None,
    *,
    stop: bool = True,
    generated: bool = True,
    place: Place = ALONE.place,
) -> Answered:
    """Answer the rows of a split, `limit` of them evenly spread. stop: whether a bad row is an error; else it is
    counted in `bad`. generated: whether answers are made; without, rows are only judged by their criteria. place: of
    several processes that answer a share of the batches each, which one this is.
    """
    rows = spread_rows(len(task.source(split)), limit)
    found, columns = Answered(Judged()), set[str]()
    with model.answering():
        for number, numbers in place.share(list(enumerate(sequential(len(rows), batch_size)))):
            own = _answered(model, task, split, program, rows[numbers].tolist(), columns, stop, generated)
            found.take(own)
            if place.size > 1:
                found.batches.append((number, own))
    for column, other in task.references.items():
        if columns and other not in columns:
            _log.warning(
                f"task {task.name!r}: no {split} row has the column {other!r} that references names, so answers are "
                "scored "
                f"against {column!r} alone; {nearest(other, columns)}the rows have {', '.join(sorted(columns))}"
            )
    return found


def _answered(
    model: GeneralistModel,
    task: Task,
    split: str,
    program: Program,
    rows: Sequence[int],
    columns: set[str],
    stop: bool,
    generated: bool,
) -> Answered:
    """Some rows of a split, answered as one batch. columns: those that rows have are added."""
    found, samples = Answered(Judged()), list[Sample]()
    for row in rows:
        try:
            values, sample, truth = _read_true(task, program, split, row)
        except DataError as error:
            if stop or isinstance(error, LoadingError):
                raise
            found.bad.append((row, error))
            continue
        columns.update(values)
        samples.append(sample)
        found.rows.append(row)
        found.references.append(truth)
    if samples:
        with model.computing():  # rows are read in the precision they always are
            memory = found.judged.add(model, program, samples)
    if samples and generated:
        answers = flow.generate(model, program, samples, task.generate, found.rows, memory)
        found.answers = [ways[0] for ways in answers]
        made = zip(samples, found.answers, strict=True)
        found.predictions = [flow.postprocess(program, sample, answer) for sample, answer in made]
    return found


def _read_true(task: Task, program: Program, split: str, row: int) -> tuple[Row, Sample, dict[str, Any]]:
    """A row, its sample, and its right answers."""
    root = task.source(split).root
    random = np.random.Generator(np.random.PCG64(sample_seed(0, f"{task.name}/{split}", 0, row)))
    values, sample = read(task, program, split, row, random)
    with of_row(task, f"{split} row {row}"):
        return values, sample, true_values(program, values, root) | task.right_answers(program, values, root)


def true_rows(task: Task, split: str, program: Program, limit: int | None = None) -> Answered:
    """Rows of a split with their right answers, which stand for what was answered; bad rows are left out."""
    found = Answered(Judged())
    for row in spread_rows(len(task.source(split)), limit).tolist():
        try:
            found.references.append(_read_true(task, program, split, row)[2])
        except DataError as error:
            found.bad.append((row, error))
            continue
        found.rows.append(row)
    found.predictions = found.references
    return found


def spread_rows(n: int, limit: int | None) -> np.ndarray:
    """All of range(n), or `limit` of them evenly spread."""
    if limit is None or limit >= n:
        return np.arange(n)
    return (np.arange(limit) * n) // limit


def true_values(program: Program, row: Mapping[str, Any], root: str | Path | None = None) -> dict[str, Any]:
    """The row's own values of the slots that are generated, as an answer would hold them. root: where relative paths
    start.
    """
    context = Context(root=root)
    row = program.plan.spread(row)
    found: dict[str, Any] = {}
    for slot in program.plan.answered:
        value, canonical = row.get(slot.column), program.preprocessors[slot.index].canonical
        if value is None and slot.optional:
            found[slot.column] = None
            continue
        many = elements(value) if slot.group is not None else None
        found[slot.column] = canonical(value, context) if many is None else [canonical(one, context) for one in many]
    return found


def column_values(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[Any]:
    """What a metric reads of each row: the value of its column, or a tuple of those of several."""
    if len(columns) == 1:
        return [row[columns[0]] for row in rows]
    return [tuple(row[column] for column in columns) for row in rows]


@dataclass
class Judged:
    """What the criteria found over a split. slots: slot -> (sum of unit losses, units). left_out: slot -> why ->
    values.
    """

    slots: dict[int, tuple[float, int]] = field(default_factory=dict)
    left_out: dict[int, dict[str, int]] = field(default_factory=dict)

    def add(self, model: GeneralistModel, program: Program, samples: Sequence[Sample]) -> Hidden | None:
        """Judge some samples more; the states of their source, which answers are made from too."""
        batch = to_device(flow.collate(program, samples), model.device)
        if not batch.targets:
            return None
        states = flow.compute(model, flow.adapt(model, batch))
        loss = flow.criterion(model, program, flow.emit(model, program, states, batch), batch)
        for slot in learned(program, batch):
            self._add(slot, float(loss.sums[slot]), batch.counts[slot])
        for slot, reasons in loss.left_out.items():
            self._leave_out(slot, {why: int(values) for why, values in reasons.items()})
        return states.source

    def take(self, other: Judged) -> None:
        """What was found of other samples too."""
        for slot, (value, count) in other.slots.items():
            self._add(slot, value, count)
        for slot, reasons in other.left_out.items():
            self._leave_out(slot, reasons)

    def _add(self, slot: int, value: float, count: int) -> None:
        before, counted = self.slots.get(slot, (0.0, 0))
        self.slots[slot] = (before + value, counted + count)

    def _leave_out(self, slot: int, reasons: Mapping[str, int]) -> None:
        own = self.left_out.setdefault(slot, {})
        for why, values in reasons.items():
            own[why] = own.get(why, 0) + values

    def loss(self, program: Program) -> float:
        """Per slot its mean times its weight, summed; NaN where nothing was judged."""
        weights = {slot.index: slot.weight for slot in program.plan.slots}
        terms = [weights[slot] * mean(value, count) for slot, (value, count) in self.slots.items()]
        return sum(terms) if terms else nan


def learned(program: Program, batch: Batch) -> list[int]:
    """The slots of a batch that have a loss of their own, even where none of their values could be judged."""
    slots = {slot for slot, count in enumerate(batch.counts) if count}
    slots |= {targets.slot for targets in batch.targets if isinstance(targets, SlotTargets)}
    views = program.plan.views
    return sorted(slots - ({views.right} if views is not None else set()))  # both views share the left one's


def mean(total: float, count: int) -> float:
    """NaN of nothing: a loss over nothing is not 0."""
    return total / count if count else nan


def left_out(program: Program, reasons: Mapping[int, Mapping[str, int]]) -> dict[str, int]:
    """WHY/COLUMN -> how many values of the slot could not be judged."""
    return {
        f"{why}/{logged(program, slot)}": values
        for slot, found in reasons.items()
        for why, values in found.items()
        if values
    }


def logged(program: Program, slot: int) -> str:
    """What a slot is called in the log: its column, and its criterion where another learned slot has that column."""
    own = program.plan.slots[slot]
    clash = any(s.criterion and s.index != slot and s.column == own.column for s in program.plan.slots)
    return f"{own.column}:{own.criterion.name}" if clash and own.criterion else own.column


__all__ = [
    "Answered",
    "answer_rows",
    "classes_of",
    "column_values",
    "evaluate_task",
    "figures_of",
    "metric_columns",
    "predict_task",
    "scored",
    "spread_rows",
    "true_values",
]
