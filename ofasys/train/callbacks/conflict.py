"""How far the gradients of tasks point the same way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from ofasys.errors import ConfigError, nearest
from ofasys.train.callback import Callback, RunView


class Conflict(Callback):
    """Every so many updates, the cosine of each task's gradient with each other's, over all weights: below 0 they pull
    against each other (Yu et al. 2020). In the log as `conflict`, a line a task: `cosine/OTHER`, and their mean.

    Tasks of one update are compared with each other at the same weights; of updates of one task, the next one of each
    is taken. It costs, while it looks, one copy of the gradients a task and two at each micro-batch, and no pass.
    """

    def __init__(self, every: int = 100, tasks: Sequence[str] | None = None) -> None:
        """every: updates from one look to the next. tasks: which are compared. None: all."""
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ConfigError(f"Conflict has every={every!r:.40}; it is 1 update or more")
        if isinstance(tasks, str) or (tasks is not None and len(tasks) < 2):
            raise ConfigError(f"Conflict has tasks={tasks!r:.60}; give two names or more, or None for all tasks")
        self.every, self.tasks = every, tasks
        self.seen: dict[str, dict[nn.Parameter, Tensor]] = {}

    def before_fit(self, run: RunView) -> None:
        """Errors: ConfigError for a task there is not."""
        names = [task.name for task in run.tasks]
        for name in self.tasks or ():
            if name not in names:
                raise ConfigError(
                    f"Conflict has a task {name!r}, and there is none; {nearest(name, names)}tasks: {', '.join(names)}"
                )
        self.seen = {}

    def wants_gradients(self, run: RunView) -> bool:
        """From each `every`-th update on, until each task was met once."""
        return self._looking(run.step + 1)

    def after_step(self, run: RunView) -> None:
        """Keep what is new; tell all, where all are there or it is time to look anew."""
        if not self._looking(run.step):
            return
        wanted = [task.name for task in run.tasks if self.tasks is None or task.name in self.tasks]
        met = [name for name in run.gradients if name in wanted]
        self.seen |= {name: dict(run.gradients[name]) for name in met if name not in self.seen}
        if self.seen and (len(self.seen) == len(wanted) or run.step % self.every == self.every - 1):
            self._tell(run)
            self.seen = {}

    def _looking(self, update: int) -> bool:
        return bool(self.seen) or update % self.every == 0

    def _tell(self, run: RunView) -> None:
        pairs = list(combinations(self.seen, 2))
        if not pairs:
            return
        cosines = torch.stack([cosine(self.seen[one], self.seen[other]) for one, other in pairs]).tolist()
        for name in self.seen:
            own = {
                other if one == name else one: value
                for (one, other), value in zip(pairs, cosines, strict=True)
                if name in (one, other)
            }
            mean = {"cosine": sum(own.values()) / len(own)}
            run.tell("conflict", mean | {f"cosine/{other}": value for other, value in own.items()}, name)


def cosine(one: dict[nn.Parameter, Tensor], other: dict[nn.Parameter, Tensor]) -> Tensor:
    """() of two gradients; what only one of them has counts in its length. 0 where one of them is 0."""
    dots = [torch.dot(x.reshape(-1), other[p].reshape(-1)) for p, x in one.items() if p in other]
    squares = [torch.stack([x.square().sum() for x in each.values()]).sum() for each in (one, other)]
    length = (squares[0] * squares[1]).sqrt()
    dot = torch.stack(dots).sum() if dots else torch.zeros_like(length)
    return torch.where(length > 0, dot / length, 0.0)
