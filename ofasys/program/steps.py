"""An engine as generators see it: token by token, or many at once, after all that came before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ofasys.engine import Engine, Session, Tree
from ofasys.engine.check import check_session, check_shape, check_tree
from ofasys.generator.constraint import Ints
from ofasys.generator.decoder import Rounds
from ofasys.generator.vocabulary import OutputRows
from ofasys.model.rows import JoinedRows, looked_up
from ofasys.types import Hidden, Stream

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int


@dataclass(frozen=True)
class Opening:
    """All that a session of B samples begins with."""

    engine: Engine
    source: Stream | None
    """Of an engine that opens on streams; else None where its states are known."""
    states: Hidden | None
    """What the engine made of the source; None of an engine that opens on streams."""
    sources: int
    """B."""
    prefix: Stream | None = None
    """What stands in the targets so far, at least one position each; None: nothing does."""

    def session(self, group: int, room: int) -> Session:
        """One of `group` rows a sample, with room for so many positions after the prefix."""
        made = self.engine.open(self.source, self.states, self.sources, group, self.prefix, room)
        return check_session(self.engine, made, self.sources * group, self.prefix is not None)

    def order(self, device: torch.device) -> Int[Tensor, "sources"]:
        """The place in the sentence that comes next in each sample."""
        if self.prefix is None:
            return torch.zeros(self.sources, dtype=torch.int64, device=device)
        layout = self.prefix.layout
        return layout.positions[torch.cumsum(layout.lengths, 0) - 1, 0] + 1


class StepDecoder:
    """An engine joined to the tables of tokens. See `ofasys.generator.decoder.Decoder`.

    inputs: the embedding of each token. table: the output rows, which may be the same; output: those laid out for
    decoding.
    """

    def __init__(
        self,
        opening: Opening,
        inputs: Tensor | JoinedRows,
        table: Tensor | JoinedRows | None = None,
        output: OutputRows | None = None,
    ) -> None:
        self.opening, self.inputs, self.output = opening, inputs, output
        self.table = inputs if table is None else table
        self.sources, self.group, self.done = opening.sources, 1, 0
        self.order = opening.order(inputs.device)
        self.rooms: Ints | None = None
        self.rounds: Rounds | None = None
        self.session: Session | None = None

    def start(self, group: int, max_length: int) -> None:
        """Begin anew with `group` rows a source."""
        self.group, self.done = group, 0
        self.session = self.opening.session(group, max_length)

    def end(self) -> None:
        """Nothing more is asked."""
        self.session = None

    def step(
        self,
        tokens: Int[Tensor, "R n"],
        parents: Int[Tensor, "R"] | None,
        grid: Int[Tensor, "R n 2"] | None = None,
    ) -> Float[Tensor, "R D"]:
        """The next n tokens of each row -> the hidden state after the last."""
        assert self.session is not None, "start comes before step"
        if parents is not None:
            self.session.reorder(parents)
        R, n = tokens.shape
        positions = torch.full((n, 3), -1, dtype=torch.int64, device=tokens.device)
        positions[:, 0] = torch.arange(self.done, self.done + n, device=tokens.device)
        if self.opening.prefix is not None or grid is not None:
            positions = positions.repeat(R, 1, 1)
        if self.opening.prefix is not None:
            positions[..., 0] += self.order.repeat_interleave(self.group)[:, None]
            positions[..., 0].clamp_(max=self.opening.engine.max_positions - 1)  # of rows that are done and still fed
        if grid is not None:
            positions[..., 1:] = grid
        self.done += n
        return self.append(tokens, positions)

    def append(
        self, tokens: Int[Tensor, "R n"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"]
    ) -> Float[Tensor, "R D"]:
        """The next tokens, at these positions -> the states of the last."""
        assert self.session is not None
        states = self.session.append(looked_up(self.inputs, tokens), positions)
        return check_shape(self.opening.engine, "append", states, (len(tokens), self.inputs.shape[1]))

    def plant(self, prefixes: Sequence[Ints]) -> tuple[Branches, Float[Tensor, "sources D"]]:
        """A row a source, each after its own prefix -> (ways on from there, the state after it)."""
        sizes = np.array([len(prefix) for prefix in prefixes])
        B, T = len(prefixes), int(sizes.max())
        tokens = np.zeros((B, T), dtype=np.int64)
        for row, prefix in zip(tokens, prefixes, strict=True):
            row[: len(prefix)] = prefix
        self.start(1, T)
        assert self.session is not None
        device, self.done = self.inputs.device, T
        positions = torch.full((B, T, 3), -1, dtype=torch.int64, device=device)
        positions[..., 0] = self.order[:, None] + torch.arange(T, device=device)
        states = self.session.fill(looked_up(self.inputs, torch.from_numpy(tokens).to(device)), positions)
        check_shape(self.opening.engine, "fill", states, (B, T, self.inputs.shape[1]))
        lengths = torch.from_numpy(sizes).to(device)
        last = states[torch.arange(B, device=device), lengths - 1]
        tree = self.session.branch(None if bool((sizes == T).all()) else lengths)
        return Branches(self.opening.engine, tree, self.inputs, self.order + lengths), last

    def branch(self) -> Branches:
        """Ways on from the rows as they stand."""
        assert self.session is not None, "start comes before branch"
        order = self.order.repeat_interleave(self.group) + self.done
        return Branches(self.opening.engine, self.session.branch(), self.inputs, order)


class Branches:
    """Many ways to go on from the rows of a session. See `ofasys.generator.decoder.Branches`.

    order: the place in the sentence that comes next in each row.
    """

    chunk = 4096  # nodes that go through the engine at once

    def __init__(self, engine: Engine, tree: Tree, inputs: Tensor | JoinedRows, order: Int[Tensor, "R"]) -> None:
        self.engine, self.tree, self.inputs, self.order = engine, check_tree(engine, tree), inputs, order
        self.depth = np.zeros(64, dtype=np.int64)

    @property
    def count(self) -> int:
        """Nodes so far."""
        return self.tree.count

    @count.setter
    def count(self, count: int) -> None:
        self.tree.count = count

    def grow(self, rows: Int[Ints, "n"], parents: Int[Ints, "n"], tokens: Int[Ints, "n"]) -> Float[Tensor, "n D"]:
        """Add nodes -> the states after them."""
        n, first, device = len(rows), self.count, self.inputs.device
        if first + n > len(self.depth):
            self.depth = np.resize(self.depth, max(2 * len(self.depth), first + n))
        self.depth[first : first + n] = np.where(parents < 0, 0, self.depth[np.maximum(parents, 0)] + 1)
        positions = torch.full((n, 3), -1, dtype=torch.int64, device=device)
        positions[:, 0] = self.order[torch.from_numpy(rows).to(device)]
        positions[:, 0] += torch.from_numpy(self.depth[first : first + n]).to(device)
        embedded = looked_up(self.inputs, torch.from_numpy(tokens).to(device))
        parts = [slice(start, start + self.chunk) for start in range(0, n, self.chunk)]
        made = [self.tree.grow(embedded[part], positions[part], rows[part], parents[part]) for part in parts]
        states = made[0] if len(made) == 1 else torch.cat(made)
        return check_shape(self.engine, "grow", states, (n, self.inputs.shape[1]))


class ValueContinuation:
    """What came before a value that is drawn, one row a source. See `ofasys.generator.decoder.Continuation`.

    kept: positions to leave for what comes after the value.
    """

    def __init__(self, opening: Opening, kept: int = 0) -> None:
        assert opening.prefix is not None, "a value stands after something"
        self.engine, self.rows, self.kept = opening.engine, opening.sources, kept
        self.order = opening.order(opening.prefix.embedding.device)
        self.session = opening.session(1, 64)
        assert self.session.hidden is not None, "a session after a prefix has its state"
        self.hidden = self.session.hidden

    @property
    def room(self) -> int:
        """Positions the engine still has places for in all rows, but for those to be kept for what comes after."""
        return int(self.rooms.min())

    @property
    def rooms(self) -> Int[Tensor, "rows"]:
        """The same of each row; a row has the places that it has alone."""
        return (self.engine.max_positions - self.order - self.kept).clamp(min=1)

    def step(self, embedding: Float[Tensor, "rows n D"]) -> Float[Tensor, "rows D"]:
        """n positions appended to each row -> the state after the last."""
        self.hidden = check_shape(self.engine, "append", self.append(embedding), (self.rows, embedding.shape[2]))
        self.order = self.order + embedding.shape[1]
        return self.hidden

    def append(self, embedding: Float[Tensor, "rows n D"]) -> Float[Tensor, "rows D"]:
        """The next positions -> the states of the last."""
        return self.session.append(embedding, self.fed(embedding.shape[1]))

    def end(self) -> None:
        """Nothing more is asked."""

    def peek(self, embedding: Float[Tensor, "rows n D"]) -> Float[Tensor, "rows n D"]:
        """n positions a row that see each other and all before -> their states. Nothing is kept."""
        made = self.session.peek(embedding, self.positions(embedding.shape[1]))
        return check_shape(self.engine, "peek", made, tuple(embedding.shape))

    def positions(self, n: int) -> Int[Tensor, "rows n 3"]:
        """Of the next n of each row."""
        positions = torch.full((self.rows, n, 3), -1, dtype=torch.int64, device=self.order.device)
        positions[..., 0] = self.order[:, None] + torch.arange(n, device=self.order.device)
        return positions

    def fed(self, n: int) -> Int[Tensor, "rows n 3"]:
        """Of the next n of each row; rows that are done are still fed, and may have no places left."""
        positions = self.positions(n)
        positions[..., 0].clamp_(max=self.engine.max_positions - 1)
        return positions
