"""What generators ask of a model. They know no model, modality or embedding; whoever joins them adapts.

`B` sources, `R` rows = B * group (row r belongs to source r // group), `n` new positions, `D` width, `V` vocabulary.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


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

    def full(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L, T) of L rows a source, all at once, from the first position on -> hidden states (B, L, T,
        D).
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

    def look(self, embedding: Tensor) -> Tensor:
        """n positions that see each other and all before, embedding (R, n, D) -> their states (R, n, D). Nothing is
        kept.
        """
        ...
