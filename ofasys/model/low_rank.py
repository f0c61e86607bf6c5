"""LoRA (Hu et al., 2021, https://arxiv.org/abs/2106.09685) and DoRA (Liu et al., 2024,
https://arxiv.org/abs/2402.09353): a matrix that stays as it is, and a small change that is learned.

The change is part of what `weight` of a linear layer is, so whatever reads the weight, decoding too, has it. Names of
its parameters are `LAYER.parametrizations.weight.original` and `LAYER.parametrizations.weight.0.a`, `.b`, `.length`; of
a layer whose weight is held in few bits `LAYER.change.a`, `.b`, `.length`. There it stays apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ofasys.model.quantized import Quantized, quantized_layers


@dataclass(frozen=True)
class Rank:
    """How large the change of a matrix may be."""

    rank: int
    """Of the change: it is the product of (out, rank) and (rank, in)."""
    alpha: float
    """The product is multiplied by alpha / rank."""
    dora: bool = False
    """The length of each row of the matrix is learned besides, and the change turns the rows alone."""


class LowRank(nn.Module):
    """W (out, in) -> W + alpha / rank x B A; with `dora` its rows brought to lengths that are learned.

    A is drawn from torch's global generator as a linear layer's weight, B is zero: at first nothing is changed.
    """

    def __init__(self, weight: Tensor, how: Rank) -> None:
        super().__init__()
        out, inside = weight.shape
        self.how = how
        self.a = nn.Parameter(weight.new_empty(how.rank, inside))
        self.b = nn.Parameter(weight.new_zeros(out, how.rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))
        self.length = nn.Parameter(torch.linalg.vector_norm(weight.detach(), dim=1)) if how.dora else None

    def forward(self, weight: Tensor) -> Tensor:
        """(out, in) -> (out, in), in the weight's own precision: what is merged is what was trained."""
        with torch.autocast(weight.device.type, enabled=False):
            changed = torch.addmm(weight, self.b, self.a, alpha=self.how.alpha / self.how.rank)
            if self.length is None:
                return changed
            return self._turned(changed, self.length)[:, None] * changed

    def _turned(self, changed: Tensor, length: Tensor) -> Tensor:
        """What each row of a changed matrix is multiplied by, so that it has its length."""
        rows = torch.linalg.vector_norm(changed, dim=1).detach()  # no gradient, as of section 4.3 of the paper
        return length / rows.clamp(min=torch.finfo(rows.dtype).tiny)

    def beside(self, x: Tensor, product: Tensor, weight: Callable[[], Tensor]) -> Tensor:
        """x (..., in), its product with a matrix (..., out) -> its product with the matrix as it is changed.

        weight: makes the matrix (out, in), which is not kept; only with `dora` is it asked for.
        """
        linear = nn.functional.linear
        made = product + self.how.alpha / self.how.rank * linear(linear(x, self.a), self.b).to(product.dtype)
        if self.length is None:
            return made
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            changed = torch.addmm(weight(), self.b, self.a, alpha=self.how.alpha / self.how.rank)
        return made * self._turned(changed, self.length).to(made.dtype)


_PART = re.compile(r"\.(?:parametrizations\.weight\.(original|0\.\w+)|change\.(?:a|b|length))$")


def layer_name(name: str) -> str:
    """The name that a parameter's matrix has without its change; of any other parameter its own."""
    return _PART.sub(".weight", name)


def is_change(name: str) -> bool:
    """Whether a parameter is part of a change."""
    found = _PART.search(name)
    return found is not None and found[1] != "original"


def is_unchanged(name: str) -> bool:
    """Whether a parameter is a matrix that has a change and stays as it is itself."""
    found = _PART.search(name)
    return found is not None and found[1] == "original"


def linear_weights(model: nn.Module) -> set[str]:
    """The names of the matrices of a model that may have a change: the weights of its linear layers."""
    kinds = (nn.Linear, Quantized)
    return {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, kinds)}


def changes(model: nn.Module) -> dict[str, Rank]:
    """Name of a matrix -> its change, of those that have one."""
    found = ((name, _parametrization(module)) for name, module in model.named_modules())
    plain = {f"{name}.weight": own[0].how for name, own in found if own is not None and isinstance(own[0], LowRank)}
    return plain | {name: one.change.how for name, one in quantized_layers(model).items() if one.change is not None}


def _parametrization(layer: nn.Module) -> parametrize.ParametrizationList | None:
    """What a layer's weight is made by, where it is made of others."""
    made = getattr(layer, "parametrizations", None)
    found = made["weight"] if isinstance(made, nn.ModuleDict) and "weight" in made else None
    return found if isinstance(found, parametrize.ParametrizationList) else None


def add_change(model: nn.Module, name: str, how: Rank) -> None:
    """Give a matrix a change; of one that is held in few bits it takes the place of the one there is.

    Errors: KeyError for what is no weight of a linear layer.
    """
    if name not in linear_weights(model):
        raise KeyError(name)
    layer = model.get_submodule(name.removesuffix(".weight"))
    if isinstance(layer, Quantized):
        layer.change = LowRank(layer.base, how)
        return
    weight = layer.get_parameter("weight")
    parametrize.register_parametrization(layer, "weight", LowRank(weight, how))


@torch.no_grad()
def merge(model: nn.Module) -> None:
    """Make all changes part of their matrices, but of those held in few bits, which would not hold them: the model
    computes what it did, and has its own names again.
    """
    for name in changes(model).keys() - quantized_layers(model).keys():
        layer = model.get_submodule(name.removesuffix(".weight"))
        made = _parametrization(layer)
        learned = made is None or bool(made.get_parameter("original").requires_grad)
        there = not layer.get_parameter("parametrizations.weight.original").is_meta  # or there is nothing to join
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=there)
        layer.get_parameter("weight").requires_grad_(learned)


@contextmanager
def merged_after(model: nn.Module) -> Iterator[None]:
    """Before and after it, whatever happens, no matrix has a change of its own."""
    merge(model)
    try:
        yield
    finally:
        merge(model)


def merged_weights(model: nn.Module) -> dict[str, Tensor]:
    """Its weights with the changes, by the names they have without; all of them as numbers of their own, also those
    held in few bits. It stays as it is.
    """
    packed = quantized_layers(model)
    apart = {f"{name.removesuffix('weight')}{part}" for name in packed for part in ("codes", "scale")}
    own = {name: w for name, w in model.state_dict().items() if name not in apart and _PART.search(name) is None}
    made = {**dict.fromkeys(changes(model)), **dict.fromkeys(packed)}
    with torch.no_grad():
        for name in made:
            layer: Any = model.get_submodule(name.removesuffix(".weight"))
            own[name] = layer.weight.detach()
    return own


def unchanging() -> AbstractContextManager[None]:
    """Within it weights do not change, so each matrix with a change is computed once."""
    found: AbstractContextManager[None] = parametrize.cached()
    return found


def written(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The changes as JSON."""
    return {name: asdict(how) for name, how in changes(model).items()}


def read(values: Mapping[str, Any]) -> dict[str, Rank]:
    """The inverse of `written`. Errors: ValueError or TypeError for what no model has written."""
    found = {name: Rank(**how) for name, how in values.items()}
    for name, how in found.items():
        if type(how.rank) is not int or how.rank < 1 or type(how.alpha) not in (int, float):
            raise ValueError(f"the change of {name} is {how}")
    return found
