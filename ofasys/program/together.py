"""Searches that go on together: what all of them want of the model in a turn is computed at once, and each goes on with
its own.

A search is written as if it had the model for itself. Each runs as a coroutine (a greenlet): where it asks for the next
states, or for the scores of its candidates, it waits, and the others run until they ask too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]
from torch import Tensor

from ofasys.engine import Engine, Joined, Parting, Session
from ofasys.engine.check import check_shape, joined_of
from ofasys.generator.constraint import Bools, Constraint, Ints
from ofasys.generator.flock import Flock, Member, OpenBeams, OpenSingle
from ofasys.generator.hypothesis import Hypothesis
from ofasys.generator.options import SearchOptions
from ofasys.generator.rows import check_prefixes
from ofasys.generator.scores import Few, Head, Sure
from ofasys.model.rows import JoinedRows, looked_up
from ofasys.program.reading import read
from ofasys.program.steps import Opening, StepDecoder, ValueContinuation
from ofasys.types import Hidden, Stream

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

Found = TypeVar("Found")
NOTHING = [
    Hypothesis(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), 0.0, 0.0, False)
]  # of what was given up


@dataclass(frozen=True, eq=False)
class Step:
    """Wanted: the states (R, D) after the next positions of sessions."""

    sessions: Sequence[Session]
    """Whose."""
    rows: int
    """R, of all of them."""
    counts: Sequence[int]
    """How many each row of a session has."""
    given: Int[Tensor, "N"] | Float[Tensor, "N D"]
    """Tokens, or what is embedded already, laid end to end."""
    positions: Int[Tensor, "N 3"]
    """Where they stand."""
    inputs: Tensor | JoinedRows | None
    """What tokens are looked up in."""

    def embedded(self) -> Tensor:
        """(N, D)."""
        return self.given if self.inputs is None else looked_up(self.inputs, self.given)

    def alone(self) -> Tensor:
        """As a session that is no other's company makes it."""
        (session,), (n,) = self.sessions, self.counts
        return session.append(self.embedded().unflatten(0, (-1, n)), self.positions.unflatten(0, (-1, n)))


@dataclass(frozen=True, eq=False)
class Product:
    """Wanted: the scores of some states."""

    key: Hashable
    """Of which candidates; those of one key are scored at once."""
    states: Float[Tensor, "n D"]
    """Whose."""
    scores: Callable[[Tensor], Tensor] | None
    """States (m, D) -> scores (m, U); None: `few` reads the states."""
    best: int = 0
    """So many of the best are enough; 0: all are wanted."""
    few: Few | None = None
    """What finds them."""
    sure: Sure | None = None
    """What finds them without all scores, where it can; their normaliser is owed then."""


@dataclass(frozen=True, eq=False)
class Read:
    """Wanted: the states of a source."""

    source: Stream
    """The source."""
    states: Callable[[Stream], Hidden | None]
    """What the engine makes of it, and of those that are read with it."""


@dataclass(frozen=True)
class Pause:
    """Wanted: that others go on first."""


@dataclass(frozen=True, eq=False)
class Await:
    """Wanted: what a search finds that several works have in common."""

    member: Member
    """The part of it that is this work's."""


Want = Step | Product | Read | Pause | Await


class Work(Generic[Found]):
    """One search. Once it is over it has found something, or failed."""

    def __init__(self, run: Callable[[], Found]) -> None:
        self.want: Want | None = None
        self.error: BaseException | None = None
        self._found: list[Found] = []
        self._coroutine = greenlet(lambda: self._run(run))

    @property
    def over(self) -> bool:
        """Whether it wants nothing more."""
        return bool(self._coroutine.dead)

    @property
    def found(self) -> Found:
        """What it found. Raises what went wrong, if anything did."""
        if self.error is not None:
            raise self.error
        return self._found[0]

    def go_on(self, given: Any = None) -> None:
        """Run it until it wants something, or is over."""
        self._switch(lambda: self._coroutine.switch(given) if self._coroutine else self._coroutine.switch())

    def stop(self, error: BaseException | None = None) -> None:
        """It ends where it stands: given up, or because what it wants cannot be had."""
        if not self.over:
            self._switch(lambda: self._coroutine.throw(error or GreenletExit()))

    def _switch(self, way: Callable[[], Any]) -> None:
        self._coroutine.parent = getcurrent()
        made = way()
        self.want = None if self.over else made

    def _run(self, run: Callable[[], Found]) -> None:
        try:
            self._found.append(run())
        except BaseException as error:
            self.error = error


def wanted(want: Want) -> Any:
    """Within a search: wait until there is what it wants."""
    parent = getcurrent().parent
    assert parent is not None, "what is searched together runs as a Work"
    return parent.switch(want)


