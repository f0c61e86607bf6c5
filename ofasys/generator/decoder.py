"""What the search asks of a model. The search knows no model, modality or embedding; whoever joins them adapts.

`B` sources, `R` rows = B * group (row r belongs to source r // group), `n` new positions, `D` width, `V` vocabulary.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Decoder(Protocol):
    """A model, its sources encoded, ready to go on token by token.

    table (V, D): the output embedding. transposed (D, V): the same, laid out the other way, or None; one row at a time is
    multiplied faster by it.
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

    def step(self, tokens: Tensor, parents: Tensor | None) -> Tensor:
        """Append tokens (R, n) to all rows -> the hidden state after the last (R, D).

        parents (R,): row r first becomes what row parents[r] was; None: nothing moves.
        """
        ...

    def full(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L, T) of L rows a source, all at once, from the first position on -> hidden states (B, L, T, D)."""
        ...
