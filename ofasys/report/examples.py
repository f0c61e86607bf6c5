"""Rows with their answers, right and wrong, each value as its modality shows it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ofasys.errors import DataError, OfasysError
from ofasys.metric import METRICS, Metric
from ofasys.modality import Registry, View, default_registry
from ofasys.modality.shared import media
from ofasys.planner import Plan, SlotPlan
from ofasys.program.program import Program
from ofasys.task.task import Task, metric_columns
from ofasys.train.evaluate import Answered, column_values

SHOWN = 6  # rows of a kind
LETTERS = 400  # of a text
LISTED = 20  # values of a repetition


@dataclass(frozen=True)
class Sorted:
    """Numbers of the answered rows, by how good they are."""

    good: list[int]
    poor: list[int]
    """The worst last."""
    heads: tuple[str, str]
    """What the two lists are called."""
    by: str
    """How they were told apart."""


def sort_rows(task: Task, program: Program, answered: Answered, split: str) -> Sorted:
    """Right and wrong rows where answers are equal to their references or not; else the best and the worst.

    By the task's first metric, row by row, if it tells rows apart; else by whether all answered columns are equal.
    Pairs of views, of which none is right by itself, by how near they are.
    """
    n, metric = len(answered.rows), next(iter(task.metrics), None)
    if any(slot.made_as.embedded for slot in program.plan.answered):
        near = sorted(range(n), key=lambda i: (-answered.answers[i].score, i))
        half = min(SHOWN, n // 2)
        return Sorted(
            near[: max(1, half)], near[n - half :], ("the nearest pairs", "the farthest pairs"), "by their cosine"
        )
    each = [] if metric is None else row_figures(task, program, metric, answered, split)
    equal = [_equal(program, answered, i) for i in range(n)]
    if each and set(each) <= {0.0, 1.0} and metric is not None and metric.higher_is_better and any(each):
        good = [i for i in range(n) if each[i] == 1.0]
        return Sorted(good, [i for i in range(n) if each[i] != 1.0], ("right", "wrong"), f"by {metric.main}")
    if any(equal) or metric is None or len(set(each)) < 2:
        good = [i for i in range(n) if equal[i]]
        return Sorted(
            good, [i for i in range(n) if not equal[i]], ("right", "wrong"), "by being equal to the true value"
        )
    order = sorted(range(n), key=lambda i: (-each[i] if metric.higher_is_better else each[i], i))
    half = min(SHOWN, n // 2)
    return Sorted(order[: max(1, half)], order[n - half :], ("the best", "the worst"), f"by {metric.main}")


def row_figures(task: Task, program: Program, metric: Metric, answered: Answered, split: str) -> list[float]:
    """The metric's headline of every row alone; nothing where it cannot be had for one of them."""
    columns = metric_columns(metric, program.plan)
    found = []
    for prediction, reference in zip(answered.predictions, answered.references, strict=True):
        answer, truth = column_values([prediction], columns), column_values([reference], columns)
        try:
            found.append(metric(answer, truth, root=task.source(split).root)[metric.main])
        except Exception:  # a metric of one's own may ask for many rows
            return []
    return found if all(math.isfinite(value) for value in found) else []


def _equal(program: Program, answered: Answered, i: int) -> bool:
    exact = METRICS["exact_match"]
    for slot in program.plan.scored:
        one, other = answered.predictions[i].get(slot.column), answered.references[i].get(slot.column)
        if slot.optional and one is None and other is None:
            continue  # both leave it out
        try:
            if exact([one], [other])["exact_match"] != 1.0:
                return False
        except (OfasysError, ValueError, TypeError):
            return False
    return True


def cards(task: Task, program: Program, answered: Answered, split: str) -> str:
    """HTML of some rows of both kinds, evenly spread, and of some that could not be read."""
    found = sort_rows(task, program, answered, split)
    parts = []
    for head, rows, kind in zip(found.heads, (found.good, found.poor), ("right", "wrong"), strict=True):
        if not rows:
            continue
        some = [rows[i] for i in media.spread(len(rows), SHOWN)]
        count = f"{len(rows):,} of {len(answered.rows):,}, " if found.heads[0] == "right" else ""
        parts.append(f"<h4 class='{kind}'>{head} <span class='muted'>({count}{media.text(found.by)})</span></h4>")
        parts.append(media.row([_card(task, program, answered, split, i) for i in some]))
    if answered.bad:
        parts.append(f"<h4 class='wrong'>not read <span class='muted'>({len(answered.bad):,} rows)</span></h4>")
        parts += [f"<p class='bad'>{media.text(error)}</p>" for _, error in answered.bad[:SHOWN]]
    return "".join(parts)


def _card(task: Task, program: Program, answered: Answered, split: str, i: int) -> str:
    source = task.source(split)
    try:
        row = source[answered.rows[i]]
    except Exception as error:
        return media.card(f"<span class='bad'>{media.text(error)}</span>")
    canvas = Canvas(program.plan, row, source.root, task.modalities or default_registry())
    score = _score(program, answered, i)
    head = f"<span class='muted'>{split} row {answered.rows[i]}{f' · {score}' if score else ''}</span>"
    return media.card(head, *canvas.parts(answered.predictions[i], answered.references[i]))


def _score(program: Program, answered: Answered, i: int) -> str:
    """Of a target that is one label its probability; of another the answer's score."""
    slots = list(program.plan.answered)
    answer = answered.answers[i]
    if len(slots) == 1 and slots[0].closed_set and slots[0].group is None and math.isfinite(answer.logprob):
        return f"probability {min(1.0, math.exp(answer.logprob)):.3f}"
    return f"score {answer.score:.3f}" if math.isfinite(answer.score) and answer.score else ""


