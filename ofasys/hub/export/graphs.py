"""A model of one instruction as two graphs of tensors: its source, and a step of its target.

Both compute on rectangles, with the layers of the model itself: what training and answering lay end to end is padded
here, because a graph has to know its dimensions. `B` samples, `S` source positions, `T` target positions so far, `n`
new ones, `L` layers, `H` heads, `K` head width, `D` width, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ofasys.generalist import GeneralistModel
from ofasys.modality.shared.graph import GraphInput
from ofasys.model.block import Block
from ofasys.model.positions.positions import Bias, Turns, rotate
from ofasys.model.rows import JoinedRows
from ofasys.model.universal import Side, UniversalModel

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int

NOTHING = -1  # an id that is no token: its place is not there
MEMORY = ("memory", "seen")  # what a source graph gives, by name


def attend(
    q: Float[Tensor, "B H T K"],
    k: Float[Tensor, "B H S K"],
    v: Float[Tensor, "B H S K"],
    seen: Bool[Tensor, "..."],
    bias: Tensor | None,
    scale: float | None,
) -> Float[Tensor, "B H T K"]:
    """The product of attention, spelled out. seen: of a shape that broadcasts to (B, H, T, S); bias: added to scores.

    A row that may see nothing gives zeros, as torch's own product does; left to itself, a runtime of ONNX gives the
    mean of all values there, or NaN.
    """
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        scores = scores + bias
    scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    return torch.softmax(scores, -1) @ v * seen.any(-1, keepdim=True)


@dataclass(frozen=True)
class Read:
    """A part of the source: plain text, or a slot's value."""

    name: str = ""
    """Of the input, which is the slot's column; empty: plain text."""
    tokens: tuple[int, ...] = ()
    """Of plain text."""
    key: str = "tokens"
    """Of its adaptor."""
    value: GraphInput | None = None
    """What is handed over for it; None: tokens (B, n), `NOTHING` where there is none."""


@dataclass(frozen=True)
class Placed:
    """A part as it stands in the stream, n positions a sample."""

    embedding: Float[Tensor, "B n D"]
    """Before positions are added."""
    places: Int[Tensor, "B n 3"]
    """(order, y, x)."""
    seen: Bool[Tensor, "B n"]
    """Whether anything is there."""


class _Sight:
    """What attention of a side sees, made once for all its layers."""

    def __init__(self, side: Side, new: Tensor, seen: Tensor, old: Tensor | None = None) -> None:
        scheme = side.positions
        self.seen = seen
        self.turns: Turns | None = scheme.turns(new) if scheme.rotates else None
        keys = new if old is None else torch.cat([old, new], 1)
        self.bias: Bias | None = scheme.biases(new, keys) if scheme.biased else None

    def turned(self, x: Tensor) -> Tensor:
        """Queries or keys of new positions (B, H, n, K)."""
        return x if self.turns is None else rotate(x, self.turns)

    def of(self, layer: int) -> Tensor | None:
        """What is added to the scores of a layer."""
        return None if self.bias is None else self.bias(layer)


def _heads(x: Tensor, parts: int, heads: int) -> Sequence[Tensor]:
    """(B, n, parts * D) -> so many of (B, H, n, K)."""
    B, n, _ = x.shape
    return [part.transpose(1, 2) for part in x.view(B, n, parts, heads, -1).unbind(2)]


def _joined(y: Tensor) -> Tensor:
    """(B, H, n, K) -> (B, n, D)."""
    return y.transpose(1, 2).flatten(2)


