"""Rows that grow a token a step, all in lockstep: what they hold, where their automaton stands, what is forced on them.

`R` rows = `B` sources * `G` (row r belongs to source r // G). A row first follows its source's prefix, then the
automaton; rows with a short prefix generate while others still follow a long one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ofasys.generator.constraint import UNLIMITED, Bools, Constraint, Ints
from ofasys.generator.decoder import Decoder, Rounds
from ofasys.generator.grammar import Grammar, Guide
from ofasys.generator.labels import Label, likeliest
from ofasys.generator.options import SearchOptions


def check_prefixes(decoder: Decoder, prefixes: Sequence[Ints]) -> None:
    """Errors: ValueError where there is not one for each source, with a token at least."""
    if len(prefixes) != decoder.sources:
        raise ValueError(f"{len(prefixes)} prefixes for {decoder.sources} sources; give one each")
    if any(len(prefix) == 0 for prefix in prefixes):
        raise ValueError("a prefix is empty; it holds at least the token that begins every sentence")


def rounds_of(rounds: Rounds | None, sources: int) -> tuple[Ints, Bools]:
    """(rounds begun (B,), whether a further one has no place (B,))."""
    if rounds is None:
        return np.zeros(sources, dtype=np.int64), np.zeros(sources, dtype=np.bool_)
    return rounds.begun, rounds.last


def held(constraint: Constraint, longest: Ints) -> Ints:
    """(B, A) what sources that may take `longest` (B,) tokens hold for each of the constraint's `wishes`."""
    rows = [constraint.held(most) for most in longest.tolist()]
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(constraint.wishes))


