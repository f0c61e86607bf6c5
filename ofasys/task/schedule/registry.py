"""The schedules by name, and what a trainer is given made one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from ofasys.errors import ConfigError, nearest
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
    if isinstance(schedule, Mapping):
        if not isinstance(schedule.get("name"), str):
            raise ConfigError(f"the schedule is {dict(schedule)!r:.80}; give its name too, as name: temperature")
        options = {option: value for option, value in schedule.items() if option != "name"}
        return _with(schedule["name"], find(schedule["name"], schedules), options)
    if isinstance(schedule, str):
        if schedule not in schedules:
            raise ConfigError(
                f"unknown schedule {schedule!r}; {nearest(schedule, schedules)}known here: "
                f"{', '.join(sorted(schedules))}"
            )
        return schedules[schedule]
    if isinstance(schedule, type) or not isinstance(schedule, Schedule):
        raise ConfigError(
            f"not a schedule: {schedule!r:.80}; give a name or an object with a method turns(step, tasks)"
        )
    return schedule


def _with(name: str, schedule: Schedule, options: Mapping[str, Any]) -> Schedule:
    """A registered schedule is a record: its fields are its options, and their values the defaults."""
    known: list[str] = [one.name for one in fields(schedule)] if is_dataclass(schedule) else []
    for option in options:
        if option not in known:
            there = f"its options: {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"schedule {name!r} has no option {option!r}; {nearest(str(option), known)}{there}")
    found: Schedule = replace(schedule, **options) if options else schedule  # type: ignore[type-var]
    return found
