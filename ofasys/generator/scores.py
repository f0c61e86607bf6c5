"""Scores of what may come next, as few of them as the constraint allows, and the best few of these.

`n` rows, `D` width, `V` vocabulary, `U` candidates. Vocabulary tables are large: a score is written once and read as
few times as can be, the best are found by block maxima, and the normaliser is summed in place when nothing else is
needed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ofasys.generator.constraint import Constraint, Ints
from ofasys.model.rows import JoinedRows, chosen, products

BLOCK = 128
Share = Callable[[Hashable, Tensor, Callable[[Tensor], Tensor]], Tensor]  # key of the candidates, states, their scores


@dataclass
class Scores:
    """Raw scores (n, U) of candidates; candidate column c is token lo + c, or tokens[c] where that is not None.

    norm (n,): the logarithm of the normaliser where it is known already; else it is over `values` as they stand.
    """

    values: Tensor
    lo: int
    tokens: Ints | None
    norm: Tensor | None

    def columns(self, tokens: Ints) -> tuple[Ints, np.ndarray]:
        """The columns of tokens, and which of them are candidates at all."""
        count = self.values.shape[1]
        if self.tokens is None:
            columns = tokens - self.lo
            return columns, (columns >= 0) & (columns < count)
        columns = np.minimum(np.searchsorted(self.tokens, tokens), count - 1)
        return columns, self.tokens[columns] == tokens

    def names(self, columns: Ints) -> Ints:
        """The tokens in these columns."""
        return columns + self.lo if self.tokens is None else self.tokens[columns]

    def normaliser(self, peak: Tensor) -> Tensor:
        """(n,) log of the sum of exp; peak (n, 1) is each row's largest value. Overwrites the values."""
        if self.norm is not None:
            return self.norm
        return self.values.sub_(peak).exp_().sum(1).log_().add_(peak[:, 0])


class Head:
    """The output embedding as a constraint sees it. share: of searches that go on together, what computes at once the
    scores that several ask for; what it gives is overwritten when the next are asked for.
    """

    def __init__(
        self,
        table: Tensor | JoinedRows,
        transposed: Tensor | None,
        constraint: Constraint,
        vocabulary: bool,
        share: Share | None = None,
    ) -> None:
        self.table, self.transposed, self.share = table, transposed, share
        self.constraint, self.vocabulary = constraint, vocabulary
        self.kept: dict[int, tuple[Tensor, Tensor | None]] = {}
        self.keys: dict[int, Hashable] = {}
        self.buffers: dict[str, Tensor] = {}

    def score(self, hidden: Tensor, states: Ints) -> Scores:
        """Hidden (n, D) of rows whose states (n,) are all of one emission class -> their scores."""
        constraint = self.constraint
        number = int(constraint.class_of[states[0]])
        if self.vocabulary:
            return self._over_all(hidden, states, number)
        group = constraint.classes[number]
        if group.masked:
            tokens, mask = children(constraint, states)
            values = self._product(hidden, chosen(self.table, tokens), None)
            if mask is not None:
                values.masked_fill_(torch.from_numpy(~mask).to(values.device), -torch.inf)
            return Scores(values, 0, tokens, None)
        if number not in self.kept:
            if group.contiguous:
                part = self.table[group.lo : group.hi]
                self.kept[number] = (part, None if self.transposed is None else self.transposed[:, group.lo : group.hi])
            else:
                self.kept[number] = (chosen(self.table, group.candidates), None)
        part, turned = self.kept[number]
        values = self._together(number, hidden, lambda states: self._product(states, part, turned))
        return Scores(values, group.lo, None if group.contiguous else group.candidates, None)

    def _over_all(self, hidden: Tensor, states: Ints, number: int) -> Scores:
        values = self._together(-1, hidden, lambda states: self._product(states, self.table, self.transposed))
        norm = torch.logsumexp(values, 1)
        lo, hi, tokens, mask = allowed(self.constraint, states, number)
        values = values[:, lo:hi] if tokens is None else values[:, torch.from_numpy(tokens).to(values.device)]
        if mask is not None:
            values = values.masked_fill(torch.from_numpy(~mask).to(values.device), -torch.inf)
        return Scores(values.contiguous(), lo, tokens, norm)

    def _together(self, number: int, hidden: Tensor, scores: Callable[[Tensor], Tensor]) -> Tensor:
        """The scores of a class, or of all tokens where that is -1; with those of others who ask for the same."""
        if self.share is None:
            return scores(hidden)
        if number not in self.keys:
            group = None if number < 0 else self.constraint.classes[number]
            own = () if group is None else (group.lo, group.hi) if group.contiguous else group.candidates.tobytes()
            self.keys[number] = own
        return self.share(self.keys[number], hidden, scores)

    def _product(self, x: Tensor, table: Tensor | JoinedRows, transposed: Tensor | None) -> Tensor:
        """x (n, D), table (U, D) -> (n, U), contiguous, in a buffer that the next product overwrites."""
        if isinstance(table, JoinedRows):
            return products(x, table)
        n, count = len(x), len(table)
        out = self._buffer("rows", (n, count), x)
        if x.device.type != "cpu" or x.dtype != torch.float32 or n in (2, 3):
            return torch.mm(x, table.t(), out=out)
        if n == 1:
            if transposed is not None:
                return torch.mm(x, transposed, out=out)
            torch.mv(table, x[0], out=out[0])
            return out
        # A tall result is multiplied faster than a wide one, by more than turning it costs.
        turned = torch.mm(table, x.t(), out=self._buffer("turned", (count, n), x))
        return out.copy_(turned.t())

    def _buffer(self, name: str, shape: tuple[int, int], like: Tensor) -> Tensor:
        """Room that is kept from step to step: fresh pages for megabytes of scores cost more than writing them."""
        size = shape[0] * shape[1]
        held = self.buffers.get(name)
        if held is None or held.numel() < size:
            held = self.buffers[name] = torch.empty(size, dtype=like.dtype, device=like.device)
        return held[:size].view(shape)


