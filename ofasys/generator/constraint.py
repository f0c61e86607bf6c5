"""The target sentence's automaton, bound to a vocabulary: which token may come after which. Numpy only.

`S` states, `E` edges, `R` rows, `U` candidate tokens of an emission class. A state emits one token. It may have one
range edge (every token of lo..hi leads to the same next state) and any number of single edges, kept flat (CSR), sorted
by state and token. The sentence is done the moment the accept state is reached; that state emits nothing.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from itertools import chain, pairwise
from operator import or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofasys.generator.grammar import Grammar
from ofasys.types import Branch, Continuous, Fixed, Forced, Free, Gate, Given, Item, Loop, OneOf

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

UNLIMITED = np.iinfo(np.int64).max // 4


@dataclass(frozen=True, eq=False)
class EmissionClass:
    """States whose scores are taken over one list of candidates."""

    candidates: Ints
    """(U,) token ids, sorted."""
    lo: int
    """The same as a slice, lo..hi, where the candidates are consecutive; else 0."""
    hi: int
    """One past the last of them; else 0."""
    masked: bool
    """The states of this class differ in what they allow (a trie); otherwise each allows all candidates."""

    @property
    def contiguous(self) -> bool:
        """Whether the candidates are the slice lo..hi of the vocabulary."""
        return self.hi > self.lo


@dataclass(frozen=True, eq=False)
class Trie:
    """The states of one closed set that is spelled in tokens, `L` labels; inner states are numbered level by level."""

    root: int
    """Where a label begins."""
    levels: Ints
    """(depth + 1,) level d is the states levels[d]..levels[d + 1] - 1."""
    parent: Ints
    """(n,) of each inner state, the first of them levels[0]."""
    last: Ints
    """(L,) the state after which each label, in the order they were given, is closed by the end mark."""


@dataclass(frozen=True)
class Wish:
    """A text, or a repetition, that must come, and the room that what comes before leaves it."""

    limit: int
    """Tokens it may have; UNLIMITED where nothing says."""
    expected: int
    """Tokens it is left, where there is room."""
    sure: int
    """Those of them that it is left in any case: of a text one."""


@dataclass(frozen=True)
class Rest:
    """What a sentence takes from a state on if every text ends after one token and every loop stops at once.

    The closing mark that ends the whole sentence is not counted.
    """

    tokens: int = 0
    """So many, by the longest labels and ways on."""
    least: int = 0
    """By the shortest."""
    wishes: tuple[Wish, ...] = ()
    """Of what is not within a repetition, on any way on."""

    def after(self, tokens: int, least: int | None = None, wishes: tuple[Wish, ...] = ()) -> Rest:
        """The same from before so many tokens, and these wishes, on. least: of the tokens; None: all."""
        least = tokens if least is None else least
        return Rest(tokens + self.tokens, least + self.least, (*wishes, *self.wishes))


@dataclass(frozen=True, eq=False)
class Constraint:
    """A frozen automaton over token ids. Made by `bind`."""

    start: int
    """The state it begins in."""
    accept: int
    """The state of a sentence that is done; it emits nothing."""
    end: int
    """The end mark."""
    lo: Ints
    """(S,) the range edge: tokens lo..hi-1 lead to `next`; lo == hi where there is none."""
    hi: Ints
    """(S,)"""
    next: Ints
    """(S,)"""
    first: Ints
    """(S + 1,) the single edges of state s are first[s]..first[s + 1] - 1, tokens ascending."""
    token: Ints
    """(E,) of each single edge."""
    to: Ints
    """(E,) the state it leads to."""
    slot_of: Ints
    """(S,) the slot whose token is emitted here; -1 in prompt text, at loop heads that wait for a prompt, at accept."""
    class_of: Ints
    """(S,) index into `classes`; -1 where nothing is to choose (prompt text, accept)."""
    single: Ints
    """(S,) the only token allowed, else -1."""
    stoppable: Bools
    """(S,) `end` is allowed here and something else too (free text, loop heads)."""
    loops: Bools
    """(S,) a round of a loop begins here, and the end mark leaves it."""
    forks: Bools
    """(S,) a token here says which way the sentence goes on."""
    text: Bools
    """(S,) the range edge is free text, which min_length and n-gram rules speak of."""
    limit: Ints
    """(S,) how many more tokens the free text may take from this state on; UNLIMITED where nothing says."""
    reserve: Ints
    """(S,) tokens to keep in hand from here when every text closes at once and every loop stops. The longest label and
    the longest way on are counted; the closing mark that ends the whole sentence is not.
    """
    inside: Ints
    """(S,) tokens to keep in hand where a stoppable state goes on: one, and all that must follow, of each text one; 0
    elsewhere.
    """
    ahead: Ints
    """(S,) index into `wishes`: what comes after the text, or the loop, of a stoppable state."""
    wishes: tuple[tuple[Wish, ...], ...]
    """Each once; the first are none."""
    rest: Rest
    """What the whole sentence takes."""
    takes: tuple[tuple[int, int], ...]
    """Of each item of the sentence what it takes of `rest.least`, and of `rest.tokens`."""
    trie_of: Ints
    """(S,) index into `tries` of the closed set a label of which begins or goes on here; else -1."""
    classes: tuple[EmissionClass, ...]
    """Lists of candidates, each once."""
    tries: tuple[Trie, ...] = ()
    labels: bool = False
    """All that is chosen is out of closed sets, or which of them stand; and nothing is repeated."""
    grid: Ints | None = None
    """(S, 2) (y, x) of the token emitted here, -1 where it has none. None where no token has."""
    grammars: Mapping[int, Grammar] = field(default_factory=dict)
    """Slot -> what its text must be besides."""
    decisions: Mapping[int, int] = field(default_factory=dict)
    """Head of a loop at which no value begins -> the slot whose loss it is whether the loop goes on."""
    gates: tuple[int, ...] = ()
    """Heads of loops whose rounds go on in another stage."""
    seconds: float = field(default=0.0, compare=False)
    """What binding took, tokenising of prompts included."""

    @property
    def states(self) -> int:
        """How many states there are, accept included."""
        return len(self.lo)

    @cached_property
    def loss_of(self) -> Ints:
        """(S,) the slot whose loss the token emitted here is; -1 where it is none's."""
        found = self.slot_of.copy()
        found[list(self.decisions)] = list(self.decisions.values())
        return found

    @cached_property
    def gated(self) -> Bools:
        """(S,) which states are `gates`."""
        return _marked(self.states, self.gates)

    @cached_property
    def _key(self) -> Ints:
        """(E,) state and token of each single edge as one sortable number."""
        state = np.repeat(np.arange(self.states, dtype=np.int64), np.diff(self.first))
        return (state << 32) | self.token

    @cached_property
    def column(self) -> Ints:
        """(E,) the place of each single edge's token among the candidates of its state's class."""
        state = np.repeat(np.arange(self.states, dtype=np.int64), np.diff(self.first))
        out = np.zeros(len(self.token), dtype=np.int64)
        owner = self.class_of[state]
        for number, group in enumerate(self.classes):
            mine = owner == number
            out[mine] = np.searchsorted(group.candidates, self.token[mine])
        return out

    @cached_property
    def wanted(self) -> Bools:
        """(S,) states of a trie that have a choice, or from which one is to come before the label ends."""
        wanted = (self.single < 0) & (self.trie_of >= 0)
        for trie in self.tries:
            first, bounds = int(trie.levels[0]), trie.levels.tolist()
            for begin, end in zip(bounds[-2::-1], bounds[:0:-1], strict=True):
                wanted[trie.parent[begin - first : end - first][wanted[begin:end]]] = True
        return wanted

    @cached_property
    def _lists(self) -> tuple[list[int], list[int], list[int], list[int], list[int], list[int]]:
        """The edges as Python lists: a walk that goes token by token reads them faster than arrays."""
        return (
            self.lo.tolist(),
            self.hi.tolist(),
            self.next.tolist(),
            self.first.tolist(),
            self.token.tolist(),
            self.to.tolist(),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Only the fields: what is derived is derived again."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Put the fields back."""
        self.__dict__.update(state)

    def advance(self, states: Ints, tokens: Ints) -> Ints:
        """The states (R,) after emitting tokens (R,); -1 where the token is not allowed there (or the state is -1)."""
        states, tokens = np.asarray(states, dtype=np.int64), np.asarray(tokens, dtype=np.int64)
        safe = np.maximum(states, 0)
        inside = (tokens >= self.lo[safe]) & (tokens < self.hi[safe])
        out = np.where(inside, self.next[safe], -1)
        if len(self._key):
            key = (safe << 32) | tokens
            place = np.minimum(np.searchsorted(self._key, key), len(self._key) - 1)
            out = np.where((self._key[place] == key) & ~inside, self.to[place], out)
        return np.where(states < 0, -1, out)

    def held(self, most: int) -> Ints:
        """(A,) what a sentence of `most` tokens keeps in hand for each of `wishes`, beyond what is in `inside`.

        That is what they expect, cut to one height for all where there is no room for it.
        """
        rooms = _rooms(self.rest.wishes, most - self.rest.tokens)
        held = [sum(max(0, min(one.expected, rooms[one]) - one.sure) for one in wishes) for wishes in self.wishes]
        return np.array(held, dtype=np.int64)

    def control(self, states: Ints, tokens: Ints) -> Bools:
        """(T,): which of tokens (T,), emitted in states (T,), are part of no value but say how the sentence goes on:
        the end marks that leave a loop, and those at a fork.
        """
        return self.forks[states] | (self.loops[states] & (tokens == self.end))

    def left(self, states: Ints, tokens: Ints) -> int:
        """Of tokens (T,), emitted in states (T,): how many of the gates they left."""
        return int((self.gated[states] & (tokens == self.end)).sum())

    def walk(self, tokens: Ints) -> Ints:
        """The state before each of tokens (T,), from start on. Runs inside a free text cost no Python per token."""
        tokens = np.asarray(tokens, dtype=np.int64)
        out = np.empty(len(tokens), dtype=np.int64)
        lo, hi, after, first, edge, to = self._lists
        values: list[int] | None = None
        breaks: dict[tuple[int, int], Ints] = {}
        state, place, count = self.start, 0, len(tokens)
        while place < count:
            if after[state] == state and hi[state] > lo[state]:
                bounds = (lo[state], hi[state])
                if bounds not in breaks:
                    breaks[bounds] = np.flatnonzero((tokens < bounds[0]) | (tokens >= bounds[1]))
                stops = breaks[bounds]
                index = int(np.searchsorted(stops, place))
                stop = int(stops[index]) if index < len(stops) else count
                out[place:stop] = state
                place = stop
                if place == count:
                    break
            if values is None:
                values = tokens.tolist()
            value = values[place]
            out[place] = state
            if lo[state] <= value < hi[state]:
                state = after[state]
            else:
                index = bisect_left(edge, value, first[state], first[state + 1])
                if index == first[state + 1] or edge[index] != value:
                    raise ValueError(f"token {value} at position {place} is not allowed by the target sentence there")
                state = to[index]
            place += 1
        return out

    def allowed(self, states: Ints) -> Bools:
        """(n, U): which candidates each of n states of one class allows."""
        states = np.asarray(states, dtype=np.int64)
        if not len(states):
            return np.zeros((0, 0), dtype=np.bool_)
        group = self.classes[int(self.class_of[states[0]])]
        if not group.masked:
            return np.ones((len(states), len(group.candidates)), dtype=np.bool_)
        mask = np.zeros((len(states), len(group.candidates)), dtype=np.bool_)
        counts = self.first[states + 1] - self.first[states]
        rows = np.repeat(np.arange(len(states)), counts)
        # the k-th edge of a state lies k places after its first: number the edges of each row from zero
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        mask[rows, self.column[self.first[states][rows] + within]] = True
        return mask


def _rooms(wishes: Collection[Wish], spare: int) -> dict[Wish, int]:
    """The most tokens each may have: its limit, or where that is too much one height, alike for all that it cuts.

    spare: tokens there are besides those that are sure.
    """
    rooms: dict[Wish, int] = {}
    left = max(spare, 0)
    for place, one in enumerate(sorted(wishes, key=lambda wish: wish.limit)):
        share = left // (len(wishes) - place) + one.sure
        if share < one.limit and not one.sure:  # a round that is not whole is none
            return {one: 0} | _rooms([other for other in wishes if other != one], spare)
        left -= rooms.setdefault(one, min(one.limit, share)) - one.sure
    return rooms


def bind(
    items: Sequence[Item],
    *,
    encode: Callable[[str], list[int]],
    ranges: Mapping[str, tuple[int, int]],
    end: int,
    closed: Mapping[int, Sequence[Sequence[int]]] | None = None,
    heads: Collection[int] = (),
    expected: Mapping[int, int] | None = None,
    grammars: Mapping[int, Grammar] | None = None,
) -> Constraint:
    """The automaton of a target sentence over a vocabulary.

    encode: prompt text to token ids. ranges: name to (first id, one past the last). end: the end mark, in no range.
    closed: for each `OneOf` slot its labels as token ids, without the end mark. heads: the `Fixed` slots whose one
    token is a label. expected: tokens that a `Free` slot is left by what comes before it, where there is room; those of
    its max_length, or one, if nothing is said. grammars: what the text of a `Free` slot must be besides.
    """
    began = time.perf_counter()
    builder = _Builder(encode, ranges, end, closed or {}, expected or {})
    begins = builder.sentence(items, builder.accept)
    made = builder.finish(begins, began, all(_labels(item, heads) for item in items))
    return replace(made, grammars=grammars) if grammars else made


def _labels(item: Item, heads: Collection[int]) -> bool:
    """Whether all that is chosen in an item is labels of closed sets, and which of them stand."""
    if isinstance(item, Branch):
        return all(_labels(one, heads) for one in item.items)
    return isinstance(item, (Forced, Given, OneOf)) or (isinstance(item, Fixed) and item.slot in heads)


class _Builder:
    """Compiles items from the last to the first, so that each knows the state that follows it."""

    def __init__(
        self,
        encode: Callable[[str], list[int]],
        ranges: Mapping[str, tuple[int, int]],
        end: int,
        closed: Mapping[int, Sequence[Sequence[int]]],
        expected: Mapping[int, int],
    ) -> None:
        self.encode, self.ranges, self.end, self.closed, self.expected = encode, ranges, end, closed, expected
        self.lo: list[int] = []
        self.hi: list[int] = []
        self.next: list[int] = []
        self.slot: list[int] = []
        self.group: list[int] = []
        self.text: list[bool] = []
        self.limit: list[int] = []
        self.reserve: list[int] = []
        self.inside: list[int] = []
        self.ahead: list[int] = []
        self.wishes: dict[tuple[Wish, ...], int] = {(): 0}  # what is wished for -> its number
        self.rests: dict[int, Rest] = {}  # state in which an item begins -> what comes from there on
        self.rounds = 0  # loops that the item which is compiled lies in
        self.edges: list[tuple[Ints, Ints, Ints]] = []  # state, token, to
        self.stops: list[int] = []  # free texts and loop heads
        self.loops: list[int] = []  # loop heads
        self.forks: list[int] = []  # where a token says which way the sentence goes on
        self.decisions: dict[int, int] = {}  # loop head at which no value begins -> whose loss it is
        self.gates: list[int] = []  # loop heads whose rounds go on in another stage
        self.grid: dict[int, tuple[int, int]] = {}  # state -> (y, x)
        self.groups: dict[tuple[object, ...], int] = {}
        self.classes: list[EmissionClass] = []
        self.tries: list[Trie] = []
        self.accept = self.state()
        self.rests[self.accept] = Rest()

    def state(self) -> int:
        """A new state without edges."""
        return self.block(1)

    def block(self, count: int, slot: int = -1, group: int = -1) -> int:
        """`count` new consecutive states; the number of the first."""
        first = len(self.lo)
        for values, value in ((self.lo, 0), (self.hi, 0), (self.next, -1), (self.slot, slot), (self.group, group)):
            values.extend([value] * count)
        self.text.extend([False] * count)
        self.limit.extend([UNLIMITED] * count)
        for zeros in (self.reserve, self.inside, self.ahead):
            zeros.extend([0] * count)
        return first

    def edge(self, state: int, token: int, to: int) -> None:
        """One single edge."""
        self.edges.append((np.array([state]), np.array([token]), np.array([to])))

    def stop(self, state: int, to: int, going: Rest) -> None:
        """The end mark as a choice beside going on, which takes `going`."""
        self.edge(state, self.end, to)
        self.stops.append(state)
        self.inside[state] = going.tokens
        self.ahead[state] = self.wishes.setdefault(self.rests[to].wishes, len(self.wishes))

    def closing(self, after: int) -> int:
        """What an end mark that leads to `after`, and all that must follow it, takes of the length."""
        return 0 if after == self.accept else 1 + self.reserve[after]

    def closed_by(self, after: int) -> Rest:
        """What comes from an end mark that leads to `after` on."""
        return self.rests[after].after(0 if after == self.accept else 1)

    def span(self, name: str) -> tuple[int, int]:
        """The ids of a named range."""
        if name not in self.ranges:
            raise ValueError(f"no range {name!r} in this vocabulary; it has {', '.join(sorted(self.ranges)) or 'none'}")
        lo, hi = self.ranges[name]
        if lo <= self.end < hi:
            raise ValueError(f"the end mark {self.end} lies inside the range {name!r} ({lo}..{hi - 1})")
        return lo, hi

    def emission(self, key: tuple[object, ...], candidates: Ints, masked: bool = False) -> int:
        """The number of the class with these candidates."""
        if key not in self.groups:
            lo, hi = int(candidates[0]), int(candidates[-1]) + 1
            if hi - lo != len(candidates):
                lo = hi = 0
            self.groups[key] = len(self.classes)
            self.classes.append(EmissionClass(candidates, lo, hi, masked))
        return self.groups[key]

    def spread(self, lo: int, hi: int, stop: bool) -> int:
        """The class of a range, with the end mark if `stop`."""
        ids = np.arange(lo, hi, dtype=np.int64)
        if stop:
            ids = np.insert(ids, 0 if self.end < lo else len(ids), self.end)
        return self.emission((lo, hi, stop), ids)

    def sentence(self, items: Sequence[Item], after: int) -> list[int]:
        """The states in which each of `items` begins if `after` follows them; `after` last."""
        begins = [after]
        for item in reversed(items):
            begins.append(self.item(item, begins[-1], None, begins[-1]))
        return begins[::-1]

    def item(self, item: Item, after: int, head: int | None, leave: int) -> int:
        """The state in which one item begins. head: a loop's state to begin in, which `end` leaves to `leave`."""
        match item:
            case Forced(text):
                return self.forced(text, after, head, leave)
            case Free():
                return self.free(item, after, head, leave)
            case Fixed():
                return self.fixed(item, after, head, leave)
            case OneOf(slot):
                return self.one_of(slot, after, head, leave)
            case Loop(inner):
                if head is not None:
                    raise ValueError("a loop may not begin with a loop: the end mark would stop both")
                return self.loop(inner, after)
            case Gate():
                if head is not None:
                    raise ValueError("a loop may not begin with a loop: the end mark would stop both")
                return self.gate(item, after)
            case Branch():
                if head is not None:
                    raise ValueError("a loop may not begin with a branch")
                return self.branch(item, after)
            case Given(slot) | Continuous(slot):
                raise ValueError(f"slot {slot} is no choice among tokens: it is a stage of its own, or in a prefix")
        raise TypeError(f"{item!r} is not an item of a target sentence")

    def begins(self, state: int, head: int | None, whole: Rest) -> int:
        """The state in which an item begins, which takes `whole` from there on; of a loop's head that is known."""
        if head is None:
            self.rests[state] = whole
        return state

    def forced(self, text: str, after: int, head: int | None, leave: int) -> int:
        """A chain of single tokens."""
        tokens = self.encode(text)
        whole = self.rests[after].after(len(tokens))
        for place in range(len(tokens) - 1, -1, -1):
            first = place == 0 and head is not None
            state = head if head is not None and first else self.state()
            self.edge(state, tokens[place], after)
            if first:
                both = np.unique(np.array([tokens[place], self.end], dtype=np.int64))
                self.group[state] = self.emission((tokens[place], "or stop"), both)
                self.stop(state, leave, whole)
            else:
                self.reserve[state] = 1 + self.reserve[after]
            after = state
        return self.begins(after, head, whole)

    def free(self, item: Free, after: int, head: int | None, leave: int) -> int:
        """Tokens of a range until the end mark."""
        lo, hi = self.span(item.range)
        if item.max_length is not None and item.max_length < 1:
            raise ValueError(f"slot {item.slot}: max_length is {item.max_length}; a text needs room for a token")
        group = self.spread(lo, hi, stop=True)
        body = self.block(1, item.slot, group)
        limit = UNLIMITED if item.max_length is None else item.max_length
        states = [body] if head is None else [body, head]
        for state in states:
            self.lo[state], self.hi[state], self.next[state] = lo, hi, body
            self.slot[state], self.group[state], self.text[state], self.limit[state] = item.slot, group, True, limit
        self.reserve[body] = self.closing(after)
        room = self.expected.get(item.slot, item.max_length or 1)
        wish = Wish(limit, min(limit, max(1, room)), 1)
        whole = self.closed_by(after).after(1, wishes=() if self.rounds else (wish,))
        self.stop(body, after, whole)
        if head is not None:
            self.limit[body] = limit if item.max_length is None else limit - 1  # one token was taken at the head
            self.stop(head, leave, whole)
        return self.begins(body if head is None else head, head, whole)

    def fixed(self, item: Fixed, after: int, head: int | None, leave: int) -> int:
        """A number of tokens out of the beginning of a range."""
        lo, hi = self.span(item.range)
        if item.size is not None:
            if not 1 <= item.size <= hi - lo:
                raise ValueError(
                    f"slot {item.slot}: size {item.size} is not within 1..{hi - lo}, the range {item.range!r}"
                )
            hi = lo + item.size
        if item.count < 1:
            raise ValueError(f"slot {item.slot}: {item.count} tokens of {item.range!r}; at least one is needed")
        whole = self.rests[after].after(item.count)
        for place in range(item.count - 1, -1, -1):
            stop = place == 0 and head is not None
            state = head if head is not None and stop else self.state()
            self.lo[state], self.hi[state], self.next[state] = lo, hi, after
            self.slot[state], self.group[state] = item.slot, self.spread(lo, hi, stop)
            if item.width is not None:
                y, x = divmod(place, item.width)
                self.grid[state] = (y if item.height is None else y % item.height, x)
            if stop:
                self.stop(state, leave, whole)
            else:
                self.reserve[state] = 1 + self.reserve[after]
            after = state
        return self.begins(after, head, whole)

    def one_of(self, slot: int, after: int, head: int | None, leave: int) -> int:
        """A trie of the slot's labels, each closed by the end mark. Built by sorting, not node by node."""
        labels = self.closed.get(slot)
        if not labels:
            raise ValueError(f"slot {slot} takes one of a known set, but no labels were given for it")
        lengths = np.fromiter(map(len, labels), dtype=np.int64, count=len(labels))
        if not lengths.all():
            raise ValueError(f"slot {slot}: label {int(np.argmin(lengths))} is empty")
        flat = np.fromiter(chain.from_iterable(labels), dtype=np.int64, count=int(lengths.sum()))
        if (flat == self.end).any():
            raise ValueError(f"slot {slot}: a label contains the end mark {self.end}")
        depth = int(lengths.max())
        table = np.full((len(labels), depth + 1), -1, dtype=np.int64)
        within = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        table[np.repeat(np.arange(len(labels)), lengths), within] = flat
        table[np.arange(len(labels)), lengths] = self.end
        order = np.lexsort(table.T[::-1])
        table = table[order]

        # A prefix begins where its row differs from the row above at or before that column; prefixes are the nodes.
        fresh = np.ones(table.shape, dtype=np.bool_)
        fresh[1:] = np.logical_or.accumulate(table[1:] != table[:-1], axis=1)
        fresh &= table >= 0
        nodes = (fresh & (table != self.end)).sum(axis=0)  # new states after each column; none after an end mark
        ids = np.unique(np.append(flat, self.end))
        group = self.emission(("trie", len(self.classes)), ids, masked=True)
        inner = self.block(int(nodes.sum()), slot, group)
        root = head if head is not None else self.block(1, slot, group)
        self.slot[root], self.group[root] = slot, group

        tail = self.closing(after)
        if head is None:
            self.reserve[root] = depth + tail
        above = np.full(len(table), root, dtype=np.int64)
        levels, parents = np.append(inner, inner + np.cumsum(nodes)), [np.zeros(0, dtype=np.int64)]
        last = np.full(len(table), root, dtype=np.int64)
        for column in range(depth + 1):
            token, new = table[:, column], fresh[:, column]
            grows = new & (token != self.end)
            below = np.where(token == self.end, after, inner - 1 + np.cumsum(grows))
            self.edges.append((above[new], token[new], below[new]))
            self.reserve[inner : inner + int(nodes[column])] = [max(depth - column - 1, 0) + tail] * int(nodes[column])
            parents.append(above[grows])
            last[order[token == self.end]] = above[token == self.end]
            above, inner = below, inner + int(nodes[column])
        whole = self.closed_by(after).after(depth, int(lengths.min()))
        if head is not None:
            self.stop(head, leave, whole)
        self.tries.append(Trie(root, levels, np.concatenate(parents), last))
        return self.begins(root, head, whole)

    def loop(self, items: Sequence[Item], after: int) -> int:
        """The items again and again; the end mark where they could begin stops it."""
        items = [item for item in items if not (isinstance(item, Forced) and not self.encode(item.text))]
        if not items:
            raise ValueError("a loop needs something to repeat")
        head = self.head(after)
        slots = [item.slot for item in items if isinstance(item, (Free, Fixed, OneOf))]
        if isinstance(items[0], Forced) and slots:
            self.decisions[head] = slots[0]
        begin = self.round(items, head, head, after)
        if not self.rounds:
            round_of = self.inside[head] - self.rests[head].tokens
            self.rests[head] = self.rests[head].after(0, wishes=(Wish(round_of, round_of, 0),))
        return begin

    def round(self, items: Sequence[Item], after: int, head: int, leave: int) -> int:
        """The items of a round that begins in `head`."""
        self.rounds += 1
        rest, *_ = self.sentence(items[1:], after)
        begin = self.item(items[0], rest, head, leave)
        self.rounds -= 1
        return begin

    def head(self, leave: int) -> int:
        """The state in which a round of a loop begins, or the end mark leaves it."""
        head = self.state()
        self.loops.append(head)
        self.reserve[head] = self.closing(leave)
        self.rests[head] = self.closed_by(leave)
        return head

    def gate(self, item: Gate, after: int) -> int:
        """A loop's head from which both ways lead to `after`: a round goes on in another stage."""
        leave, *_ = self.sentence(item.rest, after)
        items = [one for one in item.items if not (isinstance(one, Forced) and not self.encode(one.text))]
        if not items and item.range is None:
            raise ValueError("a loop needs something to begin a round with; write a prompt of which something is left")
        head = self.head(leave)
        self.gates.append(head)
        if not items or isinstance(items[0], Forced):
            self.decisions[head] = item.slot
        if items:
            return self.round(items, after, head, leave)
        lo, hi = self.span(str(item.range))
        self.lo[head], self.hi[head], self.next[head] = lo, hi, after
        self.group[head] = self.spread(lo, hi, stop=True)
        self.stop(head, leave, self.rests[after].after(1))
        return head

    def branch(self, item: Branch, after: int) -> int:
        """A token for each way on, and the items of its parts."""
        lo, hi = self.span(item.range)
        if len(item.ways) > hi - lo:
            raise ValueError(f"slot {item.slot}: {len(item.ways)} ways on, and {item.range!r} has {hi - lo} ids")
        state = self.block(1, item.slot, self.spread(lo, lo + len(item.ways), stop=False))
        self.forks.append(state)
        begins = [self.sentence([one for part in way for one in item.parts[part]], after)[0] for way in item.ways]
        for number, begin in enumerate(begins):
            self.edge(state, lo + number, begin)
        self.reserve[state] = 1 + max(self.reserve[begin] for begin in begins)
        ways = [self.rests[begin].after(1) for begin in begins]
        wished = reduce(or_, (Counter(way.wishes) for way in ways))  # of each as many as on any of them
        most, least = max(way.tokens for way in ways), min(way.least for way in ways)
        self.rests[state] = Rest(most, least, tuple(wished.elements()))
        return state

    def places(self, count: int) -> Ints | None:
        """(S, 2), or None where no state has a place in a grid."""
        if not self.grid:
            return None
        grid = np.full((count, 2), -1, dtype=np.int64)
        grid[list(self.grid)] = list(self.grid.values())
        return grid

    def finish(self, begins: Sequence[int], began: float, labels: bool) -> Constraint:
        """Everything as flat arrays. begins: as `sentence` gives them, of the whole."""
        count = len(self.lo)
        state, token, to = self._edges()
        first = np.searchsorted(state, np.arange(count + 1)).astype(np.int64)
        lo, hi, after, slot, group, limit = (
            np.array(values, dtype=np.int64)
            for values in (self.lo, self.hi, self.next, self.slot, self.group, self.limit)
        )
        reserve, inside, ahead = (
            np.array(values, dtype=np.int64) for values in (self.reserve, self.inside, self.ahead)
        )
        rests = pairwise(self.rests[begin] for begin in begins)
        return Constraint(
            start=begins[0],
            accept=self.accept,
            end=self.end,
            lo=lo,
            hi=hi,
            next=after,
            first=first,
            token=token,
            to=to,
            slot_of=slot,
            class_of=group,
            single=_singles(lo, hi, first, token),
            stoppable=_marked(count, self.stops),
            loops=_marked(count, self.loops),
            forks=_marked(count, self.forks),
            text=np.array(self.text, dtype=np.bool_),
            limit=limit,
            reserve=reserve,
            inside=inside,
            ahead=ahead,
            wishes=tuple(self.wishes),
            rest=self.rests[begins[0]],
            takes=tuple((one.least - after.least, one.tokens - after.tokens) for one, after in rests),
            trie_of=self._tries(count),
            classes=tuple(self.classes),
            tries=tuple(self.tries),
            labels=labels,
            grid=self.places(count),
            decisions=self.decisions,
            gates=tuple(self.gates),
            seconds=time.perf_counter() - began,
        )

    def _edges(self) -> tuple[Ints, Ints, Ints]:
        """(state, token, to) of each single edge, sorted by state and token."""
        state, token, to = (
            np.concatenate([np.zeros(0, dtype=np.int64), *(edge[part] for edge in self.edges)]) for part in range(3)
        )
        order = np.lexsort((token, state))
        return state[order], token[order], to[order]

    def _tries(self, count: int) -> Ints:
        """(S,) which of the closed sets a label of which begins or goes on in a state; else -1."""
        found = np.full(count, -1, dtype=np.int64)
        for number, trie in enumerate(self.tries):
            found[trie.root] = found[int(trie.levels[0]) : int(trie.levels[-1])] = number
        return found


def _marked(count: int, states: Sequence[int]) -> Bools:
    """(S,) which states are among these."""
    found = np.zeros(count, dtype=np.bool_)
    found[list(states)] = True
    return found


def _singles(lo: Ints, hi: Ints, first: Ints, token: Ints) -> Ints:
    """(S,) the only token of a state that has one edge, -1 elsewhere."""
    edges = np.diff(first)
    single = np.where(hi - lo == 1, lo, -1)
    if len(token):
        single = np.where(edges == 1, token[np.minimum(first[:-1], len(token) - 1)], single)
    single[(hi - lo) + edges != 1] = -1
    return single
