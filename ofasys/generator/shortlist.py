"""The best tokens of a large table by products in few bits, each then scored exactly.

A table in 8 bits is a quarter of the table, and its products are made four at a time. Their order is right but for near
ties, so more are taken than asked for, and the score of each that is taken is computed again from the table itself. The
normaliser is a sum over all tokens in which errors of either sign cancel; the share of those that were computed again
is put right in it.

`n` states, `D` width, `V` vocabulary, `k` tokens taken.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ofasys.generator.choose import best_of, scores_of, settled
from ofasys.model.linear import ALONE, LANES, LaidOut
from ofasys.model.matrix import Product
from ofasys.model.native import address, compiled

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

Rough = Callable[[Tensor, int, int, int], tuple[Tensor, Tensor, Tensor]]
WIDE = 32  # rows of a block of the table in 8 bits, as of shortlist.c
SPARE = 8  # tokens taken besides those asked for
DOUBTFUL = 40  # the same, where the best are to be proved
CROWDED = 8  # and for each that is wanted besides the first: scores lie closer there


def taken(most: int) -> int:
    """How many are taken where the `most` best are to be proved."""
    return most + DOUBTFUL + CROWDED * (most - 1)


class EightBits:
    """A table (V, D) in 8 bits a number, a scale a row. Errors: RuntimeError where the machine cannot multiply it."""

    def __init__(self, table: Float[Tensor, "V D"]) -> None:
        library = compiled("shortlist")
        if library is None:
            raise RuntimeError("no products in 8 bits on this machine")
        self.multiply: Any = library.shortlist
        V, D = table.shape
        self.size = V
        rows, self.width = -(-V // WIDE) * WIDE, -(-D // 4) * 4
        scale = (table.abs().amax(1) / 127).clamp_(min=torch.finfo(torch.float32).tiny)
        whole = table.new_zeros((rows, self.width), dtype=torch.int8)
        whole[:V, :D] = (table / scale[:, None]).round_().to(torch.int8)
        self.scale = torch.nn.functional.pad(scale, (0, rows - V), value=1.0)
        self.offset = whole.sum(1, dtype=torch.int32) * 128  # states are stored plus 128
        self.table = whole.view(rows // WIDE, WIDE, self.width // 4, 4).transpose(1, 2).contiguous()
        kept = whole[:V, :D] * scale[:, None]
        self.error = float(torch.linalg.vector_norm(table - kept, dim=1).amax())  # of a row, at most
        self.length = float(torch.linalg.vector_norm(kept, dim=1).amax())

    def __call__(
        self, x: Float[Tensor, "n D"], lo: int, hi: int, k: int
    ) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"], Float[Tensor, "n"]]:
        """Roughly: the scores of the k best of the tokens lo..hi, the tokens, and the log of the normaliser."""
        n, D = x.shape
        x = x.contiguous()
        values, tokens = x.new_empty(n, k), x.new_empty(n, k, dtype=torch.int32)
        norm = x.new_empty(n)
        failed = self.multiply(
            *(address(x), D),
            *map(address, (self.table, self.scale, self.offset)),
            *(n, self.width, ctypes.c_long(lo), ctypes.c_long(hi), k, torch.get_num_threads()),
            *map(address, (values, tokens, norm)),
        )
        if failed:
            raise MemoryError(f"no room for the {k} best tokens of {n} rows")
        return values, tokens.long(), norm


def laid_out(table: Float[Tensor, "V D"]) -> LaidOut | None:
    """The products of a table in bfloat16, with sums in float32, of which the first V are its own; None where there is
    no C for them.
    """
    short = -len(table) % (ALONE * LANES)
    padded = torch.nn.functional.pad(table, (0, 0, 0, short)) if short else table
    return LaidOut(padded, None, None) if LaidOut.takes(padded, None) else None


class HalfBits:
    """A table (V, D) in bfloat16."""

    def __init__(self, table: Float[Tensor, "V D"]) -> None:
        self.laid_out = laid_out(table)
        self.product = self.laid_out or Product(table, None, torch.bfloat16)

    def __call__(
        self, x: Float[Tensor, "n D"], lo: int, hi: int, k: int
    ) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"], Float[Tensor, "n"]]:
        """As of `EightBits`."""
        return best_of(self.product(x)[:, lo:hi], lo, k)


class Screen:
    """The very best tokens of a table (V, D), found in 8 bits and proved by how far such a score can be off: what was
    not taken cannot be better.
    """

    def __init__(self, table: Float[Tensor, "V D"], rough: EightBits) -> None:
        self.table, self.rough = table, rough

    def best(
        self, x: Float[Tensor, "n D"], lo: int, hi: int, most: int
    ) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]] | None:
        """Scores, falling, and tokens; the first `most` are the best of lo..hi. None where that is not sure."""
        rough, tokens, _ = self.rough(x, lo, hi, min(taken(most), hi - lo))
        exact = scores_of(self.table, tokens, x)
        values, order = exact.sort(1, descending=True)
        step = (x.abs().amax(1, keepdim=True) / 127).clamp_(min=torch.finfo(torch.float32).tiny)
        lost = torch.linalg.vector_norm(x - (x / step).round() * step, dim=1)  # of a state, by rounding
        off = 1.001 * (torch.linalg.vector_norm(x, dim=1) * self.rough.error + lost * self.rough.length)
        if not bool((values[:, most - 1] > rough[:, -1] + off).all()):
            return None
        return values, tokens.gather(1, order)


class Shortlist:
    """The best tokens of a table (V, D), as exact as the table; the normaliser nearly so."""

    def __init__(self, table: Float[Tensor, "V D"], rough: Rough) -> None:
        self.table, self.rough = table, rough

    def best(
        self, x: Float[Tensor, "n D"], lo: int, hi: int, most: int
    ) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"], Float[Tensor, "n"]]:
        """Scores, falling, and tokens of at least `most` of the tokens lo..hi, or all; the log of the normaliser."""
        x = x.float()
        return settled(self.table, x, *self.rough(x, lo, hi, min(most + SPARE, hi - lo)))
