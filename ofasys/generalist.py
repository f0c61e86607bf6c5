"""The generalist model: one universal model, and the adaptors that its plans have asked for so far.

It grows: a new plan may bring new vocabulary ranges and new adaptors. What exists keeps its ids and weights, and what
is new starts from (seed, its own name), so that the order in which tasks arrive changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from ofasys.arguments import MODEL_CALLED, arguments
from ofasys.criterion.losses import Bound, losses
from ofasys.engine import TRANSFORMER, Engine, EngineSpec
from ofasys.engine.check import check_engine, check_states
from ofasys.engine.spec import EngineFacts, brought_lines
from ofasys.errors import ConfigError, DataError, nearest
from ofasys.generator.vocabulary import OutputRows
from ofasys.modality import Context, Registry, default_registry, plugin
from ofasys.modality.shared.tokens import Rows, TokenAdaptor
from ofasys.modality.symbols import LEAST_PIECES, Symbols, load_tokenizer, text_ids, train_tokenizer
from ofasys.modality.vocabulary import ForeignVocabulary, Vocabulary
from ofasys.model.low_rank import changes, is_change
from ofasys.model.matrix import Kept, packs
from ofasys.model.quantized import quantized_numbers
from ofasys.model.rows import JoinedRows, chosen
from ofasys.model.sizes import SIZES
from ofasys.model.turns import Turns
from ofasys.packages import package_of
from ofasys.parallel.placed import dissolved_by
from ofasys.planner.plan import Plan
from ofasys.planner.slot import SlotPlan
from ofasys.program.batch import to_device
from ofasys.program.decoding import Decoding, check_decoding, fastest, laid_out
from ofasys.program.program import Labels, Program, bind, label_range, ranges_needed
from ofasys.seeds import key_of
from ofasys.types import (
    AdaptorInput,
    Batch,
    Hidden,
    Loss,
    Prediction,
    SideBatch,
    SlotPrediction,
    SlotTargets,
    States,
    Stream,
    TaskCard,
    TokenTargets,
)

if TYPE_CHECKING:
    from typing import Annotated as Float

Examples = Callable[[Plan, SlotPlan], Iterable[tuple[Any, Context]]]  # training values of a slot, with their context

PRECISIONS = ("float32", "bfloat16", "float16")  # what a model may compute in; its weights are float32 either way
LARGE_TABLE = 2_000_000  # numbers; below it how the output rows are laid out makes no difference


@dataclass(frozen=True)
class Imported:
    """What of a model is from a checkpoint of another program: its engine, its foreign vocabulary, and these."""

    place: str
    """Where that lay."""
    adaptors: tuple[str, ...] = ()
    """Keys."""


def _numbers(parts: Iterable[nn.Module]) -> int:
    return sum(weight.numel() for part in parts for weight in part.parameters())


@arguments("model", MODEL_CALLED)
class GeneralistModel(nn.Module):
    """One model for every task it has been shown.

    size: tiny, small, base or large. seed: of all first values. config: a shape of one's own instead of a size.
    engine: what computes the states: the name of one that is known, or its spec; another than "transformer" has a shape
    of its own as config. tied: whether the output rows are the input table. vocabulary: of a backbone, whose ids come
    before all others; its tokenizer goes with it.
    tokenizer: an existing `tokenizer.json`; without one, a byte-level BPE of at most `text_pieces` pieces is trained on
    the tasks' own text at first fit. modalities: a registry of one's own.
    """

    def __init__(
        self,
        size: str = "tiny",
        seed: int = 0,
        *,
        config: object = None,
        engine: str | EngineSpec = "transformer",
        tied: bool = True,
        tokenizer: str | Path | None = None,
        vocabulary: ForeignVocabulary | None = None,
        text_pieces: int = 8000,
        modalities: Registry | None = None,
    ) -> None:
        super().__init__()
        if not -(2**63) <= seed < 2**64:
            raise ConfigError(f"model has seed {seed}; it is a whole number of at most 64 bits")
        if text_pieces < LEAST_PIECES:
            raise ConfigError(f"model has text_pieces {text_pieces}; it is {LEAST_PIECES} or more, one for each byte")
        self.seed, self.text_pieces, self.tied = seed, text_pieces, tied
        self.modalities = modalities or default_registry()
        if isinstance(engine, EngineSpec) and engine not in self.modalities.engines:
            self.modalities = self.modalities.with_(engine)
        self.place: tuple[str, Mapping[str, Any]] | None = None  # of an engine that was brought, and how it is used
        name, _, place = engine.partition(":") if isinstance(engine, str) else ("", "", "")
        self.engine_spec = engine if isinstance(engine, EngineSpec) else self.modalities.engine(name)
        self.size = size if config is None and self.engine_spec is TRANSFORMER else "custom"
        if place:
            if tokenizer is not None or vocabulary is not None:
                raise ConfigError(f"engine {engine!r} brings its tokenizer and vocabulary; leave yours out")
            brought = self.engine_spec.brought(place, config)
            self.place = f"{name}:{brought.place}", brought.options
            config, tokenizer, self.tied = brought.config, brought.tokenizer, brought.tied
            vocabulary = ForeignVocabulary.of(brought.vocabulary)
        self.config = _shape(self.engine_spec, size, config)
        self.tokenizer = load_tokenizer(tokenizer) if tokenizer is not None else None
        self.foreign = vocabulary
        self.symbols: Symbols | None = None
        with seeded(seed, "universal"):
            self.engine: Engine = _engine(self.engine_spec, self.config)
        self._turns = Turns()
        self._output = Kept()
        self.used: set[str] = set()  # tags of the modalities its plans have named
        self.packages: dict[str, str] = {}  # what of it is from outside, as `criterion focal` -> its package
        self.brought(f"engine {self.engine_spec.name}", self.engine_spec.load)
        self.made: dict[str, dict[str, Any]] = {}  # how each adaptor was made, so that it can be made again
        own: Any = self.engine if hasattr(self.engine, "input_rows") else None
        self.adaptors = nn.ModuleDict({"tokens": TokenAdaptor({}, self.engine.width, self.tied, own)})
        self.criteria = nn.ModuleDict()  # weights of criteria that have some
        self.criteria_made: dict[str, dict[str, Any]] = {}  # how each was made
        self.fitted: dict[str, dict[str, np.ndarray]] = {}  # what preprocessors learned before training, by part
        self.learned = 0  # how often it was about to be trained
        self.precision = "float32"  # what it computes in: trained, evaluated, asked
        self.decoding = Decoding()  # how it finds tokens of a large vocabulary; `decode_in` changes it
        self.imported: Imported | None = None  # what a checkpoint of another program gave it
        self.cards: tuple[TaskCard, ...] = ()  # of the tasks it was trained on: their lines, closed sets, settings

    @property
    def table(self) -> Tensor | JoinedRows:
        """The embedding of each token (V, D): the input table."""
        return self.tokens.input

    @property
    def head(self) -> Tensor | JoinedRows:
        """The output rows (V, D): what states are compared with to predict tokens."""
        return self.tokens.output

    @property
    def tokens(self) -> TokenAdaptor:
        """The token adaptor."""
        adaptor = self.adaptors["tokens"]
        assert isinstance(adaptor, TokenAdaptor)
        return adaptor

    def forward(
        self, program: Program, batch: Batch, scale: Float[Tensor, "S"] | None = None, smoothing: float = 0.0
    ) -> Loss:
        """The losses of a batch of a program: what training runs, and what wraps a model (data parallel, compiled,
        hooked) wraps.

        batch: on the model's device. scale, smoothing: as of `flow.criterion`. Nothing in it waits for the device.
        """
        rows = self.tokens.one_pass()
        with self.computing():
            predictions = self.emit(program, self.compute(*self.adapt(batch, rows)), batch, rows)
            return losses(predictions, self.criteria_of(program), batch, scale, smoothing)

    def adapt(self, batch: Batch, rows: Rows | None = None) -> tuple[Stream | None, Stream | None]:
        """The embedding stream of each side. Tokens of both are looked up at once: one gradient of the table.

        rows: what is read of tokens, here and in `emit`; None: the token adaptor's.
        """
        streams = iter(self.streams([side for side in (batch.source, batch.target) if side is not None], rows))
        source = next(streams) if batch.source is not None else None
        return source, next(streams) if batch.target is not None else None

    def compute(self, source: Stream | None, target: Stream | None) -> States:
        """The hidden states of both sides."""
        return check_states(self.engine, source, target, self.engine(source, target))

    @property
    def reduced(self) -> bool:
        """Whether sources of what is decoded are read in fewer bits than those of losses."""
        return bool(getattr(self.engine, "reduced", False))

    def read(self, source: Stream) -> Hidden | None:
        """The states of a source of what is decoded: those of `compute`, in the precision that is decoded in."""
        if not self.reduced:
            return self.compute(source, None).source
        engine: Any = self.engine
        return check_states(self.engine, source, None, States(engine.encode(source, True), None)).source

    def emit(
        self, program: Program, states: States, batch: Batch, rows: Rows | None = None
    ) -> list[Prediction | SlotPrediction]:
        """What is predicted for each of the batch's targets. rows: as of `adapt`."""
        return [
            self.tokens_at(program, states, targets, rows)
            if isinstance(targets, TokenTargets)
            else self.values_at(program, states, targets, rows)
            for targets in batch.targets
        ]

    def criteria_of(self, program: Program) -> dict[int, Bound]:
        """Slot -> what it is learned by."""
        return {
            slot.index: Bound(slot.learned_by, slot.values, None if slot.made_as.tokens else self.criterion_for(slot))
            for slot in program.plan.slots
            if slot.learned_by is not None
        }

    def embed(self, inputs: Sequence[AdaptorInput], rows: Rows | None = None) -> Iterator[Tensor]:
        """The embeddings (n, D) of each input. Tokens of all of them are looked up at once: one gradient of the
        table.
        """
        rows = self.tokens if rows is None else rows
        tokens = [entry.tensors["tokens"] for entry in inputs if entry.adaptor == "tokens"]
        looked_up = iter(rows.embed({"tokens": torch.cat(tokens)}).split([len(t) for t in tokens]) if tokens else ())
        for entry in inputs:
            if entry.adaptor == "tokens":
                yield next(looked_up)
            else:
                yield self._embedded(entry)

    def _embedded(self, entry: AdaptorInput) -> Tensor:
        """What a modality's own adaptor makes of its input. Errors: PluginError where that is no embedding."""
        embed: Callable[..., Tensor] = self.adaptors[entry.adaptor].embed  # type: ignore[assignment]
        where = self.made[entry.adaptor]["modality"]
        made = plugin.called(where, embed, entry.tensors)
        n, width, device = len(entry.rows), self.engine.width, entry.rows.device
        plugin.check_embedding(where, embed, made, entry.tensors, n, width, device)
        return made

    def streams(self, sides: Sequence[SideBatch], rows: Rows | None = None) -> list[Stream]:
        """The embedding stream of each side of a batch. Tokens of all of them are looked up at once."""
        embedded = self.embed([entry for side in sides for entry in side.inputs], rows)
        streams = []
        for side in sides:
            joined = torch.cat([next(embedded).to(self.table.dtype) for _ in side.inputs])
            if len(side.inputs) > 1:
                places = torch.cat([entry.rows for entry in side.inputs])
                joined = torch.empty_like(joined).index_copy(0, places, joined)
            streams.append(Stream(joined, side.layout))
        return streams

    def tokens_at(
        self, program: Program, states: States, targets: TokenTargets, rows: Rows | None = None
    ) -> Prediction:
        """The states that predict tokens, and the output rows they choose from."""
        head = self.head if rows is None else rows.output
        constraint = program.constraint_of(targets.stage)
        assert states.target is not None
        group = constraint.classes[targets.group]
        if group.contiguous:
            among = head[group.lo : group.hi]
        else:
            among = chosen(head, group.candidates, lambda ids: to_device(torch.from_numpy(ids), self.device))
        return Prediction(targets, states.target.states.index_select(0, targets.at), among)

    def values_at(
        self, program: Program, states: States, targets: SlotTargets, rows: Rows | None = None
    ) -> SlotPrediction:
        """The states of a slot's values, what its adaptor predicts from them, and what its label column's tokens may
        be.
        """
        side = states.source if targets.side == "source" else states.target
        assert side is not None
        slot, hidden = program.plan.slots[targets.slot], side.states.index_select(0, targets.at)
        made, table = {}, None
        if targets.side == "target":
            predict: Callable[..., Any] = self.adaptors[slot.key].predict  # type: ignore[assignment]
            made = plugin.called(slot.name, predict, hidden, targets.lengths, targets.tensors)
            plugin.check_prediction(slot.name, predict, made, hidden, targets.tensors.get("frames"))
        if targets.label_slot is not None:
            lo, hi = program.span(program.plan.slots[targets.label_slot])
            table = (self.head if rows is None else rows.output)[lo:hi]
        return SlotPrediction(targets, hidden, made, table)

    def output(self) -> OutputRows | None:
        """The output rows laid out for decoding, where that is faster; made anew when they change.

        A fused optimizer changes weights without counting their version, so `train()` forgets them too.
        """
        head = self.head
        if not self._lays_out(head):
            return None
        precision = self.decoding.precision
        found: OutputRows = self._output.get([head], precision, lambda: laid_out(head, precision))
        return found

    @staticmethod
    def _lays_out(head: Tensor | JoinedRows) -> TypeGuard[Tensor]:
        return isinstance(head, Tensor) and head.numel() >= LARGE_TABLE and packs(head)

    def decode_in(self, precision: str) -> Decoding:
        """From now on tokens are decoded in "float32", "bfloat16" or "int8", or in what is fastest: "auto", which
        measures a few steps of each. Weights stay as they are, and training, losses and labels of closed sets too.

        A vocabulary that is small, or lies elsewhere than on a CPU, is decoded as the model computes, whatever is
        asked. Errors: ConfigError for no such precision, and where this machine cannot do it.
        """
        if precision != "auto":
            check_decoding(precision)
        head = self.head
        if not self._lays_out(head):
            made = Decoding()
        elif precision == "auto":
            with self.answering():
                made = fastest(self.engine, head)
        else:
            laid_out(head[:1].detach(), precision)
            made = Decoding(precision)
        self.decoding = made
        if hasattr(self.engine, "reduced"):
            self.engine.reduced = made.precision != "float32"
        return made

    def weights_now(self, weights: Sequence[Tensor]) -> tuple[Any, ...]:
        """What changes whenever its weights do, or what it computes in. weights: its parameters."""
        versions = sum(0 if weight.is_inference() else weight._version for weight in weights)
        return self.learned, versions, self.table.device, self.precision, self.decoding.precision

    def computing(self) -> AbstractContextManager[None]:
        """Within it everything is computed in the model's precision: every pass is made so, in training and after."""
        half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(self.precision)
        kept = False if self in dissolved_by else None  # halves would outlive the block whose weights are whole
        return torch.autocast(self.device.type, half or torch.bfloat16, enabled=half is not None, cache_enabled=kept)

    def answering(self) -> AbstractContextManager[None]:
        """Within it the model is in evaluation mode, in any number of threads. Errors: ConfigError while another thread
        trains it.
        """
        return self._turns.answering(self)

    def being_trained(self) -> AbstractContextManager[None]:
        """Within it this thread alone uses the model: running answers are waited for, new ones of other threads
        refused.

        Errors: ConfigError while it is being trained already.
        """
        return self._turns.training()

    def train(self, mode: bool = True) -> GeneralistModel:
        """As of any torch module; and what was kept for decoding is forgotten."""
        if mode:
            self.learned += 1
            self._output.drop()
        return super().train(mode)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.table.device

    @property
    def parameters_count(self) -> int:
        """Learned numbers in all, also those that are held in few bits."""
        return sum(p.numel() for p in self.parameters()) + quantized_numbers(self)

    def read_parts(self) -> Iterator[tuple[str, Any]]:
        """What of it may hold weights that were read elsewhere, engine and adaptors, each by its name in the model."""
        parts = [("engine", self.engine), *((f"adaptors.{key}", part) for key, part in self.adaptors.items())]
        return ((name, part) for name, part in parts if hasattr(part, "unchanged"))

    def origins(self) -> str:
        """Where its numbers are from, line by line: what its engine, a checkpoint and fronts brought, and what is new
        since.
        """
        own_engine: Any = self.engine
        imported = self.imported or Imported("")
        place = getattr(self.engine, "place", "") or imported.place  # of one that was read from a folder
        known = {key for key in self.adaptors if key in imported.adaptors}
        few = quantized_numbers(own_engine)
        engine, taken = _numbers([own_engine]) + few, _numbers(self.adaptors[key] for key in known)
        fronts = [part for name, part in self.read_parts() if name != "engine" and part.place]
        adaptors = _numbers(part for key, part in self.adaptors.items() if key not in {"tokens", *known})
        adaptors -= sum(front.numbers for front in fronts)
        brought = self.foreign.size if self.foreign is not None and place else 0
        rows = (self.symbols.vocabulary.size if self.symbols else brought) - brought
        criteria = _numbers([self.criteria])
        own = [f"{rows:,} rows of tokens", f"{adaptors:,} numbers of adaptors", f"{criteria:,} of criteria"]
        lines = [f"brought by {front.place}: {front.numbers:,} numbers of a front" for front in fronts]
        if place:
            of = f", {few:,} of them in few bits" if few else ""
            of += f", {taken:,} of adaptors" if taken else ""
            lines.insert(0, f"brought by {place}: {engine:,} numbers{of}, with rows for {brought:,} tokens")
        else:
            own.insert(0, f"{engine:,} numbers of engine {self.engine_spec.name}")
        return "\n".join([*(lines or ["brought: nothing"]), f"new: {', '.join(own)}"])

    def engine_facts(self) -> EngineFacts:
        """What a plan is told of it: what its engine brought, the ranges and adaptors it has, and what training changes
        as its weights stand.
        """
        spec, imported = self.engine_spec, self.imported or Imported("")
        place = str(getattr(self.engine, "place", "") or imported.place)
        lines = brought_lines(self.config, self.foreign.written(), self.tied) if self.foreign is not None else ()
        ranges = self.symbols.vocabulary.spans if self.symbols else {name: () for name, *_ in self._foreign_ranges()}
        return EngineFacts(
            place=place or spec.name,
            about=str(getattr(self.config, "about", spec.about)) if place else spec.about,
            lines=lines,
            ranges=frozenset(ranges),
            adaptors=frozenset(self.adaptors),
            learned=self._changing(),
            empty_source=self.engine.empty_source,
        )

    def _foreign_ranges(self) -> tuple[tuple[str, int, int], ...]:
        return () if self.foreign is None else self.foreign.ranges

    def _changing(self) -> str:
        """What of its engine training changes, in words."""
        engine: Any = self.engine
        weights, few = list(engine.parameters()), quantized_numbers(engine)
        ranked = changes(engine)
        added = sum(weight.numel() for name, weight in engine.named_parameters() if is_change(name))
        whole = sum(weight.numel() for weight in weights) + few - added
        still = whole if ranked else few + sum(weight.numel() for weight in weights if not weight.requires_grad)
        if ranked:
            return f"changes of low rank beside {len(ranked)} matrices, {added:,} numbers; {still:,} stay as they are"
        frozen = f", of which {still:,} stay as they are" if still else ""
        return f"{whole:,} numbers{frozen}; groups of the trainer freeze them or give them changes of low rank"

    def grow(
        self,
        plans: Sequence[tuple[Plan, Labels]],
        texts: Callable[[], Iterable[str]],
        examples: Examples | None = None,
    ) -> None:
        """Make room for plans: tokenizer at first, what preprocessors fit, vocabulary ranges, adaptors, criteria.

        texts: called when there is no tokenizer. examples: training values of a slot, for a preprocessor that fits.
        """
        if self.tokenizer is None and self.foreign is not None:
            raise ConfigError("the model has a foreign vocabulary and no tokenizer; give the one that goes with it")
        if self.tokenizer is None:
            self.tokenizer = train_tokenizer(texts(), self.text_pieces)
        self.fit([plan for plan, _ in plans], examples)
        sizes = {"text": self.pieces()}
        for plan, labels in plans:
            sizes |= ranges_needed(plan, labels)
        known = self.symbols.vocabulary if self.symbols else None
        self.set_vocabulary(known.grown(sizes) if known else Vocabulary.assemble(sizes, self.foreign))
        for plan, _ in plans:
            self.add_adaptors(plan)

    def pieces(self) -> int:
        """How many ids text takes. Errors: ConfigError for a tokenizer that is not the foreign vocabulary's own."""
        assert self.tokenizer is not None
        if self.foreign is None:
            return text_ids(self.tokenizer)
        if text_ids(self.tokenizer) > self.foreign.size + self.foreign.beyond:
            raise ConfigError(
                f"the tokenizer has {text_ids(self.tokenizer)} ids and the foreign vocabulary {self.foreign.size}; "
                "give the "
                "tokenizer that goes with it"
            )
        lo, hi = self.foreign.text
        return hi - lo

    def fit(self, plans: Sequence[Plan], examples: Examples | None) -> None:
        """What preprocessors learn from training values first, of parts that are new. Errors: ConfigError without any
        values.
        """
        places: dict[str, list[tuple[Plan, SlotPlan]]] = {}
        for plan in plans:
            for slot in plan.slots:
                if (key := self.fit_key(slot)) is not None and key not in self.fitted:
                    places.setdefault(key, []).append((plan, slot))
        for key, slots in places.items():
            if examples is None:
                raise ConfigError(
                    f"{slots[0][1].name} learns from training values first; train the model (Trainer.fit)"
                )
            slot = slots[0][1]
            part = self.modalities.spec(slot.modality).preprocess[slot.preprocess.name]
            values = (piece for place in slots for piece in self.lessons(place[1], examples(*place)))
            fit = part.resolve().fit
            try:
                found = plugin.called(slot.name, fit, values, slot.values, self.seed)
            except DataError as error:
                raise error.at(slot=slot.name, column=slot.column) from error.__cause__
            plugin.check_fitted(slot.name, fit, found)
            self.fitted[key] = dict(found)

    def lessons(self, slot: SlotPlan, values: Iterable[tuple[Any, Context]]) -> Iterator[tuple[Any, Context]]:
        """What a slot's preprocessor learns from: values, or the pieces of them that its `lessons` gives."""
        part = self.modalities.spec(slot.modality).preprocess[slot.preprocess.name]
        pieces = getattr(part.resolve(), "lessons", None)
        for value, context in values:
            found = [value] if pieces is None else plugin.called(slot.name, pieces, value, context, slot.values)
            yield from ((piece, context) for piece in found)

    def fit_key(self, slot: SlotPlan) -> str | None:
        """The name of what a slot's preprocessor fits; None if it fits nothing."""
        part = self.modalities.spec(slot.modality).preprocess[slot.preprocess.name]
        return part.key(slot.modality, slot.preprocess.name, slot.values) if part.fits else None

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Take a layout that equals the present one or extends it."""
        assert self.tokenizer is not None
        self.symbols = Symbols(self.tokenizer, vocabulary, self.fitted)
        ordered = {name for modality in self.modalities.modalities for name in modality.ordered}
        self.tokens.grow(vocabulary, self.seed, ordered)

    def add_adaptors(self, plan: Plan) -> None:
        """The adaptors and criteria a plan names, where they are not there yet."""
        for choice in plan.choices:
            self.brought(f"pattern {choice.pattern}", self.modalities.home(choice.pattern))
        for slot in plan.slots:
            self.used.add(slot.modality)
            spec = self.modalities.spec(slot.modality)
            parts = (spec.preprocess[slot.preprocess.name], spec.adaptor[slot.adaptor.name])
            self.brought(f"modality {spec.tag}", *(part.load for part in parts))
            for noun, record in (("criterion", slot.learned_by), ("generator", slot.made_by)):
                if record is not None:
                    self.brought(f"{noun} {record.name}", record.load)
            if slot.side != "label":
                self.add_adaptor(slot.key, slot.modality, slot.adaptor.name, slot.values, self.fit_key(slot))
            for record in (slot.learned_by, slot.made_by):
                if record is not None:
                    record.resolve()  # one from outside that cannot be imported is refused here
            if slot.learned_by is not None and not slot.made_as.tokens:
                self.add_criterion(slot.learned_by.name, slot.values)

    def brought(self, what: str, *loads: str) -> None:
        """Keep of which package a thing is, called as `criterion focal`, if one of its parts is of another."""
        if (package := package_of(*loads)) is not None:
            self.packages[what] = package

    @property
    def lacks(self) -> list[str]:
        """What it was made with and is not known here, each with its package: of a model that was saved elsewhere."""
        return [f"{what} of {package}" for what, package in self.packages.items() if not self.modalities.knows(what)]

    def add_adaptor(
        self, key: str, modality: str, name: str, options: Mapping[str, Any], fitted: str | None = None
    ) -> None:
        """One adaptor, unless its weights are there already. fitted: the key of what its preprocessor fitted.

        Errors: ConfigError where one is there that was read from elsewhere and is not what the options say.
        """
        part = self.modalities.spec(modality).adaptor[name]
        if key in self.adaptors:
            if (check := getattr(self.adaptors[key], "check_same", None)) is not None:
                plugin.called(modality, check, options)
            return
        options = {option: options[option] for option in (*part.keyed, *part.kept) if option in options}
        learned = {} if fitted is None else {"fitted": self.fitted[fitted]}
        with seeded(self.seed, key):
            made = plugin.called(modality, part.resolve(), {**options, **learned}, self.engine.width)
            self.adaptors[key] = made.to(self.device)
        options |= getattr(made, "found", {})
        self.made[key] = {"modality": modality, "name": name, "options": options, "fitted": fitted}

    @property
    def places(self) -> dict[str, Mapping[str, str]]:
        """Place that an adaptor was named with -> what lies there, as plans need to know it."""
        found = (part.brought for _, part in self.read_parts() if hasattr(part, "brought"))
        return {brought["place"]: brought for brought in found}

    def add_criterion(self, name: str, options: Mapping[str, Any]) -> None:
        """The weights of one criterion, unless they are there already."""
        spec = self.modalities.criterion(name)
        key = spec.key(options)
        if key in self.criteria:
            return
        kept = {option: options[option] for option in spec.keyed}
        with seeded(self.seed, key):
            self.criteria[key] = spec.resolve()(kept, self.engine.width).to(self.device)
        self.criteria_made[key] = {"name": name, "options": kept}

    def criterion_for(self, slot: SlotPlan) -> nn.Module:
        """The module of a slot's criterion."""
        assert slot.learned_by is not None
        return self.criteria[slot.learned_by.key(slot.values)]

    def bind(self, plan: Plan, labels: Labels | None = None) -> Program:
        """A program of this plan for this model. Errors: ConfigError when the model has not grown for it."""
        if self.symbols is None:
            raise ConfigError(
                "the model has no vocabulary yet; train it first (Trainer.fit), or load one that is trained"
            )
        missing = [slot for slot in plan.slots if slot.side != "label" and slot.key not in self.adaptors]
        missing += [s for s in plan.slots if (key := self.fit_key(s)) is not None and key not in self.fitted]
        if missing:
            raise ConfigError(
                f"the model was never shown {missing[0].name} with adaptor {missing[0].adaptor.name}; train it so first"
            )
        if not plan.source and not self.engine.empty_source:
            self.engine_facts().check_source(plan.instruction)
        for slot in plan.slots:
            if slot.learned_by and not slot.made_as.tokens and slot.learned_by.key(slot.values) not in self.criteria:
                raise ConfigError(
                    f"the model never learned {slot.name} by criterion={slot.learned_by.name}; train it so first"
                )
        for name, size in ranges_needed(plan, labels or {}).items():
            if self.symbols.vocabulary.spans.get(name, (0, 0)) == (0, 0):
                heads = {c: own for c, own in (labels or {}).items() if label_range(own) == name}
                what = next(
                    (
                        f"the labels {', '.join(own[:6])}{', ...' if size > 6 else ''} of {c!r}"
                        for c, own in heads.items()
                    ),
                    f"{name!r}",
                )
                raise ConfigError(
                    f"the model has no tokens for {what} ({size} of them), which {plan.instruction} needs; train it so "
                    "first"
                )
        return bind(plan, self.symbols, labels, self.modalities, self.engine.max_positions)


