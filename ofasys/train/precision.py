"""Which number format the matrix products of a device are good at."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from ofasys.errors import ConfigError

WIDE = 512  # below this width, casting weights costs a CPU more than its bfloat16 products save


def choose(precision: str, device: torch.device, width: int) -> torch.dtype:
    """The format for a model of this width. precision: "float32", "bfloat16", or "auto".

    auto: bfloat16 where the device has units for it and the products are wide enough to gain, else float32; CPUs
    without such units take 10-150 times longer in bfloat16. A function of the device alone, so a resumed run keeps it.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f"precision is {precision!r}; it is 'auto', 'float32' or 'bfloat16'")
    if precision != "auto":
        return getattr(torch, precision)
    return torch.bfloat16 if bfloat16_pays(device, width) else torch.float32


def bfloat16_pays(device: torch.device, width: int) -> bool:
    """Whether training a model of this width is faster in bfloat16 on this device."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and width >= WIDE and torch.cpu._is_amx_tile_supported()


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """The context of a forward pass."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16)
