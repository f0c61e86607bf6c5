"""What every position scheme has: three places where it may have a say, in each of which most say nothing.

Positions are (order, y, x): the place in the sentence, and in a picture; y and x are -1 where there is no grid. `B`
samples, `T` query and `S` key positions, `H` heads, `K` head width, `D` width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ofasys.model.sizes import ModelConfig

Turns = tuple[Tensor, Tensor]
Bias = Callable[[int], Tensor]  # a layer -> what is added to its scores (B, H, T, S)


class Positions(nn.Module):
    """The positions of one side of a model. decoder: whether keys after a query are hidden from it."""

    biased = False
    """Whether there is a `bias`, or `biases`; found when the class is made."""
    rotates = False
    """Whether queries and keys are turned, as there is a `turns`; found when the class is made."""

    def __init_subclass__(cls, **named: Any) -> None:
        """A method that is there is called."""
        super().__init_subclass__(**named)
        cls.biased = cls.bias is not Positions.bias or cls.biases is not Positions.biases
        cls.rotates = cls.turns is not Positions.turns

    def __init__(self, config: ModelConfig, decoder: bool) -> None:
        super().__init__()
        self.decoder = decoder

    def initialise(self) -> None:
        """Draw its weights from torch's global generator."""

    def stream(self, positions: Tensor, top: Sequence[int] | None = None) -> Tensor | None:
        """Positions (..., 3) -> what is added to the embedding stream (..., D); None: nothing.

        top: the largest order, y and x among them, where they are known.
        """
        return None

    def bias(self, layer: int, queries: Tensor, keys: Tensor) -> Tensor:
        """queries (B, T, 3), keys (B, S, 3) -> what is added to a layer's scores (B, H, T, S). -inf hides a key."""
        raise NotImplementedError

    def biases(self, queries: Tensor, keys: Tensor) -> Bias:
        """The same for all layers of a pass: what they have in common is made once."""
        return lambda layer: self.bias(layer, queries, keys)

    def across(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Of a decoder: queries (B, T, 3) -> what is added to all layers' scores over the source (B, H, T, S).

        keys (B, H, S, K): what the model made of where the source's positions stand.
        """
        raise NotImplementedError

    def turns(self, positions: Tensor) -> Turns:
        """Positions (B, T, 3) -> cosines and sines (B, 1, T, K / 2) of their angles, made once for all layers."""
        raise NotImplementedError


def rotate(x: Tensor, turns: Turns) -> Tensor:
    """Queries or keys x (B, H, T, K), the numbers of its first half turned against those of the other -> the same."""
    cos, sin = turns
    one, two = x.float().chunk(2, -1)
    return torch.cat([one * cos - two * sin, two * cos + one * sin], -1).to(x.dtype)


LOWEST = -1e4  # below it a bias means "hidden"


def guarded(bias: Tensor) -> Tensor:
    """A bias with what is meant as "hidden" by a large finite number as -inf, which it has to be.

    On torch 2.13 the default attention kernel of a CPU gives a gradient that is as many times too large as there are
    keys where a whole row of a mask is -1e9; with -inf, and with a boolean mask, it is right.
    """
    return bias.masked_fill(bias <= LOWEST, -torch.inf)
