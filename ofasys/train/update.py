"""What an update is made of: its micro-batches, what those of one instruction count together, and their sums for the
log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofasys.program.program import Program
from ofasys.task.loader import Delivery
from ofasys.train.evaluate import learned, logged, mean
from ofasys.types import Batch, Loss


@dataclass(frozen=True)
class Part:
    """One micro-batch of an update."""

    delivery: Delivery
    batch: Batch | None
    """None: all its rows were bad."""
    figures: dict[str, float]
    """Rewards."""
    seconds: float
    """What it took so far."""
    waited: float
    """Of these, for data."""

    @property
    def key(self) -> tuple[str, int]:
        """Whose part it is: the task's name, and the number of its instruction."""
        return self.delivery.ticket.task, self.delivery.instruction

    @property
    def judged(self) -> bool:
        """Whether there is anything that can be judged."""
        return self.batch is not None and any(self.batch.counts)


@dataclass
class Combined:
    """What the micro-batches of one instruction are together in an update."""

    counts: np.ndarray | None = None
    """(S,): units of each slot's loss."""
    drawn: int = 0
    """Micro-batches."""
    judged: int = 0
    """Of these, how many have anything that can be judged."""

    def add(self, part: Part) -> None:
        """One more of them."""
        self.drawn += 1
        self.judged += part.judged
        if part.batch is not None:
            own = np.array(part.batch.counts, dtype=np.float32)
            self.counts = own if self.counts is None else self.counts + own

    def scale(self, weights: Tensor, share: float) -> Tensor:
        """(S,) float32: what a slot's sum is multiplied by in the update. weights (S,): of the slots. share: of the
        instruction in the update.
        """
        assert self.counts is not None
        return weights * share / torch.from_numpy(self.counts).clamp(min=1)


@dataclass
class Window:
    """Sums of one task since the last report, kept where the losses are: reading one makes a device finish its work."""

    losses: dict[str, tuple[float | Tensor, int]] = field(default_factory=dict)
    """Name in the log -> (sum, units)."""
    besides: dict[str, float | Tensor] = field(default_factory=dict)
    """Sums of what criteria say besides."""
    left_out: dict[str, int | Tensor] = field(default_factory=dict)
    """How many values could not be judged, and why."""
    total: float | Tensor = 0.0
    """Sum of the losses as minimised."""
    judged: int = 0
    """Micro-batches that had any."""
    batches: int = 0
    """Micro-batches, or pieces of them."""
    seen: int = 0
    """Samples of the task since the run began."""
    positions: int = 0
    """Valid stream positions, both sides."""
    padded: int = 0
    """What they would be with padding."""
    seconds: float = 0.0
    """Of forward, backward, and waiting for data."""
    waited: float = 0.0
    """Of these, those spent waiting for data."""

    def copy(self) -> Window:
        """The same sums, that do not change with these."""
        return replace(self, losses=dict(self.losses), besides=dict(self.besides), left_out=dict(self.left_out))

    def add(self, part: Part, loss: Loss, program: Program, parts: float, seconds: float, first: bool) -> None:
        """One micro-batch more, or a piece of one. parts: what its loss is multiplied by to be one of a whole batch.
        first: whether it is the first of its pieces with anything to judge.
        """
        batch = part.batch
        assert batch is not None
        for slot in learned(program, batch):
            name = logged(program, slot)
            before, counted = self.losses.get(name, (0.0, 0))
            self.losses[name] = (before + loss.sums[slot].double(), counted + batch.counts[slot])
        for slot, figures in loss.figures.items():
            self._besides(figures, logged(program, slot))
        if program.plan.rewarded is not None:
            self._besides(part.figures, logged(program, program.plan.rewarded.index))
        for slot, reasons in loss.left_out.items():
            for why, values in reasons.items():
                key = f"{why}/{logged(program, slot)}"
                self.left_out[key] = self.left_out.get(key, 0) + values
        if part.judged:
            self.total = self.total + loss.total.detach().double() * parts
            self.judged += first
        self.batches += 1
        self.seen += batch.size
        self.positions += batch.positions
        self.padded += batch.padded
        self.seconds += seconds
        self.waited += part.waited

    def _besides(self, figures: Mapping[str, float | Tensor], of: str) -> None:
        for name, value in figures.items():
            key = f"{name}/{of}"
            self.besides[key] = self.besides.get(key, 0.0) + (value.double() if isinstance(value, Tensor) else value)

    def to_dict(self) -> dict[str, Any]:
        """All of it as Python numbers; the sums of this window too are such then."""
        self.losses = {name: (float(value), count) for name, (value, count) in self.losses.items()}
        self.besides = {name: float(value) for name, value in self.besides.items()}
        self.left_out = {name: int(value) for name, value in self.left_out.items()}
        self.total = float(self.total)
        return asdict(self)

    def figures(self) -> dict[str, float]:
        """loss: as minimised. loss/COLUMN: mean a token, or a unit of its criterion, whose own figures follow.

        NaN where nothing was judged. useful: positions over what padding would make of them.
        """
        told = self.to_dict()
        found = {"loss": mean(told["total"], self.judged), "samples": self.seen}
        found |= {f"loss/{name}": mean(value, count) for name, (value, count) in told["losses"].items()}
        found |= {name: value / self.batches for name, value in told["besides"].items()}
        found |= {name: values for name, values in told["left_out"].items() if values}
        found |= {
            "tokens_per_second": self.positions / max(self.seconds, 1e-9),
            "useful": self.positions / max(self.padded, 1),
            "waiting": self.waited / max(self.seconds, 1e-9),
        }
        return found
