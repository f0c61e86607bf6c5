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

from ofasys.engine import Engine, Joined, Session
from ofasys.engine.check import check_shape, joined_of
from ofasys.generator.scores import Few
from ofasys.model.rows import JoinedRows, looked_up
from ofasys.program.steps import Opening, StepDecoder, ValueContinuation

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Step:
    """Wanted: the states after the next positions of a session."""

    session: Session
    """Whose."""
    given: Int[Tensor, "R n"] | Float[Tensor, "R n D"]
    """Tokens, or what is embedded already."""
    positions: Int[Tensor, "R n 3"]
    """Where they stand."""
    inputs: Tensor | JoinedRows | None
    """What tokens are looked up in."""

    def embedded(self) -> Tensor:
        """(R, n, D)."""
        return self.given if self.inputs is None else looked_up(self.inputs, self.given)


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


@dataclass(frozen=True)
class Pause:
    """Wanted: that others go on first."""


Want = Step | Product | Pause


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
    """Works of one engine, in turns. joined: where its sessions go on together; None where each does alone."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.joined = engine, joined_of(engine)
        self.works: list[Work[Any]] = []

    def begin(self, run: Callable[[], Found]) -> Work[Found]:
        """A work that takes part from now on."""
        work = Work(run)
        work.go_on()
        self.works.append(work)
        return work

    def turn(self) -> None:
        """All go on by a step; those that are over leave."""
        self.works = [work for work in self.works if not work.over]
        self._scored()
        steps = [(work, work.want) for work in self.works if isinstance(work.want, Step)]
        for work in [work for work in self.works if isinstance(work.want, Pause)]:
            work.go_on()
        if steps:
            self._stepped([work for work, _ in steps], [want for _, want in steps])
        self._scored()
        self.works = [work for work in self.works if not work.over]

    def decoder(self, *given: Any) -> TurnDecoder:
        """As `StepDecoder`, of a work of these."""
        return TurnDecoder(self, *given)

    def continuation(self, opening: Opening, kept: int = 0) -> TurnContinuation:
        """As `ValueContinuation`, of a work of these."""
        return TurnContinuation(self, opening, kept)

    def _scored(self) -> None:
        """Until none wants scores."""
        while asking := [(work, work.want) for work in self.works if isinstance(work.want, Product)]:
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
        if first.scores is not None:
            made = first.scores(made)
        whole = [want for want in wants if not want.best]
        sizes = [len(want.states) for want in wants]
        all_of, rest = made.split([sum(sizes[: len(whole)]), sum(sizes[len(whole) :])])
        parts: list[Any] = list(all_of.split(sizes[: len(whole)]))
        if len(whole) < len(wants):
            last = wants[-1]
            assert last.few is not None
            few = last.few(rest, max(want.best for want in wants))
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
                    made = want.session.append(want.embedded(), want.positions)
            except Exception as error:
                work.stop(error)
            else:
                work.go_on(made)

    def _together(self, joined: Joined, wants: Sequence[Step]) -> Sequence[Tensor]:
        rows = [len(want.given) for want in wants]
        counts = [want.given.shape[1] for want in wants]
        first = wants[0]
        if first.inputs is not None and all(want.inputs is first.inputs for want in wants):
            embedding = looked_up(first.inputs, torch.cat([want.given.flatten() for want in wants]))
        else:
            embedding = torch.cat([want.embedded().flatten(0, 1) for want in wants])
        positions = torch.cat([want.positions.reshape(-1, 3) for want in wants])
        made = joined.append([want.session for want in wants], embedding, positions, counts)
        return check_shape(self.engine, "joined.append", made, (sum(rows), self.engine.width)).split(rows)


class TurnDecoder(StepDecoder):
    """A decoder whose steps are made together with those of others. See `ofasys.generator.decoder.Decoder`."""

    def __init__(self, together: Together, *given: Any) -> None:
        super().__init__(*given)
        self.together, self.inside = together, False
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
        found: Tensor = wanted(Step(self.session, tokens, positions.expand(*tokens.shape, 3), self.inputs))
        return found

    def share(
        self,
        key: Hashable,
        states: Float[Tensor, "n D"],
        scores: Callable[[Tensor], Tensor] | None,
        best: int = 0,
        few: Few | None = None,
    ) -> Any:
        """Scores of candidates that others score too. See `ofasys.generator.scores.Share`."""
        return wanted(Product(key, states, scores, best, few))


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
        found: Tensor = wanted(Step(self.session, embedding, self.positions(embedding.shape[1]), None))
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
