"""Beam search as `transformers` does it, so that answers agree: 2K candidates a source, K go on, K best are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ofasys.generator.choices import choices, forced, normalised
from ofasys.generator.choose import top
from ofasys.generator.constraint import Bools, Constraint, Ints
from ofasys.generator.decoder import Decoder
from ofasys.generator.hypothesis import Hypothesis, by_label
from ofasys.generator.options import SearchOptions
from ofasys.generator.rows import Rows
from ofasys.generator.scores import Head

Floats = np.ndarray


@dataclass(frozen=True, eq=False)
class Candidates:
    """What each row may go on with."""

    gain: Floats
    """(R, 2K) log-probabilities; -inf where there is none."""
    token: Ints
    """(R, 2K)"""
    whole: dict[tuple[int, int], Ints]
    """(row, place among its candidates) -> the label that begins there."""


@dataclass(frozen=True, eq=False)
class Continuations:
    """The 2K likeliest of each source, best first, (B, 2K) each."""

    total: Floats
    """Log-probability of all tokens; -inf where there is none."""
    parent: Ints
    """The row it goes on from."""
    spot: Ints
    """Its place among the candidates of that row."""
    token: Ints
    """What that row is continued with."""
    counted: Ints
    """Its length, as scores count it."""
    cut: Bools
    """Nothing is left but the last end mark: done, free of charge."""
    spent: Bools
    """For the budget is used up."""
    done: Bools
    """The sentence ends here."""
    going: Floats
    """`total` of those that are not done, else -inf."""


class Beams:
    """`K` beams of each of `B` sources, R = B * K rows."""

    def __init__(
        self,
        decoder: Decoder,
        constraint: Constraint,
        head: Head,
        prefixes: Sequence[Ints],
        options: SearchOptions,
    ) -> None:
        self.constraint, self.head, self.options = constraint, head, options
        self.rows = Rows(decoder, constraint, prefixes, options.beam_size, options, by_label(options))
        self._begin(len(prefixes))

    def _begin(self, sources: int) -> None:
        """Before any token."""
        B, K = sources, self.options.beam_size
        self.running = np.full((B, K), -np.inf, dtype=np.float32)
        self.running[:, 0] = 0.0  # all beams of a source begin alike: one of them speaks for all
        self.counted = np.zeros((B, K), dtype=np.int64)
        self.best = np.full((B, K), -np.inf, dtype=np.float32)  # finished answers, by score
        self.kept: list[list[Hypothesis | None]] = [[None] * K for _ in range(B)]
        self.live = np.ones(B, dtype=np.bool_)

    @property
    def shape(self) -> tuple[int, int]:
        """(B, K)"""
        return len(self.live), self.options.beam_size

    @property
    def offset(self) -> Ints:
        """(B, 1) the first row of each source."""
        return np.arange(len(self.live))[:, None] * self.options.beam_size

    def search(self) -> list[list[Hypothesis]]:
        """The answers of each source, best first."""
        while self.live.any():
            self._step()
        return [self.found(source) for source in range(len(self.kept))]

    def found(self, source: int) -> list[Hypothesis]:
        """The answers of a source, best first."""
        return [answer for answer in self.kept[source] if answer is not None][: self.options.n_best]

    def _step(self) -> None:
        """Each beam takes a token."""
        rows, (_, K) = self.rows, self.shape
        led = rows.led
        tokens, known, closing = forced(rows)
        speaks = np.repeat(self.live, K) & (self.running.ravel() > -np.inf) & ~led
        if not speaks.any():  # all that live still follow a prefix
            rows.append(tokens, None, np.zeros(len(rows), dtype=np.bool_))
            return
        idle = led.reshape(self.shape)[:, :1] | ~self.live[:, None]  # (B, 1)
        candidates = self._candidates(speaks, speaks & ~(closing if self.head.vocabulary else known), tokens)
        found = self._continuations(candidates, closing, idle)
        self._keep(found, closing & ~rows.full(rows.state, rows.items))
        self._go_on(found, candidates.whole, tokens, idle)
        self._rest(led.reshape(self.shape)[:, 0])

    def _candidates(self, speaks: Bools, scored: Bools, tokens: Ints) -> Candidates:
        """Of the rows that speak: of those that are scored the likeliest, of others the token that is forced."""
        rows, wide = self.rows, 2 * self.shape[1]
        gain = np.full((len(rows), wide), -np.inf, dtype=np.float32)
        token = np.zeros((len(rows), wide), dtype=np.int64)
        whole: dict[tuple[int, int], Ints] = {}
        sure = speaks & ~scored
        gain[sure, 0], token[sure, 0] = 0.0, tokens[sure]
        open_rows = np.flatnonzero(scored)
        if len(open_rows):
            hidden = rows.hidden()
            open_rows, asked = rows.apart(open_rows)
            for row, labels in zip(asked.tolist(), rows.labels(asked, hidden, wide), strict=True):
                for number, label in enumerate(labels):
                    gain[row, number], token[row, number] = label.logprob, label.tokens[0]
                    whole[row, number] = label.tokens
            for mine, scores, undo in choices(rows, self.head, hidden, open_rows, wide):
                value, place = top(scores.values, wide)
                made, words = normalised(scores, undo, value, place, self.constraint.end)
                gain[mine, : words.shape[1]] = made.float().cpu().numpy()
                token[mine, : words.shape[1]] = words
        return Candidates(gain, token, whole)

    def _continuations(self, candidates: Candidates, closing: Bools, idle: Bools) -> Continuations:
        """The best of all rows of a source, where they lead, and which of them are done."""
        rows, (B, K), wide = self.rows, self.shape, 2 * self.shape[1]
        total = (candidates.gain.reshape(B, K, wide) + self.running[:, :, None]).reshape(B, K * wide)
        order = np.argsort(-total, axis=1, kind="stable")[:, :wide]
        total = np.take_along_axis(total, order, 1)
        parent = order // wide + self.offset
        token = candidates.token.ravel()[order + self.offset * wide]
        state, run, items = rows.after(rows.state[parent], rows.run[parent], rows.items[parent], token)
        safe = np.maximum(state, 0)
        counted = self.counted.ravel()[parent] + (~closing & rows.counts)[parent]
        real = (total > -np.inf) & ~idle
        full = rows.full(safe, items)
        cut = real & (full | rows.closes(safe, rows.made[parent] + 1, run, parent))
        cut &= rows.after(safe, run, items, np.full(state.shape, self.constraint.end))[0] == self.constraint.accept
        done = real & ((state == self.constraint.accept) | cut)
        going = np.where(done | ~real, -np.inf, total)
        return Continuations(total, parent, order % wide, token, counted, cut, cut & ~full, done, going)

    def _keep(self, found: Continuations, starved: Bools) -> None:
        """The best answers of each source, those that are done now among them. starved (R,): which rows must close."""
        K, rows = self.shape[1], self.rows
        finished = found.done.copy()
        finished[:, K:] = False
        if self.options.early_stopping is True:
            finished &= ~self._full[:, None]
        for source in np.flatnonzero(finished.any(1)):
            merged = list(zip(self.best[source].tolist(), self.kept[source], strict=True))
            for at in np.flatnonzero(finished[source]).tolist():
                row, cut = int(found.parent[source, at]), bool(found.cut[source, at])
                rest = [found.token[source, at], *([self.constraint.end] if cut else [])]
                tokens = np.append(rows.history[row, rows.prefix[row] : rows.length], rest)
                total, length = float(found.total[source, at]), int(found.counted[source, at])
                whole = not (found.spent[source, at] or starved[row])
                answer = Hypothesis.scored(self.constraint, tokens, total, length, whole, self.options)
                merged.append((answer.score, answer))
            merged.sort(key=lambda pair: -pair[0])
            self.best[source] = [score for score, _ in merged[:K]]
            self.kept[source] = [answer for _, answer in merged[:K]]

    def _go_on(self, found: Continuations, whole: dict[tuple[int, int], Ints], tokens: Ints, idle: Bools) -> None:
        """The K best that are not done become the beams; idle sources stay as they are, with their forced tokens."""
        rows, (_, K) = self.rows, self.shape
        onward = np.argsort(-found.going, axis=1, kind="stable")[:, :K]
        running = np.take_along_axis(found.going, onward, 1)
        self.running = np.where(idle, self.running, running).astype(np.float32)
        self.counted = np.where(idle, self.counted, np.take_along_axis(found.counted, onward, 1))
        dead = self.running == -np.inf
        stay = self.offset + np.arange(K)
        # a beam without a continuation becomes a copy of its source's first: its row is fed, never read
        onward = np.where(dead, onward[:, :1], onward)
        came = np.where(idle, stay, np.take_along_axis(found.parent, onward, 1)).ravel()
        follow = np.where(idle, tokens.reshape(self.shape), np.take_along_axis(found.token, onward, 1)).ravel()
        moves = (~idle & ~dead).ravel()
        rows.append(np.maximum(follow, 0), None if (came == stay.ravel()).all() else came, moves)
        if whole:
            begun = np.take_along_axis(found.spot, onward, 1).ravel()
            for row in np.flatnonzero(moves).tolist():
                if (spelled := whole.get((int(came[row]), int(begun[row])))) is not None:
                    rows.settle(row, rows.length - 1, spelled)

    @property
    def _full(self) -> Bools:
        """(B,) which sources have K answers."""
        full: Bools = np.all(np.isfinite(self.best), axis=1)
        return full

    def _rest(self, led: Bools) -> None:
        """Sources rest whose beams cannot better what they have; led (B,): those that followed their prefix go on."""
        options, rows = self.options, self.rows
        longest = np.maximum((self.counted if rows.wholes else rows.made.reshape(self.shape))[:, 0], 1)
        if options.early_stopping == "never" and options.length_penalty > 0:
            longest = rows.longest.reshape(self.shape)[:, 0]
        full = self._full
        hope = self.running[:, 0] / longest.astype(np.float32) ** options.length_penalty
        better = ~full | (hope > self.best.min(1))
        if options.early_stopping is True:
            better &= ~full
        self.live &= led | (better & (self.running[:, 0] > -np.inf))