class Rows:
    """Plain arrays, a row of each per hypothesis; `history` (R, room) holds prefix and generated tokens, and those that
    are settled already: all before `known` (R,).

    wholes: labels of closed sets are chosen as wholes, and count as one token.
    """

    def __init__(
        self,
        decoder: Decoder,
        constraint: Constraint,
        prefixes: Sequence[Ints],
        group: int,
        options: SearchOptions,
        wholes: bool = False,
    ) -> None:
        check_prefixes(decoder, prefixes)
        self.wholes = wholes and bool(constraint.tries)
        self.decoder, self.constraint, self.options, self.group = decoder, constraint, options, group
        lengths = np.array([len(prefix) for prefix in prefixes], dtype=np.int64)
        self.prefix = np.repeat(lengths, group)  # (R,)
        self.known = self.prefix.copy()
        own = np.full(len(prefixes), options.max_length)
        if decoder.rooms is not None:
            own = np.minimum(own, np.maximum(decoder.rooms, 1))
        self.longest = np.repeat(own, group)  # (R,) tokens a row may take
        self.held = np.repeat(held(constraint, own), group, axis=0)  # (R, A) of them what it holds for what comes later
        self.shortest = np.full(len(self.prefix), options.min_length)  # (R,) tokens before a text may end
        most = max(options.max_length, int(constraint.reserve[constraint.start])) + 1
        room = int(lengths.max()) + most
        rows = len(prefixes) * group
        self.history = np.zeros((rows, room), dtype=np.int64)
        for source, prefix in enumerate(prefixes):
            self.history[source * group : (source + 1) * group, : len(prefix)] = prefix
        self.places: Ints | None = None  # (R, room, 2): y and x of each token, where some have them
        if constraint.grid is not None:
            self.places = np.full((rows, room, 2), -1, dtype=np.int64)
        self.state = np.full(rows, constraint.start, dtype=np.int64)
        self.run = np.zeros(rows, dtype=np.int64)  # tokens already taken in the text a row is in
        begun, last = rounds_of(getattr(decoder, "rounds", None), len(prefixes))
        self.items = np.repeat(begun, group)  # (R,) rounds begun of the repetition a row is in
        self.last = np.repeat(last, group)  # (R,) a round that goes on in another stage has no place
        self.most_items = UNLIMITED if options.max_items is None else options.max_items
        self.guides: list[Guide | None] | None = [None] * rows if constraint.grammars else None  # of texts begun
        self.length = 0  # tokens that all rows hold, prefix included
        self.fed = 0  # how many of them the decoder has seen
        self.parents: Ints | None = None  # moves the decoder has not made yet
        decoder.start(group, room)
        self.length = int(lengths.min())

    def __len__(self) -> int:
        return len(self.state)

    @property
    def made(self) -> Ints:
        """(R,) tokens generated so far, the prefix not among them."""
        return np.maximum(self.length - self.prefix, 0)

    @property
    def led(self) -> Bools:
        """(R,) which rows still follow their prefix: their next token is in the history already."""
        return self.length < self.prefix

    @property
    def counts(self) -> Bools:
        """(R,) which rows' next token counts in their length: of a label that is chosen as a whole only the first."""
        if not self.wholes:
            return np.ones(len(self), dtype=np.bool_)
        trie = self.constraint.trie_of[self.state]
        roots = np.array([trie.root for trie in self.constraint.tries])
        return (trie < 0) | (roots[np.maximum(trie, 0)] == self.state)

    def apart(self, chosen: Ints) -> tuple[Ints, Ints]:
        """Rows that take a token, and rows that take a whole label, out of rows that have a choice."""
        whole = self.wholes & (self.constraint.trie_of[self.state[chosen]] >= 0)
        return chosen[~whole], chosen[whole]

    def labels(self, asked: Ints, hidden: Tensor, most: int) -> list[list[Label]]:
        """The likeliest labels of rows that stand where one begins; hidden (R, D) of all rows."""
        if not len(asked):
            return []
        own = hidden[torch.from_numpy(asked).to(hidden.device)]
        branches, table = self.decoder.branch(), self.decoder.table
        early = self._early()[asked]
        wide = most + int(early.any())  # one of them may be the end mark, which may not come yet
        found = likeliest(branches, table, self.constraint, asked, self.state[asked], own, wide)
        end = self.constraint.end
        return [
            [label for label in labels if not late or label.tokens[0] != end][:most]
            for labels, late in zip(found, early.tolist(), strict=True)
        ]

    def settle(self, row: int, start: int, tokens: Ints) -> int:
        """These tokens come next in a row, from place `start` on -> the first of them."""
        self.known[row] = start + len(tokens)
        self.history[row, start : self.known[row]] = tokens
        return int(tokens[0])

    def full(self, state: Ints, items: Ints) -> Bools:
        """Which have had all rounds of a repetition they may."""
        found: Bools = self.constraint.loops[state] & (items >= self.most_items)
        return found

    def closes(self, state: Ints, made: Ints, run: Ints, row: Ints | None = None) -> Bools:
        """Which rows have used up their tokens: of what could come only the end mark may. row: which they are; all."""
        constraint = self.constraint
        row = np.arange(len(self)) if row is None else row
        spent = made + constraint.inside[state] + self.held[row, constraint.ahead[state]] > self.longest[row]
        spent |= constraint.gated[state] & self.last[row]
        return constraint.stoppable[state] & (spent | (run >= constraint.limit[state]))

    def barred(self) -> Bools:
        """(R,) which rows may not close their text, or leave their repetition, yet."""
        return (self.constraint.text[self.state] & (self.made < self.shortest)) | self._early()

    def _early(self) -> Bools:
        """(R,) which rows are at the head of a repetition that goes on."""
        return self.constraint.loops[self.state] & (self.items < self.options.min_items)

    def after(self, state: Ints, run: Ints, items: Ints, tokens: Ints) -> tuple[Ints, Ints, Ints]:
        """State, run and items after emitting tokens; the arrays are of one shape, any."""
        shape = state.shape
        moved = self.constraint.advance(state.ravel(), tokens.ravel()).reshape(shape)
        rounds = np.where(tokens == self.constraint.end, 0, items + 1)
        return moved, np.where(moved == state, run + 1, 0), np.where(self.constraint.loops[state], rounds, items)

    def append(self, tokens: Ints, parents: Ints | None, moves: Bools) -> None:
        """Give every row its next token, after rows have become what `parents` (R,) were; `moves`: rows past their
        prefix.
        """
        if parents is not None:
            self.history = self.history[parents]
            self.places = None if self.places is None else self.places[parents]
            self.state, self.run, self.known = self.state[parents], self.run[parents], self.known[parents]
            self.items = self.items[parents]
            self._guides_of(parents)
            self.parents = parents if self.parents is None else self.parents[parents]
        led = self.led
        self.history[:, self.length] = np.where(led, self.history[:, self.length], tokens)
        if self.places is not None and self.constraint.grid is not None:
            self.places[moves, self.length] = self.constraint.grid[self.state[moves]]
        self._guide(tokens, moves)
        moved, run, items = self.after(self.state, self.run, self.items, tokens)
        self.state = np.where(moves, moved, self.state)
        self.run = np.where(moves, run, self.run)
        self.items = np.where(moves, items, self.items)
        self.length += 1

    def guided(self, rows: Ints) -> bool:
        """Whether one of these rows writes a text that has a grammar."""
        return self.guides is not None and any(self._grammar(row) is not None for row in rows.tolist())

    def allowed(self, rows: Ints, candidates: Ints) -> Bools:
        """(n, U) which of candidates (U,) these rows (n,) may take by the grammars of their texts."""
        constraint = self.constraint
        mask = np.ones((len(rows), len(candidates)), dtype=np.bool_)
        for place, row in enumerate(rows.tolist()):
            grammar = self._grammar(row)
            if grammar is None:
                continue
            lo, pieces = int(constraint.lo[self.state[row]]), self._guide_of(row, grammar).allowed()
            ends = candidates == constraint.end
            mask[place] = pieces[np.where(ends, len(pieces) - 1, np.clip(candidates - lo, 0, len(pieces) - 1))]
            mask[place] |= ends & bool(constraint.loops[self.state[row]])  # a repetition may stop before its text
        return mask

    def _grammar(self, row: int) -> Grammar | None:
        state = self.state[row]
        return (
            self.constraint.grammars.get(int(self.constraint.slot_of[state])) if self.constraint.text[state] else None
        )

    def _guide_of(self, row: int, grammar: Grammar) -> Guide:
        assert self.guides is not None
        guide = self.guides[row]
        if guide is None:
            guide = self.guides[row] = grammar.begin()
        return guide

    def _guides_of(self, parents: Ints) -> None:
        """Rows that became others go on with copies."""
        if self.guides is not None:
            held = [self.guides[parent] for parent in parents.tolist()]
            self.guides = [None if guide is None else guide.copy() for guide in held]

    def _guide(self, tokens: Ints, moves: Bools) -> None:
        """The texts of rows that move take their tokens; an end mark ends them."""
        if self.guides is None:
            return
        for row in np.flatnonzero(moves).tolist():
            grammar, token = self._grammar(row), int(tokens[row])
            if grammar is not None and token != self.constraint.end:
                self._guide_of(row, grammar).take(token - int(self.constraint.lo[self.state[row]]))
            else:
                self.guides[row] = None

    def hidden(self) -> Tensor:
        """Feed the decoder all it has not seen -> hidden states (R, D) after the last token."""
        tokens = torch.from_numpy(np.ascontiguousarray(self.history[:, self.fed : self.length]))
        parents = None if self.parents is None else torch.from_numpy(self.parents)
        device = self.decoder.table.device
        grid: tuple[Tensor, ...] = ()
        if self.places is not None:
            grid = (torch.from_numpy(np.ascontiguousarray(self.places[:, self.fed : self.length])).to(device),)
        out = self.decoder.step(tokens.to(device), None if parents is None else parents.to(device), *grid)
        self.fed, self.parents = self.length, None
        return out