class Together:
    """Works of one engine, in turns. joined: where its sessions go on together; None where each does alone. flocks: the
    searches that several works have in common, by what they have in common. apart: whether all else a work does it does
    at once and for itself, as few works of many sources do best.
    """

    def __init__(self, engine: Engine, apart: bool = False) -> None:
        self.engine, self.joined, self.apart = engine, joined_of(engine), apart
        self.works: list[Work[Any]] = []
        self.flocks: dict[Hashable, tuple[Flock, FlockDecoder]] = {}

    def begin(self, run: Callable[[], Found]) -> Work[Found]:
        """A work that takes part from now on."""
        work = Work(run)
        work.go_on()
        self.works.append(work)
        return work

    def turn(self) -> None:
        """All go on by a step; those that are over leave."""
        self._read()
        self._met()
        pausing = [work for work in self.works if isinstance(work.want, Pause)]
        self.flocks = {key: (flock, own) for key, (flock, own) in self.flocks.items() if not flock.over}
        for _, decoder in list(self.flocks.values()):
            decoder.work.go_on()
        self._scored()
        steps = [(work, work.want) for work in self._all if isinstance(work.want, Step)]
        for work in pausing:
            work.go_on()
        if steps:
            self._stepped([work for work, _ in steps], [want for _, want in steps])
        self._met()
        self.works = [work for work in self.works if not work.over]

    @property
    def _all(self) -> list[Work[Any]]:
        """Works, and the searches they have in common."""
        return [*self.works, *(decoder.work for _, decoder in self.flocks.values())]

    def _met(self) -> None:
        """Until none wants scores, or waits for what was found."""
        self._scored()
        for work in [work for work in self.works if isinstance(work.want, Await) and work.want.member.over]:
            work.go_on()
        self._scored()
        self.works = [work for work in self.works if not work.over]

    def flock(self, key: Hashable, decoder: JoiningDecoder, constraint: Constraint, options: SearchOptions) -> Flock:
        """The search that those have in common who ask for the same."""
        held = self.flocks.get(key)
        if held is None or held[0].over:
            own = FlockDecoder(self, decoder.inputs)
            share = lambda *want: wanted(Product(*want))  # noqa: E731
            head = Head(decoder.table, decoder.output, constraint, options.normalise == "vocabulary", share)
            search = (OpenBeams if options.beam_size > 1 else OpenSingle)(own, constraint, head, options)
            flock = Flock(search, own, lambda: wanted(Pause()))
            held = self.flocks[key] = flock, own
            own.group, own.work = search.group, Work(flock.run)
            own.work.go_on()
        return held[0]

    def stop(self) -> None:
        """All end where they stand."""
        for work in self._all:
            work.stop()

    def decoder(self, *given: Any) -> JoiningDecoder:
        """As `StepDecoder`, of a work of these."""
        return JoiningDecoder(self, *given) if self.apart else TurnDecoder(self, *given)

    def continuation(self, opening: Opening, kept: int = 0) -> ValueContinuation:
        """As `ValueContinuation`, of a work of these."""
        return ValueContinuation(opening, kept) if self.apart else TurnContinuation(self, opening, kept)

    def reading(self, source: Stream, states: Callable[[Stream], Hidden | None]) -> Hidden:
        """Within a work: the states of its source, which is read with those of others."""
        found: Hidden = wanted(Read(source, states))
        return found

    def _read(self) -> None:
        """Sources that are to be read are, at once; where that fails each alone, so that those go on that can."""
        asking = [(work, work.want) for work in self.works if isinstance(work.want, Read)]
        states: list[Hidden] | None = None
        if len(asking) > 1:
            with suppress(Exception):  # whose error it is, and which, is seen when each is read alone
                states = read(asking[0][1].states, [want.source for _, want in asking])
        for place, (work, want) in enumerate(asking):
            try:
                own = states[place] if states is not None else read(want.states, [want.source])[0]
            except Exception as error:
                work.stop(error)
            else:
                work.go_on(own)

    def _scored(self) -> None:
        """Until none wants scores."""
        while asking := [(work, work.want) for work in self._all if isinstance(work.want, Product)]:
            groups: dict[Hashable, list[tuple[Work[Any], Product]]] = {}
            for work, want in asking:
                groups.setdefault(want.key, []).append((work, want))
            for members in groups.values():
                self._score(members)

    def _score(self, members: Sequence[tuple[Work[Any], Product]]) -> None:
        """The scores of members that ask for the same candidates."""
        members = sorted(members, key=lambda member: member[1].best > 0)  # those that want all come first
        try:
            parts = self._parts([want for _, want in members])
        except Exception as error:
            for work, _ in members:
                work.stop(error)
            return
        for (work, _), part in zip(members, parts, strict=True):
            work.go_on(part)

    def _parts(self, wants: Sequence[Product]) -> list[Any]:
        """What each gets; those that want the best come last."""
        states, first = [want.states for want in wants], wants[0]
        made = states[0] if len(states) == 1 else torch.cat(states)
        sizes, most = [len(want.states) for want in wants], max(want.best for want in wants)
        surely = first.sure if all(want.sure is not None for want in wants) else None
        if surely is not None and (sure := surely(made, most)) is not None:
            owed = made.new_full((len(made),), torch.nan)
            return list(zip(*(part.split(sizes) for part in (*sure, owed)), strict=True))
        if first.scores is not None:
            made = first.scores(made)
        whole = [want for want in wants if not want.best]
        all_of, rest = made.split([sum(sizes[: len(whole)]), sum(sizes[len(whole) :])])
        parts: list[Any] = list(all_of.split(sizes[: len(whole)]))
        if len(whole) < len(wants):
            last = wants[-1]
            assert last.few is not None
            few = last.few(rest, most)
            parts += zip(*(part.split(sizes[len(whole) :]) for part in few), strict=True)
        return parts

    def _stepped(self, works: Sequence[Work[Any]], wants: Sequence[Step]) -> None:
        """One pass for all; where that fails one for each, so that those go on that can."""
        parts: Sequence[Tensor] | None = None
        if self.joined is not None:
            with suppress(Exception):  # whose error it is, and which, is seen when each goes on alone
                parts = self._together(self.joined, wants)
        if parts is None:
            self._one_by_one(works, wants)
            return
        for work, part in zip(works, parts, strict=True):
            work.go_on(part)

    def _one_by_one(self, works: Sequence[Work[Any]], wants: Sequence[Step]) -> None:
        for work, want in zip(works, wants, strict=True):
            try:
                if self.joined is not None:
                    (made,) = self._together(self.joined, [want])
                else:
                    made = want.alone()
            except Exception as error:
                work.stop(error)
            else:
                work.go_on(made)

    def _together(self, joined: Joined, wants: Sequence[Step]) -> Sequence[Tensor]:
        rows, first = [want.rows for want in wants], wants[0]
        if len(wants) == 1:
            embedding = first.embedded()
        elif first.inputs is not None and all(want.inputs is first.inputs for want in wants):
            embedding = looked_up(first.inputs, torch.cat([want.given for want in wants]))
        else:
            embedding = torch.cat([want.embedded() for want in wants])
        positions = torch.cat([want.positions for want in wants])
        sessions = [session for want in wants for session in want.sessions]
        made = joined.append(sessions, embedding, positions, [n for want in wants for n in want.counts])
        return check_shape(self.engine, "joined.append", made, (sum(rows), self.engine.width)).split(rows)


