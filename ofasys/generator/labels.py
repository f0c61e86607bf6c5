"""The likeliest labels of closed sets, found best first. Log-probabilities only fall along a label, so what is found is
exact: a label that is at least as likely as every beginning that is left is likelier than all that could come of them.

`n` searches at once, `D` width, `V` vocabulary, `e` edges of the trie.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ofasys.generator.constraint import Constraint, Ints
from ofasys.generator.decoder import Branches
from ofasys.model.rows import JoinedRows, products

Doubles = NDArray[np.float64]
WIDEST = 2**24  # scores over a whole vocabulary that are held at once


@dataclass(frozen=True, eq=False)
class Label:
    """One label. tokens (n,): with the end mark that closes it. logprob: of all of it, given what came before."""

    tokens: Ints
    logprob: float


def onward(
    table: Tensor | JoinedRows, constraint: Constraint, hidden: Tensor, states: Ints, vocabulary: bool = False
) -> tuple[Ints, Ints, Doubles]:
    """Hidden (n, D) at states (n,) -> all single edges from there: (which of the n, edge, log-probability), each (e,).

    vocabulary: probabilities are over all tokens, not only over those of these edges.
    """
    first = constraint.first[states]
    counts = constraint.first[states + 1] - first
    begins = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(states)), counts)
    edge = np.arange(len(owner)) + (first - begins)[owner]
    if (states == states[0]).all():
        tokens = torch.from_numpy(constraint.token[edge[: counts[0]]]).to(table.device)
        raw = (hidden @ table.index_select(0, tokens).t()).flatten()
    else:
        raw = _products(table, hidden, owner, constraint.token[edge])
    score = raw.double().cpu().numpy()
    if vocabulary:
        step = max(1, WIDEST // len(table))
        parts = [torch.logsumexp(products(part, table), 1) for part in hidden.split(step)]
        total = torch.cat(parts).double().cpu().numpy()
    else:
        peak = np.maximum.reduceat(score, begins)
        total = peak + np.log(np.add.reduceat(np.exp(score - peak[owner]), begins))
    return owner, edge, score - total[owner]


def _products(table: Tensor | JoinedRows, hidden: Tensor, owner: Ints, tokens: Ints) -> Tensor:
    """(e,) the raw score of each token where its owner stands: as one product where that wastes little."""
    device = table.device
    distinct, column = np.unique(tokens, return_inverse=True)
    place = torch.from_numpy(owner).to(device)
    if len(hidden) * len(distinct) <= 32 * len(tokens):
        scores = hidden @ table.index_select(0, torch.from_numpy(distinct).to(device)).t()
        return scores[place, torch.from_numpy(column).to(device)]
    ids = torch.from_numpy(tokens).to(device)
    return (hidden.index_select(0, place) * table.index_select(0, ids)).sum(1)


def likeliest(
    branches: Branches,
    table: Tensor | JoinedRows,
    constraint: Constraint,
    rows: Ints,
    states: Ints,
    hidden: Tensor,
    most: int,
) -> list[list[Label]]:
    """For each of n rows (n,), ascending, at the roots `states` (n,) of tries: its `most` likeliest labels, best first.

    hidden (n, D): the rows' own states. At the head of a loop the end mark alone, which stops it, counts as a label.
    """
    search = _BestFirst(constraint, len(rows), most)
    search.take(np.arange(len(rows)), states, np.full(len(rows), -1), np.zeros(len(rows)), hidden, table)
    wide = max(2, most)
    while len(picked := search.pick(wide)):
        owner, node, token = search.owner[picked], search.node[picked], search.token[picked]
        fresh = np.arange(branches.count, branches.count + len(picked))
        made = branches.grow(rows[owner], node, token)
        search.expand(picked, fresh, made, table)
        wide = min(2 * wide, 1024)
    return search.found()


class _BestFirst:
    """The beginnings that may still lead to a label, and the best labels so far, as flat arrays.

    Of each beginning: owner, the search it belongs to; score; state, where it leads by its last token; node, which
    holds all before that token; trail, its place among all steps that were taken. Of labels the same without node.
    """

    def __init__(self, constraint: Constraint, owners: int, most: int) -> None:
        self.constraint, self.owners, self.most = constraint, owners, most
        self.owner, self.state, self.node, self.token, self.trail = (np.zeros(0, dtype=np.int64) for _ in range(5))
        self.score = np.zeros(0)
        self.done_owner, self.done_state, self.done_trail = (np.zeros(0, dtype=np.int64) for _ in range(3))
        self.done_score = np.zeros(0)
        self.steps: list[tuple[Ints, Ints]] = []  # (trail before, token)
        self.count = 0
        self.least = np.full(owners, -np.inf)  # what a label must beat

    def take(
        self,
        owner: Ints,
        state: Ints,
        node: Ints,
        score: Doubles,
        hidden: Tensor,
        table: Tensor | JoinedRows,
        trail: Ints | None = None,
    ) -> None:
        """What may come after beginnings that stand at `state` with `hidden`."""
        constraint = self.constraint
        trail = np.full(len(owner), -1) if trail is None else trail
        choice = np.flatnonzero(constraint.single[state] < 0)
        only = np.flatnonzero(constraint.single[state] >= 0)
        of, edge, gain = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
        if len(choice):
            picked = hidden if len(choice) == len(state) else hidden[torch.from_numpy(choice).to(hidden.device)]
            of, edge, gain = onward(table, constraint, picked, state[choice])
        of = np.concatenate([choice[of], only])
        edge = np.concatenate([edge, constraint.first[state[only]]])
        gain = score[of] + np.concatenate([gain, np.zeros(len(only))])
        keep = gain > self.least[owner[of]]
        of, edge, gain = of[keep], edge[keep], gain[keep]
        token, to = constraint.token[edge], constraint.to[edge]
        steps = np.arange(self.count, self.count + len(edge))
        self.steps.append((trail[of], token))
        self.count += len(edge)
        closed = token == constraint.end
        done = closed | ~constraint.wanted[to]
        self._finish(owner[of[done]], np.where(closed, -1, to)[done], steps[done], gain[done])
        left = ~done & (gain > self.least[owner[of]])
        self._keep(self.score > self.least[self.owner])
        self._open(owner[of], to, node[of], token, steps, gain, left)

    def _finish(self, owner: Ints, state: Ints, trail: Ints, score: Doubles) -> None:
        """Labels that are complete, or have one way on; only the best are kept."""
        owner = np.concatenate([self.done_owner, owner])
        state, trail = np.concatenate([self.done_state, state]), np.concatenate([self.done_trail, trail])
        score = np.concatenate([self.done_score, score])
        order = _best(owner, score, self.most)
        self.done_owner, self.done_state, self.done_trail = owner[order], state[order], trail[order]
        self.done_score = score[order]
        full = _within(self.done_owner) == self.most - 1
        self.least[self.done_owner[full]] = self.done_score[full]

    def _open(
        self, owner: Ints, state: Ints, node: Ints, token: Ints, trail: Ints, score: Doubles, keep: NDArray[np.bool_]
    ) -> None:
        """Add beginnings."""
        self.owner, self.state, self.node, self.token, self.trail = (
            np.concatenate([old, new[keep]])
            for old, new in zip(
                (self.owner, self.state, self.node, self.token, self.trail),
                (owner, state, node, token, trail),
                strict=True,
            )
        )
        self.score = np.concatenate([self.score, score[keep]])

    def _keep(self, which: NDArray[np.bool_]) -> None:
        self.owner, self.state, self.node, self.token, self.trail = (
            part[which] for part in (self.owner, self.state, self.node, self.token, self.trail)
        )
        self.score = self.score[which]

    def pick(self, wide: int) -> Ints:
        """The places of the `wide` best beginnings of each owner, by owner."""
        return _best(self.owner, self.score, wide)

    def expand(self, picked: Ints, nodes: Ints, hidden: Tensor, table: Tensor | JoinedRows) -> None:
        """Go on from beginnings that are nodes now."""
        owner, state, trail = (part[picked] for part in (self.owner, self.state, self.trail))
        score = self.score[picked]
        rest = np.ones(len(self.owner), dtype=np.bool_)
        rest[picked] = False
        self._keep(rest)
        self.take(owner, state, nodes, score, hidden, table, trail)

    def found(self) -> list[list[Label]]:
        """The best labels of each owner, best first."""
        before, token = (np.concatenate(parts) for parts in zip(*self.steps, strict=True))
        out: list[list[Label]] = [[] for _ in range(self.owners)]
        rest = zip(self.done_owner.tolist(), self.done_state.tolist(), self.done_trail.tolist(), strict=True)
        for (owner, state, trail), score in zip(rest, self.done_score.tolist(), strict=True):
            tokens = []
            while trail >= 0:
                tokens.append(int(token[trail]))
                trail = int(before[trail])
            tokens.reverse()
            while state >= 0:
                edge = int(self.constraint.first[state])
                tokens.append(int(self.constraint.token[edge]))
                state = -1 if tokens[-1] == self.constraint.end else int(self.constraint.to[edge])
            out[owner].append(Label(np.array(tokens, dtype=np.int64), score))
        return out


def _best(owner: Ints, score: Doubles, most: int) -> Ints:
    """The places of the `most` best of each owner, by owner, best first."""
    order = np.argsort(owner, kind="stable")
    bounds = [*np.flatnonzero(np.diff(owner[order], prepend=-1)).tolist(), len(order)]
    parts = []
    for begin, end in pairwise(bounds):
        part = order[begin:end]
        if len(part) > most:
            part = part[np.argpartition(-score[part], most - 1)[:most]]
        parts.append(part)
    kept = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
    return kept[np.lexsort((-score[kept], owner[kept]))]


def _within(groups: Ints) -> Ints:
    """The place of each element within its group; groups stand together."""
    begins = np.flatnonzero(np.append(True, groups[1:] != groups[:-1])) if len(groups) else np.zeros(0, dtype=np.int64)
    return np.arange(len(groups)) - np.repeat(begins, np.diff(np.append(begins, len(groups))))
