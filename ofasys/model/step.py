"""One step of incremental decoding, written out flat: at a few rows a step costs what its calls cost, not its products.

`R` rows, `n` new positions a row (1, or the length of a common prefix), `B` sources, `D` width, `H` heads, `K` head
width.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofasys.model.block import DecoderBlock
from ofasys.model.cache import Cache


def advance(
    x: Tensor, blocks: nn.ModuleList, cache: Cache, together: bool = False, sees: Tensor | None = None
) -> Tensor:
    """x (R, n, D), what the first block reads -> what the last block gives (R, n, D).

    together: the n positions see each other, not only those before them. sees (R, 1, n, end): what each may see, where
    neither is so.
    """
    R, n, D = x.shape
    cache.reserve(n)
    filled, end = cache.filled, cache.filled + n
    mask = _ahead(n, end, x) if n > 1 and not together and (filled > 0 or cache.skip is not None) else None
    if sees is not None:
        mask = sees
    elif cache.skip is not None:
        mask = _unpadded(cache.skip, n, end, mask)
    causal = n > 1 and filled == 0 and mask is None and not together
    x = x.reshape(R * n, D)
    for i, module in enumerate(blocks):
        block = cast(DecoderBlock, module)
        attention = block.self_attention
        h = norm(block.self_norm, x) if block.pre else x
        qkv = F.linear(h, attention.qkv.weight, attention.qkv.bias).view(R, n, 3, attention.heads, -1)
        past = cache.self_kv[i, :, :, :end]  # (2, R, end, H, K)
        past[:, :, filled:] = qkv[:, :, 1:].permute(2, 0, 1, 3, 4)
        k, v = past.transpose(2, 3).unbind(0)  # each (R, H, end, K)
        q = qkv[:, :, 0].transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
        y = F.linear(y.transpose(1, 2).reshape(R * n, D), cache.self_out[i], attention.out.project.bias)
        x = join(block, x, norm(attention.out.norm, y), block.self_norm)
        if cache.cross is not None:
            seen, across = cache.cross[i], block.cross_attention
            h = norm(block.cross_norm, x) if block.pre else x
            q = F.linear(h, across.query.weight, across.query.bias)
            q = q.view(R // cache.group, cache.group * n, across.heads, -1).transpose(1, 2)
            y = F.scaled_dot_product_attention(q, seen.k, seen.v, cache.mask)
            y = F.linear(y.transpose(1, 2).reshape(R * n, D), seen.out, across.out.project.bias)
            x = join(block, x, norm(across.out.norm, y), block.cross_norm)
        ffn = block.ffn
        h = norm(block.ffn_norm, x) if block.pre else x
        h = norm(ffn.norm, ffn.activation(F.linear(h, ffn.up.weight, ffn.up.bias)))
        x = join(block, x, F.linear(h, ffn.down.weight, ffn.down.bias), block.ffn_norm)
    cache.filled = end
    return x.view(R, n, D)


def norm(by: nn.LayerNorm | None, x: Tensor) -> Tensor:
    """x after a norm, or as it is."""
    return x if by is None else torch.layer_norm(x, by.normalized_shape, by.weight, by.bias, by.eps)


def join(block: DecoderBlock, x: Tensor, branch: Tensor, by: nn.LayerNorm) -> Tensor:
    """The stream after a branch; `by` follows it where norms come after."""
    return x + branch if block.pre else norm(by, x + branch)


def _ahead(n: int, end: int, x: Tensor) -> Tensor:
    """(n, end) bool: of `end` positions, what each of the last n may see."""
    return torch.ones(n, end, dtype=torch.bool, device=x.device).tril_(end - n)


def _unpadded(skip: Tensor, n: int, end: int, ahead: Tensor | None) -> Tensor:
    """(R, 1, n, end) bool: what each of the last n may see where a row's first `skip` places hold nothing."""
    places = torch.arange(end, device=skip.device)
    seen = (places >= skip[:, None])[:, None, None, :]
    seen = seen.expand(-1, 1, n, -1) if ahead is None else seen & ahead
    return seen | (places == torch.arange(end - n, end, device=skip.device)[:, None])  # padding sees itself, or is NaN