class FlockDecoder:
    """The sources of a search that several have in common, a session each. See `ofasys.generator.flock.OpenDecoder`.

    order (B,): the place in the sentence at which each begins.
    """

    work: Work[None]
    group: int

    def __init__(self, together: Together, inputs: Tensor | JoinedRows) -> None:
        self.together, self.inputs = together, inputs
        self.sessions: list[Session] = []
        self.order = np.zeros(0, dtype=np.int64)

    def add(self, session: Session, order: Ints) -> None:
        """The sources of a session come."""
        joined = self.together.joined
        assert isinstance(joined, Parting)
        joined.add(session)
        self.sessions += joined.parts(session)
        self.order = np.append(self.order, order)

    def keep(self, sources: Bools) -> None:
        """Only these (B,) go on; the places of others are free."""
        assert self.together.joined is not None
        for session, stays in zip(self.sessions, sources.tolist(), strict=True):
            if not stays:
                self.together.joined.remove(session)
        self.sessions = [session for session, stays in zip(self.sessions, sources.tolist(), strict=True) if stays]
        self.order = self.order[: len(sources)][sources]

    def reorder(self, parents: Int[Ints, "R"]) -> None:
        """Row r goes on from what row parents[r] was, which is of the same source."""
        own = parents.reshape(-1, self.group) % self.group
        device = self.inputs.device
        for source in np.flatnonzero((own != np.arange(self.group)).any(1)).tolist():
            self.sessions[source].reorder(torch.from_numpy(own[source]).to(device))

    def end(self) -> None:
        """None goes on."""
        self.keep(np.zeros(len(self.sessions), dtype=np.bool_))

    def feed(
        self, tokens: Int[Ints, "N"], places: Int[Ints, "N"], counts: Int[Ints, "R"], grid: Int[Ints, "N 2"] | None
    ) -> Float[Tensor, "R D"]:
        """The next tokens of all rows -> the states of the last of each row."""
        positions = np.full((len(tokens), 3), -1, dtype=np.int64)
        positions[:, 0] = places + np.repeat(np.repeat(self.order, self.group), counts)
        if grid is not None:
            positions[:, 1:] = grid
        device = self.inputs.device
        given, where = torch.from_numpy(tokens).to(device), torch.from_numpy(positions).to(device)
        each = counts[:: self.group].tolist()
        found: Tensor = wanted(Step(tuple(self.sessions), len(counts), each, given, where, self.inputs))
        return found


