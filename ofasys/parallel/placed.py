"""Tensors of which a process has some rows, and models made of them: what everybody asks of them.

What makes such is in `sharded`, which takes long to import and is needed by few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

Dissolve = Callable[[Callable[[Tensor], Tensor]], None]  # what makes a plain model again, of each parameter's new value

dissolved_by: WeakKeyDictionary[nn.Module, Dissolve] = WeakKeyDictionary()
"""Of models that lie in pieces now."""


def lies_in_pieces(tensor: Tensor) -> bool:
    """Whether a process has some rows of it alone: a DTensor."""
    return hasattr(tensor, "placements")


def local(tensor: Tensor) -> Tensor:
    """What this process has of a tensor: the rows of one that lies in pieces, all of any other."""
    own: Any = tensor
    found: Tensor = own.to_local() if lies_in_pieces(tensor) else tensor
    return found


def gathered_whole(tensor: Tensor) -> Tensor:
    """A tensor whole, on every process; all call it. One that lay in pieces is in the CPU's memory then."""
    own: Any = tensor
    found: Tensor = own.full_tensor().cpu() if lies_in_pieces(tensor) else tensor
    return found


def placed_as(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor -> this process's rows of it, if `like`, of as many rows, lies in pieces. Nobody is waited for."""
    if not lies_in_pieces(like) or lies_in_pieces(value):
        return value.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    whose: Any = like
    return distribute_tensor(value.to(like.device), whose.device_mesh, whose.placements, src_data_rank=None)


@contextmanager
def whole_after(model: nn.Module) -> Iterator[None]:
    """After it a model is whole on every process, and nothing of FSDP2 is left in it: on the CPU, where it was in
    pieces.

    After an error, when the others may be gone, one that was in pieces has no weights: they are on the device "meta".
    """
    try:
        yield
    except BaseException:
        if (dissolve := dissolved_by.pop(model, None)) is not None:
            dissolve(lambda parameter: torch.empty(parameter.shape, dtype=parameter.dtype, device="meta"))
        raise
    if (dissolve := dissolved_by.pop(model, None)) is not None:
        dissolve(gathered_whole)
