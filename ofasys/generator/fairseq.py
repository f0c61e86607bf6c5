"""Beam search as fairseq has it, and OFA and OFASys after it, so that answers are those they gave.

What differs from `search`: an answer that has ended is kept for good, and a source is done as soon as it has as many as
beams, whatever might still come; the temperature is part of the scores; the end mark that closes a text at its longest
is scored too. `B` sources, `K` beams, `R` = B * K rows, `V` tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ofasys.generator.constraint import Bools, Constraint, Ints
from ofasys.generator.decoder import Decoder
from ofasys.generator.ngram import repeats
from ofasys.generator.options import SearchOptions
from ofasys.generator.rows import Rows
from ofasys.generator.search import Hypothesis, search
from ofasys.model.rows import products

Floats = np.ndarray


@torch.inference_mode()
def fairseq(
    decoder: Decoder,
    constraint: Constraint,
    prefixes: Sequence[Ints],
    options: SearchOptions | None = None,
    *,
    sources: Sequence[int] | None = None,
    penalties: Mapping[int, float] | None = None,
) -> list[list[Hypothesis]]:
    """The best `n_best` answers of each source, best first.

    A length_penalty of 0 leaves scores as they are. penalties: token -> what is taken off its log-probability, which
    counts for the others all the same; infinite: it never comes. Samples are those of `search`, by `sources`.
    """
    options = options or SearchOptions()
    if options.sampling:
        return search(decoder, constraint, prefixes, options, sources=sources)
    if constraint.start == constraint.accept:
        nothing = np.zeros(0, dtype=np.int64)
        return [[Hypothesis(nothing, nothing, 0.0, 0.0, True)] for _ in prefixes]
    if not len(prefixes):
        return []
    beams = _Beams(decoder, constraint, prefixes, options, penalties or {})
    while beams.live.any():
        beams.step()
    found = [sorted(answers, key=lambda answer: -answer.score) for answers in beams.kept]
    return [answers[: options.n_best] for answers in found]


class _Beams:
    """The state of one search: rows, their scores (B, K), and the answers that have ended."""

    def __init__(
        self,
        decoder: Decoder,
        constraint: Constraint,
        prefixes: Sequence[Ints],
        options: SearchOptions,
        penalties: Mapping[int, float],
    ) -> None:
        self.constraint, self.options, self.table = constraint, options, decoder.table
        self.B, self.K = len(prefixes), options.beam_size
        self.rows = Rows(decoder, constraint, prefixes, self.K, options)
        self.total = np.full((self.B, self.K), -np.inf, dtype=np.float32)
        self.total[:, 0] = 0.0  # all beams of a source begin alike: one of them speaks for all
        self.live = np.ones(self.B, dtype=np.bool_)
        self.kept: list[list[Hypothesis]] = [[] for _ in prefixes]
        self.penalty = torch.zeros(len(self.table), device=self.table.device)
        for token, less in penalties.items():
            self.penalty[token] = less
        self.masks: dict[int, Bools] = {}

    def step(self) -> None:
        """One more token of every row."""
        rows = self.rows
        led = rows.led
        if not (self.live & ~led.reshape(self.B, self.K)[:, 0]).any():  # all that live still follow a prefix
            rows.append(rows.history[:, rows.length].copy(), None, np.zeros(len(rows), dtype=np.bool_))
            return
        score, token, parent = self.candidates()
        state = self.constraint.advance(rows.state[parent.ravel()], token.ravel()).reshape(parent.shape)
        idle = led.reshape(self.B, self.K)[:, 0] | ~self.live
        ends = (state == self.constraint.accept) & (score > -np.inf) & ~idle[:, None]
        self.keep(ends[:, : self.K], score, token, parent)
        self.go_on(np.where(ends, -np.inf, score), token, parent, idle)

    def candidates(self) -> tuple[Floats, Ints, Ints]:
        """The best 2K of each source, best first, (B, 2K) each: score, token, row it goes on from."""
        gains = self.gains()
        both = gains.view(self.B, self.K, -1) + torch.from_numpy(self.total).to(gains.device)[:, :, None]
        both = both.view(self.B, -1)
        score, place = both.topk(min(2 * self.K, both.shape[1]), 1)
        where, V = place.cpu().numpy(), gains.shape[1]
        return score.cpu().numpy(), where % V, where // V + np.arange(self.B)[:, None] * self.K

    def gains(self) -> Tensor:
        """Log-probabilities (R, V) of the next token; -inf of what may not come."""
        rows, options = self.rows, self.options
        scores = products(rows.hidden(), self.table).float() / options.temperature
        allowed = np.stack([self.allowed(int(state)) for state in rows.state])
        every = np.arange(len(rows))
        if rows.guided(every):
            allowed &= rows.allowed(every, np.arange(len(self.table)))
        may = torch.from_numpy(allowed).to(scores.device)
        if options.normalise == "allowed":
            scores = scores.masked_fill(~may, -torch.inf)
        found = torch.log_softmax(scores, 1) - self.penalty
        return found.masked_fill(torch.from_numpy(~allowed | self.barred(allowed)).to(scores.device), -torch.inf)

    def allowed(self, state: int) -> Bools:
        """(V,) what the target sentence allows in a state."""
        if state not in self.masks:
            constraint, mask = self.constraint, np.zeros(len(self.table), dtype=np.bool_)
            mask[constraint.lo[state] : constraint.hi[state]] = True
            mask[constraint.token[constraint.first[state] : constraint.first[state + 1]]] = True
            self.masks[state] = mask
        return self.masks[state]

    def barred(self, allowed: Bools) -> Bools:
        """(R, V) what may not come besides: what would close a text too early, go on too long, or repeat itself."""
        rows, end = self.rows, self.constraint.end
        barred = np.zeros_like(allowed)
        barred[rows.barred(), end] = True
        closing = rows.closes(rows.state, rows.made, rows.run) | rows.full(rows.state, rows.items)
        barred[closing] = True
        barred[closing, end] = False
        if self.options.no_repeat_ngram_size:
            row, token = repeats(rows.history[:, : rows.length], self.options.no_repeat_ngram_size)
            text = self.constraint.text[rows.state[row]] & (token != end)
            barred[row[text], token[text]] = True
        return barred

    def keep(self, ends: Bools, score: Floats, token: Ints, parent: Ints) -> None:
        """Answers that end among the first K candidates, until a source has K."""
        rows = self.rows
        for source, place in zip(*np.nonzero(ends), strict=True):
            if len(self.kept[source]) == self.K:
                continue
            row = int(parent[source, place])
            tokens = np.append(rows.history[row, rows.prefix[row] : rows.length], token[source, place])
            value = float(score[source, place])
            cut = bool(rows.closes(rows.state[[row]], rows.made[[row]], rows.run[[row]], np.array([row]))[0])
            ranked = value / len(tokens) ** self.options.length_penalty
            self.kept[source].append(Hypothesis(tokens, self.constraint.walk(tokens), value, ranked, not cut))

    def go_on(self, score: Floats, token: Ints, parent: Ints, idle: Bools) -> None:
        """The K best candidates that have not ended become the rows; of sources that are idle nothing moves."""
        rows, B, K = self.rows, self.B, self.K
        going = np.argsort(-score, axis=1, kind="stable")[:, :K]
        stay = np.arange(B * K).reshape(B, K)
        total = np.take_along_axis(score, going, 1)
        came, follow = np.take_along_axis(parent, going, 1), np.take_along_axis(token, going, 1)
        dead = total == -np.inf
        came, follow = np.where(dead, stay, came), np.where(dead, 0, follow)
        came = np.where(idle[:, None], stay, came).ravel()
        follow = np.where(idle[:, None], rows.history[:, rows.length].reshape(B, K), follow).ravel()
        moves = (~idle[:, None] & ~dead).ravel()
        self.total = np.where(idle[:, None], self.total, total).astype(np.float32)
        rows.append(follow, None if (came == stay.ravel()).all() else came, moves)
        full = np.array([len(answers) == K for answers in self.kept])
        led = rows.prefix.reshape(B, K)[:, 0] >= rows.length
        self.live &= ~full & (led | (self.total > -np.inf).any(1))
