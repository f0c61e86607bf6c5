"""A backbone of transformers as an engine: its layers, and the rows of its tokens. Its own head and loss are not used.

`B` samples, `R` rows, `n` positions that are computed, `L` places they may see, `D` width, `F` tokens of the backbone.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ofasys.engine.huggingface import attention
from ofasys.engine.huggingface.config import WINDOWED, BackboneConfig
from ofasys.engine.huggingface.laid import Laid, Part, laid, of_marks, of_stream, sides
from ofasys.engine.huggingface.load import digest, made
from ofasys.engine.huggingface.places import Places, place, standing
from ofasys.engine.huggingface.session import BackboneSession, Memory
from ofasys.engine.huggingface.sight import added, near, visible
from ofasys.errors import ConfigError
from ofasys.model.low_rank import layer_name
from ofasys.model.quantized import quantize
from ofasys.model.rectangle import filled
from ofasys.parallel.placed import gathered_whole
from ofasys.types import Hidden, Layout, States, Stream

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int

_WHOLE_SOURCE = 1 << 40  # a block's number that no target has
_UNLIMITED = 1 << 15  # positions of a backbone that has no table of them


@dataclass(frozen=True)
class Encoded(Hidden):
    """The states of a source, and those of its marks, which a decoder sees too."""

    memory: Memory

    def chosen(self, rows: Sequence[int], layout: Layout, at: Int[Tensor, "n"]) -> Encoded:
        """Those of some samples."""
        memory = self.memory.at(torch.tensor(rows, device=at.device))
        return replace(self, states=self.states[at], layout=layout, memory=memory)


class Backbone(nn.Module):
    """See `ofasys.engine.Engine`. It has rows of tokens itself: `input_rows`, `output_rows`."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        model, self.of_folder = made(config)
        if config.options.attention == "sdpa":
            attention.use(model)
        self.config, self.library = config, model.config
        self.empty_source, self.reads_states = config.empty_source, not config.alone
        self.encoder = None if config.alone else model.get_encoder()
        self.decoder: nn.Module = model.base_model if config.alone else model.get_decoder()
        first = self.decoder if self.encoder is None else self.encoder
        self.embedding: nn.Embedding = first.get_input_embeddings()
        scales = (getattr(of, "embed_scale", None) for of in (self.embedding, first))
        self.input_scale = next((float(scale) for scale in scales if scale is not None), 1.0)
        self.head = self._own_head(model)
        self.state_scale = self.width**-0.5 if getattr(model.config, "scale_decoder_outputs", False) else 1.0
        for stack in (self.encoder, self.decoder):
            if stack is not None:
                _without_rows(stack)
                _in_few_bits(stack, config)
                place(stack)
        self.train()  # what is read the library leaves in evaluation mode
        self._sums = {name: digest(weight) for name, weight in self.state_dict().items()} if self.of_folder else {}

    def _own_head(self, model: Any) -> nn.Linear | None:
        """The library's output rows, where they are not its input rows."""
        head: nn.Linear | None = model.get_output_embeddings()
        if head is None:  # an encoder's layers alone
            return None
        _check_head(self.config, model, head)
        if head.weight is not self.embedding.weight:
            return head
        return None if self.config.architecture.get("tie_word_embeddings", True) else deepcopy(head)

    @property
    def window(self) -> int:
        """How far behind layers with a sliding window see; 0: there are none."""
        kinds = getattr(self.library, "layer_types", None) or ()
        slides = "sliding_attention" in kinds or self.config.family in WINDOWED
        return int(getattr(self.library, "sliding_window", None) or 0) if slides else 0

    @property
    def place(self) -> str:
        """Where its weights were read; empty where they were drawn."""
        return f"hf:{self.config.folder}" if self.of_folder else ""

    @property
    def width(self) -> int:
        """D."""
        return self.embedding.embedding_dim

    @property
    def max_positions(self) -> int:
        """The longest stream of a side; both sides of a decoder alone share its places."""
        limit = getattr(self.library, "max_position_embeddings", None) or _UNLIMITED
        marks = len(self.config.before) + len(self.config.after) + len(self.config.opening)
        return max(1, (int(limit) - marks) // (2 if self.config.alone else 1))

    @property
    def input_rows(self) -> Float[Tensor, "F D"]:
        """What tokens are looked up in."""
        return self.embedding.weight

    @property
    def output_rows(self) -> Float[Tensor, "F D"]:
        """What states are compared with."""
        return self.embedding.weight if self.head is None else self.head.weight

    def unchanged(self) -> set[str]:
        """The names of its weights that are still those of its folder, whatever else is learned: none, if it has none.

        Names are those of `state_dict`, also where a matrix has a change of its own. Where weights lie in pieces every
        process calls it.
        """
        now = self.state_dict() if self._sums else {}
        sums = {name: digest(gathered_whole(weight)) for name, weight in now.items()}
        return {name for name, found in sums.items() if found == self._sums.get(layer_name(name))}

    def standing_alone(self) -> BackboneConfig:
        """Its configuration where all of its weights are saved, as numbers of their own, so that its folder is not
        needed.
        """
        return replace(self.config, folder="", options=replace(self.config.options, quantize=""))

    def forward(self, source: Stream | None, target: Stream | None) -> States:
        """The states of both sides."""
        if self.encoder is None:
            return self._one_stream(source, target)
        assert source is not None, "without a source it makes nothing"
        hidden = self._encoded(source)
        return States(hidden, None if target is None else self._decoded(target, hidden.memory))

    def _encoded(self, source: Stream) -> Encoded:
        marks, rows = self.config, source.layout.batch
        parts = [self._marks(marks.before, rows), self._side(source), self._marks(marks.after, rows)]
        whole = laid(parts)
        mask = None if whole.full else added(whole.valid, whole.embedding.dtype)[:, None, None, :]
        x, places = self._given(whole)
        assert self.encoder is not None
        with standing(places):
            found = self.encoder(inputs_embeds=x, attention_mask=mask).last_hidden_state
        flat, rectangle = _both(found, whole, places)
        return Encoded(sides(flat, parts)[1], source.layout, Memory(rectangle, mask))

    def _decoded(self, target: Stream, memory: Memory) -> Hidden:
        parts = self._opened(target)
        return Hidden(sides(self._states(parts, memory), parts)[1], target.layout)

    def _opened(self, target: Stream) -> list[Part]:
        """A target after the marks it begins with."""
        return [self._marks(self.config.opening, target.layout.batch), self._side(target)]

    def _one_stream(self, source: Stream | None, target: Stream | None) -> States:
        parts = self._parts(source, target, target is not None or self.config.encodes)
        found = sides(self._states(parts, None), parts)
        return States(
            None if source is None else Hidden(found[1], source.layout),
            None if target is None else Hidden(found[-1], target.layout),
        )

    def _parts(self, source: Stream | None, target: Stream | None, between: bool) -> list[Part]:
        """A stream of both sides: marks, source, marks, target; each row goes on where its source ended."""
        given = source if source is not None else target
        assert given is not None, "a side is there"
        rows, config = given.layout.batch, self.config
        block = _WHOLE_SOURCE if config.encodes else 0
        parts = [self._marks(config.before, rows, block)]
        if source is not None:
            parts.append(self._side(source, _WHOLE_SOURCE if config.both_ways else 0))
        if between:
            parts.append(self._marks(config.after, rows, block))
        if target is not None:
            parts.append(self._side(target))
        return parts

    def _side(self, stream: Stream, block: int = 0) -> Part:
        return of_stream(stream, stream.embedding, block)

    def _marks(self, ids: tuple[int, ...], rows: int, block: int = 0) -> Part:
        """Marks in each row. block: they see each other, and all else of that number."""
        at = torch.tensor(ids, dtype=torch.int64, device=self.input_rows.device)
        return of_marks(nn.functional.embedding(at, self.input_rows) * self.input_scale, rows, block)

    def _states(self, parts: list[Part], memory: Memory | None) -> Float[Tensor, "N D"]:
        """What the decoder makes of parts, end to end."""
        whole = laid(parts)
        plain = whole.full and not self.window and not any(part.blocked for part in parts)
        sees = None if plain else visible(whole.valid, whole.blocks)
        x, places = self._given(whole)
        return _both(self.run(x, sees, places, None, memory), whole, places)[0]

    def _given(self, whole: Laid) -> tuple[Tensor, Places]:
        """(what the library is given, where it stands): end to end (1, N, D) where rows differ in length, else rows."""
        flat = self.config.options.attention == "sdpa" and not whole.full
        places = Places(whole.places, whole.places, whole.counted, whole.index if flat else None)
        return whole.embedding[None] if flat else whole.rectangle, places

    def run(
        self,
        x: Float[Tensor, "A N D"],
        sees: Bool[Tensor, "R n L"] | None,
        places: Places,
        cache: Any,
        memory: Memory | None,
    ) -> Float[Tensor, "A N D"]:
        """The decoder's states, of positions in rows or, A = 1, end to end.

        sees: None where each position sees all before it, however far. cache: the library's, which grows; None:
        nothing is kept.
        """
        given: dict[str, Any] = {"inputs_embeds": x, "past_key_values": cache, "use_cache": cache is not None}
        if memory is None:
            given |= {"position_ids": places.own, "attention_mask": self._masks(sees, places, x.dtype)}
        else:
            mask = None if sees is None else added(sees, x.dtype)[:, None]
            given |= {"attention_mask": mask, "encoder_hidden_states": memory.states}
            given["encoder_attention_mask"] = memory.mask
        with standing(places):
            found: Tensor = self.decoder(**given).last_hidden_state
        return found if self.state_scale == 1.0 else found * self.state_scale

    def _masks(self, sees: Tensor | None, places: Places, dtype: torch.dtype) -> Any:
        """What each kind of layer may see: one mask, or one by kind where layers with a sliding window are among them.

        The library replaces its own window by a mask that is given (transformers 5.23.0), so the window is kept here.
        """
        if sees is None:
            return None
        if not self.window:
            return added(sees, dtype)[:, None]
        close = added(sees & near(places.queries, places.keys, self.window), dtype)[:, None]
        if self.config.family in WINDOWED:
            return close
        return {"full_attention": added(sees, dtype)[:, None], "sliding_attention": close}

    @torch.no_grad()
    def open(
        self,
        source: Stream | None,
        states: Hidden | None,
        sources: int,
        group: int = 1,
        prefix: Stream | None = None,
        room: int = 64,
    ) -> BackboneSession:
        """See `ofasys.engine.Engine.open`. Rows of a group have keys of their own, as the library's beams."""
        if self.encoder is not None:
            assert states is not None, "it opens on states"
            assert isinstance(states, Encoded), "they are those of its own encoder"
            session = BackboneSession(self, sources * group, states.memory.repeated(group))
            parts = [self._marks(self.config.opening, sources)] if prefix is None else self._opened(prefix)
            session.first += len(self.config.opening)
        else:
            session = BackboneSession(self, sources, None)
            bare = source is None and prefix is None
            marks = (*self.config.before, *self.config.after)
            block = _WHOLE_SOURCE if self.config.encodes else 0
            parts = [self._marks(marks, sources, block)] if bare else self._parts(source, prefix, True)
            session.first += sum(part.taken for part in (parts if prefix is None else parts[:-1]))
        if any(part.longest for part in parts):
            self._begin(session, laid(parts), 1 if self.encoder is None else group, prefix is not None)
        return session if self.encoder is not None else session.repeated(group)

    def _begin(self, session: BackboneSession, whole: Laid, group: int, begun: bool) -> None:
        """What stands in a session's rows before anything is made, `group` rows of each. begun: its last is the
        target's.
        """
        given: list[Tensor] = [whole.rectangle, whole.valid, whole.blocks, whole.places, whole.lengths]
        x, valid, blocks, places, lengths = (one.repeat_interleave(group, 0) if group > 1 else one for one in given)
        found = session.extend(x, valid, blocks, places)
        session.kept = valid.shape[1]
        if begun:
            session.hidden = found[torch.arange(len(found), device=found.device), lengths - 1]


def _check_head(config: BackboneConfig, model: Any, head: nn.Linear) -> None:
    """Errors: ConfigError for scores that are not products of states and rows."""
    bias = getattr(model, "final_logits_bias", None)
    if head.bias is not None or (bias is not None and not bias.is_meta and bool((bias != 0).any())):
        raise ConfigError(f"backbone {config.folder or config.family} adds a bias to its scores; take another backbone")


def _in_few_bits(stack: nn.Module, config: BackboneConfig) -> None:
    """Hold the weights of a stack's linear layers in few bits, where that is asked for.

    Errors: ConfigError where there are none, as of GPT-2, or a library is missing.
    """
    if config.options.quantize and not quantize(stack, config.options.quantize):
        raise ConfigError(
            f"backbone {config.folder or config.family} has no linear layers to hold in {config.options.quantize}; "
            "leave quantize out, or take another backbone"
        )


def _without_rows(stack: nn.Module) -> None:
    """Take a stack's own reference to the rows of tokens away, so that each weight has one name; and its scale.

    Of what is given as embeddings Pegasus' decoder scales what its encoder does not (transformers 5.23.0).
    """
    if hasattr(stack, "embed_scale"):
        stack.embed_scale = 1.0  # type: ignore[assignment]
    for name in ("embed_tokens", "wte", "word_embeddings"):
        for holder in (stack, getattr(stack, "embeddings", None)):
            if isinstance(getattr(holder, name, None), nn.Module):
                setattr(holder, name, None)


def _both(found: Tensor, whole: Laid, places: Places) -> tuple[Float[Tensor, "N D"], Float[Tensor, "R W D"]]:
    """What the library found, end to end and in rows."""
    if places.computed is None:
        return whole.back(found), found
    R, W = whole.valid.shape
    return found[0], filled(found[0], whole.index, R * W).view(R, W, -1)
