"""How good a task's answers are, beside answers given without looking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ofasys.errors import ConfigError
from ofasys.gallery.pages.page import Judged, Judging

if TYPE_CHECKING:
    from ofasys.generalist import GeneralistModel
    from ofasys.task.task import Task


def judge(
    model: GeneralistModel, task: Task, seed: int, judging: Judging | None = None, limit: int | None = None
) -> Judged:
    """The task's first metric on its test rows (at most `limit`, evenly spread), for the model and for the best trivial
    answer.

    Values are canonical, as answers hold them. Errors: ConfigError for a metric that can score no trivial answer.
    """
    from ofasys import flow
    from ofasys.report.trivial import trivial
    from ofasys.train.evaluate import answer_rows, scored

    how = Judging() if judging is None else judging
    program = flow.bind(model, task.plan, task.labels)
    metric, test = task.metrics[0], task.source("test")
    answered = answer_rows(model, task, "test", program, how.batch_size, limit)
    best = trivial(task, program, metric, answered, "test", seed, how.looked_at)
    if best is None:
        raise ConfigError(
            f"task {task.name!r}: metric {metric.name} can score none of the answers given without looking; judge the "
            f"task first by a metric that reads the values of its rows"
        )
    _, answers, truths = scored(program, metric, answered)
    figures = metric(answers, truths, root=test.root)
    rows = [test[i] for i in answered.rows]
    return Judged(
        task,
        metric.main,
        metric.higher_is_better,
        figures,
        best.value,
        best.kind,
        rows,
        answered.predictions,
        answered.references,
    )
