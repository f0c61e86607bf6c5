"""The universal model with OFA's positions: an `ofasys.engine.Engine`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ofasys.engine.ofa.config import FRAME, KINDS, OFAConfig
from ofasys.engine.ofa.places import CODES, GRID, source_places, target_places
from ofasys.engine.ofa.positions import OFAPositions
from ofasys.errors import DataError
from ofasys.model.block import Block, Pieces
from ofasys.model.dropout import dropout
from ofasys.model.positions.positions import Positions
from ofasys.model.rectangle import in_rectangle
from ofasys.model.sizes import ModelConfig
from ofasys.model.universal import Side, UniversalModel
from ofasys.types import Hidden, Layout, Stream

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int


class OFABlock(Block):
    """A layer whose feed-forward branch is added to the stream times a factor of each channel."""

    def __init__(self, config: ModelConfig, decoder: bool) -> None:
        super().__init__(config, decoder)
        self.residual = nn.Parameter(torch.ones(config.width))

    def fed(self, by: Pieces, x: Tensor) -> Tensor:
        """The same: of its own, it is not compiled."""
        return self.feed(x)


class OFASide(Side):
    """A side that begins with a norm of each kind of place."""

    def __init__(self, config: OFAConfig, decoder: bool) -> None:
        super().__init__(config.of(decoder), decoder)

    def placed(self, config: ModelConfig, decoder: bool) -> Positions:
        """OFA's."""
        assert isinstance(config, OFAConfig)
        return OFAPositions(config, decoder)

    def block(self, config: ModelConfig, decoder: bool) -> Block:
        """One layer."""
        scaled = isinstance(config, OFAConfig) and config.residual_scale
        return OFABlock(config, decoder) if scaled else Block(config, decoder)

    @property
    def places(self) -> OFAPositions:
        """How it knows where a position stands."""
        assert isinstance(self.positions, OFAPositions)
        return self.positions

    def begin(
        self, embedding: Float[Tensor, "... D"], positions: Int[Tensor, "... 3"], top: Sequence[int] | None = None
    ) -> Float[Tensor, "... D"]:
        """Embeddings -> what the first block reads. positions: places."""
        x = self.places.enter(embedding, positions)
        return dropout(x, self.dropout) if self.training and self.dropout > 0.0 else x


class OFAModel(UniversalModel):
    """Streams in, states out, by the weights of OFA and OFASys (Wang et al., 2022, https://arxiv.org/abs/2202.03052).

    Positions say their kind of place as `places` tells. Errors: DataError for a picture of more cells than its table.
    """

    config: OFAConfig

    def side(self, config: ModelConfig, decoder: bool) -> Side:
        """The encoder, or the decoder."""
        assert isinstance(config, OFAConfig)
        return OFASide(config, decoder)

    @torch.no_grad()
    def initialise(self) -> None:
        """As the original: weights and tables have standard deviation 0.02, biases are zero, norms and factors one."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def encode(self, stream: Stream, reduced: bool = False) -> Hidden:
        """The source stream (N, D) -> its states (N, D)."""
        self._check(stream.layout)
        placed = replace(stream.layout, positions=source_places(stream.layout))
        return Hidden(super().encode(Stream(stream.embedding, placed), reduced).states, stream.layout)

    def decode(self, stream: Stream, memory: Hidden | None, group: int = 1) -> Hidden:
        """The target stream (N, D) -> its states (N, D). Errors: DataError for codes where none were learned."""
        top = stream.layout.top
        if top is not None and top[1] >= 0 and KINDS[CODES] not in self.config.target:
            raise DataError("a target has codes of a picture", expected="a model that was trained to make pictures")
        placed = replace(stream.layout, positions=self.target_places(stream.layout.positions))
        return Hidden(super().decode(Stream(stream.embedding, placed), memory, group).states, stream.layout)

    def target_places(self, positions: Tensor) -> Tensor:
        """Where they stand, as places."""
        return target_places(positions)

    def across(self, memory: Hidden) -> Tensor | None:
        """Where the source stands, as keys of the decoder's positions (B, H, S, K)."""
        decoder, encoder = (side.places for side in (self.decoder, self.encoder) if isinstance(side, OFASide))
        if decoder.source_key is None:
            return None
        placed = replace(memory.layout, positions=source_places(memory.layout))
        return decoder.split(decoder.source_key(encoder.points(in_rectangle(placed))))

    def _check(self, layout: Layout) -> None:
        if layout.top is None or layout.top[1] < 0:
            return
        grid = self.config.source.get(KINDS[GRID])
        y, x = layout.top[1] % FRAME if layout.top[1] >= FRAME else layout.top[1], layout.top[2]
        if grid is None or max(y, x) >= grid.near:
            most = 0 if grid is None else grid.near
            raise DataError(
                f"a picture has a grid of {y + 1} rows and {x + 1} columns, the model has {most} of each",
                expected="a smaller picture" if grid else "a model that was trained on pictures",
            )
