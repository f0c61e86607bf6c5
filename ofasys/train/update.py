"""What an update is made of: its micro-batches, what those of one instruction count together, and their sums for the
log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    counts: tuple[int, ...] = ()
    """(S,): units of each slot's loss, on all processes of the run."""
    sizes: tuple[int, ...] = ()
    """Samples of each process."""
    whole: bool = False
    """Whether each process takes all of it, so that it counts as many times less on each."""

    @property
    def key(self) -> tuple[str, int]:
        """Whose part it is: the task's name, and the number of its instruction."""
        return self.delivery.ticket.task, self.delivery.instruction

    @property
    def judged(self) -> bool:
        """Whether there is anything that can be judged, on any process."""
        return any(self.counts)

    @property
    def here(self) -> float:
        """The share of its samples that this process has."""
        return self.batch.size / sum(self.sizes) if self.batch is not None else 0.0


@dataclass
class Combined:
    """What the micro-batches of one instruction are together in an update."""

    counts: np.ndarray | None = None
    """(S,): units of each slot's loss, on all processes."""
    drawn: int = 0
    """Micro-batches."""
    judged: int = 0
    """Of these, how many have anything that can be judged."""

    def add(self, part: Part) -> None:
        """One more of them."""
        self.drawn += 1
        self.judged += part.judged
        if any(part.sizes):
            own = np.array(part.counts, dtype=np.float32)
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
    length: float | Tensor = 0.0
    """Sum of the lengths of the gradients of its updates."""
    updates: int | Tensor = 0
    """Of these, how many."""
    batches: int = 0
    """Micro-batches."""
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

    def add(self, part: Part, loss: Loss, program: Program, parts: float | Tensor, seconds: float, first: bool) -> None:
        """One micro-batch more, or a piece of one. parts: what its loss is multiplied by to be one of a whole batch.
        first: whether it is the first of its pieces.
        """
        batch = part.batch
        assert batch is not None
        for slot in learned(program, batch):
            name = logged(program, slot)
            before, counted = self.losses.get(name, (0.0, 0))
            self.losses[name] = (before + loss.sums[slot].double(), counted + batch.counts[slot])
        for slot, figures in loss.figures.items():
            self._besides(figures, logged(program, slot), part.here)
        if program.plan.rewarded is not None:
            self._besides(part.figures, logged(program, program.plan.rewarded.index), part.here)
        for slot, reasons in loss.left_out.items():
            for why, values in reasons.items():
                key = f"{why}/{logged(program, slot)}"
                self.left_out[key] = self.left_out.get(key, 0) + values
        if part.judged:
            self.total = self.total + loss.total.detach().double() * parts
        self.seen += batch.size
        self.positions += batch.positions
        self.padded += batch.padded
        self.count(part, seconds, first)

    def count(self, part: Part, seconds: float, first: bool) -> None:
        """One micro-batch more, of which this process may have nothing. first: of its pieces."""
        if first:
            self.judged += part.judged
            self.batches += 1
        self.seconds += seconds
        self.waited += part.waited

    def descended(self, length: Tensor, counted: Tensor) -> None:
        """An update of which the task had a part. length (): of the gradients of all its parts together. counted ():
        0 where they overflowed, and the length is 0; else 1.
        """
        self.length = self.length + length.double()
        self.updates = self.updates + counted.long()

    def _besides(self, figures: Mapping[str, float | Tensor], of: str, share: float) -> None:
        for name, value in figures.items():
            key = f"{name}/{of}"
            own = value.double() if isinstance(value, Tensor) else value
            self.besides[key] = self.besides.get(key, 0.0) + own * share

    def to_dict(self) -> dict[str, Any]:
        """All of it as Python numbers; the sums of this window too are such then."""
        self.losses = {name: (float(value), count) for name, (value, count) in self.losses.items()}
        self.besides = {name: float(value) for name, value in self.besides.items()}
        self.left_out = {name: int(value) for name, value in self.left_out.items()}
        self.total, self.length, self.updates = float(self.total), float(self.length), int(self.updates)
        return asdict(self)

    @classmethod
    def joined(cls, told: Sequence[Mapping[str, Any]]) -> Window:
        """The windows of all processes as one, each as `to_dict` gave it: sums over them; of times the mean."""
        whole = cls(judged=told[0]["judged"], batches=told[0]["batches"])
        for own in told:
            for name, (value, count) in own["losses"].items():
                before, counted = whole.losses.get(name, (0.0, 0))
                whole.losses[name] = (before + value, counted + count)
            for of in ("besides", "left_out"):
                sums = getattr(whole, of)
                sums |= {name: sums.get(name, 0) + value for name, value in own[of].items()}
            for of in ("total", "seen", "positions", "padded"):
                setattr(whole, of, getattr(whole, of) + own[of])
            whole.seconds += own["seconds"] / len(told)
            whole.waited += own["waited"] / len(told)
        most = max(told, key=lambda own: own["updates"])
        whole.length, whole.updates = most["length"], most["updates"]
        return whole

    def figures(self) -> dict[str, float]:
        """loss: as minimised. loss/COLUMN: mean a token, or a unit of its criterion, whose own figures follow.

        NaN where nothing was judged. gradient_norm: mean length of its updates' gradients, before clipping. useful:
        positions over what padding would make of them.
        """
        told = self.to_dict()
        found = {"loss": mean(told["total"], self.judged), "samples": self.seen}
        found |= {f"loss/{name}": mean(value, count) for name, (value, count) in told["losses"].items()}
        found |= {name: value / self.batches for name, value in told["besides"].items()}
        found |= {name: values for name, values in told["left_out"].items() if values}
        found |= {
            "gradient_norm": mean(told["length"], told["updates"]),
            "tokens_per_second": self.positions / max(self.seconds, 1e-9),
            "useful": self.positions / max(self.padded, 1),
            "waiting": self.waited / max(self.seconds, 1e-9),
        }
        return found
