"""Which number format the matrix products of a device are good at: measured, not assumed."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from functools import lru_cache

import torch

from ofasys.errors import ConfigError

FASTER = 1.5


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The context a forward pass runs in. precision: "float32", "bfloat16", or "auto": what is faster here."""
    if precision not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f"precision is {precision!r}; it is 'auto', 'float32' or 'bfloat16'")
    half = precision == "bfloat16" or (precision == "auto" and bfloat16_is_faster(device.type))
    return torch.autocast(device.type, torch.bfloat16, enabled=half)


@lru_cache(maxsize=4)
def bfloat16_is_faster(device: str) -> bool:
    """Whether bfloat16 products clearly beat float32 ones. On CPUs without AVX-512 or AMX they are 10-150 times slower."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    if device != "cpu" or not torch.cpu._is_avx512_bf16_supported():
        return False
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, w = torch.ones(512, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            torch.nn.functional.linear(x, w)
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return seconds[torch.float32] > FASTER * seconds[torch.bfloat16]
