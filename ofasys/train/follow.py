"""What a run tells a schedule that goes by what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ofasys.parallel.ranks import ALONE, Ranks
from ofasys.task.schedule import Following, Ledger


class MeanLosses:
    """The mean loss of each task over a stretch of a run, kept where the losses are: reading one makes a device finish
    its work.
    """

    def __init__(self, sums: Mapping[str, tuple[float, int]] | None = None) -> None:
        self.sums: dict[str, tuple[float | Tensor, int]] = {
            name: (own[0], own[1]) for name, own in (sums or {}).items()
        }

    def add(self, task: str, loss: Tensor, first: bool = True) -> None:
        """loss (): of one micro-batch more, or of a piece of one. first: of its pieces."""
        before, count = self.sums.get(task, (0.0, 0))
        self.sums[task] = before + loss.double(), count + first

    @classmethod
    def joined(cls, told: Sequence[Mapping[str, Sequence[Any]]]) -> MeanLosses:
        """Those of all processes as one, each as `to_dict` gave it: each counts every micro-batch, and has a part of
        its loss.
        """
        return cls({task: (sum(own[task][0] for own in told), count) for task, (_, count) in told[0].items()})

    def means(self) -> dict[str, float]:
        """Task -> its mean loss, of those that had any."""
        return {task: float(value) / count for task, (value, count) in self.sums.items()}

    def to_dict(self) -> dict[str, list[float]]:
        """As JSON."""
        return {task: [float(value), count] for task, (value, count) in self.sums.items()}


class Follow:
    """Tells the schedule of a run, where it goes by that: each period's losses, and what evaluations find."""

    def __init__(self, ledger: Ledger, every: int, state: Mapping[str, Any], ranks: Ranks = ALONE) -> None:
        """every: updates of a period. state: what `state` gave at the last checkpoint. ranks: processes that are told
        the same.
        """
        self.schedule = ledger.schedule if isinstance(ledger.schedule, Following) else None
        kept = state.get("losses") or {}
        kept = kept if ranks.first else {task: (0.0, count) for task, (_, count) in kept.items()}
        self.every, self.losses, self.ranks = every, MeanLosses(kept), ranks

    def add(self, task: str, loss: Tensor, first: bool = True) -> None:
        """loss (): the mean loss of one micro-batch, or of a piece of one. first: of its pieces."""
        if self.schedule is not None:
            self.losses.add(task, loss, first)

    def after(self, done: int) -> None:
        """After an update, the `done`-th: at the end of a period the schedule decides."""
        if self.schedule is not None and done % self.every == 0:
            means = self._whole().means()
            self.schedule.told("train", {task: {"loss": loss} for task, loss in means.items()})
            self.schedule.decide(done)
            self.losses = MeanLosses()

    def evaluated(self, figures: Mapping[str, Mapping[str, float]]) -> None:
        """After an evaluation. figures: by task."""
        if self.schedule is not None:
            self.schedule.told("valid", figures)

    def state(self) -> dict[str, Any]:
        """As JSON, of all processes, which all ask for it; nothing where the schedule goes by the step alone."""
        if self.schedule is None:
            return {}
        return {"schedule": self.schedule.state(), "losses": self._whole().to_dict()}

    def _whole(self) -> MeanLosses:
        if not self.ranks.several:
            return self.losses
        return MeanLosses.joined(self.ranks.objects("losses that a schedule follows", self.losses.to_dict()))
