"""The universal model: an encoder-decoder transformer from embedding stream to hidden stream.

What is peculiar about it:
- streams are flat: N valid positions laid end to end, so nothing but the attention product ever sees padding;
- positions are (order, y, x), so text, pictures and video share one model; how they count is a scheme of its own;
- an empty source makes it a decoder, an empty target an encoder: same weights, same code;
- it follows the seed architecture: LayerNorm before each branch, after attention and inside the feed-forward, and a
  learned factor per head; with these switched off it is BART (norm="post") or mBART (norm="pre") to the digit;
- several target rows may share one source (beams, labels to rank): `group` folds their queries into one product
  instead of repeating keys and values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ofasys.model.attention import Output, Shape, Sight, biased, keys
from ofasys.model.block import Block, Pieces, feed, mix, project
from ofasys.model.cache import Cache, CrossCache
from ofasys.model.dropout import dropout
from ofasys.model.matrix import Kept, kept_in, weights_of
from ofasys.model.positions import SCHEMES
from ofasys.model.positions.positions import Positions
from ofasys.model.positions.scheme import positions_of
from ofasys.model.prepared import Prepared, PreparedLayers, halves_or, products_in
from ofasys.model.rectangle import block_mask, in_rectangle, key_mask
from ofasys.model.session import CachedSession, JoinedSessions, Prefix
from ofasys.model.sizes import ModelConfig
from ofasys.model.step import advance
from ofasys.model.tree import Ints, Tree, grow
from ofasys.types import Hidden, Layout, States, Stream

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int


class Side(nn.Module):
    """What encoder and decoder have alike: positions, the norms at both ends, and the blocks between."""

    def __init__(self, config: ModelConfig, decoder: bool) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.positions = self.placed(config, decoder)
        self.embed_norm = nn.LayerNorm(config.width) if config.embed_norm else None
        layers = config.decoder_layers if decoder else config.encoder_layers
        self.blocks = nn.ModuleList([self.block(config, decoder) for _ in range(layers)])
        self.final_norm = nn.LayerNorm(config.width) if config.final_norm else None
        self.kept = Kept()  # its layers laid out for decoding
        self.read = Kept()  # and for sources that are read in bfloat16

    def train(self, mode: bool = True) -> Side:
        """As of any module; and what was laid out is forgotten, for a fused optimizer changes weights unseen."""
        if mode:
            self.kept.drop()
            self.read.drop()
        return super().train(mode)

    def placed(self, config: ModelConfig, decoder: bool) -> Positions:
        """How it knows where a position stands."""
        found: Positions = positions_of(SCHEMES[config.positions], config, decoder)
        return found

    def block(self, config: ModelConfig, decoder: bool) -> Block:
        """One layer."""
        return Block(config, decoder)

    def begin(
        self, embedding: Float[Tensor, "... D"], positions: Int[Tensor, "... 3"], top: Sequence[int] | None = None
    ) -> Float[Tensor, "... D"]:
        """Embeddings -> what the first block reads. top: as of `Layout`."""
        added = self.positions.stream(positions, top)
        x = embedding if added is None else embedding + added
        if self.embed_norm is not None:
            x = self.embed_norm(x)
        if self.training and self.dropout > 0.0:
            x = dropout(x, self.dropout)
        return x

    def end(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        """What the last block gave -> the states."""
        return x if self.final_norm is None else self.final_norm(x)


class UniversalModel(nn.Module):
    """Embedding stream in, hidden stream out. An `ofasys.engine.Engine`."""

    empty_source = True
    reads_states = True
    recompute = False
    """In training, keep of each block what it reads and compute the rest again for its gradient (Chen et al., 2016,
    https://arxiv.org/abs/1604.06174): less memory, a third more to compute, the same gradients."""
    reduced = False
    """Step in bfloat16 where a position is decoded, and read in it the sources of what is decoded."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.width, self.max_positions = config.width, config.max_positions
        self.encoder = self.side(config, decoder=False)
        self.decoder = self.side(config, decoder=True)
        self.initialise()

    def side(self, config: ModelConfig, decoder: bool) -> Side:
        """The encoder, or the decoder."""
        return Side(config, decoder)

    def across(self, memory: Hidden) -> Tensor | None:
        """What its source is to the positions of a decoder (B, H, S, K), as of `Positions.across`; None: nothing."""
        return None

    def target_places(self, positions: Tensor) -> Tensor:
        """Positions of a target (..., 3) -> what its side is told of them (..., 3)."""
        return positions

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw all weights anew from torch's global generator.

        A projection starts with standard deviation 1 / sqrt(inputs), so that values keep their scale at any width. What
        joins the stream starts 1 / sqrt(branches) as large, branches = blocks x branches a block, so that a deep stream
        is no larger at its end than a shallow one: the feed-forward by its second projection, attention by its output
        projection or, where a LayerNorm follows it, by that norm's gain. LayerNorms start as identity, biases at zero.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, Output) and module.scale is not None:
                nn.init.ones_(module.scale)
        for side, branches in ((self.encoder, 2), (self.decoder, 3)):
            side.positions.initialise()
            shrink = 1.0 / math.sqrt(max(1, branches * len(side.blocks)))
            for name, module in side.named_modules():
                if isinstance(module, Output):
                    (module.project if module.norm is None else module.norm).weight.mul_(shrink)
                elif name.endswith("ffn.down"):
                    module.weight.mul_(shrink)

    @property
    def shape(self) -> Shape:
        """What its products of attention are like."""
        config = self.config
        return Shape(config.heads, config.head, config.score_scale is None, self._dtype)

    @property
    def shard_units(self) -> list[nn.Module]:
        """The blocks: in training each is called as a module, one after the other."""
        return [block for side in (self.encoder, self.decoder) for block in side.blocks]

    def encode(self, stream: Stream, reduced: bool = False) -> Hidden:
        """The source stream (N, D) -> its states (N, D). reduced: of weights in float32, products in bfloat16 where the
        processor multiplies pairs.
        """
        layout = stream.layout
        x = self.encoder.begin(stream.embedding, layout.positions, layout.top)
        sight = Sight.of(layout, self.encoder.positions, key_mask(layout), False, self.shape)
        if self.training or torch.is_grad_enabled() or self._dtype != torch.float32:  # in halves as it was trained
            for i, block in enumerate(self.encoder.blocks):
                x = self._through(block, x, sight, i)
        else:
            for i, layer in enumerate(self._readers() if reduced else self.prepared(self.encoder)):
                x = layer.encode(x, sight, i)
        return Hidden(self.encoder.end(x), layout)

    def decode(self, stream: Stream, memory: Hidden | None, group: int = 1) -> Hidden:
        """The target stream (N, D), each position seeing what came before it, and its block -> its states (N, D).

        memory: the encoded source, or None for a decoder alone. group: target rows a source has; row r of the target
        batch attends to source r // group.
        """
        layout = stream.layout
        source = mask = states = None
        if memory is not None:
            source, states = memory.layout, memory.states
            if layout.batch != source.batch * group:
                raise ValueError(
                    f"{layout.batch} target rows do not belong to {source.batch} sources in groups of {group}; "
                    f"expected {source.batch * group} rows"
                )
            mask = self._over(layout, memory, group)
        x = self.decoder.begin(stream.embedding, layout.positions, layout.top)
        plain = mask is None or mask.dtype == torch.bool
        sight = Sight.of(
            layout,
            self.decoder.positions,
            block_mask(layout),
            True,
            self.shape,
            source if plain and group == 1 else None,
        )
        for i, block in enumerate(self.decoder.blocks):
            x = self._through(block, x, sight, i, states, source, mask, group)
        return Hidden(self.decoder.end(x), layout)

    def _over(self, layout: Layout, memory: Hidden, group: int) -> Tensor | None:
        """What a target sees of its source, as of `attend`; (B, 1, 1, S), or where positions matter (B, H, T, S)."""
        mask, keys = key_mask(memory.layout), self.across(memory)
        if keys is None:
            return mask
        places = in_rectangle(layout).view(-1, group * layout.length, 3)
        return biased(self.decoder.positions.across(places, keys), mask, False)

    def _through(self, block: nn.Module, x: Tensor, *rest: Any) -> Tensor:
        """x (N, D) -> what a block makes of it (N, D). Random draws are the same when it is computed again."""
        if self.recompute and self.training and torch.is_grad_enabled():
            return cast(Tensor, checkpoint(block, x, *rest, use_reentrant=False))
        return cast(Tensor, block(x, *rest))

    def compile_blocks(self, backend: str | Callable[..., Any] | None) -> None:
        """Compile what blocks do in training but for their products of attention. None: no more.

        The number of positions is left open, so the same few graphs are for all blocks and all batches. backend: as of
        `torch.compile`. Errors: whatever it raises, here and not in a step; nothing is compiled then.
        """
        sides = (self.encoder, self.decoder)
        blocks = [cast(Block, block) for side in sides for block in side.blocks]
        for block in blocks:
            block.compiled = None
        if backend is None:
            return
        pieces = Pieces(*(torch.compile(piece, dynamic=True, backend=backend) for piece in (project, mix, feed)))
        for side in sides:
            if side.blocks:
                self._try(pieces, side)
        for block in blocks:
            block.compiled = pieces

    def _try(self, pieces: Pieces, side: Side) -> None:
        """A pass of three positions through the first block of a side, forward and backward: it compiles its pieces."""
        x = next(self.parameters()).new_zeros(3, self.width).requires_grad_()
        places = torch.arange(3, device=x.device)
        layout = Layout(1, 3, places, places[:, None].expand(3, 3), places[:1] + 3, full=True)
        decoder = side is self.decoder
        memory, source = (x.detach(), layout) if decoder else (None, None)
        sight = Sight.of(layout, side.positions, None, decoder, self.shape, source)
        with torch.random.fork_rng([x.device] if x.is_cuda else []):
            y = cast(Block, side.blocks[0]).pieced(pieces, x, sight, 0, memory, source, None, 1)
        torch.autograd.grad(y.sum(), x)

    def forward(self, source: Stream | None, target: Stream | None) -> States:
        """Both sides at once, either of which may be missing."""
        memory = None if source is None else self.encode(source)
        return States(memory, None if target is None else self.decode(target, memory))

    @torch.no_grad()
    def open(
        self,
        source: Stream | None,
        states: Hidden | None,
        sources: int,
        group: int = 1,
        prefix: Stream | None = None,
        room: int = 64,
    ) -> CachedSession:
        """See `ofasys.engine.Engine.open`."""
        memory = self.encode(source, self.reduced) if states is None and source is not None else states
        before = None if prefix is None else Prefix.of(prefix)
        room += 0 if before is None else before.embedding.shape[1]
        cache = self.start(memory, sources * group, min(room, self.max_positions), group)
        return CachedSession(self, cache, group, before)

    def joined(self) -> JoinedSessions:
        """See `ofasys.engine.Joining.joined`."""
        return JoinedSessions(self)

    @property
    def _dtype(self) -> torch.dtype:
        """What products of decoding are computed in."""
        weight = next(self.parameters())
        device = weight.device.type
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype

    def prepared(self, side: Side) -> PreparedLayers:
        """The layers of a side as decoding computes them; made anew when their weights change."""
        dtype, blocks, decodes = self._dtype, [cast(Block, block) for block in side.blocks], side is self.decoder
        fuse = decodes and not (side.positions.rotates or side.positions.biased)
        how = dtype, self.reduced and decodes
        found: PreparedLayers = side.kept.get(
            weights_of(side.blocks), how, lambda: PreparedLayers(blocks, dtype, fuse, how[1])
        )
        return found

    def _readers(self) -> Sequence[Prepared]:
        """The layers of the encoder as sources are read in bfloat16; made anew when their weights change."""
        blocks = [cast(Block, block) for block in self.encoder.blocks]
        products = halves_or(products_in(torch.float32))
        found: Sequence[Prepared] = self.encoder.read.get(
            weights_of(self.encoder.blocks), None, lambda: [Prepared(block, products) for block in blocks]
        )
        return found

    @torch.no_grad()
    def start(self, memory: Hidden | None, rows: int, max_length: int, group: int = 1) -> Cache:
        """A cache for decoding R = `rows` rows step by step; row r attends to source r // group.

        max_length: positions to make room for; more may come, the cache grows.
        """
        if memory is not None and rows != memory.layout.batch * group:
            raise ValueError(
                f"{rows} rows do not belong to {memory.layout.batch} sources in groups of {group}; "
                f"expected {memory.layout.batch * group} rows"
            )
        layers = self.prepared(self.decoder)
        weight = next(self.parameters())
        heads = self.config.heads
        shape = (len(layers), 2, rows, max_length, heads, self.config.width // heads)
        places = torch.zeros(rows, max_length, 3, dtype=torch.int64, device=weight.device)
        cross = None if memory is None else [_seen(layer, memory, layers.seen_in) for layer in layers]
        return Cache(
            torch.empty(shape, dtype=kept_in(self._dtype, weight), device=weight.device),
            layers,
            cross,
            None if memory is None else key_mask(memory.layout),
            group,
            places if self.decoder.positions.biased else None,
            None if memory is None else self.across(memory),
        )

    @torch.no_grad()
    def step(
        self,
        embedding: Float[Tensor, "R n D"],
        positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"],
        cache: Cache,
        sees: Bool[Tensor, "R 1 n end"] | None = None,
    ) -> Float[Tensor, "R D"]:
        """The next n positions of each row -> the states of the last of them; the cache then holds all n.

        What a row was given before is in the cache; dropout has no place here: call `eval()` first. positions: (n, 3)
        when all rows stand at the same places. sees: what each of the n may see of end = filled + n places, where that
        is not just what came before.
        """
        return self.decoder.end(self._advanced(embedding, positions, cache, sees=sees)[:, -1])

    @torch.no_grad()
    def fill(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"], cache: Cache
    ) -> Float[Tensor, "R n D"]:
        """As `step`, with the states of all n positions."""
        return self.decoder.end(self._advanced(embedding, positions, cache))

    def _advanced(
        self, embedding: Tensor, positions: Tensor, cache: Cache, together: bool = False, sees: Tensor | None = None
    ) -> Tensor:
        side, positions = self.decoder, self.target_places(positions)
        x = side.begin(embedding, positions)
        return advance(x, side.positions, positions, cache, together, sees)

    @torch.no_grad()
    def grow(
        self,
        embedding: Float[Tensor, "n D"],
        positions: Int[Tensor, "n 3"],
        tree: Tree,
        rows: Int[Ints, "n"],
        parents: Int[Ints, "n"],
    ) -> Float[Tensor, "n D"]:
        """New nodes of a tree -> their states.

        rows: the rows of the cache they go on from, ascending. parents: nodes, or -1 for the row itself.
        """
        positions = self.target_places(positions)
        x = self.decoder.begin(embedding, positions)
        return self.decoder.end(grow(x, self.decoder.positions, positions, tree, rows, parents))

    @torch.no_grad()
    def peek(
        self, embedding: Float[Tensor, "R n D"], positions: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"], cache: Cache
    ) -> Float[Tensor, "R n D"]:
        """n positions a row that see each other and all that the cache holds -> their states. Nothing is kept."""
        filled = cache.filled
        x = self._advanced(embedding, positions, cache, together=True)
        cache.filled = filled
        return self.decoder.end(x)


def _seen(layer: Prepared, memory: Hidden, dtype: torch.dtype | None) -> CrossCache:
    k, v = (part.to(dtype or part.dtype) for part in keys(layer.kv(memory.states), memory.layout, layer.heads))
    return CrossCache(k.contiguous(), v.contiguous())
