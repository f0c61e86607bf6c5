"""What generators ask of a model. They know no model, modality or embedding; whoever joins them adapts.

`B` sources, `R` rows = B * group (row r belongs to source r // group), `n` new positions, `D` width, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from ofasys.generator.constraint import Bools, Ints
from ofasys.generator.vocabulary import OutputRows
from ofasys.model.rows import JoinedRows

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int


@dataclass(frozen=True, eq=False)
class Rounds:
    """How far the sources of a search are in a repetition that is made stage by stage."""

    begun: Int[Ints, "B"]
    """Rounds of it; 0 before it."""
    last: Bool[Bools, "B"]
    """No place is left for a further one."""


class Decoder(Protocol):
    """A model, its sources encoded, ready to go on token by token.

    rooms (B,): the most tokens each source has places for, besides what was reserved; None: no source knows. A source
    has what it has alone, so no length of an answer depends on what it is searched together with.

    rounds: where there is one, what the search has to know of a repetition that it is a stage of; None: of none.

    share: where there is one, what asks it for scores of candidates gets them computed with those of other searches;
    see `ofasys.generator.scores.Head`.

    table: the output embedding. output: the same, laid out for decoding, where it is.
    """

    @property
    def sources(self) -> int:
        """B."""
        ...

    @property
    def table(self) -> Float[Tensor, "V D"] | JoinedRows:
        """The output rows."""
        ...

    @property
    def output(self) -> OutputRows | None:
        """The output rows, or None."""
        ...

    @property
    def rooms(self) -> Ints | None:
        """(B,)"""
        ...

    def start(self, group: int, max_length: int) -> None:
        """Begin anew with `group` rows a source and room for max_length positions."""
        ...

    def step(
        self,
        tokens: Int[Tensor, "R n"],
        parents: Int[Tensor, "R"] | None,
        grid: Int[Tensor, "R n 2"] | None = None,
    ) -> Float[Tensor, "R D"]:
        """Append tokens to all rows -> the hidden state after the last.

        parents: row r first becomes what row parents[r] was; None: nothing moves. grid: y and x of each token, -1 where
        it has none; None where none has.
        """
        ...

    def plant(self, prefixes: Sequence[Ints]) -> tuple[Branches, Float[Tensor, "B D"]]:
        """Begin anew with a row a source, each after its own prefix -> (ways on from there, the state after it)."""
        ...

    def branch(self) -> Branches:
        """Ways on from the rows as they stand; the rows themselves stay as they are."""
        ...


class Branches(Protocol):
    """Many ways to go on from the same rows: a tree of tokens, whose nodes are numbered as they are added.

    count: nodes so far; lowering it forgets the last.
    """

    count: int

    def grow(self, rows: Int[Ints, "n"], parents: Int[Ints, "n"], tokens: Int[Ints, "n"]) -> Float[Tensor, "n D"]:
        """Add nodes, tokens after nodes `parents`, or after the rows themselves where that is -1 -> the states after
        them.
        """
        ...


class Continuation(Protocol):
    """A model after all that came before a value, R rows, ready for values that are no tokens.

    hidden: the state after what came before, and after what `step` appended.
    """

    hidden: Float[Tensor, "R D"]

    @property
    def rows(self) -> int:
        """R."""
        ...

    @property
    def room(self) -> int:
        """Positions that may still come in all rows."""
        ...

    @property
    def rooms(self) -> Int[Tensor, "R"]:
        """Positions that may still come in each row, whatever the others hold."""
        ...

    def step(self, embedding: Float[Tensor, "R n D"]) -> Float[Tensor, "R D"]:
        """Append n positions to all rows -> the state after the last."""
        ...

    def peek(self, embedding: Float[Tensor, "R n D"]) -> Float[Tensor, "R n D"]:
        """n positions that see each other and all before -> their states. Nothing is kept."""
        ...
