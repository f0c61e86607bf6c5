"""What an update is made of: its micro-batches, what those of one instruction count together, and their sums for the
log.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ofasys.program.program import Program
from ofasys.task.loader import Delivery
from ofasys.train.evaluate import left_out, logged, mean
from ofasys.types import Batch, Loss


@dataclass(frozen=True)
class Part:
    """One micro-batch of an update.

    batch None: all its rows were bad. units: slot -> what can be judged of it. figures: rewards. seconds, of which
    waited: what it took so far.
    """

    delivery: Delivery
    batch: Batch | None
    units: dict[int, int]
    figures: dict[str, float]
    seconds: float
    waited: float

    @property
    def key(self) -> tuple[str, int]:
        """Whose part it is: the task's name, and the number of its instruction."""
        return self.delivery.ticket.task, self.delivery.instruction

    @property
    def judged(self) -> bool:
        """Whether there is anything that can be judged."""
        return any(self.units.values())


@dataclass
class Combined:
    """What the micro-batches of one instruction are together in an update. drawn, of which judged: how many they
    are.
    """

    units: dict[int, int] = field(default_factory=dict)
    drawn: int = 0
    judged: int = 0

    def add(self, part: Part) -> None:
        """One more of them."""
        self.drawn += 1
        self.judged += part.judged
        for slot, count in part.units.items():
            self.units[slot] = self.units.get(slot, 0) + count


@dataclass
class Window:
    """Sums of one task since the last report. seen: its samples since the run began."""

    losses: dict[str, tuple[float, int]] = field(default_factory=dict)
    besides: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    total: float = 0.0
    judged: int = 0
    batches: int = 0
    seen: int = 0
    positions: int = 0
    padded: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, part: Part, loss: Loss, program: Program, judged: int, seconds: float) -> None:
        """One micro-batch more, of `judged` whose losses add up to that of their whole batch."""
        batch = part.batch
        assert batch is not None
        for slot, (value, count) in loss.slots.items():
            name = logged(program, slot)
            before, counted = self.losses.get(name, (0.0, 0))
            self.losses[name] = (before + value, counted + count)
        for slot, figures in loss.figures.items():
            for name, value in figures.items():
                key = f"{name}/{logged(program, slot)}"
                self.besides[key] = self.besides.get(key, 0.0) + value
        for key, values in left_out(program, loss.left_out).items():
            self.left_out[key] = self.left_out.get(key, 0) + values
        if part.judged:
            self.total += float(loss.total.detach()) * judged
            self.judged += 1
        self.batches += 1
        self.seen += batch.size
        self.positions += batch.positions
        self.padded += batch.padded
        self.seconds += seconds
        self.waited += part.waited

    def figures(self) -> dict[str, float]:
        """loss: as minimised. loss/COLUMN: mean a token, or a unit of its criterion, whose own figures follow.

        NaN where nothing was judged. useful: positions over what padding would make of them.
        """
        found = {"loss": mean(self.total, self.judged), "samples": self.seen}
        found |= {f"loss/{name}": mean(value, count) for name, (value, count) in self.losses.items()}
        found |= {name: value / self.batches for name, value in self.besides.items()}
        found |= self.left_out
        found |= {
            "tokens_per_second": self.positions / max(self.seconds, 1e-9),
            "useful": self.positions / max(self.padded, 1),
            "waiting": self.waited / max(self.seconds, 1e-9),
        }
        return found
