"""Labellings out of the probabilities of an alignment model: the best path, or the best sum over paths by prefix beam
search.

`n` positions of all values, `U` labels; column 0 is the blank. A path has one label a position; it becomes a labelling
when labels that follow themselves are taken once and blanks are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

Found = tuple[np.ndarray, float]


def ctc(log_probs: Tensor, lengths: Sequence[int], options: Mapping[str, Any]) -> list[Found]:
    """log_probs (n, 1 + U) of values of `lengths` positions end to end -> per value tokens (int64, in 0..U-1) and a
    log-probability.

    options: ctc_beam. 1: the best path and its probability. More: prefix beam search, and the probability of the
    labelling, all its paths together, as far as the beam saw them.
    """
    beam = int(options.get("ctc_beam") or 1)
    scores = log_probs.detach().float().cpu().numpy()
    parts = np.split(scores, np.cumsum([int(length) for length in lengths])[:-1])
    return [best_path(part) if beam == 1 else prefix_beam(part, beam)[0] for part in parts]


def best_path(log_probs: np.ndarray) -> Found:
    """log_probs (T, 1 + U) -> the labelling of the most probable path, and that path's log-probability."""
    labels = log_probs.argmax(1)
    changes = np.concatenate([[True], labels[1:] != labels[:-1]])
    score = float(np.take_along_axis(log_probs, labels[:, None], 1).sum(dtype=np.float64))
    return (labels[changes & (labels > 0)] - 1).astype(np.int64), score


def prefix_beam(log_probs: np.ndarray, beam: int) -> list[Found]:
    """log_probs (T, 1 + U) -> up to `beam` labellings, the most probable first, with their log-probabilities.

    Prefix search as in Hannun et al. (2014), without a language model: a labelling's paths that end in a blank and
    those that do not are summed apart, because a label that comes again after a blank is a new one. A step extends
    labellings by the 2 * beam most probable labels of its position, at least 16; with a beam as large as the number of
    labellings the result is exact.
    """
    U = log_probs.shape[1] - 1
    width = min(U, max(2 * beam, 16))
    tree = _Tree()
    nodes = np.zeros(1, dtype=np.int64)  # the labellings kept, as places in the tree
    blank, label = np.zeros(1), np.full(1, -np.inf)  # log-probability of their paths that end in a blank, and do not
    for row in log_probs.astype(np.float64):
        labels = np.sort(np.argpartition(row[1:], U - width)[U - width :]) + 1 if width < U else np.arange(1, U + 1)
        last = tree.last[nodes]
        both = np.logaddexp(blank, label)
        stays = np.where(last > 0, label + row[last], -np.inf)
        comes = np.where(last[:, None] == labels, blank[:, None], both[:, None]) + row[labels]  # (beam, width)
        where = {node: place for place, node in enumerate(nodes.tolist())}
        for place, (node, own) in enumerate(zip(nodes.tolist(), last.tolist(), strict=True)):
            above = where.get(int(tree.parent[node])) if node else None
            column = int(np.searchsorted(labels, own)) if above is not None else width
            if (
                above is not None and column < width and labels[column] == own
            ):  # the same labelling, reached in two ways
                stays[place] = np.logaddexp(stays[place], comes[above, column])
                comes[above, column] = -np.inf
        blanks = both + row[0]
        scores = np.concatenate([np.logaddexp(blanks, stays), comes.ravel()])
        chosen = _largest(scores, beam)
        old, new = chosen[chosen < len(nodes)], chosen[chosen >= len(nodes)] - len(nodes)
        made = tree.grow(nodes[new // len(labels)], labels[new % len(labels)])
        nodes = np.concatenate([nodes[old], made])
        blank = np.concatenate([blanks[old], np.full(len(new), -np.inf)])
        label = np.concatenate([stays[old], comes.ravel()[new]])
    both = np.logaddexp(blank, label)
    return [(tree.labelling(int(nodes[i])), float(both[i])) for i in _largest(both, beam)]


def _largest(scores: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` largest finite scores, the largest first; of equal ones the first first."""
    order = np.argsort(-scores, kind="stable")[:count]
    return order[scores[order] > -np.inf]


class _Tree:
    """All labellings met, each its parent and one label more. Node 0 is the empty one."""

    def __init__(self) -> None:
        self.parent, self.last = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        self.children: dict[tuple[int, int], int] = {}

    def grow(self, parents: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The nodes of `labels` below `parents`. One labelling is one node, however often it is left and found
        again.
        """
        pairs = list(zip(parents.tolist(), labels.tolist(), strict=True))
        made = np.array([self.children.setdefault(pair, len(self.children) + 1) for pair in pairs], dtype=np.int64)
        if len(self.children) >= len(self.parent):
            room = np.zeros(len(self.children) + 256, dtype=np.int64)
            self.parent, self.last = np.concatenate([self.parent, room]), np.concatenate([self.last, room])
        self.parent[made], self.last[made] = parents, labels
        return made

    def labelling(self, node: int) -> np.ndarray:
        """The tokens of a node, numbered from 0."""
        labels = []
        while node:
            labels.append(int(self.last[node]) - 1)
            node = int(self.parent[node])
        return np.array(labels[::-1], dtype=np.int64)
