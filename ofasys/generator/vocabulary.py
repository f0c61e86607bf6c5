"""The output rows laid out once for decoding: all scores in float32, and the best of them by few bits.

`n` states, `D` width, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ofasys.generator.shortlist import EightBits, HalfBits, Rough, Shortlist
from ofasys.model.matrix import Product

if TYPE_CHECKING:
    from typing import Annotated as Float

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

    def scores(self, x: Float[Tensor, "n D"], lo: int, hi: int) -> Float[Tensor, "n U"]:
        """Of the tokens lo..hi, in float32; the caller may overwrite them."""
        if 2 * (hi - lo) < len(self.table):
            return x @ self.table[lo:hi].t()
        if self._product is None:  # where the best are enough it is never laid out
            self._product = Product(self.table, None, torch.float32)
        return self._product(x)[:, lo:hi]
