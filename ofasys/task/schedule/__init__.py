"""Which task gets micro-batches at which step, and how many each has had before a step: a run's place in its data.

A schedule is a pure function of (step, the tasks active at it), so a run can be resumed at any step; one that goes by
what the run finds, of its saved state besides. One's own is a class with one method:

    class Largest:
        def turns(self, step: int, tasks: Sequence[Entry]) -> list[Turn]:
            return [Turn(max(tasks, key=lambda task: task.size or 0).name)]
"""

from ofasys.task.schedule.accumulate import Accumulate
from ofasys.task.schedule.adaptive import Adaptive
from ofasys.task.schedule.curriculum import Curriculum
from ofasys.task.schedule.ledger import Ledger
from ofasys.task.schedule.proportional import Proportional
from ofasys.task.schedule.registry import SCHEDULES, find, known_schedules
from ofasys.task.schedule.round_robin import RoundRobin
from ofasys.task.schedule.schedule import Checked, Countable, Entry, Following, Follows, Measured, Schedule, Turn
from ofasys.task.schedule.temperature import Temperature

__all__ = [
    "SCHEDULES",
    "Accumulate",
    "Adaptive",
    "Checked",
    "Countable",
    "Curriculum",
    "Entry",
    "Following",
    "Follows",
    "Ledger",
    "Measured",
    "Proportional",
    "RoundRobin",
    "Schedule",
    "Temperature",
    "Turn",
    "find",
    "known_schedules",
]
