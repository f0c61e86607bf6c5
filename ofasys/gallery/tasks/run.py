"""The run of one or several tasks of the gallery, as a run file would say it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError, nearest
from ofasys.gallery.tasks import TASKS
from ofasys.gallery.tasks.rows import row_files
from ofasys.gallery.tasks.task import OPTIMIZER, GalleryTask
from ofasys.task.task import Task

ALL = "all"
EVALUATIONS = 4  # of a run
EVALUATED = 500  # valid rows of each task


def chosen(names: Sequence[str]) -> list[GalleryTask]:
    """The tasks of these names, in their own order; of `all` every one.

    Errors: ConfigError for one that is not known, or no name.
    """
    known = {task.name: task for task in TASKS}
    for name in names:
        if name not in known and name != ALL:
            raise ConfigError(f"no task {name!r} in the gallery; {nearest(name, known)}ofasys tasks lists them")
    if not names:
        raise ConfigError("no task of the gallery was named; ofasys tasks lists them")
    return [task for task in TASKS if ALL in names or task.name in names]


def run_of(names: Sequence[str]) -> dict[str, Any]:
    """tasks, model and trainer of a run: a tiny model, as many steps as the recipes of the tasks have together.

    Errors: ConfigError for a task that is not known; DataError for a package that is not fetched, before anything is
    made or trained.
    """
    tasks = chosen(names)
    for task in tasks:
        task.data(Path())
    steps = sum(task.steps for task in tasks)
    return {
        "tasks": {task.name: fields_of(task) for task in tasks},
        "model": {"size": "tiny", "text_pieces": max(task.text_pieces for task in tasks)},
        "trainer": {
            "max_steps": steps,
            "optimizer": tasks[0].optimizer if len(tasks) == 1 else OPTIMIZER,
            "lr": min(task.lr for task in tasks),
            "eval_every": max(1, steps // EVALUATIONS),
            "eval_samples": EVALUATED,
            "out": f"runs/gallery-{ALL if ALL in names else '-'.join(task.name for task in tasks)}",
        },
    }


def fields_of(task: GalleryTask) -> dict[str, Any]:
    """The fields of its `Task`, its rows as paths. Errors: those of `row_files`."""
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in task.settings.items()}
    return {
        "instruction": list(task.instructions),
        **{split: str(path) for split, path in row_files(task).items()},
        "metrics": [task.metric],
        **settings,
    }


def gallery_task(name: str, **settings: Any) -> Task:
    """A task of the gallery with its rows, to train in Python. settings: in place of its own, as `Task` takes them.

    Errors: ConfigError for a task that is not known, DataError for a package that is not fetched.
    """
    (task,) = chosen([name])
    return Task(name, **{**fields_of(task), **settings})