class JoiningDecoder(StepDecoder):
    """A decoder whose sources may take part in a search that others have part in. See
    `ofasys.generator.decoder.Decoder`.

    member: its part, while there is one.
    """

    def __init__(self, together: Together, *given: Any) -> None:
        super().__init__(*given)
        self.together = together
        self.member: Member | None = None

    def end(self) -> None:
        """Its places are free."""
        if self.member is not None:
            self.member.leave()
        super().end()

    def join(
        self,
        constraint: Constraint,
        common: str,
        prefixes: Sequence[Ints],
        options: SearchOptions,
        numbers: Sequence[int],
    ) -> list[list[Hypothesis]] | None:
        """What a search finds of these sources that others have part in; None where it is to go on alone.

        common: what searches of the same constraint have in common. Else as of `ofasys.generator.search.search`.
        """
        if not isinstance(self.together.joined, Parting):
            return None
        if self.together.apart and (options.min_length >= options.max_length or options.beam_size > 1):
            return None  # all are done at once, or leave little by leaving: none takes their place
        check_prefixes(self, prefixes)
        key = id(constraint), id(self.table), id(self.output), common
        flock = self.together.flock(key, self, constraint, options)
        decoder = self.together.flocks[key][1]
        session = self.opening.session(flock.search.group, max(map(len, prefixes)))
        order = self.order.cpu().numpy()
        self.member = flock.join(
            prefixes, options, numbers, self.rooms, self.rounds, lambda: decoder.add(session, order)
        )
        wanted(Await(self.member))
        member, self.member = self.member, None
        if member.error is None:
            return [NOTHING if one is None else one for one in member.found]
        if isinstance(member.error, Exception):
            return None  # it may be the fault of another
        raise member.error

    def share(
        self,
        key: Hashable,
        states: Float[Tensor, "n D"],
        scores: Callable[[Tensor], Tensor] | None,
        best: int = 0,
        few: Few | None = None,
        sure: Sure | None = None,
    ) -> Any:
        """Scores of candidates that others score too. See `ofasys.generator.scores.Share`."""
        return wanted(Product(key, states, scores, best, few, sure))


class TurnDecoder(JoiningDecoder):
    """A decoder whose steps are made together with those of others."""

    def __init__(self, together: Together, *given: Any) -> None:
        super().__init__(together, *given)
        self.inside = False
        self.steps: list[Tensor] = []

    def fed(self) -> np.ndarray:
        """The tokens (n,) that its only row was given, the prefix among them."""
        return torch.cat([tokens[0] for tokens in self.steps]).cpu().numpy() if self.steps else np.zeros(0, np.int64)

    def start(self, group: int, max_length: int) -> None:
        """Begin anew with `group` rows a source."""
        self.end()
        super().start(group, max_length)

    def end(self) -> None:
        """Its places are free."""
        if self.inside and self.together.joined is not None:
            self.together.joined.remove(self.session)
        self.inside = False
        self.steps.clear()
        super().end()

    def append(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """The next tokens, at these positions -> the states of the last."""
        assert self.session is not None
        if not self.inside and self.together.joined is not None:
            self.together.joined.add(self.session)
        self.inside = True
        if len(tokens) == 1:
            self.steps.append(tokens)
        places = positions.expand(*tokens.shape, 3).reshape(-1, 3)
        R, n = tokens.shape
        found: Tensor = wanted(Step([self.session], R, [n], tokens.flatten(), places, self.inputs))
        return found


class TurnContinuation(ValueContinuation):
    """What came before a value, whose steps are made together with those of others."""

    def __init__(self, together: Together, opening: Opening, kept: int = 0) -> None:
        super().__init__(opening, kept)
        self.together, self.inside = together, False

    def append(self, embedding: Tensor) -> Tensor:
        """The next positions -> the states of the last."""
        if not self.inside and self.together.joined is not None:
            self.together.joined.add(self.session)
            self.inside = True
        R, n = embedding.shape[:2]
        places = self.fed(n).reshape(-1, 3)
        found: Tensor = wanted(Step([self.session], R, [n], embedding.flatten(0, 1), places, None))
        return found

    def peek(self, embedding: Float[Tensor, "R n D"]) -> Float[Tensor, "R n D"]:
        """n positions a row that see each other and all before -> their states. Nothing is kept. Others go first."""
        wanted(Pause())
        return super().peek(embedding)

    def end(self) -> None:
        """Its places are free."""
        if self.inside and self.together.joined is not None:
            self.together.joined.remove(self.session)
        self.inside = False
