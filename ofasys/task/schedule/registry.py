"""The schedules by name, and what a trainer is given made one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from ofasys.arguments import record
from ofasys.errors import ConfigError
from ofasys.packages import with_brought
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


@lru_cache(maxsize=1)
def known_schedules() -> Mapping[str, Schedule]:
    """The built-in schedules and those of installed packages, by name; theirs are entry points `ofasys.schedules`, each
    an object with `turns(step, tasks)` under the name of its entry.

    Errors: ConfigError naming the entry point that does not load, is no schedule, or has a name that is taken.
    """
    entries = entry_points(group="ofasys.schedules")
    return with_brought(SCHEDULES, entries, Schedule, "schedule", lambda entry, schedule: entry.name)


def find(schedule: str | Mapping[str, Any] | Schedule, schedules: Mapping[str, Schedule] | None = None) -> Schedule:
    """The schedule of that name, of `known_schedules` if None are given, with the options of a mapping such as {"name":
    "temperature", "cap": 1000}; an object with `turns(step, tasks)` as it is.

    Errors: ConfigError for a name or an option there is not, and for what is no schedule.
    """
    if isinstance(schedule, str | Mapping):
        return record("schedule", schedule, known_schedules() if schedules is None else schedules)
    if isinstance(schedule, type) or not isinstance(schedule, Schedule):
        raise ConfigError(
            f"not a schedule: {schedule!r:.80}; give a name or an object with a method turns(step, tasks)"
        )
    return schedule
