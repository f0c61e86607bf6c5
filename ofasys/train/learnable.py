"""Whether a task leaves anything to learn."""

from __future__ import annotations

from ofasys.errors import ConfigError
from ofasys.program.program import Program, TokenStage
from ofasys.task.task import Task


def check_choice(task: Task, program: Program) -> None:
    """Errors: ConfigError when there is nothing to learn: every token of the target is forced, or a contrast has no
    others.
    """
    constraints = [stage.constraint for stage in program.stages if isinstance(stage, TokenStage)]
    tokens = any(((c.single < 0) & (c.class_of >= 0)).any() for c in constraints)
    if not tokens and not any(slot.criterion and not slot.made_as.tokens for slot in program.plan.slots):
        raise ConfigError(
            f"task {task.name!r}: its target leaves no choice, so there is nothing to learn; is its closed set of one "
            "label?"
        )
    for slot in program.plan.slots:
        if slot.made_as.embedded and task.micro_batch_size < 2:
            raise ConfigError(
                f"task {task.name!r}: a contrast of one sample has nothing to tell apart; give micro_batch_size=2 or "
                "more"
            )
        if slot.made_as.embedded and len(task.source("train")) < task.micro_batch_size:
            rows = len(task.source("train"))
            raise ConfigError(
                f"task {task.name!r}: a contrast over {task.micro_batch_size} samples of {rows} rows would tell a row "
                "apart from "
                f"itself; give micro_batch_size={rows} or less"
            )
        if slot.made_as.labelled and slot.label_slot is not None and len(program.labels[slot.label_slot]) < 2:
            raise ConfigError(
                f"task {task.name!r}: column {program.plan.slots[slot.label_slot].column!r} has one label, so there is "
                "nothing to learn"
            )
