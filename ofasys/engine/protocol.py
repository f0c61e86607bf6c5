"""What an engine is: streams in, states out; and sessions, in which a target is made piece by piece.

`B` sources, `R` rows = B * group (row r belongs to source r // group), `n` new positions, `D` width. Positions are
(order, y, x), as of `Layout.positions`; those of a target begin at 0, whatever the engine puts before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ofasys.types import Hidden, States, Stream

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

Ints = NDArray[np.int64]


@runtime_checkable
class Engine(Protocol):
    """A `torch.nn.Module` that computes states. It knows no modality, no vocabulary and no loss."""

    @property
    def width(self) -> int:
        """D."""
        ...

    @property
    def max_positions(self) -> int:
        """The longest stream of a side: `order` is always below it."""
        ...

    @property
    def empty_source(self) -> bool:
        """Whether a target may stand alone, without a source."""
        ...

    @property
    def reads_states(self) -> bool:
        """Whether a session opens on the states of a source, so that a source is read once; else on its stream."""
        ...

    def __call__(self, source: Stream | None, target: Stream | None) -> States:
        """`forward`, with the hooks of a module."""
        ...

    def forward(self, source: Stream | None, target: Stream | None) -> States:
        """The states of both sides, either of which may be missing.

        A position of the target sees the whole source of its sample, what came before it, and its block
        (`Layout.blocks`). No sample sees another. Training calls this: it asks its device for nothing.
        """
        ...

    def open(
        self,
        source: Stream | None,
        states: Hidden | None,
        sources: int,
        group: int = 1,
        prefix: Stream | None = None,
        room: int = 64,
    ) -> Session:
        """A session of R rows, in evaluation mode and without gradients.

        source: of B samples, or None where it is empty; states: what `forward` made of it. An engine that
        `reads_states` is given these, any other the stream. sources: B. prefix: what stands in each sample's target so
        far, at least one position each. room: positions that will come after it; more may.
        """
        ...


@runtime_checkable
class Session(Protocol):
    """R targets in the making: what each was given stays in it."""

    @property
    def hidden(self) -> Float[Tensor, "R D"] | None:
        """The state after the prefix; None without one."""
        ...

    def append(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"]
    ) -> Float[Tensor, "R D"]:
        """The next n positions of each row -> the states of the last of them.

        positions: (n, 3) where all rows stand at the same.
        """
        ...

    def fill(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"]
    ) -> Float[Tensor, "R n D"]:
        """As `append` -> the states of all n positions."""
        ...

    def reorder(self, parents: Int[Tensor, "R"]) -> None:
        """Row r goes on from what row parents[r] was. A parent is of the same source as its row."""
        ...

    def peek(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"]
    ) -> Float[Tensor, "R n D"]:
        """n positions a row that see each other and all before -> their states. Nothing is kept."""
        ...

    def branch(self, lengths: Int[Tensor, "R"] | None = None) -> Tree:
        """Ways on from the rows as they stand; the rows stay as they are.

        lengths: how many of the positions after the prefix each row has, the rest being padding; None: all.
        """
        ...


@runtime_checkable
class Joining(Protocol):
    """What an engine offers besides, where its sessions may go on together. Of one that does not each goes on alone."""

    def joined(self) -> Joined:
        """Room for sessions of this engine; none at first."""
        ...


@runtime_checkable
class Joined(Protocol):
    """Sessions of one engine, of any number of rows and positions each, one pass for all: they come and go as they
    like. No row's states depend on the others, but for rounding.
    """

    @property
    def rows(self) -> int:
        """Of all sessions that are in it: what one that was removed had is free."""
        ...

    def add(self, session: Any) -> None:
        """A session that `open` gave goes on here. What it holds is taken over: `reorder`, `peek` and `branch` are
        asked of it as before, what is appended is given to all at once.
        """
        ...

    def remove(self, session: Any) -> None:
        """A session has ended."""
        ...

    def append(
        self,
        sessions: Sequence[Any],
        embedding: Float[Tensor, "N D"],
        positions: Int[Tensor, "N 3"],
        counts: Sequence[int],
    ) -> Float[Tensor, "R D"]:
        """The next positions of some of the sessions, `counts` a row of each, laid end to end: session after session,
        row after row -> the states of the last of each row.
        """
        ...


@runtime_checkable
class Parting(Joined, Protocol):
    """What may be offered besides: sources that joined at once leave one by one, as each is done."""

    def parts(self, session: Any) -> Sequence[Any]:
        """The sources of a session that was added, as a session each; the session itself is not used any more."""
        ...


@runtime_checkable
class Tree(Protocol):
    """Many ways to go on from the rows of a session: nodes, numbered as they are added.

    count: nodes so far; lowering it forgets the last.
    """

    count: int

    def grow(
        self,
        embedding: Float[Tensor, "n D"],
        positions: Int[Tensor, "n 3"],
        rows: Int[Ints, "n"],
        parents: Int[Ints, "n"],
    ) -> Float[Tensor, "n D"]:
        """New nodes -> their states.

        rows: the rows they go on from, ascending. parents: nodes, or -1 for the row itself. A node sees its
        source, its row, its ancestors and itself.
        """
        ...
