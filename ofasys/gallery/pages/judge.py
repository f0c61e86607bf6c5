"""How good a task's answers are, beside answers given without looking."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from ofasys.gallery.pages.page import Judged
from ofasys.report.trivial import trivial_answers

if TYPE_CHECKING:
    from ofasys.generalist import GeneralistModel
    from ofasys.task.task import Task

LOOKED_AT = 500  # training rows that trivial answers come from


def judge(model: GeneralistModel, task: Task, seed: int, limit: int | None = None) -> Judged:
    """The task's first metric on its test rows (at most `limit`, evenly spread), for the model and for the better
    trivial answer.
    """
    from ofasys import flow
    from ofasys.train.evaluate import metric_columns, predict_task, spread_rows, true_values

    program = flow.bind(model, task.plan, task.labels)
    metric = task.metrics[0]
    (column,) = metric_columns(metric, task.plan)
    test, train = task.source("test"), task.source("train")
    rows = [test[int(i)] for i in spread_rows(len(test), limit)]
    predictions, references, _ = predict_task(model, task, "test", program, 32, limit)
    truth = [row[column] for row in references]
    some = Random(seed).sample(range(len(train)), min(LOOKED_AT, len(train)))
    seen = [true_values(program, train[i])[column] for i in some]
    best: tuple[float, str] | None = None
    for kind, answers in trivial_answers(seen, len(truth), seed).items():
        value = metric(answers, truth)[metric.main]
        if best is None or metric.better(value, best[0]):
            best = value, kind
    assert best is not None
    figures = metric([row[column] for row in predictions], truth)
    return Judged(task, metric.main, metric.higher_is_better, figures, *best, rows, predictions, references)
