"""A hypothesis at a time: each row takes its best token, or draws one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ofasys.generator.choices import choices, forced, normalised
from ofasys.generator.choose import top
from ofasys.generator.constraint import Bools, Constraint, Ints
from ofasys.generator.decoder import Decoder
from ofasys.generator.hypothesis import Hypothesis, by_label
from ofasys.generator.options import SearchOptions
from ofasys.generator.rows import Rows
from ofasys.generator.sample import draw, uniform
from ofasys.generator.scores import Head, Owed, Scores


class Single:
    """`R` rows, one a source, or of a sampling `n_best`; none knows of another.

    sources: the number of each, by which tokens are drawn.
    """

    def __init__(
        self,
        decoder: Decoder,
        constraint: Constraint,
        head: Head,
        prefixes: Sequence[Ints],
        options: SearchOptions,
        sources: Sequence[int],
    ) -> None:
        self.constraint, self.head, self.options = constraint, head, options
        self.group = options.n_best if options.sampling else 1
        self.rows = rows = Rows(decoder, constraint, prefixes, self.group, options, by_label(options))
        self.names = [(options.seed, source, answer) for source in sources for answer in range(self.group)]
        self.logprob, self.owed = np.zeros(len(rows)), Owed(head)
        self.counted = np.zeros(len(rows), dtype=np.int64)
        self.stop = np.zeros(len(rows), dtype=np.int64)  # tokens of a finished row
        self.cut = np.zeros(len(rows), dtype=np.bool_)
        self.live = np.ones(len(rows), dtype=np.bool_)

    def search(self) -> list[list[Hypothesis]]:
        """The answers of each source, best first."""
        while self.live.any():
            self._step()
        self.owed.pay(self.logprob)
        found = [self.found(row) for row in range(len(self.rows))]
        groups = (found[first : first + self.group] for first in range(0, len(found), self.group))
        return [sorted(answers, key=lambda answer: -answer.score) for answers in groups]

    def found(self, row: int) -> Hypothesis:
        """What a row that is done has become."""
        rows, whole = self.rows, not self.cut[row]
        tokens = rows.history[row, rows.prefix[row] :][: self.stop[row]]
        return Hypothesis.scored(
            self.constraint, tokens, self.logprob[row], int(self.counted[row]), whole, self.options
        )

    def _step(self) -> None:
        """Each row takes a token."""
        rows, live = self.rows, self.live
        tokens, known, closing = forced(rows)
        open_rows = np.flatnonzero(live & ~known if not self.head.vocabulary else live & ~closing & ~rows.led)
        if len(open_rows):
            self._choose(open_rows, tokens)
        moves = live & ~rows.led
        starved = closing & ~rows.full(rows.state, rows.items)
        self.counted[moves & ~closing & rows.counts] += 1
        rows.append(np.where(live, np.maximum(tokens, 0), 0), None, moves)
        done: Bools = live & (rows.state == self.constraint.accept)
        self.stop[done], self.cut[done] = rows.made[done], starved[done]
        self.live = live & ~done

    def _choose(self, open_rows: Ints, tokens: Ints) -> None:
        """Fills in the tokens of rows that have a choice."""
        rows = self.rows
        made, hidden = rows.made, rows.hidden()
        open_rows, asked = rows.apart(open_rows)
        for row, (label,) in zip(asked.tolist(), rows.labels(asked, hidden, 1), strict=True):
            tokens[row] = rows.settle(row, rows.length, label.tokens)
            self.logprob[row] += label.logprob
        enough = self.options.top_k if self.options.sampling else 1  # of top_k 0 all are wanted
        for mine, scores, undo in choices(rows, self.head, hidden, open_rows, enough, True):
            value, place = self._taken(mine, scores, made)
            gain, words = normalised(scores, undo, value, place, self.constraint.end)
            tokens[mine] = words[:, 0]
            self.owed.add(mine, scores)
            self.logprob[mine] += gain[:, 0].double().cpu().numpy()

    def _taken(self, mine: Ints, scores: Scores, made: Ints) -> tuple[Tensor, Tensor]:
        """Of some rows the score and column of what each takes; (n, 1) each."""
        if not self.options.sampling:
            return top(scores.values, 1)
        chance = uniform([self.names[row] for row in mine.tolist()], made[mine].tolist())
        if scores.tokens is None or scores.tokens.ndim == 1:
            place = draw(scores.values, chance, self.options)[:, None]
        else:  # the best of each row, falling: a draw goes through tokens in their order
            order = torch.from_numpy(scores.tokens.argsort(1)).to(scores.values.device)
            place = order.gather(1, draw(scores.values.gather(1, order), chance, self.options)[:, None])
        return scores.values.gather(1, place), place
