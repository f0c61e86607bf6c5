"""What generators ask of a model. They know no model, modality or embedding; whoever joins them adapts.

`B` sources, `R` rows = B * group (row r belongs to source r // group), `n` new positions, `D` width, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from ofasys.generator.constraint import Ints


class Decoder(Protocol):
    """A model, its sources encoded, ready to go on token by token.

    table (V, D): the output embedding. transposed (D, V): the same, laid out the other way, or None; one row at a time
    is multiplied faster by it.
    """

    @property
    def sources(self) -> int:
        """B."""
        ...

    @property
    def table(self) -> Tensor:
        """(V, D)."""
        ...

    @property
    def transposed(self) -> Tensor | None:
        """(D, V), contiguous, or None."""
        ...

    def start(self, group: int, max_length: int) -> None:
        """Begin anew with `group` rows a source and room for max_length positions."""
        ...

    def step(self, tokens: Tensor, parents: Tensor | None, grid: Tensor | None = None) -> Tensor:
        """Append tokens (R, n) to all rows -> the hidden state after the last (R, D).

        parents (R,): row r first becomes what row parents[r] was; None: nothing moves. grid (R, n, 2): y and x of each
        token, -1 where it has none; None where none has.
        """
        ...

    def plant(self, prefixes: Sequence[Ints]) -> tuple[Branches, Tensor]:
        """Begin anew with a row a source, each after its own prefix -> (ways on from there, the state after it (B,
        D)).
        """
        ...

    def branch(self) -> Branches:
        """Ways on from the rows as they stand; the rows themselves stay as they are."""
        ...


class Branches(Protocol):
    """Many ways to go on from the same rows: a tree of tokens, whose nodes are numbered as they are added.

    count: nodes so far; lowering it forgets the last.
    """

    count: int

    def grow(self, rows: Ints, parents: Ints, tokens: Ints) -> Tensor:
        """Add nodes, tokens (n,) after nodes `parents` (n,), or after the rows (n,) themselves where that is -1 -> the
        states after them (n, D).
        """
        ...


class Continuation(Protocol):
    """A model after all that came before a value, R rows, ready for values that are no tokens.

    hidden (R, D): the state after what came before, and after what `step` appended.
    """

    hidden: Tensor

    @property
    def rows(self) -> int:
        """R."""
        ...

    @property
    def room(self) -> int:
        """Positions that may still come."""
        ...

    def step(self, embedding: Tensor) -> Tensor:
        """Append n positions to all rows, embedding (R, n, D) -> the state after the last (R, D)."""
        ...

    def peek(self, embedding: Tensor) -> Tensor:
        """n positions that see each other and all before, embedding (R, n, D) -> their states (R, n, D). Nothing is
        kept.
        """
        ...
