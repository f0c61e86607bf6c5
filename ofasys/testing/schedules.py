"""What a run relies on of a schedule: turns at every step, for every task, and that it is a function of its step."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy

import numpy as np
import torch

from ofasys.task.schedule import Countable, Entry, Ledger, Schedule, Turn, find
from ofasys.testing.promise import LEFT_OUT, Report, kept

Cast = tuple[Entry, ...]
FAR = 10**6  # a step of a long run


def _casts() -> list[Cast]:
    """Tasks of several numbers, weights and sizes."""
    small = Entry("small", size=100, micro_batch_size=4)
    large = Entry("large", weight=3, size=10_000, micro_batch_size=16)
    middle = Entry("middle", weight=0.5, size=1000)
    return [(small,), (small, large), (large, small), (small, large, middle)]


def check_schedule(schedule: str | Schedule, *, tasks: Sequence[Entry] | None = None, steps: int = 1000) -> Report:
    """Check what a schedule promises, over so many steps.

    schedule: its name, or an object with `turns(step, tasks)`. tasks: those it has to do with; several casts of one to
    three tasks, of different weights and sizes, if None.

    Errors: AssertionError for the first promise that is not kept, in a sentence that names the schedule and the check.
    ConfigError for what is no schedule, and under `python -O`, which takes assertions out.
    """
    found = find(schedule)
    name = schedule if isinstance(schedule, str) else type(found).__name__
    casts = _casts() if tasks is None else [tuple(tasks)]
    return kept(f"schedule {name}", _checks(found, casts, steps))


def _checks(schedule: Schedule, casts: Sequence[Cast], steps: int) -> Iterator[tuple[str, Callable[[], str]]]:
    """The checks in order: what is cheap and tells most comes first."""
    yield "turns", lambda: _check_turns(schedule, casts, steps)
    yield "every task", lambda: _check_everyone(schedule, casts, steps)
    yield "function", lambda: _check_function(schedule, casts, steps)
    yield "count", lambda: _check_count(schedule, casts, steps)


def _check_turns(schedule: Schedule, casts: Sequence[Cast], steps: int) -> str:
    """Each step, one far out too, has turns of active tasks, whole numbers of micro-batches; no task is changed."""
    for cast in casts:
        ledger, given = Ledger(schedule, cast), list(cast)
        for step in (*range(steps), FAR):
            turns = schedule.turns(step, given)
            assert given == list(cast), f"it changes the tasks it is given at step {step}"
            assert isinstance(turns, list), f"at step {step} it gives a {type(turns).__name__}; give a list of Turn"
            for turn in turns:
                assert isinstance(turn, Turn), f"at step {step} it gives a {type(turn).__name__}; give a Turn"
                assert isinstance(turn.count, int), f"at step {step} {turn.task} has {turn.count!r} micro-batches"
            ledger.turns(step)
    return f"{steps} steps of {len(casts)} casts of tasks, and step {FAR}"


def _check_everyone(schedule: Schedule, casts: Sequence[Cast], steps: int) -> str:
    """No task is forgotten."""
    least = 1.0
    for cast in casts:
        counts = dict.fromkeys((task.name for task in cast), 0)
        for step in range(steps):
            for turn in schedule.turns(step, list(cast)):
                counts[turn.task] += turn.count
        for name, count in counts.items():
            assert count, (
                f"of {', '.join(counts)} task {name!r} has no turn in {steps} steps; give it one, or check more steps="
            )
        least = min(least, min(counts.values()) / sum(counts.values()))
    return f"each has a turn, {least:.2g} of the micro-batches at least"


def _check_function(schedule: Schedule, casts: Sequence[Cast], steps: int) -> str:
    """A run that is resumed at any step draws what it would have drawn: turns are a function of step and tasks."""
    forward = {cast: [schedule.turns(step, list(cast)) for step in range(steps)] for cast in casts}
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    for step in range(steps - 1, -1, -1):
        for cast in reversed(casts):
            again, told = schedule.turns(step, deepcopy(list(cast))), forward[cast][step]
            assert again == told, (
                f"at step {step} it gives {_said(told)}, and {_said(again)} when asked again in another order; "
                "keep nothing between calls, and draw by np.random.default_rng((seed, step))"
            )
    return f"the same in any order of {steps} steps"


def _check_count(schedule: Schedule, casts: Sequence[Cast], steps: int) -> str:
    """What it counts at once is what its turns are, one by one."""
    if not isinstance(schedule, Countable):
        return f"{LEFT_OUT}it has no count(start, stop, tasks)"
    for cast in casts:
        for start, stop in ((0, steps), (7, 8), (steps // 3, steps // 2), (5, 5)):
            own = dict.fromkeys((task.name for task in cast), 0)
            for step in range(start, stop):
                for turn in schedule.turns(step, list(cast)):
                    own[turn.task] += turn.count
            found = schedule.count(start, stop, list(cast))
            counted = {name: found.get(name, 0) for name in own}
            assert counted == own, f"from step {start} to {stop} it counts {counted}, and its turns are {own}"
    return "as its turns are"


def _said(turns: Sequence[Turn]) -> str:
    return ", ".join(f"{turn.task} x{turn.count}" for turn in turns) or "no turns"
