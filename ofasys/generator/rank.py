"""The exact probability of every label of a closed set: each beginning that labels share goes through the model once.

`B` sources, `L` labels, `S` states, `D` width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ofasys.generator.constraint import Constraint, Ints
from ofasys.generator.decoder import Branches, Decoder
from ofasys.generator.labels import Doubles, onward
from ofasys.model.rows import JoinedRows, products

HELD = 2**22  # states of all sources at once


@torch.inference_mode()
def rank(
    decoder: Decoder,
    constraint: Constraint,
    prefixes: Sequence[Ints],
    *,
    normalise: str = "allowed",
    chunk: int = 4096,
) -> Doubles:
    """Log-probabilities (B, L) of the labels of a target that is one closed set, in the order of the set; they sum to
    one over those allowed.

    chunk: how many beginnings go through the model at once.
    """
    if len(prefixes) != decoder.sources:
        raise ValueError(f"{len(prefixes)} prefixes for {decoder.sources} sources; give one each")
    branches, hidden = decoder.plant(prefixes)
    vocabulary = normalise == "vocabulary"
    if constraint.trie_of[constraint.start] < 0:
        return _of_head(decoder.table, constraint, hidden, vocabulary)
    step = max(1, HELD // constraint.states)
    parts = [
        _Ranking(branches, decoder.table, constraint, np.arange(i, min(i + step, len(prefixes))), vocabulary).scores(
            hidden[i : i + step], chunk
        )
        for i in range(0, len(prefixes), step)
    ]
    return np.concatenate(parts)


def _of_head(table: Tensor | JoinedRows, constraint: Constraint, hidden: Tensor, vocabulary: bool) -> Doubles:
    """(B, L) where each label is one token of its own."""
    lo, hi = int(constraint.lo[constraint.start]), int(constraint.hi[constraint.start])
    raw = (hidden @ table[lo:hi].t()).double()
    total = torch.logsumexp(products(hidden, table).double() if vocabulary else raw, 1, keepdim=True)
    scores: Doubles = (raw - total).cpu().numpy()
    return scores


class _Ranking:
    """The log-probability of each step in a trie, for some of the sources.

    gain (b, S): of coming into a state; stop (b, S): of the label ending there; both 0 where there is no choice.
    """

    def __init__(
        self, branches: Branches, table: Tensor | JoinedRows, constraint: Constraint, sources: Ints, vocabulary: bool
    ) -> None:
        self.branches, self.table, self.constraint, self.sources = branches, table, constraint, sources
        self.vocabulary = vocabulary
        self.gain = np.zeros((len(sources), constraint.states))
        self.stop = np.zeros((len(sources), constraint.states))

    def scores(self, hidden: Tensor, chunk: int) -> Doubles:
        """(b, L); hidden (b, D) of the root."""
        trie = self.constraint.tries[int(self.constraint.trie_of[self.constraint.start])]
        count = len(self.sources)
        self.branches.count = 0
        ways = self.after(np.arange(count), np.full(count, trie.root), np.full(count, -1), hidden)
        waiting = self.cut(ways, chunk)
        while waiting:  # depth first: nodes are forgotten as soon as nothing goes on from them
            mark, (source, state, node, token) = waiting.pop()
            self.branches.count = mark
            fresh = np.arange(mark, mark + len(source))
            made = self.branches.grow(self.sources[source], node, token)
            waiting += self.cut(self.after(source, state, fresh, made), chunk)
        for begin, end in zip(trie.levels[:-1].tolist(), trie.levels[1:].tolist(), strict=True):
            level = slice(begin, end)
            parent = trie.parent[begin - trie.levels[0] : end - trie.levels[0]]
            self.gain[:, level] += self.gain[:, parent]
        found: Doubles = self.gain[:, trie.last] + self.stop[:, trie.last]
        return found

    def after(self, source: Ints, state: Ints, node: Ints, hidden: Tensor) -> tuple[Ints, Ints, Ints, Ints]:
        """Note the probabilities of what follows -> (source, state, node before, token) of what is to be looked at."""
        constraint, single = self.constraint, self.constraint.single[state]
        scored = np.flatnonzero((single < 0) | self.vocabulary)
        only = np.flatnonzero((single >= 0) & (not self.vocabulary))
        of, edge = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        if len(scored):
            picked = hidden if len(scored) == len(state) else hidden[torch.from_numpy(scored).to(hidden.device)]
            of, edge, gain = onward(self.table, constraint, picked, state[scored], self.vocabulary)
            of = scored[of]
            closed = constraint.token[edge] == constraint.end
            self.stop[source[of[closed]], state[of[closed]]] = gain[closed]
            of, edge, gain = of[~closed], edge[~closed], gain[~closed]
            self.gain[source[of], constraint.to[edge]] = gain
        of = np.concatenate([of, only])
        edge = np.concatenate([edge, constraint.first[state[only]]])
        to = constraint.to[edge]
        keep = constraint.wanted[to] | self.vocabulary
        of, edge, to = of[keep], edge[keep], to[keep]
        return source[of], to, node[of], constraint.token[edge]

    def cut(self, ways: tuple[Ints, Ints, Ints, Ints], chunk: int) -> list[tuple[int, tuple[Ints, Ints, Ints, Ints]]]:
        """In parts of at most `chunk`, by source; each with the number of nodes that are there before it."""
        order = np.argsort(ways[0], kind="stable")
        source, state, node, token = (part[order] for part in ways)
        return [
            (self.branches.count, (source[part], state[part], node[part], token[part]))
            for part in (slice(i, i + chunk) for i in range(0, len(order), chunk))
        ]
