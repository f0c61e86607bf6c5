"""What rows may choose among at one step, and what is forced on them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ofasys.generator.constraint import Bools, Ints
from ofasys.generator.ngram import repeats
from ofasys.generator.rows import Rows
from ofasys.generator.scores import Head, Scores


class Undo:
    """Scores set to -inf for a while, and what they were."""

    def __init__(self, scores: Scores) -> None:
        self.scores = scores
        self.held: list[tuple[tuple[Tensor, Tensor], Tensor]] = []

    def bar(self, rows: Ints, tokens: Ints) -> None:
        """These tokens may not come in these rows."""
        columns, known = self.scores.columns(rows, tokens)
        rows, columns = rows[known], columns[known]
        if len(rows):
            device = self.scores.values.device
            where = (torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device))
            self.held.append((where, self.scores.values[where]))
            self.scores.values[where] = -torch.inf

    def back(self) -> None:
        """Put all back, last first: what was barred twice was read at -inf the second time."""
        for where, values in reversed(self.held):
            self.scores.values[where] = values


def choices(
    rows: Rows, head: Head, hidden: Tensor, open_rows: Ints, best: int = 0, later: bool = False
) -> Iterator[tuple[Ints, Scores, Undo]]:
    """Scores of the rows that have a choice, a batch per emission class: (rows, scores, what to put back before
    normalising). best: so many of each row that may come are enough; 0: all are wanted. later: their
    normaliser may be owed.

    Tokens that may not come by n-gram, minimum length and minimum items are at -inf; they count in the normaliser
    nevertheless.
    """
    if not len(open_rows):
        return
    constraint, options = rows.constraint, rows.options
    groups = constraint.class_of[rows.state[open_rows]]
    barred = rows.barred()
    banned = (
        repeats(rows.history[:, : rows.length], options.no_repeat_ngram_size) if options.no_repeat_ngram_size else None
    )
    first = int(groups[0])
    for group in [first] if (groups == first).all() else np.unique(groups):
        mine = open_rows[groups == group]
        picked = hidden if len(mine) == len(hidden) else hidden[torch.from_numpy(mine).to(hidden.device)]
        guided = rows.guided(mine)
        late = np.flatnonzero(barred[mine])
        row, token = late, np.full(len(late), constraint.end)
        if banned is not None and not guided:  # what a grammar asks for may have to be said again
            more = _banned(rows, mine, banned)
            row, token = np.concatenate([row, more[0]]), np.concatenate([token, more[1]])
        most = int(np.bincount(row).max()) if len(row) else 0
        enough = best + most if best and not guided else 0
        scores = head.score(picked, rows.state[mine], enough, later, draws=options.sampling)
        if guided:
            may = rows.allowed(mine, scores.names(np.arange(scores.values.shape[1])))
            scores.values.masked_fill_(torch.from_numpy(~may).to(hidden.device), -torch.inf)
            row, token = (part[may.sum(1)[row] > 1] for part in (row, token))  # what is the only way on may come
        undo = Undo(scores)
        if len(row):
            undo.bar(row, token)
        yield mine, scores, undo


def _banned(rows: Rows, mine: Ints, banned: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """Of (rows, tokens) that would repeat an n-gram those of texts, with the places of their rows in `mine`."""
    place = np.full(len(rows), -1)
    place[mine] = np.where(rows.constraint.text[rows.state[mine]], np.arange(len(mine)), -1)
    row, token = place[banned[0]], banned[1]
    keep = (row >= 0) & (token >= 0) & (token != rows.constraint.end)
    return row[keep], token[keep]


def normalised(scores: Scores, undo: Undo, value: Tensor, place: Tensor, end: int) -> tuple[Tensor, Ints]:
    """Log-probabilities (n, k) and tokens (n, k) of the scores `value` in the columns `place`.

    Where all that may come is barred the text closes: the first is the end mark.
    """
    words = scores.names(place.cpu().numpy())
    best = value.amax(1)
    undo.back()
    stuck = np.flatnonzero((best == -torch.inf).cpu().numpy())
    if len(stuck):
        words[stuck, 0] = end
        columns, _ = scores.columns(stuck, words[stuck, 0])
        rows, at = (torch.from_numpy(part).to(place.device) for part in (stuck, columns))
        place[rows, 0] = at
        value = value.clone()
        value[rows, 0] = scores.values[rows, at]
    return scores.logprobs(value, place).masked_fill_(value == -torch.inf, -torch.inf), words


def forced(rows: Rows) -> tuple[Ints, Bools, Bools]:
    """(tokens, whether forced, whether to close for nothing else may come), each (R,). Rows of a prefix have their own
    tokens.
    """
    state = rows.state
    closing = (rows.closes(state, rows.made, rows.run) | rows.full(state, rows.items)) & ~rows.led
    tokens = np.where(closing, rows.constraint.end, rows.constraint.single[state])
    known = rows.length < rows.known
    if known.any():
        tokens = np.where(known, rows.history[:, rows.length], tokens)
    return tokens, tokens >= 0, closing
