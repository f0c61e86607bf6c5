"""A search whose rows come and go: greedy or drawn rows of many askers take their tokens together, each with a length,
limits and a seed of its own, and leave when they are done.

`R` rows = `B` sources * `G` hypotheses a source. All rows take their next token at once; a row that comes later begins
later in `history`, so that its last token stands where those of the others stand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor

from ofasys.generator.beams import Beams
from ofasys.generator.constraint import UNLIMITED, Bools, Constraint, Ints
from ofasys.generator.decoder import Rounds
from ofasys.generator.hypothesis import Hypothesis, by_label
from ofasys.generator.options import SearchOptions
from ofasys.generator.rows import Rows, held, rounds_of
from ofasys.generator.scores import Head, Owed, Scores
from ofasys.generator.single import Single

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

ROWS = ("history", "begin", "seen", "prefix", "known", "longest", "held", "shortest", "state", "run", "items", "last")
SPARE = 64  # places before all rows that are kept until they are cut off at once


class OpenDecoder(Protocol):
    """A model as rows see it that come and go."""

    def feed(
        self, tokens: Int[Ints, "N"], places: Int[Ints, "N"], counts: Int[Ints, "R"], grid: Int[Ints, "N 2"] | None
    ) -> Float[Tensor, "R D"]:
        """The next tokens of all rows, `counts` each, laid end to end -> the states of the last of each row.

        places: of each token in its row, the prefix counted. grid: y and x of each, -1 where it has none.
        """
        ...

    def reorder(self, parents: Int[Ints, "R"]) -> None:
        """Row r goes on from what row parents[r] was, which is of the same source."""
        ...

    def keep(self, sources: Bools) -> None:
        """Only these (B,) go on."""
        ...

    def end(self) -> None:
        """None goes on."""
        ...


def alike(constraint: Constraint, options: SearchOptions) -> str | None:
    """What searches of one constraint have in common that may go on as one; None of one that goes on alone.

    Labels that are chosen as wholes, and texts that have a grammar, do.
    """
    if constraint.grammars or (by_label(options) and constraint.tries):
        return None
    return repr(replace(options, max_length=1, min_length=0, seed=0, draw={}))


class OpenRows(Rows):
    """Rows that come and go. `history` holds -1 before `begin` (R,), where a row's prefix begins."""

    def __init__(self, decoder: OpenDecoder, constraint: Constraint, group: int, options: SearchOptions) -> None:
        self.open, self.constraint, self.options, self.group = decoder, constraint, options, group
        self.wholes, self.guides, self.parents, self.length = False, None, None, 0
        self.most_items = UNLIMITED if options.max_items is None else options.max_items
        self.state = self.run = self.items = self.prefix = self.known = np.zeros(0, dtype=np.int64)
        self.longest = self.shortest = self.begin = self.seen = np.zeros(0, dtype=np.int64)
        self.held = np.zeros((0, len(constraint.wishes)), dtype=np.int64)
        self.last = np.zeros(0, dtype=np.bool_)
        self.history = np.zeros((0, 0), dtype=np.int64)
        self.places = None if constraint.grid is None else np.zeros((0, 0, 2), dtype=np.int64)

    def join(self, prefixes: Sequence[Ints], longest: Ints, shortest: int, rounds: Rounds | None = None) -> None:
        """Sources with these prefixes, that may take up to `longest` (B,) tokens. rounds: as of a decoder."""
        lengths = np.repeat([len(prefix) for prefix in prefixes], self.group)
        if (lack := int(lengths.max()) - self.length) > 0:
            self._shift(lack)
        new, none = len(lengths), np.zeros(len(lengths), dtype=np.int64)
        history = np.full((new, self.history.shape[1]), -1, dtype=np.int64)
        for row, length in enumerate(lengths.tolist()):
            history[row, self.length - length : self.length] = prefixes[row // self.group]
        self.history = np.concatenate([self.history, history])
        if self.places is not None:
            self.places = np.concatenate([self.places, np.full((*history.shape, 2), -1)])
        self.begin = np.append(self.begin, self.length - lengths)
        self.seen = np.append(self.seen, self.length - lengths)
        self.prefix, self.known = (np.append(part, none + self.length) for part in (self.prefix, self.known))
        self.longest = np.append(self.longest, np.repeat(longest, self.group))
        self.held = np.concatenate([self.held, np.repeat(held(self.constraint, longest), self.group, axis=0)])
        self.shortest = np.append(self.shortest, none + shortest)
        self.state = np.append(self.state, none + self.constraint.start)
        begun, last = (np.repeat(part, self.group) for part in rounds_of(rounds, len(prefixes)))
        self.run, self.items = np.append(self.run, none), np.append(self.items, begun)
        self.last = np.append(self.last, last)
        if self.parents is not None:
            self.parents = np.append(self.parents, np.arange(len(self.parents), len(self)))

    def keep(self, rows: Bools) -> None:
        """Only these rows (R,) go on; all of a source or none."""
        if self.parents is not None:
            self.parents = (np.cumsum(rows) - 1)[self.parents[rows]]
        for name in ROWS:
            setattr(self, name, getattr(self, name)[rows])
        if self.places is not None:
            self.places = self.places[rows]
        if not len(self):
            self._shift(-self.length)
        elif (spare := int(self.begin.min())) >= SPARE:
            self._shift(-spare)

    def append(self, tokens: Ints, parents: Ints | None, moves: Bools) -> None:
        """As of `Rows`; there is always room."""
        if self.length == self.history.shape[1]:
            self.history = _wider(self.history, max(SPARE, self.length))
            self.places = None if self.places is None else _wider(self.places, max(SPARE, self.length))
        super().append(tokens, parents, moves)

    def written(self, row: int) -> Ints:
        """The tokens (n,) of a row after its prefix."""
        return self.history[row, self.prefix[row] : self.length]

    def hidden(self) -> Tensor:
        """Feed what the model has not seen -> hidden states (R, D) after the last token."""
        if self.parents is not None:
            self.open.reorder(self.parents)
            self.parents = None
        counts = self.length - self.seen
        row = np.repeat(np.arange(len(self)), counts)
        within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        at = self.seen[row] + within
        grid = None if self.places is None else self.places[row, at]
        out = self.open.feed(self.history[row, at], at - self.begin[row], counts, grid)
        self.seen = np.full(len(self), self.length)
        return out

    def _shift(self, by: int) -> None:
        """All stand so many places further to the right, or the left."""
        if by > 0:
            self.history = np.pad(self.history, ((0, 0), (by, 0)), constant_values=-1)
        else:
            self.history = self.history[:, -by:]
        if self.places is not None:
            more = ((0, 0), (by, 0), (0, 0))
            self.places = np.pad(self.places, more, constant_values=-1) if by > 0 else self.places[:, -by:]
        self.length += by
        self.begin, self.seen, self.prefix, self.known = (
            part + by for part in (self.begin, self.seen, self.prefix, self.known)
        )


def _wider(array: np.ndarray, more: int) -> np.ndarray:
    return np.pad(array, ((0, 0), (0, more), *[(0, 0)] * (array.ndim - 2)), constant_values=-1)


class OwedByRow(Owed):
    """Normalisers that are computed when a row is done."""

    def __init__(self, head: Head) -> None:
        super().__init__(head)
        self.of: list[dict[tuple[int, int], list[Tensor]]] = []  # of each row the states whose normaliser is owed

    def add(self, rows: Ints, scores: Scores) -> None:
        """Of these rows (n,), if it is owed of their scores."""
        if scores.owed is not None:
            hidden, lo, hi = scores.owed
            for row, state in zip(rows.tolist(), hidden.unbind(), strict=True):
                self.of[row].setdefault((lo, hi), []).append(state)

    def settle(self, logprob: np.ndarray, rows: Sequence[int]) -> None:
        """Take those of some rows off their scores, logprob (R,)."""
        for row in rows:
            for (lo, hi), states in self.of[row].items():
                for state in states:
                    self.kept.setdefault((lo, hi), []).append((np.array([row]), state[None]))
            self.of[row] = {}
        self.pay(logprob)


class OpenSingle(Single):
    """`Single` whose sources come and go; none at first."""

    rows: OpenRows
    owed: OwedByRow

    def __init__(self, decoder: OpenDecoder, constraint: Constraint, head: Head, options: SearchOptions) -> None:
        self.constraint, self.head, self.options = constraint, head, options
        self.group = options.n_best if options.sampling else 1
        self.rows = OpenRows(decoder, constraint, self.group, options)
        self.names: list[tuple[int, int, int]] = []
        self.logprob, self.owed = np.zeros(0), OwedByRow(head)
        self.counted = self.stop = np.zeros(0, dtype=np.int64)
        self.cut = self.live = np.zeros(0, dtype=np.bool_)

    @property
    def sources(self) -> int:
        """B."""
        return len(self.names) // self.group

    def join(
        self,
        prefixes: Sequence[Ints],
        options: SearchOptions,
        numbers: Sequence[int],
        rooms: Ints | None,
        rounds: Rounds | None = None,
    ) -> None:
        """Sources that are searched from now on; rooms (B,), rounds: as of a decoder."""
        self.rows.join(prefixes, _longest(prefixes, options, rooms), options.min_length, rounds)
        self.names += [(options.seed, number, answer) for number in numbers for answer in range(self.group)]
        new = len(prefixes) * self.group
        self.owed.of += [{} for _ in range(new)]
        self.logprob = np.append(self.logprob, np.zeros(new))
        self.counted, self.stop = (np.append(part, np.zeros(new, dtype=np.int64)) for part in (self.counted, self.stop))
        self.cut, self.live = np.append(self.cut, np.zeros(new, np.bool_)), np.append(self.live, np.ones(new, np.bool_))

    def step(self) -> dict[int, list[Hypothesis]]:
        """Each row takes a token -> the answers, best first, of those sources that are done; they are to leave."""
        self._step()
        over = np.flatnonzero(~self.live.reshape(-1, self.group).any(1)).tolist()
        self.owed.settle(self.logprob, [row for source in over for row in self._of(source)])
        return {source: sorted(map(self.found, self._of(source)), key=lambda one: -one.score) for source in over}

    def keep(self, sources: Bools) -> None:
        """Only these sources (B,) go on."""
        rows = np.repeat(sources, self.group)
        self.rows.keep(rows)
        for name in ("logprob", "counted", "stop", "cut", "live"):
            setattr(self, name, getattr(self, name)[rows])
        self.names = [name for name, stays in zip(self.names, rows.tolist(), strict=True) if stays]
        self.owed.of = [owed for owed, stays in zip(self.owed.of, rows.tolist(), strict=True) if stays]

    def _of(self, source: int) -> range:
        return range(source * self.group, (source + 1) * self.group)


class OpenBeams(Beams):
    """`Beams` whose sources come and go; none at first."""

    rows: OpenRows

    def __init__(self, decoder: OpenDecoder, constraint: Constraint, head: Head, options: SearchOptions) -> None:
        self.constraint, self.head, self.options = constraint, head, options
        self.group = options.beam_size
        self.rows = OpenRows(decoder, constraint, self.group, options)
        self._begin(0)

    def join(
        self,
        prefixes: Sequence[Ints],
        options: SearchOptions,
        numbers: Sequence[int],
        rooms: Ints | None,
        rounds: Rounds | None = None,
    ) -> None:
        """As of `OpenSingle`; nothing is drawn."""
        self.rows.join(prefixes, _longest(prefixes, options, rooms), options.min_length, rounds)
        held = self.running, self.counted, self.best, self.live
        kept = self.kept
        self._begin(len(prefixes))
        self.running, self.counted, self.best, self.live = (
            np.concatenate([old, new])
            for old, new in zip(held, (self.running, self.counted, self.best, self.live), strict=True)
        )
        self.kept = kept + self.kept

    def step(self) -> dict[int, list[Hypothesis]]:
        """As of `OpenSingle`."""
        self._step()
        return {source: self.found(source) for source in np.flatnonzero(~self.live).tolist()}

    def keep(self, sources: Bools) -> None:
        """Only these sources (B,) go on."""
        self.rows.keep(np.repeat(sources, self.group))
        for name in ("running", "counted", "best", "live"):
            setattr(self, name, getattr(self, name)[sources])
        self.kept = [kept for kept, stays in zip(self.kept, sources.tolist(), strict=True) if stays]


def _longest(prefixes: Sequence[Ints], options: SearchOptions, rooms: Ints | None) -> Ints:
    """(B,) the tokens that each source may take."""
    longest = np.full(len(prefixes), options.max_length)
    return longest if rooms is None else np.minimum(longest, np.maximum(rooms, 1))


class Member:
    """Sources that were asked for at once. found: of each the answers, best first; None: not yet.

    error: what went wrong with the search as a whole; each of its members goes on alone then.
    """

    def __init__(self, flock: Flock, count: int) -> None:
        self.flock = flock
        self.found: list[list[Hypothesis] | None] = [None] * count
        self.left = [False] * count
        self.error: BaseException | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.error is not None or all(
            gone or one is not None for gone, one in zip(self.left, self.found, strict=True)
        )

    def leave(self, number: int | None = None) -> None:
        """One of the sources is given up; all if None."""
        for one in range(len(self.left)) if number is None else (number,):
            self.left[one] = True
        self.flock.tidy()

    def written(self, number: int) -> Ints | None:
        """The tokens (n,) of a source that goes on with one row; None of another."""
        if (self, number) not in self.flock.places or self.flock.search.group > 1:
            return None
        return self.flock.search.rows.written(self.flock.places.index((self, number)))


class Flock:
    """A search, and who asked for its sources. rest: called between two steps."""

    def __init__(self, search: OpenSingle | OpenBeams, decoder: OpenDecoder, rest: Callable[[], Any]) -> None:
        self.search, self.decoder, self.rest = search, decoder, rest
        self.places: list[tuple[Member, int]] = []  # whose each source is, and which of theirs
        self.coming: list[tuple[Member, Callable[[], None]]] = []
        self.resting = self.over = False

    def join(
        self,
        prefixes: Sequence[Ints],
        options: SearchOptions,
        numbers: Sequence[int],
        rooms: Ints | None,
        rounds: Rounds | None,
        enter: Callable[[], None],
    ) -> Member:
        """Sources that go on here from the next step on; enter: called when they come in."""
        member = Member(self, len(prefixes))

        def come() -> None:
            enter()
            self.search.join(prefixes, options, numbers, rooms, rounds)
            self.places += [(member, number) for number in range(len(prefixes))]

        self.coming.append((member, come))
        return member

    def run(self) -> None:
        """Until nobody asks for anything."""
        try:
            while True:
                self.resting = True
                self.rest()
                self.resting = False
                while self.coming:
                    member, come = self.coming[0]
                    if not member.over:
                        come()
                    self.coming.pop(0)
                self._leave()
                if not self.places:
                    return
                for source, found in self.search.step().items():
                    member, number = self.places[source]
                    member.found[number] = found
                self._leave()
        except BaseException as error:
            for member, _ in (*self.places, *self.coming):
                member.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self.over = True
            self.decoder.end()

    def tidy(self) -> None:
        """Those that were given up leave, as soon as can be."""
        if self.resting and not self.over:
            self._leave()

    def _leave(self) -> None:
        stays = np.array([not (one.left[at] or one.found[at] is not None) for one, at in self.places], dtype=np.bool_)
        if not stays.all():
            self.search.keep(stays)
            self.decoder.keep(stays)
            self.places = [place for place, stays_here in zip(self.places, stays.tolist(), strict=True) if stays_here]