def _own(block: Block, sight: _Sight, layer: int, past: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Any:
    """Attention of a layer to its own side. past: new keys and values -> all."""
    part = block.self_attention

    def own(h: Tensor) -> Tensor:
        q, k, v = _heads(part.qkv(h), 3, part.heads)
        k, v = past(sight.turned(k), v)
        made = attend(sight.turned(q), k, v, sight.seen, sight.of(layer), part.scale)
        return cast(Tensor, part.out(_joined(made)))

    return own


def _rows(table: Tensor | JoinedRows) -> Tensor:
    """A table of tokens, all of it the model's own."""
    assert isinstance(table, Tensor)
    return table


def _top(grid: bool) -> tuple[int, int, int]:
    """What a scheme is told of the largest places: whether there is a grid; the tables' own bounds are the limit."""
    return (0, 0, 0) if grid else (0, NOTHING, NOTHING)


class SourceGraph(nn.Module):
    """Values of the source's slots -> what the target needs of them, once.

    Gives keys and values of the source as each layer of the decoder sees them (L, 2, B, H, S, K), and which of its
    positions are there (B, S).
    """

    def __init__(self, model: GeneralistModel, parts: Sequence[Read]) -> None:
        super().__init__()
        engine = model.engine
        assert isinstance(engine, UniversalModel)
        self.parts, self.encoder = tuple(parts), engine.encoder
        own = [cast(Block, block).cross_attention for block in engine.decoder.blocks]
        self.crossed, self.heads = nn.ModuleList([part.kv for part in own]), engine.config.heads
        self.adaptors = nn.ModuleDict({part.key: model.adaptors[part.key] for part in parts if part.value is not None})
        self.table = _rows(model.table)

    def forward(self, values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """values: column -> tokens (B, n), or what its `GraphInput` says."""
        B = next(iter(values.values())).shape[0]
        next_place = torch.zeros(B, 1, dtype=torch.int64)
        placed = []
        for part in self.parts:
            made, next_place = self._placed(part, values, next_place)
            placed.append(made)
        seen = torch.cat([one.seen for one in placed], 1)
        places = torch.cat([one.places for one in placed], 1)
        side = self.encoder
        grid = any(part.value is not None and part.value.grid is not None for part in self.parts)
        x = side.begin(torch.cat([one.embedding for one in placed], 1), places, _top(grid))
        sight = _Sight(side, places, seen[:, None, None, :])
        for i, block in enumerate(side.blocks):
            block = cast(Block, block)
            x = block.layer(x, _own(block, sight, i, lambda k, v: (k, v)), None)
        states = side.end(x)
        memory = [torch.stack(list(_heads(kv(states), 2, self.heads))) for kv in self.crossed]
        return torch.stack(memory), seen

    def _placed(self, part: Read, values: Mapping[str, Tensor], start: Tensor) -> tuple[Placed, Tensor]:
        """A part, which begins at place `start` (B, 1) -> (it, the place after it)."""
        B = start.shape[0]
        if part.value is not None:
            return self._value(part, part.value, values[part.name], start)
        if part.name:
            tokens = values[part.name]
        else:
            tokens = torch.tensor(part.tokens).expand(B, len(part.tokens))
        seen = tokens >= 0
        before = torch.cumsum(seen.long(), 1)
        order = (start + before - 1).clamp(min=0)
        nowhere = torch.full_like(order, NOTHING)
        places = torch.stack([order, nowhere, nowhere], -1)
        embedding = nn.functional.embedding(tokens.clamp(min=0), self.table)
        return Placed(embedding, places, seen), start + seen.long().sum(1, keepdim=True)

    def _value(self, part: Read, value: GraphInput, given: Tensor, start: Tensor) -> tuple[Placed, Tensor]:
        B, n = start.shape[0], value.length
        embed = cast(Callable[..., Tensor], self.adaptors[part.key].embed)
        embedding = embed(value.tensors(given)).view(B, n, -1)
        order = start + torch.arange(n) * value.orders // max(n, 1)
        grid = torch.full((n, 2), NOTHING) if value.grid is None else value.grid
        places = torch.cat([order[..., None], grid.expand(B, n, 2)], -1)
        return Placed(embedding, places, torch.ones(B, n, dtype=torch.bool)), start + value.orders


class StepGraph(nn.Module):
    """The next n tokens of each sample -> what may come after each of them.

    gridded: tokens have places in a picture, which are handed over too.
    """

    def __init__(self, model: GeneralistModel, gridded: bool) -> None:
        super().__init__()
        engine = model.engine
        assert isinstance(engine, UniversalModel)
        self.decoder, self.gridded = engine.decoder, gridded
        self.table, self.rows = _rows(model.table), _rows(model.head)

    @property
    def remembers_places(self) -> bool:
        """Whether a step needs the places of the tokens before it."""
        return self.decoder.positions.biased

    def forward(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Scores (B, n, V), products with the output rows, after each new token; keys and values of all so far
        (L, 2, B, H, T + n, K); and where the positions need them their places (B, T + n, 3).

        given: `tokens` (B, n); `past` (L, 2, B, H, T, K), T = 0 at first; where there is a source `memory`
        (L, 2, B, H, S, K) and `seen` (B, S) of it; `grid` (B, n, 2) of tokens with a place in a picture, `NOTHING` of
        others; `places` (B, T, 3) as the last step gave them.
        """
        tokens, past, side = given["tokens"], given["past"], self.decoder
        B, n = tokens.shape
        T = past.shape[4]
        order = (T + torch.arange(n)).expand(B, n)[..., None]
        grid = given["grid"] if self.gridded else torch.full((B, n, 2), NOTHING)
        here = torch.cat([order, grid], -1)
        old = given["places"] if self.remembers_places else None
        ahead = torch.arange(T + n)[None, :] <= (T + torch.arange(n))[:, None]
        sight = _Sight(side, here, ahead, old)
        x = side.begin(nn.functional.embedding(tokens, self.table), here, _top(self.gridded))
        kept = []
        for i, block in enumerate(side.blocks):
            block, held = cast(Block, block), list[Tensor]()

            def joined(k: Tensor, v: Tensor, i: int = i, held: list[Tensor] = held) -> tuple[Tensor, Tensor]:
                held[:] = torch.cat([past[i, 0], k], 2), torch.cat([past[i, 1], v], 2)
                return held[0], held[1]

            x = block.layer(x, _own(block, sight, i, joined), self._across(block, given, i))
            kept.append(torch.stack(held))
        scores = side.end(x) @ self.rows.t()
        found = scores, torch.stack(kept)
        return (*found, here if old is None else torch.cat([old, here], 1)) if self.remembers_places else found

    def _across(self, block: Block, given: Mapping[str, Tensor], layer: int) -> Callable[[Tensor], Tensor] | None:
        """Attention of a layer to the source; None where there is none."""
        if "memory" not in given:
            return None
        part, (k, v) = block.cross_attention, given["memory"][layer].unbind(0)
        seen = given["seen"][:, None, None, :]

        def across(h: Tensor) -> Tensor:
            (q,) = _heads(part.query(h), 1, part.heads)
            return cast(Tensor, part.out(_joined(attend(q, k, v, seen, None, part.scale))))

        return across
