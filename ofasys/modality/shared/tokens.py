"""The token adaptor: one embedding table for all token slots, and the output rows where they are others.

Where an engine brings rows of its own, those of this adaptor come after them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from ofasys.modality.vocabulary import Vocabulary
from ofasys.model.rows import JoinedRows, looked_up, looked_up_beside
from ofasys.seeds import key_of

if TYPE_CHECKING:
    from typing import Annotated as Float


class Brought(Protocol):
    """An engine that has rows of tokens itself."""

    @property
    def input_rows(self) -> Float[Tensor, "F D"]:
        """What tokens are looked up in."""
        ...

    @property
    def output_rows(self) -> Float[Tensor, "F D"]:
        """What states are compared with."""
        ...

    @property
    def input_scale(self) -> float:
        """What rows are multiplied by where they are looked up."""
        ...


class Rows(Protocol):
    """What a pass reads of tokens: their rows, and the rows that states are compared with."""

    @property
    def output(self) -> Float[Tensor, "V width"] | JoinedRows:
        """The output rows; asked for when all that is looked up has been."""
        ...

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n width"]:
        """tokens (n,) int64 -> their rows."""
        ...


class TokenAdaptor(nn.Module):
    """tokens (n,) -> (n, D), rows of `input` (V, D); scores are products with rows of `output` (V, D).

    tied: whether these are one. brought: an engine with rows of its own, F of them, which are the first of both; those
    kept here are the rest.
    """

    def __init__(
        self, options: Mapping[str, object], width: int, tied: bool = True, brought: Brought | None = None
    ) -> None:
        super().__init__()
        self.width, self.tied = width, tied
        self._brought = (brought,)  # no submodule: its weights are the engine's
        self.weight = nn.Parameter(torch.empty(0, width))
        self.head = None if tied else nn.Parameter(torch.empty(0, width))

    @property
    def input(self) -> Float[Tensor, "V width"] | JoinedRows:
        """The rows that tokens are looked up in."""
        (brought,) = self._brought
        return self.weight if brought is None else JoinedRows(brought.input_rows, self.weight, brought.input_scale)

    @property
    def output(self) -> Float[Tensor, "V width"] | JoinedRows:
        """The output rows."""
        (brought,) = self._brought
        own: Tensor = self.weight if self.head is None else self.head
        return own if brought is None else JoinedRows(brought.output_rows, own)

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n width"]:
        """tokens (n,) int64 -> their rows."""
        return looked_up(self.input, tensors["tokens"])

    def one_pass(self) -> Rows:
        """The rows of one pass of training: what is looked up and the output rows, where they are one table on a CPU,
        have one gradient: that of the look-up is added to the other's, and none is made of its own.
        """
        weight = self.weight
        plain = weight.device.type == "cpu" and not hasattr(weight, "placements") and weight.requires_grad
        beside = plain and self.tied and self._brought[0] is None and torch.is_grad_enabled()
        return _RowsBeside(weight) if beside else self

    def grow(self, vocabulary: Vocabulary, seed: int, ordered: Collection[str] = ()) -> None:
        """Rows for the ranges that are new. A range's first values depend on (seed, its name) alone.

        ordered: ranges in which neighbouring ids mean neighbouring values.
        """
        self.weight = self._grown(self.weight, vocabulary, seed, ordered)
        if self.head is not None:
            self.head = self._grown(self.head, vocabulary, seed, ordered, "output rows of ")

    def _grown(
        self, weight: nn.Parameter, vocabulary: Vocabulary, seed: int, ordered: Collection[str], of: str = ""
    ) -> nn.Parameter:
        rows, before, spread = [weight.data], 0, 1.0
        if (brought := self._brought[0]) is not None:
            like = brought.output_rows if of else brought.input_rows
            before, spread = len(like), float(like.detach().float().std()) * self.width**0.5
        for name, start, size in vocabulary.ranges:
            if start >= before + len(weight):
                first = _first_rows(of + name, size, self.width, seed, name in ordered)
                rows.append((first * spread if before else first).to(weight))
        return nn.Parameter(torch.cat(rows)) if len(rows) > 1 else weight


class _RowsBeside:
    """The rows of one table in one pass. Who makes the pass holds it, so that passes of several threads are apart."""

    def __init__(self, table: Float[Tensor, "V width"]) -> None:
        self.table = self.output = table

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n width"]:
        """As of the adaptor; `output` has the gradient of both from here on. Once in a pass."""
        rows, self.output = looked_up_beside(self.table, tensors["tokens"])
        return rows


def _first_rows(name: str, size: int, width: int, seed: int, ordered: bool) -> Tensor:
    generator = torch.Generator().manual_seed(key_of("first values", seed, name))
    if not ordered:
        return torch.randn(size, width, generator=generator) * width**-0.5
    # neighbours start out alike: waves of 8 ids and more along the range
    period = 8.0 * (size / 4) ** torch.rand(width, generator=generator)
    phase = torch.rand(width, generator=generator) * 2 * math.pi
    waves = torch.cos(2 * math.pi * torch.arange(size)[:, None] / period + phase)
    return waves * math.sqrt(2) * width**-0.5
