"""What a loader is asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ticket:
    """Micro-batch number `k` of a task, to be used at `step`, which takes `of` micro-batches in all."""

    step: int
    task: str
    k: int
    of: int = 1
