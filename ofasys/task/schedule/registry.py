"""The schedules by name, and what a trainer is given made one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofasys.arguments import record
from ofasys.errors import ConfigError
from ofasys.task.schedule.accumulate import Accumulate
from ofasys.task.schedule.adaptive import Adaptive
from ofasys.task.schedule.curriculum import Curriculum
from ofasys.task.schedule.proportional import Proportional
from ofasys.task.schedule.round_robin import RoundRobin
from ofasys.task.schedule.schedule import Schedule
from ofasys.task.schedule.temperature import Temperature

SCHEDULES: dict[str, Schedule] = {
    "round_robin": RoundRobin(),
    "accumulate": Accumulate(),
    "proportional": Proportional(),
    "temperature": Temperature(),
    "curriculum": Curriculum(),
    "adaptive": Adaptive(),
}


def find(schedule: str | Mapping[str, Any] | Schedule, schedules: Mapping[str, Schedule] = SCHEDULES) -> Schedule:
    """The schedule of that name, with the options of a mapping such as {"name": "temperature", "cap": 1000}; an object
    with `turns(step, tasks)` as it is.

    Errors: ConfigError for a name or an option there is not, and for what is no schedule.
    """
    if isinstance(schedule, str | Mapping):
        return record("schedule", schedule, schedules)
    if isinstance(schedule, type) or not isinstance(schedule, Schedule):
        raise ConfigError(
            f"not a schedule: {schedule!r:.80}; give a name or an object with a method turns(step, tasks)"
        )
    return schedule
