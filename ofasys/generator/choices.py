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
        columns, known = self.scores.columns(tokens)
        rows, columns = rows[known], columns[known]
        if len(rows):
            device = self.scores.values.device
            where = (torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device))
            self.held.append((where, self.scores.values[where]))
            self.scores.values[where] = -torch.inf

    def back(self, peak: Tensor) -> Tensor:
        """Put all back, last first (what was barred twice was read at -inf the second time) -> the peaks (n, 1)
        then.
        """
        for where, values in reversed(self.held):
            self.scores.values[where] = values
            peak = peak.scatter_reduce(0, where[0][:, None], values[:, None], "amax")
        return peak


def choices(rows: Rows, head: Head, hidden: Tensor, open_rows: Ints) -> Iterator[tuple[Ints, Scores, Undo]]:
    """Scores of the rows that have a choice, a batch per emission class: (rows, scores, what to put back before
    normalising).

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
        scores = head.score(picked, rows.state[mine])
        guided = rows.guided(mine, scores.names(np.arange(scores.values.shape[1])))
        if guided is not None:
            scores.values.masked_fill_(torch.from_numpy(~guided).to(hidden.device), -torch.inf)
        undo = Undo(scores)
        if options.min_length or options.min_items:
            late = np.flatnonzero(barred[mine] if guided is None else barred[mine] & (guided.sum(1) > 1))
            undo.bar(late, np.full(len(late), constraint.end))
        if banned is not None and guided is None:  # what a grammar asks for may have to be said again
            undo.bar(*_banned(rows, mine, banned))
        yield mine, scores, undo


def _banned(rows: Rows, mine: Ints, banned: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """Of (rows, tokens) that would repeat an n-gram those of texts, with the places of their rows in `mine`."""
    place = np.full(len(rows), -1)
    place[mine] = np.where(rows.constraint.text[rows.state[mine]], np.arange(len(mine)), -1)
    row, token = place[banned[0]], banned[1]
    keep = (row >= 0) & (token != rows.constraint.end)
    return row[keep], token[keep]


def normalised(scores: Scores, undo: Undo, value: Tensor, place: Tensor, peak: Tensor, end: int) -> tuple[Tensor, Ints]:
    """Log-probabilities (n, k) and tokens (n, k) of the scores `value` in the columns `place`.

    peak: (n, 1) the largest score of each row. Where all that may come is barred the text closes: the first is the end
    mark. Overwrites the scores.
    """
    words = scores.names(place.cpu().numpy())
    stuck = (peak[:, 0] == -torch.inf).cpu().numpy()
    peak = undo.back(peak)
    if stuck.any():
        words[stuck, 0] = end
        columns = torch.from_numpy(scores.columns(words[:, 0])[0]).to(place.device)[:, None]
        value = torch.cat([scores.values.gather(1, columns), value[:, 1:]], 1)
    return value - scores.normaliser(peak)[:, None], words


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
