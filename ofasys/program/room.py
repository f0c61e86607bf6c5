"""Whether the tokens that an answer may have are enough for all of its slots."""

from __future__ import annotations

from collections.abc import Iterator

from ofasys.errors import ConfigError
from ofasys.planner.slot import AnyStep, Choose, Fill, Prompt
from ofasys.program.program import Program, TokenStage


def check_room(program: Program, most: int, where: str) -> None:
    """Errors: ConfigError where `max_length`, which is `most`, cannot hold what must come, while a text or a repetition
    would make room for it; where nothing varies in length it limits nothing.

    where: the instruction, or its task, for the message.
    """
    for stage in program.stages:
        if not isinstance(stage, TokenStage) or not stage.constraint.stoppable.any():
            continue
        rest = stage.constraint.rest
        if rest.least > most:
            raise ConfigError(
                f"max_length={most} has no room for all slots of {where}: they need {_count(rest.least, rest.tokens)} "
                f"tokens ({', '.join(_takes(program, stage))}); give max_length={rest.tokens} or more"
            )


def _count(least: int, most: int) -> str:
    """most: with the longest labels and ways on."""
    return f"{least}" if least == most else f"{least} to {most}"


def _takes(program: Program, stage: TokenStage) -> Iterator[str]:
    """What each step of a stage needs, in words: a text one token, and its end mark if it is not the last."""
    steps = [step for step in stage.steps if step.item is not None]
    for step, (least, tokens) in zip(steps, stage.constraint.takes, strict=True):
        if tokens:
            yield f"{_named(program, step)} {_count(least, tokens)}"


def _named(program: Program, step: AnyStep) -> str:
    if isinstance(step, Prompt):
        return repr(step.text)
    if isinstance(step, Fill):
        return program.plan.slots[step.slot].name
    return step.pattern if isinstance(step, Choose) else "the end of a repetition"
