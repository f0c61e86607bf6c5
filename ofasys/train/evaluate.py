"""Evaluation: the loss and the metrics of a task on a split, by the same verbs as training and inference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ofasys import flow
from ofasys.errors import DataError
from ofasys.generalist import GeneralistModel
from ofasys.metric import Metric
from ofasys.modality import Context
from ofasys.planner import Repeat
from ofasys.program.batch import to_device
from ofasys.program.program import Program
from ofasys.program.sample import elements
from ofasys.task.loader import of_row, read
from ofasys.task.order import sample_seed, sequential
from ofasys.task.task import Task, metric_columns
from ofasys.types import Hidden, Sample


def evaluate_task(
    model: GeneralistModel,
    task: Task,
    split: str,
    *,
    batch_size: int = 32,
    limit: int | None = None,
    instruction: int = 0,
    program: Program | None = None,
) -> dict[str, float]:
    """loss (as in training: per slot its mean times its weight), samples, and the figures of the task's metrics, on one split.

    A figure that two metrics give, or that is called as one of these two, stands under `METRIC/figure`, a metric's headline
    excepted: ["per", "wer"] give `per`, `wer`, `per/substitutions` and `wer/substitutions`.

    limit: rows at most, spread over the split. Errors: DataError at the first bad row, naming it.
    """
    program = program or flow.bind(model, task.plans[instruction], task.labels)
    predictions, references, loss = predict_task(model, task, split, program, batch_size, limit)
    found = {"loss": loss, "samples": float(len(references))}
    figures = []
    for metric in task.metrics:
        columns = metric_columns(metric, program.plan)
        try:
            values = _values(predictions, columns), _values(references, columns)
            figures.append(metric(*values, root=task.source(split).root))
        except DataError as error:
            raise _of_its_row(error, task, split, limit) from error.__cause__
    return found | _named(task.metrics, figures, found)


def _of_its_row(error: DataError, task: Task, split: str, limit: int | None) -> DataError:
    """A metric counts the samples it is given; a person, the rows of the split."""
    if isinstance(error.sample, int):
        error.sample = f"{split} row {spread_rows(len(task.source(split)), limit)[error.sample]}"
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


@torch.no_grad()
def predict_task(
    model: GeneralistModel, task: Task, split: str, program: Program, batch_size: int = 32, limit: int | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], float]:
    """(answers and true values of each row, by column; the loss: per slot its mean times its weight, summed)."""
    rows, root = spread_rows(len(task.source(split)), limit), task.source(split).root
    predictions: list[dict[str, Any]] = []
    references: list[dict[str, Any]] = []
    losses: dict[int, tuple[float, int]] = {}
    was_training = model.training
    model.eval()
    try:
        for numbers in sequential(len(rows), batch_size):
            samples = []
            for row in rows[numbers].tolist():
                random = np.random.Generator(np.random.PCG64(sample_seed(0, f"{task.name}/{split}", 0, row)))
                values, sample = read(task, program, split, row, random)
                samples.append(sample)
                with of_row(task, f"{split} row {row}"):
                    references.append(true_values(program, values, root) | task.right_answers(program, values, root))
            slots, memory = _losses(model, program, samples)
            for slot, (loss, count) in slots.items():
                before, counted = losses.get(slot, (0.0, 0))
                losses[slot] = (before + loss, counted + count)
            answers = flow.generate(model, program, samples, task.generate, rows[numbers].tolist(), memory)
            for sample, found in zip(samples, answers, strict=True):
                predictions.append(flow.postprocess(program, sample, found[0]))
    finally:
        model.train(was_training)
    weights = {slot.index: slot.weight for slot in program.plan.slots}
    return predictions, references, sum(weights[slot] * total / max(n, 1) for slot, (total, n) in losses.items())


def spread_rows(n: int, limit: int | None) -> np.ndarray:
    """All of range(n), or `limit` of them evenly spread."""
    if limit is None or limit >= n:
        return np.arange(n)
    return (np.arange(limit) * n) // limit


def true_values(program: Program, row: Mapping[str, Any], root: str | Path | None = None) -> dict[str, Any]:
    """The row's own values of the slots that are generated, as an answer would hold them. root: where relative paths start."""
    context = Context(root=root)
    for step in program.plan.target:
        if isinstance(step, Repeat):
            row = step.group.spread(row)
    found = {}
    for slot in program.plan.answered:
        value, canonical = row.get(slot.column), program.preprocessors[slot.index].canonical
        many = elements(value) if slot.group is not None else None
        found[slot.column] = canonical(value, context) if many is None else [canonical(one, context) for one in many]
    return found


def _values(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[Any]:
    if len(columns) == 1:
        return [row[columns[0]] for row in rows]
    return [tuple(row[column] for column in columns) for row in rows]


def _losses(
    model: GeneralistModel, program: Program, samples: Sequence[Sample]
) -> tuple[Mapping[int, tuple[float, int]], Hidden | None]:
    """(slot -> (sum of losses, units), the states of the source, which answers are made from too)."""
    batch = to_device(flow.collate(program, samples), model.device)
    if not batch.goals:
        return {}, None
    states = flow.compute(model, flow.adapt(model, batch))
    return flow.criterion(flow.emit(model, program, states, batch)).slots, states.source


__all__ = ["evaluate_task", "metric_columns", "predict_task", "spread_rows", "true_values"]
