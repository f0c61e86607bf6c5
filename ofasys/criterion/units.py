"""What a loss is a mean over. Known from a batch alone, before the model runs: parts of an update share one divisor."""

from __future__ import annotations

from collections.abc import Iterable

from ofasys.criterion.criterion import CRITERIA
from ofasys.types import SlotTargets, TokenTargets


def units(targets: Iterable[TokenTargets | SlotTargets]) -> dict[int, int]:
    """Slot -> how many tokens, positions or values of it these targets judge; 0 where nothing of it can be judged."""
    found: dict[int, int] = {}
    for goal in targets:
        if isinstance(goal, TokenTargets):
            for slot, count in enumerate(goal.slots.bincount().tolist()):
                if count:
                    found[slot] = found.get(slot, 0) + count
        else:
            found[goal.slot] = found.get(goal.slot, 0) + CRITERIA[goal.criterion].counted(goal)
    return found


def positions(targets: SlotTargets) -> int:
    """Every position of every value."""
    return int(targets.lengths.sum())


def values(targets: SlotTargets) -> int:
    """Every value, whatever its length."""
    return len(targets.lengths)
