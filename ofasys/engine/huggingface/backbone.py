"""A backbone of transformers as an engine: its layers, and the rows of its tokens. Its own head and loss are not used.

`B` samples, `R` rows, `n` positions that are computed, `L` places they may see, `D` width, `F` tokens of the backbone.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ofasys.engine.huggingface.config import BackboneConfig
from ofasys.engine.huggingface.load import digest, made
from ofasys.engine.huggingface.places import Places, place, same_places, standing
from ofasys.engine.huggingface.session import BackboneSession, Memory
from ofasys.engine.huggingface.sight import added, blocks_of, near, rectangle, valid_places, visible
from ofasys.errors import ConfigError
from ofasys.model.low_rank import layer_name
from ofasys.model.quantized import quantize
from ofasys.model.rectangle import to_flat, to_rectangle
from ofasys.parallel.placed import gathered_whole
from ofasys.types import Hidden, Layout, States, Stream

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int

_WHOLE_SOURCE = 1 << 40  # a block's number that no target has
_UNLIMITED = 1 << 15  # positions of a backbone that has no table of them


@dataclass(frozen=True)
class Part:
    """Some places of a rectangle, R rows of T each."""

    embedding: Float[Tensor, "R T D"]
    """As the backbone's first layer reads it."""
    valid: Bool[Tensor, "R T"]
    """Which places hold something."""
    blocks: Int[Tensor, "R T"]
    """Places of one number above 0 see each other both ways."""
    places: Int[Tensor, "R T"]
    """Which place of the library's each is."""


@dataclass(frozen=True)
class Encoded(Hidden):
    """The states of a source, and those of its marks, which a decoder sees too."""

    memory: Memory


