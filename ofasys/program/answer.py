"""The tokens of an answer, cut into the values of its slots: the way back of `Reader.answer`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ofasys.modality.vocabulary import END
from ofasys.program.program import Program
from ofasys.types import Fixed, Forced, Free, Item, Loop, OneOf

Runs = dict[int, list[np.ndarray]]


def split(program: Program, tokens: Sequence[int] | np.ndarray) -> Runs:
    """slot -> the tokens of each of its values, end marks left out. What an unfinished answer lacks is not there."""
    runs: Runs = {slot.index: [] for slot in program.plan.on("target") if not slot.no_loss}
    array = np.asarray(tokens, dtype=np.int64)
    _take(program, program.plan.automaton[len(program.prefix) :], array, 0, runs)
    return runs


def _take(program: Program, items: Sequence[Item], tokens: np.ndarray, at: int, runs: Runs) -> int:
    for item in items:
        if at >= len(tokens):
            break
        if isinstance(item, Forced):
            at += len(program.prompt(item.text))
        elif isinstance(item, Fixed):
            if at + item.count <= len(tokens):
                runs[item.slot].append(tokens[at : at + item.count])
            at += item.count
        elif isinstance(item, (Free, OneOf)):
            ends = np.flatnonzero(tokens[at:] == END)
            length = int(ends[0]) if len(ends) else len(tokens) - at
            runs[item.slot].append(tokens[at : at + length])
            at += length + 1
        elif isinstance(item, Loop):
            while at < len(tokens) and tokens[at] != END:
                at = _take(program, item.items, tokens, at, runs)
            at += 1
    return at
