"""From a decoder and a constraint to answers: greedy, beams, samples.

`R` rows = `B` sources * `G` hypotheses a source, `K` beams, `D` width. Bookkeeping is small and lives in numpy; only
hidden states and scores are tensors. A label of a closed set is one step, however many tokens spell it, and the
likeliest of all its labels is found, unless tokens are drawn or scored over the whole vocabulary. A token that is
forced costs no scores, and where all rows are forced no step of the model either: what was forced is fed together with
the next token that was chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ofasys.generator.constraint import Bools, Constraint, Ints
from ofasys.generator.decoder import Decoder
from ofasys.generator.labels import Label, likeliest
from ofasys.generator.ngram import repeats
from ofasys.generator.options import SearchOptions
from ofasys.generator.rows import Rows, check_prefixes
from ofasys.generator.sample import draw, uniform
from ofasys.generator.scores import Head, Scores, top

Floats = np.ndarray


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """One answer. tokens (n,): generated, the prefix not among them. states (n,): the automaton's state before each.

    logprob: sum over the tokens that were chosen or had to come. score: logprob / length ** length_penalty, a label of
    a closed set being one of the length; the logprob where nothing but labels, and which of them stand, was chosen.
    finished: False if a text had to be closed at the very end because max_length was reached.
    """

    tokens: Ints
    states: Ints
    logprob: float
    score: float
    finished: bool


@torch.inference_mode()
def search(
    decoder: Decoder,
    constraint: Constraint,
    prefixes: Sequence[Ints],
    options: SearchOptions | None = None,
    *,
    sources: Sequence[int] | None = None,
) -> list[list[Hypothesis]]:
    """The best `n_best` answers of each source, best first; fewer where the target sentence allows fewer.

    prefixes: for each source what comes before (the begin token, prompts, given slots). sources: the numbers by which
    samples are drawn, 0..B-1 if None; a source keeps its draws wherever it stands in a batch.
    """
    options = options or SearchOptions()
    if constraint.start == constraint.accept:
        nothing = np.zeros(0, dtype=np.int64)
        return [[Hypothesis(nothing, nothing, 0.0, 0.0, True)] for _ in prefixes]
    if not len(prefixes):
        return []
    if by_label(options) and (rest := _one_label(constraint)) is not None:
        return _labels(decoder, constraint, prefixes, options.n_best, rest)
    head = Head(decoder.table, decoder.transposed, constraint, options.normalise == "vocabulary")
    if options.beam_size > 1:
        return _beams(decoder, constraint, head, prefixes, options)
    return _single(decoder, constraint, head, prefixes, options, list(sources or range(len(prefixes))))


def by_label(options: SearchOptions) -> bool:
    """Whether a label of a closed set is chosen as a whole."""
    return options.normalise == "allowed" and not options.sampling


def _one_label(constraint: Constraint) -> list[int] | None:
    """What is forced after the label of a target that is one label, spelled in tokens; None for another target."""
    if constraint.trie_of[constraint.start] < 0:
        return None
    last = constraint.tries[int(constraint.trie_of[constraint.start])].last[:1]
    state, tokens = int(constraint.advance(last, np.array([constraint.end]))[0]), list[int]()
    while state != constraint.accept:
        tokens.append(int(constraint.single[state]))
        if tokens[-1] < 0:
            return None
        state = int(constraint.advance(np.array([state]), np.array(tokens[-1:]))[0])
    return tokens


def _labels(
    decoder: Decoder, constraint: Constraint, prefixes: Sequence[Ints], most: int, rest: Sequence[int]
) -> list[list[Hypothesis]]:
    """The likeliest labels of each source, whatever the beams; rest: what is forced after a label."""
    check_prefixes(decoder, prefixes)
    branches, hidden = decoder.plant(prefixes)
    sources = np.arange(len(prefixes))
    found = likeliest(
        branches, decoder.table, constraint, sources, np.full(len(sources), constraint.start), hidden, most
    )
    forced = np.array(rest, dtype=np.int64)

    def answer(label: Label) -> Hypothesis:
        tokens = np.concatenate([label.tokens, forced])
        return Hypothesis(tokens, constraint.walk(tokens), label.logprob, label.logprob, True)

    return [[answer(label) for label in labels] for labels in found]


def _choices(rows: Rows, head: Head, hidden: Tensor, open_rows: Ints) -> Iterator[tuple[Ints, Scores, Undo]]:
    """Scores of the rows that have a choice, a batch per emission class: (rows, scores, what to put back before
    normalising).

    Tokens that may not come by n-gram and minimum length are at -inf; they count in the normaliser nevertheless.
    """
    constraint, options = rows.constraint, rows.options
    if not len(open_rows):
        return
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
        undo = Undo(scores)
        if options.min_length:
            late = np.flatnonzero(barred[mine])
            undo.bar(late, np.full(len(late), constraint.end))
        if banned is not None:
            place = np.full(len(rows), -1)
            place[mine] = np.where(constraint.text[rows.state[mine]], np.arange(len(mine)), -1)
            row, token = place[banned[0]], banned[1]
            keep = (row >= 0) & (token != constraint.end)
            undo.bar(row[keep], token[keep])
        yield mine, scores, undo


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


def _forced(rows: Rows) -> tuple[Ints, Bools, Bools]:
    """(tokens, whether forced, whether forced by the budget), each (R,). Rows of a prefix have their own tokens."""
    state = rows.state
    closing = rows.closes(state, rows.made, rows.run) & ~rows.led
    tokens = np.where(closing, rows.constraint.end, rows.constraint.single[state])
    known = rows.length < rows.known
    if known.any():
        tokens = np.where(known, rows.history[:, rows.length], tokens)
    return tokens, tokens >= 0, closing


def _single(
    decoder: Decoder,
    constraint: Constraint,
    head: Head,
    prefixes: Sequence[Ints],
    options: SearchOptions,
    sources: Sequence[int],
) -> list[list[Hypothesis]]:
    """A row at a time takes its best token, or draws one."""
    group = options.n_best if options.sampling else 1
    rows = Rows(decoder, constraint, prefixes, group, options, by_label(options))
    names = [(source, answer) for source in sources for answer in range(group)]
    logprob = np.zeros(len(rows))
    counted = np.zeros(len(rows), dtype=np.int64)
    stop = np.zeros(len(rows), dtype=np.int64)  # where a finished row ends
    cut = np.zeros(len(rows), dtype=np.bool_)
    live = np.ones(len(rows), dtype=np.bool_)
    while live.any():
        tokens, forced, closing = _forced(rows)
        scored = live & ~forced if not head.vocabulary else live & ~closing & ~rows.led
        chosen = np.flatnonzero(scored)
        if len(chosen):
            step, hidden = rows.made, rows.hidden()
            chosen, asked = rows.apart(chosen)
            for row, (label,) in zip(asked.tolist(), rows.labels(asked, hidden, 1), strict=True):
                tokens[row] = rows.settle(row, rows.length, label.tokens)
                logprob[row] += label.logprob
            for mine, scores, undo in _choices(rows, head, hidden, chosen):
                if options.sampling:
                    chance = torch.cat([uniform(options.seed, [names[row]], int(step[row])) for row in mine])
                    place = draw(scores.values, chance, options)[:, None]
                    best = scores.values.gather(1, place)
                    peak = scores.values.amax(1, keepdim=True)
                else:
                    best, place = top(scores.values, 1)
                    peak = best
                stuck = (peak[:, 0] == -torch.inf).cpu().numpy()
                words = scores.names(place[:, 0].cpu().numpy())
                peak = undo.back(peak)
                if stuck.any():  # all that may come is barred: the text closes
                    words = np.where(stuck, constraint.end, words)
                    columns = torch.from_numpy(scores.columns(words)[0]).to(place.device)[:, None]
                    best = scores.values.gather(1, columns)
                norm = scores.normaliser(peak)
                tokens[mine] = words
                logprob[mine] += (best[:, 0] - norm).double().cpu().numpy()
        moves = live & ~rows.led
        counted[moves & ~closing & rows.counts] += 1
        rows.append(np.where(live, np.maximum(tokens, 0), 0), None, moves)
        done = live & (rows.state == constraint.accept)
        stop[done], cut[done] = rows.length, closing[done]
        live &= ~done
    out: list[list[Hypothesis]] = []
    for source in range(len(prefixes)):
        answers = [
            _answer(
                constraint,
                rows.history[row, rows.prefix[row] : stop[row]],
                logprob[row],
                counted[row],
                cut[row],
                options,
            )
            for row in range(source * group, (source + 1) * group)
        ]
        out.append(sorted(answers, key=lambda answer: -answer.score))
    return out


def _answer(
    constraint: Constraint, tokens: Ints, logprob: float, counted: int, cut: bool, options: SearchOptions
) -> Hypothesis:
    penalty = 0.0 if constraint.labels and by_label(options) else options.length_penalty
    score = logprob / max(int(counted), 1) ** penalty
    return Hypothesis(tokens.copy(), constraint.walk(tokens), float(logprob), float(score), not cut)


def _beams(
    decoder: Decoder, constraint: Constraint, head: Head, prefixes: Sequence[Ints], options: SearchOptions
) -> list[list[Hypothesis]]:
    """Beam search as `transformers` does it, so that answers agree: 2K candidates a source, K go on, K best are
    kept.
    """
    B, K = len(prefixes), options.beam_size
    rows = Rows(decoder, constraint, prefixes, K, options, by_label(options))
    wide = 2 * K
    running = np.full((B, K), -np.inf, dtype=np.float32)
    running[:, 0] = 0.0  # all beams of a source begin alike: one of them speaks for all
    counted = np.zeros((B, K), dtype=np.int64)
    best = np.full((B, K), -np.inf, dtype=np.float32)  # finished answers, by score
    kept: list[list[Hypothesis | None]] = [[None] * K for _ in range(B)]
    live = np.ones(B, dtype=np.bool_)
    offset = np.arange(B)[:, None] * K
    while live.any():
        led = rows.led
        forced_tokens, forced, closing = _forced(rows)
        speaks = np.repeat(live, K) & (running.ravel() > -np.inf) & ~led
        scored = speaks & ~forced if not head.vocabulary else speaks & ~closing
        if not speaks.any():  # all that live still follow a prefix
            rows.append(forced_tokens, None, np.zeros(len(rows), dtype=np.bool_))
            continue
        # candidates of each row: (R, 2K) log-probabilities and tokens
        gain = np.full((len(rows), wide), -np.inf, dtype=np.float32)
        token = np.zeros((len(rows), wide), dtype=np.int64)
        whole: dict[tuple[int, int], Ints] = {}  # (row, place among its candidates) -> the label that begins there
        sure = speaks & ~scored
        gain[sure, 0], token[sure, 0] = 0.0, forced_tokens[sure]
        chosen = np.flatnonzero(scored)
        if len(chosen):
            hidden = rows.hidden()
            chosen, asked = rows.apart(chosen)
            for row, labels in zip(asked.tolist(), rows.labels(asked, hidden, wide), strict=True):
                for number, label in enumerate(labels):
                    gain[row, number], token[row, number] = label.logprob, label.tokens[0]
                    whole[row, number] = label.tokens
            for mine, scores, undo in _choices(rows, head, hidden, chosen):
                value, place = top(scores.values, wide)
                words = scores.names(place.cpu().numpy())
                stuck = (value[:, 0] == -torch.inf).cpu().numpy()
                peak = value[:, :1]
                peak = undo.back(peak)
                if stuck.any():  # all that may come is barred: the text closes
                    words[stuck, 0] = constraint.end
                    columns = torch.from_numpy(scores.columns(words[:, 0])[0]).to(place.device)[:, None]
                    back = scores.values.gather(1, columns)[:, 0]
                    value[:, 0] = torch.where(torch.from_numpy(stuck).to(back.device), back, value[:, 0])
                count = value.shape[1]
                gain[mine, :count] = (value - scores.normaliser(peak)[:, None]).float().cpu().numpy()
                token[mine, :count] = words
        total = (gain.reshape(B, K, wide) + running[:, :, None]).reshape(B, K * wide)
        order = np.argsort(-total, axis=1, kind="stable")[:, :wide]
        total = np.take_along_axis(total, order, 1)
        parent = order // wide + offset  # (B, 2K) rows
        spot = order % wide
        picked = token.ravel()[order + offset * wide]

        # where the candidates lead, and which of them are done
        state, run = rows.after(rows.state[parent], rows.run[parent], picked)
        made = rows.made[parent] + 1
        count = counted.ravel()[parent] + (~closing & rows.counts)[parent]
        real = (total > -np.inf) & live[:, None] & ~led.reshape(B, K)[:, :1]
        shut: Bools = real & rows.closes(np.maximum(state, 0), made, run)
        ends = rows.after(np.maximum(state, 0), run, np.full(state.shape, constraint.end))[0]
        shut &= ends == constraint.accept  # the budget leaves nothing but the last end mark: done, free of charge
        done: Bools = np.asarray(real & ((state == constraint.accept) | shut))
        finished = done.copy()
        finished[:, K:] = False
        full: Bools = np.all(np.isfinite(best), axis=1)
        if options.early_stopping is True:
            finished &= ~full[:, None]
        for source in np.flatnonzero(finished.any(1)):
            merged = list(zip(best[source].tolist(), kept[source], strict=True))
            for at in np.flatnonzero(finished[source]).tolist():
                row = int(parent[source, at])
                answer = np.append(rows.history[row, rows.prefix[row] : rows.length], picked[source, at])
                over = bool(shut[source, at])
                answer = np.append(answer, constraint.end) if over else answer
                over |= bool(closing[row])
                length = int(count[source, at])
                found = _answer(constraint, answer, float(total[source, at]), length, over, options)
                merged.append((found.score, found))
            merged.sort(key=lambda pair: -pair[0])
            best[source] = [score for score, _ in merged[:K]]
            kept[source] = [answer for _, answer in merged[:K]]

        # the K best that are not done go on
        going = np.where(done | ~real, -np.inf, total)
        onward = np.argsort(-going, axis=1, kind="stable")[:, :K]
        idle = led.reshape(B, K)[:, :1] | ~live[:, None]
        running = np.where(idle, running, np.take_along_axis(going, onward, 1)).astype(np.float32)
        counted = np.where(idle, counted, np.take_along_axis(count, onward, 1))
        dead = running == -np.inf
        stay = offset + np.arange(K)
        # a beam without a continuation becomes a copy of its source's first: its row is fed, never read
        onward = np.where(dead, onward[:, :1], onward)
        came = np.where(idle, stay, np.take_along_axis(parent, onward, 1)).ravel()
        follow = np.where(idle, forced_tokens.reshape(B, K), np.take_along_axis(picked, onward, 1)).ravel()
        moves = (~idle & ~dead).ravel()
        rows.append(np.maximum(follow, 0), None if (came == stay.ravel()).all() else came, moves)
        if whole:
            begun = np.take_along_axis(spot, onward, 1).ravel()
            for row in np.flatnonzero(moves).tolist():
                if (spelled := whole.get((int(came[row]), int(begun[row])))) is not None:
                    rows.settle(row, rows.length - 1, spelled)

        longest = np.maximum((counted if rows.wholes else rows.made.reshape(B, K))[:, 0], 1)
        if options.early_stopping == "never" and options.length_penalty > 0:
            longest = np.full(B, options.max_length)
        full = np.all(np.isfinite(best), axis=1)
        hope = running[:, 0] / longest.astype(np.float32) ** options.length_penalty
        better = ~full | (hope > best.min(1))
        if options.early_stopping is True:
            better &= ~full
        past = ~led.reshape(B, K)[:, 0]
        live &= ~past | (better & (running[:, 0] > -np.inf))
    return [[answer for answer in answers if answer is not None][: options.n_best] for answers in kept]