class Backbone(nn.Module):
    """See `ofasys.engine.Engine`. It has rows of tokens itself: `input_rows`, `output_rows`."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        model, self.of_folder = made(config)
        self.config, self.library = config, model.config
        self.empty_source, self.reads_states = config.alone, not config.alone
        self.encoder = None if config.alone else model.get_encoder()
        self.decoder: nn.Module = model.base_model if config.alone else model.get_decoder()
        first = self.decoder if self.encoder is None else self.encoder
        self.embedding: nn.Embedding = first.get_input_embeddings()
        scales = (getattr(of, "embed_scale", None) for of in (self.embedding, first))
        self.input_scale = next((float(scale) for scale in scales if scale is not None), 1.0)
        head: nn.Linear = model.get_output_embeddings()
        _check_head(config, model, head)
        if head.weight is self.embedding.weight and not config.architecture.get("tie_word_embeddings", True):
            head = deepcopy(head)
        self.head = None if head.weight is self.embedding.weight else head
        self.state_scale = self.width**-0.5 if getattr(model.config, "scale_decoder_outputs", False) else 1.0
        for stack in (self.encoder, self.decoder):
            if stack is not None:
                _without_rows(stack)
                _in_few_bits(stack, config)
                place(stack)
        self._sums = {name: digest(weight) for name, weight in self.state_dict().items()} if self.of_folder else {}

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
        layout, marks = source.layout, self.config
        none = torch.zeros_like(layout.lengths)
        first = none + len(marks.before)
        marked = [
            self._marks(marks.before, none),
            self._part(source, first),
            self._marks(marks.after, first + layout.lengths),
        ]
        whole = _joined(marked)
        mask = None if layout.full else added(whole.valid, whole.embedding.dtype)[:, None, None, :]
        assert self.encoder is not None
        with standing(Places(whole.places, whole.places)):
            found = self.encoder(inputs_embeds=whole.embedding, attention_mask=mask).last_hidden_state
        own = _taken(found, len(marks.before), layout)
        return Encoded(own.states, layout, Memory(found, mask))

    def _decoded(self, target: Stream, memory: Memory) -> Hidden:
        layout = target.layout
        whole = _joined(self._opened(target))
        plain = layout.full and layout.blocks is None
        sees = None if plain else visible(whole.valid, whole.blocks)
        found = self.run(whole.embedding, sees, Places(whole.places, whole.places), None, memory)
        return _taken(found, len(self.config.opening), layout)

    def _opened(self, target: Stream) -> list[Part]:
        """A target after the marks it begins with."""
        first = torch.zeros_like(target.layout.lengths)
        return [self._marks(self.config.opening, first), self._part(target, first + len(self.config.opening))]

    def _one_stream(self, source: Stream | None, target: Stream | None) -> States:
        parts = self._parts(source, target, target is not None)
        joined = _joined(parts)
        plain = all(s.layout.full and s.layout.blocks is None for s in (source, target) if s is not None)
        plain = plain and not self.config.options.prefix
        sees = None if plain else visible(joined.valid, joined.blocks)
        found = self.run(joined.embedding, sees, Places(joined.places, joined.places), None, None)
        states: list[Hidden | None] = [None, None]
        if target is not None:
            states[1] = _taken(found, found.shape[1] - target.layout.length, target.layout)
        if source is not None:
            states[0] = _taken(found, len(self.config.before), source.layout)
        return States(*states)

    def _parts(self, source: Stream | None, target: Stream | None, between: bool) -> list[Part]:
        """A decoder's stream: marks, source, marks, target; each row's places go on where its source ended."""
        given = source if source is not None else target
        assert given is not None, "a side is there"
        rows, device = given.layout.batch, given.embedding.device
        at = torch.zeros(rows, dtype=torch.int64, device=device)
        parts = [self._marks(self.config.before, at)]
        at = at + len(self.config.before)
        if source is not None:
            parts.append(self._part(source, at, self.config.options.prefix))
            at = at + source.layout.lengths
        if between:
            parts.append(self._marks(self.config.after, at))
            at = at + len(self.config.after)
        if target is not None:
            parts.append(self._part(target, at))
        return parts

    def _part(self, stream: Stream, first: Int[Tensor, "R"] | None = None, whole: bool = False) -> Part:
        """A side's rectangle. first: the place before its first. whole: all of it see each other."""
        layout = stream.layout
        filled = to_rectangle(stream.embedding, layout).view(layout.batch, layout.length, -1)
        places = rectangle(layout.positions[:, 0], layout)
        blocks = blocks_of(layout)
        return Part(
            filled,
            valid_places(layout),
            torch.full_like(blocks, _WHOLE_SOURCE) if whole else blocks,
            places if first is None else places + first[:, None],
        )

    def _marks(self, ids: tuple[int, ...], first: Int[Tensor, "R"]) -> Part:
        """Marks in each row, from a place on."""
        rows, n = len(first), len(ids)
        found = nn.functional.embedding(torch.tensor(ids, dtype=torch.int64, device=first.device), self.input_rows)
        embedded = (found * self.input_scale).expand(rows, n, -1)
        places = same_places(rows, n, first.device) + first[:, None]
        return Part(embedded, torch.ones_like(places, dtype=torch.bool), torch.zeros_like(places), places)

    def run(
        self,
        x: Float[Tensor, "R n D"],
        sees: Bool[Tensor, "R n L"] | None,
        places: Places,
        cache: Any,
        memory: Memory | None,
    ) -> Float[Tensor, "R n D"]:
        """The decoder's states. sees: None where each position sees all before it. cache: the library's, which grows;
        None: nothing is kept.
        """
        given: dict[str, Any] = {"inputs_embeds": x, "past_key_values": cache, "use_cache": cache is not None}
        if memory is None:
            given |= {"position_ids": places.queries, "attention_mask": self._masks(sees, places, x.dtype)}
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
        kinds = set(getattr(self.library, "layer_types", None) or ())
        window = getattr(self.library, "sliding_window", None)
        if "sliding_attention" not in kinds:
            if window and self.config.family == "mistral":
                sees = sees & near(places.queries, places.keys, window)
            return added(sees, dtype)[:, None]
        close = sees & near(places.queries, places.keys, int(window or 0))
        return {"full_attention": added(sees, dtype)[:, None], "sliding_attention": added(close, dtype)[:, None]}

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
            parts = self._begun(sources, self.config.opening) if prefix is None else self._opened(prefix)
            parts = [_repeated(part, group) for part in parts]
            session.first += len(self.config.opening)
        else:
            session = BackboneSession(self, sources, None)
            bare = source is None and prefix is None
            marks = len(self.config.before) + len(self.config.after)
            ids = (*self.config.before, *self.config.after)
            parts = self._begun(sources, ids) if bare else self._parts(source, prefix, True)
            session.first += marks if source is None else marks + source.layout.lengths
        if parts and any(part.embedding.shape[1] for part in parts):
            whole = _joined(parts)
            found = session.extend(whole.embedding, whole.valid, whole.blocks, whole.places)
            session.kept = whole.valid.shape[1]
            if prefix is not None:
                lengths = prefix.layout.lengths
                lengths = lengths if self.encoder is None else lengths.repeat_interleave(group)
                last = found.shape[1] - prefix.layout.length + lengths - 1
                session.hidden = found[torch.arange(len(found), device=found.device), last]
        return session if self.encoder is not None else session.repeated(group)

    def _begun(self, rows: int, marks: tuple[int, ...]) -> list[Part]:
        """Marks alone, if there are any."""
        at = torch.zeros(rows, dtype=torch.int64, device=self.embedding.weight.device)
        return [self._marks(marks, at)] if marks else []


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
    for name in ("embed_tokens", "wte"):
        if isinstance(getattr(stack, name, None), nn.Module):
            setattr(stack, name, None)


def _joined(parts: list[Part]) -> Part:
    """Parts side by side."""
    if len(parts) == 1:
        return parts[0]
    return Part(
        torch.cat([part.embedding for part in parts], 1),
        torch.cat([part.valid for part in parts], 1),
        torch.cat([part.blocks for part in parts], 1),
        torch.cat([part.places for part in parts], 1),
    )


def _repeated(part: Part, group: int) -> Part:
    """Each row `group` times."""
    own = (part.embedding, part.valid, part.blocks, part.places)
    return part if group == 1 else Part(*(tensor.repeat_interleave(group, 0) for tensor in own))


def _taken(found: Tensor, first: int, layout: Layout) -> Hidden:
    """The states of a side that stands from a place on in each row."""
    part = found[:, first : first + layout.length]
    return Hidden(to_flat(part.reshape(-1, found.shape[2]), layout), layout)
