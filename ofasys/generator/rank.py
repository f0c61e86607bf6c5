"""The exact probability of every label of a small closed set, in one batched pass instead of a search.

`B` sources, `L` labels, `T` their longest (prefix included), `D` width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ofasys.generator.constraint import Constraint, Ints
from ofasys.generator.decoder import Decoder
from ofasys.generator.scores import allowed


@torch.inference_mode()
def rank(
    decoder: Decoder,
    constraint: Constraint,
    prefixes: Sequence[Ints],
    labels: Sequence[Sequence[int]],
    *,
    normalise: str = "allowed",
    chunk: int = 1024,
) -> Tensor:
    """Log-probabilities (B, L) of each label; they sum to one over all that the constraint allows if it is that set
    alone.

    labels: each a whole answer of the constraint, end mark included. chunk: how many rows go through the model at once.
    """
    if len(prefixes) != decoder.sources:
        raise ValueError(f"{len(prefixes)} prefixes for {decoder.sources} sources; give one each")
    states = [constraint.walk(np.asarray(label, dtype=np.int64)) for label in labels]
    for number, (label, walked) in enumerate(zip(labels, states, strict=True)):
        last = constraint.advance(walked[-1:], np.asarray(label[-1:])) if len(walked) else np.array([constraint.start])
        if last[0] != constraint.accept:
            raise ValueError(
                f"label {number} stops before the target sentence is done; its last token is {list(label)[-1:]}"
            )
    out = [
        _pass(decoder, constraint, prefixes, labels[i : i + step], states[i : i + step], normalise == "vocabulary")
        for step in [max(1, chunk // max(1, len(prefixes)))]
        for i in range(0, len(labels), step)
    ]
    return torch.cat(out, 1)


def _pass(
    decoder: Decoder,
    constraint: Constraint,
    prefixes: Sequence[Ints],
    labels: Sequence[Sequence[int]],
    states: Sequence[Ints],
    vocabulary: bool,
) -> Tensor:
    """(B, l) for some of the labels: one teacher-forced pass, then scores only where there is a choice."""
    B, L = len(prefixes), len(labels)
    starts = np.array([len(prefix) for prefix in prefixes], dtype=np.int64)
    lengths = np.array([len(label) for label in labels], dtype=np.int64)

    # what lies behind a label's last choice changes nothing: feed what comes before it, and the same only once
    choices = [np.flatnonzero(constraint.single[walked] < 0) for walked in states]
    last = [
        len(walked) - 1 if vocabulary else int(c[-1]) if len(c) else 0
        for walked, c in zip(states, choices, strict=True)
    ]
    before: dict[tuple[int, ...], int] = {}
    row_of = np.array(
        [before.setdefault(tuple(label[:cut]), len(before)) for label, cut in zip(labels, last, strict=True)],
        dtype=np.int64,
    )
    fed = np.zeros((B, len(before), int(starts.max()) + max(last)), dtype=np.int64)
    for source, prefix in enumerate(prefixes):
        fed[source, :, : len(prefix)] = prefix
        for tokens_before, number in before.items():
            fed[source, number, len(prefix) : len(prefix) + len(tokens_before)] = tokens_before
    table = decoder.table
    hidden = decoder.full(torch.from_numpy(fed).to(table.device))

    # one row per token that was chosen among several: its label, its place in the label, its state
    label_of = np.repeat(np.arange(L), lengths)
    place = np.arange(len(label_of)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    state, token = np.concatenate(states), np.concatenate([np.asarray(label, dtype=np.int64) for label in labels])
    path = _paths(token, label_of, place, L)
    if not vocabulary:
        choice = constraint.single[state] < 0
        label_of, place, state, token, path = (part[choice] for part in (label_of, place, state, token, path))
    out = torch.zeros(B, L, dtype=torch.float64)
    for distinct in np.unique(state):  # labels share their first states: few distinct ones, each with few tokens
        mine = np.flatnonzero(state == distinct)
        _, first, path_of = np.unique(path[mine], return_index=True, return_inverse=True)
        where = torch.from_numpy(starts[:, None] - 1 + place[mine[first]]).to(table.device)
        row = torch.from_numpy(row_of[label_of[mine[first]]]).to(table.device)
        x = hidden[torch.arange(B, device=table.device)[:, None], row[None, :], where]  # (B, m, D), m distinct paths
        lo, hi, tokens, _ = allowed(constraint, state[mine], int(constraint.class_of[distinct]))
        if vocabulary:
            part, columns = table, token[mine]
        elif tokens is None:
            part, columns = table[lo:hi], token[mine] - lo
        else:
            part = table[torch.from_numpy(tokens).to(table.device)]
            columns = np.searchsorted(tokens, token[mine])
        scores = torch.log_softmax((x.reshape(-1, x.shape[-1]) @ part.t()).double(), -1).view(B, len(first), -1).cpu()
        took = scores[:, torch.from_numpy(path_of), torch.from_numpy(columns)]
        out.index_add_(1, torch.from_numpy(label_of[mine]), took)
    return out


def _paths(token: Ints, label_of: Ints, place: Ints, count: int) -> Ints:
    """A number for all that a label holds before each of its tokens: equal for equal beginnings."""
    path = np.zeros(len(token), dtype=np.int64)
    now = np.zeros(count, dtype=np.int64)
    for step in range(int(place.max()) + 1):
        mine = np.flatnonzero(place == step)
        path[mine] = now[label_of[mine]]
        pairs = np.stack([now[label_of[mine]], token[mine]], 1)
        now[label_of[mine]] = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    return path
