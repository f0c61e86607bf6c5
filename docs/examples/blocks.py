"""A schedule in blocks: some steps of one task, then as many of the next."""

from dataclasses import dataclass

from ofasys.task.schedule import Turn


@dataclass(frozen=True)
class Blocks:
    """One task a step, `steps` of them in a row; a task's weight makes its blocks longer."""

    steps: int = 50

    def turns(self, step, tasks):
        """The task whose block the step lies in."""
        blocks = [[task.name] * max(1, round(self.steps * task.weight)) for task in tasks]
        pattern = [name for block in blocks for name in block]
        return [Turn(pattern[step % len(pattern)])]


BLOCKS = Blocks()
