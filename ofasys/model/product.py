"""The one product of attention there is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool = False,
    whole: bool = True,
    scale: float | None = None,
) -> Tensor:
    """q (B, H, T, K), k and v (B, H, S, K), which a decoder may keep in fewer bits, -> (B, H, T, K).

    mask (B or 1, H or 1, T, S): True where a key may be seen, or what is added to the scores, -inf where it may not.
    whole: of a whole side, in training and after, which a CPU does in float32: the half kernel's backward is 7 times
    slower. scale: what scores are multiplied by; None: K ** -0.5.
    """
    k, v = k.to(q.dtype), v.to(q.dtype)
    if q.device.type != "cpu" or q.dtype == torch.float32 or not whole:
        mask = mask if mask is None or mask.dtype in (torch.bool, q.dtype) else mask.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=scale)
    if q.dtype in (torch.bfloat16, torch.float16):
        q, k, v = q.float(), k.float(), v.float()
    with torch.autocast("cpu", enabled=False):  # autocast would turn them back
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=scale)
