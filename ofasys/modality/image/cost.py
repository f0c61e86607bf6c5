"""The ResNet adaptor's shape, and what it costs; no torch here, the plan reads it."""

from __future__ import annotations

from ofasys.modality.image.ofa_options import BLOCKS

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


def ofa_resnet_cost(depth: int, width: int) -> tuple[int, int]:
    """(parameters, FLOPs a position of 16 x 16 pixels) of three stages of a ResNet and the projection after them."""
    numbers, flops, into = 3 * 49 * 64 + 128, 2 * 3 * 49 * 64 * 64, 64
    for inside, count, cells in zip((64, 128, 256), BLOCKS[depth], (16, 4, 1), strict=True):
        out = 4 * inside
        for block in range(count):
            first = into * inside
            rest = 9 * inside**2 + inside * out + (into * out if block == 0 else 0)
            before = 4 * cells if block == 0 and into != 64 else cells  # the stride comes after the first product
            numbers += first + rest + 2 * (2 * inside + out) + (2 * out if block == 0 else 0)
            flops, into = flops + 2 * (first * before + rest * cells), out
    return numbers + into * width + width, flops + 2 * into * width
