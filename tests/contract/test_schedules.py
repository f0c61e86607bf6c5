"""Every schedule keeps its contract: the built-in ones and the docs' own. One that breaks a promise is found out."""

from __future__ import annotations

import random

import numpy as np
import pytest

from ofasys.errors import ConfigError
from ofasys.task.schedule import SCHEDULES, Entry, Turn
from ofasys.testing import check_schedule


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_built_in_ones_keep_it(name):
    report = check_schedule(name)
    assert {"turns", "every task", "function"} <= {what for what, _ in report.checked}
    assert str(report).startswith(f"schedule {name} keeps its contract\n  turns       1000 steps of 4 casts of tasks")


class Own:
    """By lot, with the weights as shares: a function of the step."""

    def turns(self, step, tasks):
        lot = np.random.default_rng((3, step)).choice(len(tasks), p=self.shares(tasks))
        return [Turn(tasks[int(lot)].name)]

    def shares(self, tasks):
        weights = np.array([task.weight for task in tasks])
        return weights / weights.sum()


class Counted(Own):
    def count(self, start, stop, tasks):
        return {task.name: round((stop - start) * share) for task, share in zip(tasks, self.shares(tasks), strict=True)}


def test_the_twin_of_all_that_break_it_keeps_it():
    report = check_schedule(Own(), steps=300)
    assert report.left_out == (("count", "it has no count(start, stop, tasks)"),)
    assert dict(report.checked)["function"] == "the same in any order of 300 steps"
    check_schedule(Own(), tasks=[Entry("a"), Entry("b", weight=9)], steps=100)


class Random(Own):
    def turns(self, step, tasks):
        return [Turn(random.choice(tasks).name)]


class Remembering(Own):
    calls = 0

    def turns(self, step, tasks):
        self.calls += 1
        return [Turn(tasks[self.calls % len(tasks)].name)]


class Forgetting(Own):
    def turns(self, step, tasks):
        return [Turn(tasks[0].name)]


class Absent(Own):
    def turns(self, step, tasks):
        return [Turn("larg" if step == 5 else tasks[0].name)]


class Idle(Own):
    def turns(self, step, tasks):
        return [Turn(tasks[0].name, int(step < 9))]


class Half(Own):
    def turns(self, step, tasks):
        return [Turn(task.name, 0.5) for task in tasks]


class Named(Own):
    def turns(self, step, tasks):
        return [tasks[0].name]


class Taking(Own):
    def turns(self, step, tasks):
        return [Turn(tasks.pop().name)]


class Yielding(Own):
    def turns(self, step, tasks):
        yield Turn(tasks[0].name)


class Ending(Own):
    def turns(self, step, tasks):
        return super().turns(step, tasks) if step < 5000 else []


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (Random, "schedule Random, function: at step 999 it gives .*, and .* when asked again"),
        (Remembering, "schedule Remembering, function: at step .*; keep nothing between calls"),
        (Forgetting, "schedule Forgetting, every task: of small, large task 'large' has no turn in 1000 steps"),
        (Absent, "schedule Absent, turns: ConfigError: the schedule gives a turn to 'larg' at step 5"),
        (Idle, "schedule Idle, turns: ConfigError: the schedule gives no task a turn at step 9"),
        (Ending, "schedule Ending, turns: ConfigError: the schedule gives no task a turn at step 1000000"),
        (Half, "schedule Half, turns: at step 0 small has 0.5 micro-batches"),
        (Named, "schedule Named, turns: at step 0 it gives a str; give a Turn"),
        (Taking, "schedule Taking, turns: it changes the tasks it is given at step 0"),
        (Yielding, "schedule Yielding, turns: at step 0 it gives a generator; give a list of Turn"),
        (Counted, "schedule Counted, count: from step 0 to 1000 it counts .*, and its turns are"),
    ],
)
def test_a_broken_schedule(schedule, said):
    with pytest.raises(AssertionError, match=said):
        check_schedule(schedule())


def test_what_is_no_schedule():
    with pytest.raises(ConfigError, match="not a schedule"):
        check_schedule(Own)
    with pytest.raises(ConfigError, match="unknown schedule 'round_robbin'; did you mean round_robin"):
        check_schedule("round_robbin")