def children(constraint: Constraint, states: Ints) -> tuple[Ints, np.ndarray | None]:
    """The tokens (U,) that any of states (n,) allows by single edges, sorted, and which row allows which (None: all
    do).
    """
    first, token = constraint.first, constraint.token
    if (states == states[0]).all():
        return token[first[states[0]] : first[states[0] + 1]], None
    distinct, row = np.unique(states, return_inverse=True)
    counts = first[distinct + 1] - first[distinct]
    owner = np.repeat(np.arange(len(distinct)), counts)
    edges = np.arange(len(owner)) + (first[distinct] - (np.cumsum(counts) - counts))[owner]
    tokens, column = np.unique(token[edges], return_inverse=True)
    mask = np.zeros((len(distinct), len(tokens)), dtype=np.bool_)
    mask[owner, column] = True
    return tokens, mask[row]


def allowed(constraint: Constraint, states: Ints, number: int) -> tuple[int, int, Ints | None, np.ndarray | None]:
    """What states (n,) of one class allow: (lo, hi) if tokens is None, else tokens; and a mask unless all rows allow
    all.
    """
    if number < 0 or constraint.classes[number].masked:  # prompt text, or a trie
        tokens, mask = children(constraint, states)
        return 0, 0, tokens, mask
    group = constraint.classes[number]
    return group.lo, group.hi, None if group.contiguous else group.candidates, None


def top(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row (n, U) and their columns, largest first. Exact: the k largest lie in k best blocks."""
    n, count = values.shape
    k = min(k, count)
    blocks = count // BLOCK
    if blocks < 4 * k:
        return torch.topk(values, k)
    peaks = values[:, : blocks * BLOCK].view(n, blocks, BLOCK).amax(-1)
    chosen = peaks.argmax(1, keepdim=True) if k == 1 else torch.topk(peaks, k, sorted=False)[1]
    columns = (chosen[:, :, None] * BLOCK + torch.arange(BLOCK, device=values.device)).view(n, -1)
    rest = torch.arange(blocks * BLOCK, count, device=values.device)  # too few for a block: always looked at
    columns = torch.cat([columns, rest.expand(n, -1)], 1)
    best, place = torch.topk(values.gather(1, columns), k)
    return best, columns.gather(1, place)
