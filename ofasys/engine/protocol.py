"""What an engine is: streams in, states out; and sessions, in which a target is made piece by piece.

`B` sources, `R` rows = B * group (row r belongs to source r // group), `n` new positions, `D` width. Positions are
(order, y, x), as of `Layout.positions`; those of a target begin at 0, whatever the engine puts before them.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ofasys.types import Hidden, States, Stream

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
    def hidden(self) -> Tensor | None:
        """(R, D): the state after the prefix; None without one."""
        ...

    def append(self, embedding: Tensor, positions: Tensor) -> Tensor:
        """The next n positions of each row -> the states of the last of them (R, D).

        embedding (R, n, D). positions (R, n, 3), or (n, 3) where all rows stand at the same.
        """
        ...

    def fill(self, embedding: Tensor, positions: Tensor) -> Tensor:
        """As `append` -> the states of all n positions (R, n, D)."""
        ...

    def reorder(self, parents: Tensor) -> None:
        """Row r goes on from what row parents[r] was; parents (R,). A parent is of the same source as its row."""
        ...

    def peek(self, embedding: Tensor, positions: Tensor) -> Tensor:
        """n positions a row that see each other and all before -> their states (R, n, D). Nothing is kept."""
        ...

    def branch(self, lengths: Tensor | None = None) -> Tree:
        """Ways on from the rows as they stand; the rows stay as they are.

        lengths (R,): how many of the positions after the prefix each row has, the rest being padding; None: all.
        """
        ...


@runtime_checkable
class Tree(Protocol):
    """Many ways to go on from the rows of a session: nodes, numbered as they are added.

    count: nodes so far; lowering it forgets the last.
    """

    count: int

    def grow(self, embedding: Tensor, positions: Tensor, rows: Ints, parents: Ints) -> Tensor:
        """New nodes, embedding (n, D), positions (n, 3) -> their states (n, D).

        rows (n,): the rows they go on from, ascending. parents (n,): nodes, or -1 for the row itself. A node sees its
        source, its row, its ancestors and itself.
        """
        ...
