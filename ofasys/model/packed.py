"""The product of attention over flat streams as they are, by torch's kernels for samples of varying length.

No rectangle is filled, no padding is multiplied, no mask is read. `N` and `M` positions of queries and keys, `H` heads,
`K` head width, `B` samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ofasys.model.flat import Flat
from ofasys.types import Layout

HALF = (torch.bfloat16, torch.float16)  # what the kernels compute in
WIDEST = 256  # numbers of a head
CAPABLE = (8, 0)  # the compute capability the kernels are made for


@dataclass(frozen=True)
class Runs:
    """Where the samples of a flat stream begin and end. starts (B + 1,) int32; longest: positions of one."""

    starts: Tensor
    longest: int

    @classmethod
    def of(cls, layout: Layout) -> Runs:
        """Of one side of a batch; the device is asked for nothing."""
        return cls(F.pad(layout.lengths.cumsum(0), (1, 0)).to(torch.int32), layout.length)


@dataclass(frozen=True)
class Packed(Flat):
    """The product of queries and keys of the same samples, in half precision on a GPU."""

    queries: Runs
    keys: Runs

    @classmethod
    def of(cls, queries: Layout, keys: Layout) -> Packed:
        """Of two sides, or of one with itself."""
        return cls(Runs.of(queries), Runs.of(keys))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float | None) -> Tensor:
        """See `Flat`. scale is None."""
        from torch.nn.attention.varlen import varlen_attn  # an older torch has none

        ends = (self.queries.starts, self.keys.starts, self.queries.longest, self.keys.longest)
        return cast(Tensor, varlen_attn(q, k, v, *ends, window_size=(-1, 0) if causal else (-1, -1)))


def packs(device: torch.device, width: int) -> bool:
    """Whether heads of `width` numbers are attended so in the pass being made: on a GPU, in half precision."""
    if device.type != "cuda" or width % 8 or width > WIDEST or not _kernels():
        return False
    half = torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda") in HALF
    return half and torch.cuda.get_device_capability(device) >= CAPABLE


@cache
def _kernels() -> bool:
    """Whether this torch has them."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return "window_size" in signature(varlen_attn).parameters and torch.backends.cuda.is_flash_attention_available()
