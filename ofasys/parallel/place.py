"""Which of the processes of a run this one is, as its launcher says in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ofasys.errors import ConfigError

Shared = TypeVar("Shared")

RANK, SIZE, LOCAL, ADDRESS, PORT = "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"


@dataclass(frozen=True)
class Place:
    """One of `size` processes."""

    rank: int = 0
    """Its number, from 0."""
    size: int = 1
    """How many there are on all machines."""
    local: int = 0
    """Its number on its machine: which GPU it takes."""

    @classmethod
    def told(cls, environment: Mapping[str, str] = os.environ) -> Place:
        """What `torchrun`, or `ofasys train --nproc`, says; alone where nobody says anything.

        Errors: ConfigError for numbers that are none, or a rendezvous of which a part is missing.
        """
        if SIZE not in environment:
            return cls()
        size = number_of(environment, SIZE)
        if size < 1:
            raise ConfigError(f"{SIZE} is {size}; it is 1 or more: start the run by torchrun, or unset it")
        if size == 1:
            return cls()
        if missing := [name for name in (RANK, ADDRESS, PORT) if name not in environment]:
            raise ConfigError(
                f"{SIZE} is {size}, and {' and '.join(missing)} not set; start the run by torchrun or by "
                f"`ofasys train --nproc {size}`, or unset {SIZE}"
            )
        rank = number_of(environment, RANK)
        if not 0 <= rank < size:
            raise ConfigError(f"{RANK} is {rank}, and {SIZE} {size}; a process is numbered from 0 to {size - 1}")
        return cls(rank, size, number_of(environment, LOCAL) if LOCAL in environment else rank)

    def share(self, things: Sequence[Shared]) -> Sequence[Shared]:
        """Those of things known to all that are this process's: each belongs to one, and neighbours to several."""
        return things[self.rank :: self.size]

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return self.rank == 0


def number_of(environment: Mapping[str, str], name: str) -> int:
    """A variable that holds a whole number. Errors: ConfigError for anything else."""
    try:
        return int(environment[name])
    except ValueError:
        raise ConfigError(f"{name} is {environment[name]!r}; it is a whole number: start the run by torchrun") from None
