"""Which tokens would complete an n-gram that a row already holds. Whole arrays at a time."""

from __future__ import annotations

import numpy as np

from ofasys.generator.constraint import Ints


def repeats(history: Ints, size: int) -> tuple[Ints, Ints]:
    """History (R, t) of tokens so far -> (rows, tokens) whose next use would repeat an n-gram of `size` tokens."""
    length = history.shape[1]
    if length < size:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    windows = length - size + 1
    same = np.ones((len(history), windows), dtype=np.bool_)
    for place in range(size - 1):  # the last size-1 tokens against each window's first ones
        same &= history[:, place : place + windows] == history[:, windows + place, None]
    rows, starts = np.nonzero(same)
    return rows, history[rows, starts + size - 1]
