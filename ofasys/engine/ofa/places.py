"""Where positions stand, as OFA sees it: kinds of places, runs of one kind, and how far apart two places are.

A place is (run and kind, a, b): a is the place in a line or a wave, the row in a grid, frame and row in a film; b is
the column. A position (order, y, x) says its kind by y: -1 is a line, 0 and more a grid, FRAME and more a film, WAVE a
wave, MARK the mark that codes begin with. `N` flat positions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ofasys.engine.ofa.config import FRAME, KINDS, MARK, WAVE
from ofasys.types import Layout

LINE, GRID, WAVE_KIND, FILM, CODES = range(len(KINDS))
KIND_ROOM = 8  # a place begins with run * 8 + kind


def kind_of(places: Tensor) -> Tensor:
    """Places (..., 3) -> numbers of their kinds (...)."""
    return places[..., 0] % KIND_ROOM


def source_places(layout: Layout) -> Tensor:
    """The places (N, 3) of a source. Neighbours of one kind are one run; a picture, or film, begins where its cells
    do not go on.
    """
    _, y, x = layout.positions.unbind(1)
    kind = torch.where(y >= FRAME, FILM, torch.where(y >= 0, GRID, torch.where(y == WAVE, WAVE_KIND, LINE)))
    row = torch.div(layout.padded_index, max(layout.length, 1), rounding_mode="floor")
    drawn = (kind == GRID) | (kind == FILM)
    cell = y * FRAME + x
    begins = torch.ones_like(drawn)
    begins[1:] = (row[1:] != row[:-1]) | (kind[1:] != kind[:-1]) | (drawn[1:] & (cell[1:] <= cell[:-1]))
    number = torch.arange(len(y), device=y.device)
    within = number - torch.where(begins, number, 0).cummax(0).values if len(y) else number
    run = begins.cumsum(0)
    return torch.stack([run * KIND_ROOM + kind, torch.where(drawn, y, within), x], 1)


def target_places(positions: Tensor) -> Tensor:
    """Positions (..., 3) of a target -> its places. A target is one run of each kind."""
    order, y, x = positions.unbind(-1)
    coded = (y >= 0) | (y == MARK)
    kind = torch.where(coded, CODES, torch.where(y == WAVE, WAVE_KIND, LINE))
    return torch.stack([KIND_ROOM + kind, torch.where(coded, y, order), x], -1)


def buckets(size: int, limit: int, most: int) -> Tensor:
    """The bucket (2 * most + 1,) of each distance -most..most between query and key: 0..2 * size - 2.

    Up to size / 2 each distance has its own, further ones share them by their logarithm; those of `limit` and more are
    one. In float32, as the tables were learned.
    """
    apart = torch.arange(-most, most + 1)
    middle = size // 2
    far = apart.abs().clamp(min=max(middle - 1, 1))
    scale = math.log((limit - 1) / middle) if middle else 1.0
    found = torch.ceil(torch.log(far / max(middle, 1)) / scale * (middle - 1)) + middle
    found = torch.where(apart.abs() <= middle, apart, (found.long() * apart.sign()))
    return found.clamp(1 - size, size - 1) + size - 1