def _shape(spec: EngineSpec, size: str, config: object) -> Any:
    """The configuration of an engine. Errors: ConfigError for a size that is not known, or a shape of another
    engine.
    """
    if spec is not TRANSFORMER:
        if size != "tiny":
            raise ConfigError(
                f"model has size {size!r}, and engine {spec.name!r} has no sizes; give its shape as config"
            )
        config = spec.read({}) if config is None else config
    elif config is None:
        if size not in SIZES:
            raise ConfigError(f"unknown size {size!r}; {nearest(size, SIZES)}there are {', '.join(SIZES)}")
        return SIZES[size]
    kind = spec.config_class()
    if not isinstance(config, kind):
        raise ConfigError(f"model has config={config!r:.80}; it is a {kind.__name__} or None")
    return config


def _engine(spec: EngineSpec, config: Any) -> Engine:
    """A new engine. Errors: PluginError for what is none."""
    made = plugin.called(f"engine {spec.name!r}", spec.resolve(), config)
    check_engine(spec.name, made)
    found: Engine = made
    return found


class seeded:  # noqa: N801
    """Within it, torch's first values depend on (seed, name) alone; outside, its random state is as before."""

    def __init__(self, seed: int, name: str) -> None:
        self.number = key_of("first values", seed, name)

    def __enter__(self) -> None:
        self.state = torch.get_rng_state()
        torch.manual_seed(self.number)

    def __exit__(self, *problem: object) -> None:
        torch.set_rng_state(self.state)
