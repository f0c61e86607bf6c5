"""The output rows laid out once for decoding: all scores in float32, and the best of them by few bits.

`n` states, `D` width, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ofasys.generator.choose import normaliser
from ofasys.generator.shortlist import EightBits, HalfBits, Rough, Screen, Shortlist, laid_out, taken
from ofasys.model.linear import LaidOut
from ofasys.model.matrix import Product
from ofasys.model.native import compiled

if TYPE_CHECKING:
    from typing import Annotated as Float

SCREENED = 8  # rows at most: of more, all scores cost little more, for the table is read once
SCORED = 1024  # tokens at most that are scored one by one
TOGETHER = 64  # rows whose normalisers are computed at once
ROUGHLY: dict[str, Callable[[Tensor], Rough]] = {"bfloat16": HalfBits, "int8": EightBits}


class OutputRows:
    """A table (V, D) on a CPU. precision: "float32", or how the best are found, a name in `ROUGHLY`.

    Errors: RuntimeError where the machine cannot do it.
    """

    def __init__(self, table: Float[Tensor, "V D"], precision: str = "float32") -> None:
        self.table = table.detach()
        self.shortlist: Shortlist | None = None
        if precision in ROUGHLY:
            self.shortlist = Shortlist(self.table, ROUGHLY[precision](self.table))
        self._product: Product | None = None
        self._screen: Screen | None = None

    def scores(self, x: Float[Tensor, "n D"], lo: int, hi: int) -> Float[Tensor, "n U"]:
        """Of the tokens lo..hi, in float32; the caller may overwrite them."""
        if 2 * (hi - lo) < len(self.table):
            return x @ self.table[lo:hi].t()
        if self._product is None:  # where the best are enough it is never laid out
            self._product = Product(self.table, None, torch.float32)
        return self._product(x)[:, lo:hi]

    def drawn_from(self, x: Float[Tensor, "n D"], lo: int, hi: int) -> Float[Tensor, "n U"]:
        """As `scores`, of products in bfloat16 where the best are found in few bits: a token that is drawn need not be
        the best.
        """
        return self.scores(x, lo, hi) if self._pairs is None else self._pairs(x)[:, lo:hi]

    @cached_property
    def _pairs(self) -> LaidOut | None:
        """What draws are from; None: scores in float32."""
        if self.shortlist is None:
            return None
        rough = self.shortlist.rough
        return rough.laid_out if isinstance(rough, HalfBits) else laid_out(self.table)

    def surely_best(self, x: Float[Tensor, "n D"], lo: int, hi: int, most: int) -> tuple[Tensor, Tensor] | None:
        """Scores and tokens (n, k), the first `most` the best of lo..hi, without computing all; None where that is no
        faster, cannot be, or is not sure.
        """
        few = len(x) <= SCREENED and len(x) * taken(most) <= SCORED
        if not few or self.shortlist is not None or x.dtype != torch.float32 or not screens():
            return None
        if self._screen is None:
            self._screen = Screen(self.table, EightBits(self.table))
        return self._screen.best(x, lo, hi, most)

    def norms(self, x: Float[Tensor, "m D"], lo: int, hi: int) -> Float[Tensor, "m"]:
        """The logarithm of the normaliser over lo..hi of each state."""
        return torch.cat([normaliser(self.scores(part, lo, hi)) for part in x.split(TOGETHER)])


def screens() -> bool:
    """Whether the best can be found by products in 8 bits here."""
    return compiled("shortlist") is not None
