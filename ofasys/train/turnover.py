"""Tasks that join and leave a run on a condition: looked at after each update and each evaluation, and kept with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from ofasys.errors import ConfigError, nearest
from ofasys.task.schedule import Entry, Ledger
from ofasys.task.task import Task
from ofasys.task.when import NEVER, Condition, Epochs
from ofasys.train.best import Choice, choose
from ofasys.train.callback import RunView
from ofasys.train.log import RunLog
from ofasys.train.saving import writing
from ofasys.train.state import RunState

if TYPE_CHECKING:
    from ofasys.train.setup import Setup

_log = logging.getLogger("ofasys")

JOIN, LEAVE = "join", "leave"
Event = tuple[str, str, str]  # a task, whether it joins or leaves, and why


def entries_now(tasks: Sequence[Task], state: RunState) -> list[Entry]:
    """The tasks as a schedule sees them: those whose condition was met have joined or left at that step.

    A task whose condition is another than the one that was met, or none any more, is as if it had not been.
    """
    found = []
    for task in tasks:
        met = {
            field: event["step"]
            for field, event in state.turnover.get(task.name, {}).items()
            if field in task.conditions and event["condition"] == getattr(task, field)
        }
        state.turnover[task.name] = {field: state.turnover[task.name][field] for field in met} if met else {}
        found.append(
            replace(task.entry(), **_active(met.get(JOIN, task.entry().join), met.get(LEAVE, task.entry().leave)))
        )
    state.turnover = {name: met for name, met in state.turnover.items() if met}
    return found


def _active(join: int, leave: int | None) -> dict[str, Any]:
    """A task that leaves before it was there, never joins."""
    return {"join": NEVER, "leave": None} if leave is not None and leave <= join else {"join": join, "leave": leave}


def check_conditions(tasks: Sequence[Task], eval_every: int) -> dict[str, Choice]:
    """Figure -> how it is compared, of all conditions. Errors: ConfigError for a task or figure there is not, or that
    nothing would find.
    """
    names, choices = [task.name for task in tasks], dict[str, Choice]()
    for task in tasks:
        for field, condition in task.conditions.items():
            said = f"task {task.name!r}: {field} {getattr(task, field)!r}"
            if isinstance(condition, Epochs):
                if condition.task not in names:
                    raise ConfigError(
                        f"{said}, and no task is called {condition.task!r}; {nearest(condition.task, names)}tasks: "
                        f"{', '.join(names[:8])}"
                    )
                continue
            asked = condition.figure if condition.directed else f"max:{condition.figure}"
            choices[condition.figure] = choose(asked, tasks, f"{said}: the figure")
            if not eval_every:
                raise ConfigError(f"{said}, and trainer.eval_every is 0: nothing would find it; give it")
    return choices


class Turnover:
    """Says who joins and who leaves, as a run goes on."""

    def __init__(self, setup: Setup, log: RunLog, view: RunView) -> None:
        self.setup, self.log, self.view, self.state = setup, log, view, setup.state
        self.tasks = list(setup.tasks.values())
        self.choices = check_conditions(self.tasks, setup.trainer.eval_every)
        given = [condition for task in self.tasks for condition in task.conditions.values()]
        self.of_epochs = [condition for condition in given if condition.figure is None]
        self.of_figures = [condition for condition in given if condition.figure is not None]
        self.found: Mapping[str, Mapping[str, float]] = {}
        self.changed = False
        """Whether micro-batches that were prepared ahead are those of another turnover."""

    def epochs(self, task: str) -> float:
        """How often the rows of a task have been seen."""
        one = self.setup.tasks[task]
        return self.state.drawn.get(task, 0) * one.micro_batch_size / len(one.source("train"))

    def figure(self, name: str) -> float | None:
        """A figure of the last evaluation."""
        value = self.choices[name].value(self.found) if self.found else None
        return value if value is not None and isfinite(value) else None

    def waited(self, name: str) -> int:
        """Evaluations since the best value of a figure."""
        return int(self.state.plateaus.get(name, {}).get("waited", 0))

    def updated(self, done: int) -> None:
        """After an update, the `done`-th: conditions of epochs."""
        self.tell(done, self._look(done, self.of_epochs))

    def evaluated(self, done: int, found: Mapping[str, Mapping[str, float]]) -> list[Event]:
        """After an evaluation that found these figures: conditions of figures. What has happened is not told yet."""
        self.found = found
        for name, choice in self.choices.items():
            value, before = choice.value(found), self.state.plateaus.get(name, {"best": None, "waited": 0})
            better = choice.better(value, before["best"])
            kept = {"best": value, "waited": 0} if better else {**before, "waited": before["waited"] + 1}
            self.state.plateaus[name] = kept
        return self._look(done, self.of_figures)

    def _look(self, done: int, conditions: Sequence[Condition]) -> list[Event]:
        """Who joins or leaves now. A task that has not joined does not leave."""
        if not conditions:
            return []
        events: list[Event] = []
        per = self.setup.trainer.accumulate
        active = {entry.name: entry.active(done * per) for entry in self.setup.ledger.entries}
        for task in self.tasks:
            here = active[task.name]
            for field, condition in task.conditions.items():
                due = field not in self.state.turnover.get(task.name, {}) and here == (field == LEAVE)
                why = condition.met(self) if due and condition in conditions else None
                if why is not None:
                    event = {"step": done, "condition": getattr(task, field), "why": why}
                    self.state.turnover.setdefault(task.name, {})[field] = event
                    events.append((task.name, field, why))
        if events:
            self._reschedule(done)
        return events

    def tell(self, done: int, events: Sequence[Event]) -> None:
        """Lines of the log, and warnings, of who has joined or left after `done` updates."""
        for name, field, why in events:
            _log.warning(f"task {name!r} {field}s at step {done}: {why}")
            with writing(self.setup.out, "the log", self.setup.saved):
                self.log.write("turnover", done, name, {field: why})

    def _reschedule(self, done: int) -> None:
        """The ledger from here on; the end of the run, where nobody is left to be trained."""
        setup, per = self.setup, self.setup.trainer.accumulate
        entries = {entry.name: entry for entry in entries_now(self.tasks, self.state)}
        own = [
            replace(old, join=entries[old.name].join * per, leave=_times(entries[old.name].leave, per))
            for old in setup.ledger.entries
        ]
        self.changed = True
        try:
            most = max(done, setup.max_steps) * per
            setup.ledger = Ledger(setup.ledger.schedule, own, most, (done * per, self.state.drawn))
        except ConfigError as error:
            self.view.stop(str(error))


def _times(leave: int | None, per: int) -> int | None:
    return None if leave is None else leave * per
