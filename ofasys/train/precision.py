"""Which number format the matrix products of a device are good at."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from ofasys.errors import ConfigError


def choose(precision: str, device: torch.device) -> torch.dtype:
    """The format to train in. precision: "float32", "bfloat16", or "auto".

    auto: bfloat16 on a GPU that has units for it, else float32. CPUs without AVX-512 take 10-150 times longer in
    bfloat16; on one with AMX a model with a large vocabulary gains, less than a third (benchmarks/train_step.md): there
    it has to be asked for. It depends on the device alone, so a resumed run keeps it. Errors: ConfigError for another
    word.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f"precision is {precision!r}; it is 'auto', 'float32' or 'bfloat16'")
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return getattr(torch, precision)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """The context of a forward pass."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16)
