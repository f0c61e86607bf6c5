"""How many tokens a row of a task has, for a schedule that counts in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ofasys import flow
from ofasys.errors import DataError
from ofasys.program.program import Program
from ofasys.task.loader import read
from ofasys.task.order import sample_seed
from ofasys.task.task import Task
from ofasys.train.evaluate import spread_rows

ROWS = 16  # of each task, evenly spread


def tokens_of_a_row(task: Task, programs: Sequence[Program], seed: int) -> float:
    """Stream positions of a training row, both sides together: the mean of a few rows, over the task's instructions.

    Errors: DataError where none of these rows can be used.
    """
    found: list[int] = []
    errors: list[DataError] = []
    for row in spread_rows(len(task.source("train")), ROWS).tolist():
        for program in programs:
            random = np.random.Generator(np.random.PCG64(sample_seed(seed, f"{task.name}/tokens", 0, row)))
            try:
                sample = read(task, program, "train", row, random, training=True)[1]
            except DataError as error:
                errors.append(error)
            else:
                found.append(flow.collate(program, [sample]).positions)
    if not found:
        raise errors[0]
    return sum(found) / len(found)