@dataclass(frozen=True)
class Canvas:
    """One row, and how its values are shown."""

    plan: Plan
    row: Mapping[str, Any]
    root: Any
    """The folder that relative paths start from."""
    modalities: Registry
    """What its slots are of."""

    def parts(self, prediction: Mapping[str, Any], reference: Mapping[str, Any]) -> Iterator[str]:
        """HTML of the source, then of each answer with what is true."""
        drawn_on = {slot.refers_to for slot in self.plan.slots if slot.refers_to is not None}
        answered = {slot.index for slot in self.plan.answered if not slot.made_as.embedded}
        for slot in _once(self.plan.slots):
            there = self.row.get(slot.column) is not None  # a row may lack it
            if slot.index not in answered and slot.index not in drawn_on and there:
                yield self.shown(slot, _list(slot, self.row[slot.column]))
        for slot in self.plan.answered:
            if not slot.made_as.embedded:
                yield from self.answer(slot, prediction, reference)

    def truth(self) -> Iterator[tuple[SlotPlan, str]]:
        """Each slot, sources first, with its own value as HTML; boxes on the image they lie in, which is left out
        where it would stand beside them.
        """
        row = self.plan.spread(self.row)
        there = [slot for slot in self.plan.slots if row.get(slot.column) is not None]
        drawn_on = {slot.refers_to for slot in there}
        once = {slot.column: slot for slot in reversed(there)}  # the first of each column
        for slot in sorted(once.values(), key=lambda slot: (slot.side != "source", slot.index)):
            if slot.index not in drawn_on or slot.side != "source":
                yield slot, self.shown(slot, _list(slot, row[slot.column]), labels=self.words(slot, row))

    def answer(self, slot: SlotPlan, prediction: Mapping[str, Any], reference: Mapping[str, Any]) -> Iterator[str]:
        """An answer beside the true value: in one picture where they lie in a frame, else one below the other."""
        found, true = prediction.get(slot.column), reference.get(slot.column)
        name = f"<span class='muted'>{media.text(slot.column)}</span> "
        if slot.optional and found is None and true is None:
            return
        if slot.refers_to is not None and self.modalities.spec(slot.modality).show is not None:
            truths = _list(slot, true)
            yield f"{name}<br>" + self.shown(slot, _list(slot, found), truths, self.words(slot, prediction))
            return
        if isinstance(found, float) and isinstance(true, float) and found != true:  # near or far, not right or wrong
            yield f"{name}{media.text(_cut(found))}<br><span class='muted'>truth: {media.text(_cut(true))}</span>"
            return
        if _plain(found) and _plain(true):
            yield name + media.verdict(_cut(found), _cut(true), same=_same(found, true))
            return
        yield f"{name}answer:<br>{self.shown(slot, _list(slot, found))}"
        yield f"<span class='muted'>true:</span><br>{self.shown(slot, _list(slot, true))}"

    def words(self, slot: SlotPlan, prediction: Mapping[str, Any]) -> Sequence[str]:
        """Answers in words that stand in the same repetition."""
        beside = [s for s in self.plan.answered if s.answer in ("text", "label") and s.group == slot.group]
        found = prediction.get(beside[0].column) if beside and slot.group is not None else None
        return [str(one) for one in found] if isinstance(found, list | tuple) else []

    def shown(
        self, slot: SlotPlan, values: Sequence[Any], truths: Sequence[Any] = (), labels: Sequence[str] = ()
    ) -> str:
        """Values as their modality shows them, or as text; what goes wrong is said in place."""
        part = self.modalities.spec(slot.modality).show
        if part is None or not (values or truths) or any(value is None for value in values):
            return "<br>".join(media.text(_cut(value)) for value in values) or "<span class='muted'>(none)</span>"
        frame = None if slot.refers_to is None else self.row.get(self.plan.slots[slot.refers_to].column)
        view = View(slot.values | {"preprocess": slot.preprocess.name}, self.root, frame, truths, labels)
        try:
            return str(part.resolve()(values, view))
        except Exception as error:  # a file is gone, a library missing, a plug-in wrong: the page says so
            message = error.message if isinstance(error, DataError) else error
            return f"<span class='bad'>cannot be shown: {media.text(_cut(str(message)))}</span>"


def _once(slots: Sequence[SlotPlan]) -> Iterator[SlotPlan]:
    seen = set()
    for slot in slots:
        if slot.column not in seen and slot.side != "label":
            seen.add(slot.column)
            yield slot


def _list(slot: SlotPlan, value: Any) -> list[Any]:
    """The values of a slot: one, or the first LISTED of a repetition; none where it is left out."""
    if slot.group is None:
        return [] if value is None and slot.optional else [value]
    return list(value)[:LISTED] if isinstance(value, list | tuple) else [] if value is None else [value]


def _plain(value: Any) -> bool:
    """Whether a value is its own text."""
    if isinstance(value, list | tuple):
        return all(_plain(one) and not isinstance(one, list | tuple) for one in value)
    return value is None or isinstance(value, str | int | float)


def _same(one: Any, other: Any) -> bool:
    ways = other if isinstance(other, list) and not isinstance(one, list) else [other]
    try:
        return any(METRICS["exact_match"]([one], [way])["exact_match"] == 1.0 for way in ways)
    except OfasysError:
        return False


def _cut(value: Any) -> Any:
    """A value as text that is not too long; of a list as it is, each part cut."""
    if isinstance(value, list | tuple) and _plain(value):
        return [_cut(one) for one in value[:LISTED]]
    if isinstance(value, float):
        spread = getattr(value, "spread", 0.0)  # of a number that was predicted
        return f"{value:.6g}" + (f" ± {spread:.2g}" if spread else "")
    text = value if isinstance(value, str) else "(nothing)" if value is None else repr(value)
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"
