"""One step of incremental decoding: a layer over new positions, whose keys and values join those of a cache.

`R` rows, `n` new positions a row (1, or the length of a common prefix), `B` sources, `D` width, `H` heads, `K` head
width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ofasys.model.attention import biased
from ofasys.model.cache import Cache
from ofasys.model.positions.positions import Positions, rotate
from ofasys.model.prepared import Prepared
from ofasys.model.product import attend


def advance(
    x: Tensor,
    scheme: Positions,
    positions: Tensor,
    cache: Cache,
    together: bool = False,
    sees: Tensor | None = None,
) -> Tensor:
    """x (R, n, D), what the first block reads -> what the last block gives (R, n, D).

    positions (R, n, 3) or (n, 3). together: the n positions see each other, not only those before them. sees (R, 1, n,
    end): what each may see, where neither is so.
    """
    R, n, D = x.shape
    cache.reserve(n)
    filled, end = cache.filled, cache.filled + n
    if n == 1 and sees is None and cache.layers.fused is not None:
        made = cache.layers.fused.step(x[:, 0], cache)
        cache.filled = end
        return made[:, None]
    mask = _ahead(n, end, x) if n > 1 and not together and (filled > 0 or cache.skip is not None) else None
    if sees is not None:
        mask = sees
    elif cache.skip is not None:
        mask = _unpadded(cache.skip, n, end, mask)
    causal = n > 1 and filled == 0 and mask is None and not together
    here = positions.expand(R, n, 3) if scheme.rotates or scheme.biased else positions
    turns = scheme.turns(here) if scheme.rotates else None
    if cache.positions is not None:
        cache.positions[:, filled:end] = here
    bias = None if cache.positions is None else scheme.biases(here, cache.positions[:, :end])
    over = cache.mask
    if cache.source is not None:
        over = biased(scheme.across(here.reshape(-1, cache.group * n, 3), cache.source), cache.mask, False)
    x = x.reshape(R * n, D)
    for i, layer in enumerate(cache.layers):

        def own(h: Tensor, i: int = i, layer: Prepared = layer) -> Tensor:
            qkv = layer.qkv(h).view(R, n, 3, layer.heads, -1)
            past = cache.self_kv[i, :, :, :end]  # (2, R, end, H, K)
            past[:, :, filled:] = qkv[:, :, 1:].permute(2, 0, 1, 3, 4)
            q = qkv[:, :, 0].transpose(1, 2)
            if turns is not None:
                q = rotate(q, turns)
                past[0, :, filled:] = rotate(past[0, :, filled:].transpose(1, 2), turns).transpose(1, 2)
            k, v = past.transpose(2, 3).unbind(0)  # each (R, H, end, K)
            if bias is None:
                y = attend(q, k, v, mask, causal, whole=False, scale=layer.scale)
            else:
                y = attend(q, k, v, biased(bias(i), mask, causal), whole=False, scale=layer.scale)
            return layer.out(y.transpose(1, 2).reshape(R * n, D))

        def across(h: Tensor, i: int = i, layer: Prepared = layer) -> Tensor:
            assert cache.cross is not None
            seen = cache.cross[i]
            q = layer.query(h).view(R // cache.group, cache.group * n, layer.heads, -1).transpose(1, 2)
            y = attend(q, seen.k, seen.v, over, whole=False, scale=layer.scale)
            return layer.cross_out(y.transpose(1, 2).reshape(R * n, D))

        x = layer.layer(x, own, None if cache.cross is None else across)
    cache.filled = end
    return x.view(R, n, D)


def _ahead(n: int, end: int, x: Tensor) -> Tensor:
    """(n, end) bool: of `end` positions, what each of the last n may see."""
    return torch.ones(n, end, dtype=torch.bool, device=x.device).tril_(end - n)


def _unpadded(skip: Tensor, n: int, end: int, ahead: Tensor | None) -> Tensor:
    """(R, 1, n, end) bool: what each of the last n may see where a row's first `skip` places hold nothing."""
    places = torch.arange(end, device=skip.device)
    seen = (places >= skip[:, None])[:, None, None, :]
    seen = seen.expand(-1, 1, n, -1) if ahead is None else seen & ahead
    return seen | (places == torch.arange(end - n, end, device=skip.device)[:, None])  # padding sees itself, or is NaN
