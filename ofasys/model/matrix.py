"""Products of few rows with matrices that stay as they are, as decoding makes them, step after step.

A library for matrices lays a weight out anew for each product, or reads it in an order that suits it badly; one that
stays as it is can be laid out once. oneDNN, which torch brings, does so. `n` rows, `I` inputs, `O` outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS = 40  # a layout is made for about so many rows, and is as good for others
FEW = 4  # fewer rows are multiplied faster by a small matrix as it is
SMALL = 2_000_000  # numbers of a small matrix
Activation = Callable[[Tensor], Tensor]
FUSED: dict[Activation, tuple[str, str]] = {F.gelu: ("gelu", "none"), F.relu: ("relu", ""), F.silu: ("swish", "")}


def packs(weight: Tensor) -> bool:
    """Whether a weight can be laid out: a whole one on a CPU, in a build of torch that brings oneDNN."""
    whole = weight.device.type == "cpu" and not hasattr(weight, "placements")
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    if weight.dtype == torch.bfloat16:
        known = known and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return whole and known and weight.dtype in (torch.float32, torch.bfloat16) and torch.backends.mkldnn.is_available()


def kept_in(dtype: torch.dtype, weight: Tensor) -> torch.dtype:
    """What a product in `dtype` gives: on a CPU, whose attention is slow in halves, numbers as those of the weight."""
    return weight.dtype if weight.device.type == "cpu" else dtype


class Product:
    """A linear layer, x (n, I) -> (n, O), with its weight (O, I) and bias (O,) as they are when it is made.

    dtype: what it is computed in. activation: what comes after it, a function in `FUSED`. Where a weight cannot be laid
    out it is a plain product.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, activation: Activation | None = None
    ) -> None:
        self.given, self.bias = weight.detach(), None if bias is None else bias.detach().to(dtype)
        self.dtype, self.activation = dtype, activation
        self.out = kept_in(dtype, weight)
        self.least = FEW if dtype == torch.float32 and weight.numel() <= SMALL else 1
        self.attribute, self.algorithm = FUSED[activation] if activation else ("none", "")

    def __call__(self, x: Tensor) -> Tensor:
        """(n, I) -> (n, O)."""
        x = x.to(self.dtype)
        if len(x) >= self.least and self.packed is not None:
            made: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self.packed, self.bias, self.attribute, [], self.algorithm
            )
            return made.to(self.out)
        y = F.linear(x, self.weight, self.bias)
        return (y if self.activation is None else self.activation(y)).to(self.out)

    @cached_property
    def weight(self) -> Tensor:
        """(O, I), as it is computed with."""
        return self.given.to(self.dtype)

    @cached_property
    def packed(self) -> Tensor | None:
        """The weight laid out, when it is first wanted; None where that cannot be."""
        return torch.ops.mkldnn._reorder_linear_weight(self.weight, ROWS) if packs(self.weight) else None


class Kept:
    """Something made of weights, until they change. A copy of it, a pickled one too, holds nothing."""

    def __init__(self) -> None:
        self._held: tuple[Any, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Kept, ()

    def get(self, weights: Iterable[Tensor], how: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made anew when a weight was replaced or changed in place, or `how` is another.

        A fused optimizer changes weights without counting it: who trains calls `drop`.
        """
        key = how, tuple((weight.data_ptr(), _version(weight)) for weight in weights)
        held = self._held  # other threads may change it meanwhile
        if held is None or held[0] != key:
            held = self._held = key, make()
        return held[1]

    def drop(self) -> None:
        """Hold nothing."""
        self._held = None


def weights_of(module: nn.Module) -> Iterator[Tensor]:
    """All parameters of a module, in an order that stays: as `parameters`, which takes a millisecond for a few layers,
    each time a session opens. What is shared comes more than once.
    """
    modules = [module]
    while modules:
        one = modules.pop()
        yield from (weight for weight in one._parameters.values() if weight is not None)
        modules += [inner for inner in one._modules.values() if inner is not None]


def _version(weight: Tensor) -> int:
    return -1 if weight.is_inference() else weight._version
