"""The weights of a model as one number, by which processes see whether they have the same."""

from __future__ import annotations

import torch
from torch import nn

from ofasys.parallel.placed import lies_in_pieces


@torch.no_grad()
def digest(model: nn.Module) -> int:
    """The bits of all weights, read as whole numbers and added up: the same on any machine, in any order of adding.

    Of a model in pieces, the bits of what is whole on every process.
    """
    total = torch.zeros((), dtype=torch.int64)
    for place, tensor in enumerate(model.state_dict().values()):
        if lies_in_pieces(tensor):
            continue
        bits = tensor.contiguous().reshape(-1).view(torch.uint8)
        words = bits.view(torch.int32) if bits.numel() % 4 == 0 else bits
        total += words.sum(dtype=torch.int64).cpu() * (2 * place + 1)
    return int(total)
