"""Scores of what may come next, as few of them as the constraint allows, and the best few of these.

`n` rows, `D` width, `V` vocabulary, `U` candidates. Vocabulary tables are large: a score is written once and read as
few times as can be, the best are found by block maxima, and the normaliser is summed in place when nothing else is
needed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ofasys.generator.choose import best_of, chooses, normaliser
from ofasys.generator.constraint import Constraint, Ints
from ofasys.generator.vocabulary import OutputRows
from ofasys.model.rows import JoinedRows, chosen, products

LARGE = 4096  # tokens: of fewer all are scored
FEWEST = 16  # tokens for each that is wanted: of fewer all are scored
Few = Callable[[Tensor, int], tuple[Tensor, Tensor, Tensor]]  # states or scores, k -> the best k or more: see `Share`
Sure = Callable[[Tensor, int], tuple[Tensor, Tensor] | None]  # states, k -> scores and tokens of the best, if sure


class Share(Protocol):
    """What computes at once what several searches ask for."""

    def __call__(
        self,
        key: Hashable,
        states: Tensor,
        scores: Callable[[Tensor], Tensor] | None,
        best: int = 0,
        few: Few | None = None,
        sure: Sure | None = None,
    ) -> Any:
        """key: of the candidates; what has one key is asked for in one way. states (n, D).

        best 0: their scores (n, U), by `scores`, which the caller may overwrite. Else what `few` makes of these scores,
        or of the states where `scores` is None: scores (n, k) of the best, falling, at least `best` of them; their
        tokens (n, k); the logarithm of the normaliser (n,), NaN where it is owed. sure: what finds them without all
        scores, where none who asks wants more and that is faster; their normaliser is owed then.
        """
        ...


@dataclass
class Scores:
    """Raw scores (n, U) of candidates; candidate column c is token lo + c, or tokens[c] where that is not None.

    tokens: (U,), or (n, U) where each row has its own, the best of all that may come. norm (n,): the logarithm of the
    normaliser where it is known already; else it is over `values` as they stand.
    """

    values: Tensor
    lo: int
    tokens: Ints | None
    norm: Tensor | None
    owed: tuple[Tensor, int, int] | None = None
    """States (n, D) and lo..hi of a normaliser that is computed later; None: none is."""

    def columns(self, rows: Ints, tokens: Ints) -> tuple[Ints, np.ndarray]:
        """The columns of tokens (m,) in rows (m,), and which of them are candidates at all."""
        count = self.values.shape[1]
        if self.tokens is None:
            columns = tokens - self.lo
            return columns, (columns >= 0) & (columns < count)
        if self.tokens.ndim == 2:
            found = self.tokens[rows] == tokens[:, None]
            return found.argmax(1), found.any(1)
        columns = np.minimum(np.searchsorted(self.tokens, tokens), count - 1)
        return columns, self.tokens[columns] == tokens

    def names(self, columns: Ints) -> Ints:
        """The tokens in these columns (n, k)."""
        if self.tokens is None:
            return columns + self.lo
        return np.take_along_axis(self.tokens, columns, 1) if self.tokens.ndim == 2 else self.tokens[columns]

    def logprobs(self, value: Tensor, place: Tensor) -> Tensor:
        """(n, k) log-probabilities of the scores `value` in the columns `place`."""
        if self.owed is not None:
            return value
        if self.norm is not None:
            return value - self.norm[:, None]
        if chooses(self.values):
            return value - normaliser(self.values)[:, None]
        return torch.log_softmax(self.values, 1).gather(1, place)


class Head:
    """The output embedding as a constraint sees it. output: the same laid out for decoding, where it is. share: of
    searches that go on together, what computes at once the scores that several ask for; what it gives is overwritten
    when the next are asked for.
    """

    def __init__(
        self,
        table: Tensor | JoinedRows,
        output: OutputRows | None,
        constraint: Constraint,
        vocabulary: bool,
        share: Share | None = None,
    ) -> None:
        self.table, self.output, self.share = table, output, share
        self.constraint, self.vocabulary = constraint, vocabulary
        self.kept: dict[int, Tensor] = {}
        self.keys: dict[int, Hashable] = {}
        self.buffers: dict[str, Tensor] = {}

    def score(self, hidden: Tensor, states: Ints, best: int = 0, later: bool = False, draws: bool = False) -> Scores:
        """Hidden (n, D) of rows whose states (n,) are all of one emission class -> their scores.

        best: so many of the best of each row are enough, where finding them alone is faster; 0: all are wanted. later:
        the normaliser may be owed. draws: one of all of them is drawn, for which fewer bits may be enough.
        """
        constraint = self.constraint
        number = int(constraint.class_of[states[0]])
        if self.vocabulary:
            return self._over_all(hidden, states, number)
        group = constraint.classes[number]
        if group.masked:
            tokens, mask = children(constraint, states)
            values = self._product(hidden, chosen(self.table, tokens))
            if mask is not None:
                values.masked_fill_(torch.from_numpy(~mask).to(values.device), -torch.inf)
            return Scores(values, 0, tokens, None)
        if group.contiguous and self.output is not None:
            output, shortlist, lo, hi = self.output, self.output.shortlist, group.lo, group.hi
            enough = best and hi - lo > FEWEST * best
            if enough and shortlist is not None:
                return self._best((lo, hi, "few"), hidden, None, best, lambda x, k: shortlist.best(x, lo, hi, k))
            owed = best and later and hi - lo > LARGE
            if owed and self.share is None:
                return self._best((lo, hi, "later"), hidden, None, best, lambda x, k: sure_of(output, x, lo, hi, k))
            if enough and self.share is not None:
                whole = lambda x: output.scores(x, lo, hi)  # noqa: E731
                sure = lambda x, k: output.surely_best(x, lo, hi, k)  # noqa: E731
                few = lambda scores, k: best_of(scores, lo, k)  # noqa: E731
                return self._best((lo, hi), hidden, whole, best, few, sure if owed else None)
            if draws and shortlist is not None:
                values = self._together((lo, hi, "drawn"), hidden, lambda x: output.drawn_from(x, lo, hi))
            else:
                values = self._together((lo, hi), hidden, lambda x: output.scores(x, lo, hi))
            return Scores(values, lo, None, None)
        if number not in self.kept:
            part = self.table[group.lo : group.hi] if group.contiguous else chosen(self.table, group.candidates)
            self.kept[number] = part
            self.keys[number] = (group.lo, group.hi) if group.contiguous else group.candidates.tobytes()
        part = self.kept[number]
        values = self._together(self.keys[number], hidden, lambda states: self._product(states, part))
        return Scores(values, group.lo, None if group.contiguous else group.candidates, None)

    def _over_all(self, hidden: Tensor, states: Ints, number: int) -> Scores:
        values = self._together("all", hidden, self._all)
        norm = normaliser(values)
        lo, hi, tokens, mask = allowed(self.constraint, states, number)
        values = values[:, lo:hi] if tokens is None else values[:, torch.from_numpy(tokens).to(values.device)]
        if mask is not None:
            values = values.masked_fill(torch.from_numpy(~mask).to(values.device), -torch.inf)
        return Scores(values.contiguous(), lo, tokens, norm)

    def _all(self, hidden: Tensor) -> Tensor:
        """Of all tokens."""
        if self.output is None:
            return self._product(hidden, self.table)
        return self.output.scores(hidden, 0, len(self.table))

    def _best(
        self,
        key: tuple[int, int] | tuple[int, int, str],
        hidden: Tensor,
        scores: Callable[[Tensor], Tensor] | None,
        best: int,
        few: Few,
        sure: Sure | None = None,
    ) -> Scores:
        """The best of each row, and more. key: of tokens lo..hi."""
        if self.share is None:
            values, ids, norm = few(hidden, best)
        else:
            values, ids, norm = self.share(key, hidden, scores, best, few, sure)
        if bool(norm.isnan().any()):
            return Scores(values, 0, ids.cpu().numpy(), None, (hidden, key[0], key[1]))
        return Scores(values, 0, ids.cpu().numpy(), norm)

    def _together(self, key: Hashable, hidden: Tensor, scores: Callable[[Tensor], Any]) -> Any:
        """The scores of some candidates, with those of others who ask for the same."""
        return scores(hidden) if self.share is None else self.share(key, hidden, scores)

    def _product(self, x: Tensor, table: Tensor | JoinedRows) -> Tensor:
        """x (n, D), table (U, D) -> (n, U), contiguous, in a buffer that the next product overwrites."""
        if isinstance(table, JoinedRows):
            return products(x, table)
        n, count = len(x), len(table)
        out = self._buffer("rows", (n, count), x)
        if x.device.type != "cpu" or x.dtype != torch.float32 or n in (2, 3):
            return torch.mm(x, table.t(), out=out)
        if n == 1:
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


def sure_of(output: OutputRows, x: Tensor, lo: int, hi: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """As `best_of`, of states x (n, D); the normaliser is NaN where the best were found without it."""
    sure = output.surely_best(x, lo, hi, k)
    return best_of(output.scores(x, lo, hi), lo, k) if sure is None else (*sure, x.new_full((len(x),), torch.nan))


class Owed:
    """Normalisers that are computed together, later: a table is read once for many states, and not once for each."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.kept: dict[tuple[int, int], list[tuple[Ints, Tensor]]] = {}

    def add(self, rows: Ints, scores: Scores) -> None:
        """Of these rows (n,), if it is owed of their scores."""
        if scores.owed is not None:
            hidden, lo, hi = scores.owed
            self.kept.setdefault((lo, hi), []).append((rows, hidden))

    def pay(self, logprob: np.ndarray) -> None:
        """Take all of them off the scores of rows, logprob (R,)."""
        for (lo, hi), kept in self.kept.items():
            assert self.head.output is not None
            norms = self.head.output.norms(torch.cat([hidden for _, hidden in kept]), lo, hi)
            np.subtract.at(logprob, np.concatenate([rows for rows, _ in kept]), norms.double().numpy())
        self.kept = {}


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
