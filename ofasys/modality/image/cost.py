"""The ResNet adaptor's shape, and what it costs; no torch here, the plan reads it."""

from __future__ import annotations

STEM = 32


def channels(patch: int) -> list[int]:
    """Channels after each halving of the resolution: 16, 32, 64, ... up to 256, one per factor 2 of `patch`."""
    return [min(STEM * 2**i, 256) for i in range(patch.bit_length() - 1)]


def resnet_cost(patch: int, width: int) -> tuple[int, int]:
    """Parameters of the ResNet adaptor, and FLOPs per position (a position is patch x patch pixels)."""
    parameters = flops = 0
    into, pixels = 3, patch * patch
    for stage, out in enumerate(channels(patch)):
        pixels //= 4
        products = 9 * into * out + (2 * 9 * out * out if stage else 0)
        parameters += products + (6 * out if stage else 2 * out)
        flops += 2 * pixels * products
        into = out
    return parameters + into * width + width, flops + 2 * into * width
