"""Row -> Sample: each value through its slot's preprocessor, in the order of the sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.errors import DataError, OfasysError
from ofasys.modality import Context, plugin
from ofasys.planner.slot import ROUND, AnyStep, Choose, Prompt, Repeat, RoundHead, SlotPlan, Views
from ofasys.program.program import Program, Stage, TokenStage, ValueStage
from ofasys.types import Free, OneOf, Sample, SlotFeatures, TokenSpan, ValueSpan

Row = Mapping[str, Any]
Stream = tuple[tuple[str, SlotFeatures], ...]


class Reader:
    """Reads one row for one program; features are made once, in whatever order slots refer to each other."""

    def __init__(
        self,
        program: Program,
        row: Row,
        *,
        training: bool = False,
        random: np.random.Generator | None = None,
        root: str | Path | None = None,
        negative: Row | None = None,
    ) -> None:
        self.program, self.row = program, _spread(program, row)
        self.training, self.random, self.root, self.negative = training, random, root, negative
        self.made: dict[tuple[int, int], SlotFeatures] = {}
        self.supervision: dict[int, dict[str, np.ndarray]] = {}
        self.turn = 0  # the round that the target's stages are of

    def sample(self, *, target: bool, origin: str = "") -> Sample:
        """The whole row. target: whether the row holds the answer too."""
        plan = self.program.plan
        views = plan.views
        source, spans = self.source(views.left if views else None)
        right = None
        if views:
            right, others = self.source(views.right)
            spans |= others
        parts = tuple(self.known() if target else (self.part(n, s, False) for n, s in enumerate(self.program.stages)))
        self.check_length(source, sum(map(_orders, parts)))
        self.check_length(right or (), 0)
        if target:
            for slot in plan.on("source"):
                if slot.kind is not None:
                    self.supervision[slot.index] = self.learned(slot)
        negative = None
        if self.program.plan.dropped is not None and plan.source:
            negative = self.without()
            if self.training and self.random is not None and self.random.random() < self.program.plan.dropped:
                source = negative
        truth = None
        if (rewarded := self.program.plan.rewarded) is not None and target:
            canonical = self.program.preprocessors[rewarded.index].canonical
            truth = {rewarded.column: canonical(self.row.get(rewarded.column), Context(root=self.root))}
        return Sample(source, parts, self.supervision, spans, self.frames(), right, negative, truth, origin)

    def source(self, view: int | None = None) -> tuple[Stream, dict[int, tuple[int, int]]]:
        """(the source's features, slot with a criterion -> (first position, positions)); of a contrast, with one of
        its views.
        """
        plan = self.program.plan
        stream: list[tuple[str, SlotFeatures]] = []
        spans, length, foreign = {}, 0, self.program.symbols.vocabulary.foreign
        inside = False
        for slot, features in self.all_features(plan.source, view=view):
            if foreign is not None and foreign.wraps and inside != (text := _is_text(slot, features)):
                stream.append(self.mark(text))
                inside, length = text, length + 1
            if slot is not None and slot.kind is not None:
                spans[slot.index] = (length, features.length)
            length += features.length
            stream.append((_key(slot), features))
        if inside:
            stream.append(self.mark(False))
        if plan.source and not length:
            column = plan.slots[0].column
            raise DataError(
                "the source is empty: its repetitions have no element, or its patterns no part",
                expected="one at least",
                column=column,
            )
        return tuple(stream), spans

    def mark(self, begins: bool) -> tuple[str, SlotFeatures]:
        """What a run of text in a source stands between, where the vocabulary has it so."""
        symbols = self.program.symbols
        return "tokens", SlotFeatures({"tokens": np.array([symbols.begin if begins else symbols.end])}, 1)

    def without(self) -> Stream:
        """The source as guidance leads away from: of another row if one was given, else its plain text alone."""
        if self.negative is not None:
            return Reader(self.program, self.negative, root=self.root).source()[0]
        prompts = [step for step in self.program.plan.source if isinstance(step, Prompt)]
        return tuple((_key(slot), features) for slot, features in self.all_features(prompts)) or (
            ("tokens", SlotFeatures({"tokens": np.array([self.program.symbols.end])}, 1)),
        )

    def known(self) -> Iterator[TokenSpan | ValueSpan]:
        """The target as the row has it: each stage as often as it is gone through."""
        number, stages = 0, self.program.stages
        while number < len(stages):
            span = self.part(number, stages[number], True)
            yield span
            number = onward(stages[number], span)

    def part(self, number: int, stage: Stage, target: bool) -> TokenSpan | ValueSpan:
        """One stage of the target."""
        if isinstance(stage, ValueStage):
            slot, learned = self.program.plan.slots[stage.slot], None
            known = target or not stage.chosen
            features = self.features(slot, self.turn) if known else None
            if features is not None and stage.chosen:
                plugin.check_continuous(slot.name, self.program.preprocessors[slot.index].preprocess, features)
                features, learned = self.prepared(slot, features)
            return ValueSpan(number, slot.index, slot.key, features, learned)
        symbols = self.program.symbols
        marks = {"begin": symbols.begin, "end": symbols.end}
        lead = [] if stage.mark is None else [np.array([marks[stage.mark]])]
        lead += [features.tensors["tokens"] for _, features in self.all_features(stage.lead)]
        prefix = np.concatenate(lead)
        if not target:
            return TokenSpan(number, prefix, None, None)
        tokens = np.concatenate([np.zeros(0, np.int64), *self.answer(stage.steps, self.turn, stage.inside)])
        return TokenSpan(number, prefix, tokens, self.walk(stage, tokens))

    def prepared(self, slot: SlotPlan, features: SlotFeatures) -> tuple[SlotFeatures, dict[str, np.ndarray]]:
        """The features as they stand in the stream, and what its criterion learns from."""
        assert slot.learned_by is not None
        return slot.learned_by.prepared(features, slot.values, self.random)

    def learned(self, slot: SlotPlan) -> dict[str, np.ndarray]:
        """What the criterion of a source slot learns from: the tokens of its label column, numbered within their
        range.
        """
        if slot.label_slot is None:
            return {}
        label = self.program.plan.slots[slot.label_slot]
        tokens = self.features(label, 0).tensors["tokens"]
        return {"tokens": tokens - self.program.span(label)[0], "token_lengths": np.array([len(tokens)])}

    def all_features(
        self, steps: Sequence[AnyStep], turn: int = 0, view: int | None = None
    ) -> Iterator[tuple[SlotPlan | None, SlotFeatures]]:
        """(slot, or None for plain text, features) of each step."""
        for step in steps:
            if isinstance(step, Prompt):
                tokens = self.program.prompts[step.text]
                yield None, SlotFeatures({"tokens": tokens}, len(tokens))
            elif isinstance(step, Repeat):
                for i in range(self.rounds(step)):
                    yield from self.all_features(step.steps, i)
            elif isinstance(step, Choose):
                for part in step.ways[step.columns.way(self.row)]:
                    yield from self.all_features(step.parts[part], turn)
            elif isinstance(step, Views):
                slot = self.program.plan.slots[step.left if view is None else view]
                yield slot, self.features(slot, turn)
            else:
                assert not isinstance(step, RoundHead), "a round is chosen, not given"
                slot = self.program.plan.slots[step.slot]
                yield slot, self.features(slot, turn)

    def answer(self, steps: Sequence[AnyStep], turn: int = 0, inside: bool = False) -> Iterator[np.ndarray]:
        """The target's tokens with the end marks the automaton asks for. inside: a round goes on, number `turn`."""
        for step in steps:
            if isinstance(step, RoundHead):
                yield from self.round_head(step, turn + 1 if inside else 0)
                return
            if isinstance(step, Repeat):
                for i in range(self.rounds(step)):
                    yield from self.answer(step.steps, i)
                yield np.array([self.program.symbols.end])
            elif isinstance(step, Choose):
                way = step.columns.way(self.row)
                yield np.array([self.program.symbols.vocabulary.span(step.range)[0] + way])
                for part in step.ways[way]:
                    yield from self.answer(step.parts[part], turn)
            elif isinstance(step, Prompt):
                yield self.program.prompts[step.text]
            else:
                assert not isinstance(step, Views)
                yield self.features(self.program.plan.slots[step.slot], turn).tensors["tokens"]
                if isinstance(step.item, (Free, OneOf)):
                    yield np.array([self.program.symbols.end])

    def round_head(self, step: RoundHead, turn: int) -> Iterator[np.ndarray]:
        """The tokens with which round number `turn` begins; where there is none, those after the repetition."""
        more = turn < self.rounds(step.repeat)
        self.turn = turn if more else 0
        if not more:
            yield np.array([self.program.symbols.end])
            yield from self.answer(step.rest)
        elif not step.steps:
            yield np.array([self.program.symbols.vocabulary.span(ROUND)[0]])
        else:
            yield from self.answer(step.steps, turn)

    def walk(self, stage: TokenStage, tokens: np.ndarray) -> np.ndarray:
        """States before each token. Errors: DataError when an answer is outside its slot's language."""
        try:
            return stage.constraint.walk(tokens)
        except ValueError as error:
            slot = self.program.plan.scored[0]
            raise DataError(str(error), slot=slot.name, column=slot.column) from error

    def check_length(self, source: Sequence[tuple[str, SlotFeatures]], target: int) -> None:
        """Errors: DataError when a stream is longer than the model's table of positions."""
        orders = sum(features.length if features.orders is None else features.orders for _, features in source)
        for side, length in (("source", orders), ("target", target)):
            if length > self.program.max_positions:
                raise DataError(
                    f"the {side} is {length} positions long",
                    expected=f"at most {self.program.max_positions}, the model's limit; shorten it, "
                    "or set max_length on a slot",
                )

    def frames(self) -> dict[int, Mapping[str, Any]]:
        """What each slot that refers to another needs of it, whether the row has a value of its own for it or an answer
        will; nothing where the row lacks the other.
        """
        slots = self.program.plan.slots
        others = ((s.index, slots[s.refers_to]) for s in slots if s.refers_to is not None)
        return {
            index: self.features(other, 0).info
            for index, other in others
            if other.group is None and (not other.optional or self.has(other))
        }

    def has(self, slot: SlotPlan) -> bool:
        """Whether the row has a value for it."""
        return self.row.get(slot.column) is not None

    def features(self, slot: SlotPlan, turn: int) -> SlotFeatures:
        """The features of one slot, at one turn of its repetition."""
        at = (slot.index, turn)
        if at not in self.made:
            try:
                value, preprocess = self.value(slot, turn), self.program.preprocessors[slot.index].preprocess
                ids = self.program.symbols.vocabulary.size
                if isinstance(value, SlotFeatures):  # read already, by another process
                    plugin.check_features(slot.name, preprocess, value, value, ids)
                    self.made[at] = value
                else:
                    self.made[at] = plugin.read(slot.name, preprocess, value, self.context(slot, turn), ids)
            except DataError as error:
                error.expected += self.remedy(slot, turn)
                raise error.at(slot=slot.name, column=slot.column) from error.__cause__
        return self.made[at]

    def remedy(self, slot: SlotPlan, turn: int) -> str:
        """What is said besides of a value that could not be read, where it holds one that can be: as the first element
        of a list, or as the text of a list.
        """
        value = self.row.get(slot.column)
        if slot.group is not None:
            return ""
        if isinstance(value, (list, tuple)) and value and self.reads(slot, value[0]):
            each = f"{{{slot.column!r}: ...}}"
            return f"; a list is one value here, and several rows are [{each}, {each}]"
        if isinstance(value, str) and value.lstrip().startswith("[") and self.reads(slot, _as_json(value)):
            return ", and not as a text; a .csv holds texts alone, give such rows as .jsonl or .parquet"
        return ""

    def reads(self, slot: SlotPlan, value: Any) -> bool:
        """Whether a slot outside a repetition could read this value."""
        preprocess, ids = self.program.preprocessors[slot.index].preprocess, self.program.symbols.vocabulary.size
        try:
            plugin.read(slot.name, preprocess, value, self.context(slot, 0), ids)
        except OfasysError:
            return False
        return True

    def context(self, slot: SlotPlan, turn: int) -> Context:
        """What the preprocessor may know."""
        frame = None
        if slot.refers_to is not None:
            referred = self.program.plan.slots[slot.refers_to]
            if referred.optional and not self.has(referred):
                raise DataError(
                    f"the row lacks {referred.name}, which it lies in",
                    expected=f"a value in column {referred.column!r} too",
                )
            frame = self.features(referred, turn if referred.group is not None else 0).info
        return Context(
            training=self.training,
            referred=frame,
            labels=self.program.labels.get(slot.index),
            random=self.random,
            root=self.root,
        )

    def value(self, slot: SlotPlan, turn: int | None) -> Any:
        """The raw value of a slot; in a repetition at one turn, or the whole list for None.

        Errors: DataError when the column is missing.
        """
        place = {"slot": slot.name, "column": slot.column}
        if slot.column not in self.row:
            there = _named(self.row) or "no column at all"
            raise DataError("the column is missing", expected=f"a column {slot.column!r}; the row has {there}", **place)
        value = self.row[slot.column]
        if value is None:
            raise DataError("the value is missing (None)", expected=f"a value of kind {slot.value}", **place)
        return value if slot.group is None or turn is None else _list(slot, value)[turn]

    def rounds(self, step: Repeat) -> int:
        """How often a repetition goes round."""
        slot = self.program.plan.slots[step.slots[0]]
        return len(_list(slot, self.value(slot, None)))


def onward(stage: Stage, span: TokenSpan | ValueSpan) -> int:
    """The number of the stage that comes after one that became this."""
    if isinstance(stage, ValueStage):
        return stage.next
    assert isinstance(span, TokenSpan)
    assert span.states is not None
    assert span.tokens is not None
    return stage.onward(span.states, span.tokens)


def _key(slot: SlotPlan | None) -> str:
    """What embeds it: of plain text the tokens' adaptor."""
    return "tokens" if slot is None else slot.key


def _is_text(slot: SlotPlan | None, features: SlotFeatures) -> bool:
    """Whether it is tokens in a line, of whatever slot."""
    return _key(slot) == "tokens" and features.grid is None


def _orders(part: TokenSpan | ValueSpan) -> int:
    """Places of the sentence a part takes."""
    if isinstance(part, TokenSpan):
        return len(part.prefix) + (0 if part.tokens is None else len(part.tokens))
    features = part.features
    return 0 if features is None else features.length if features.orders is None else features.orders


def elements(value: Any) -> Sequence[Any] | None:
    """What a list, tuple, array or another sequence holds; None for what is none, as a text or a dict."""
    if isinstance(value, (list, tuple)):
        return value
    if getattr(value, "ndim", None) == 0 or isinstance(value, (str, bytes, bytearray, Mapping)):
        return None
    if not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
        return None
    listed: Sequence[Any] = value.tolist() if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist") else value
    return listed


def _as_json(text: str) -> Any:
    """What a text says as JSON; None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _named(row: Row, most: int = 20) -> str:
    """The columns of a row, for messages: the first of many."""
    names = [f"{name!s:.40}" for name in islice(row, most)]
    return ", ".join([*names, f"and {len(row) - most} more"] if len(row) > most else names)


def _list(slot: SlotPlan, value: Any) -> Sequence[Any]:
    found = elements(value)
    if found is None:
        raise DataError(
            f"got {type(value).__name__} {str(value)[:40]!r}",
            expected="a list, one element per round of the repetition",
            slot=slot.name,
            column=slot.column,
        )
    return found


def _spread(program: Program, row: Row) -> Mapping[str, Any]:
    """The row with repetitions given as one list of tuples taken apart. Errors: DataError when their lists differ."""
    if not isinstance(row, Mapping):
        raise DataError(f"a row is a {type(row).__name__}", expected="a mapping of column to value")
    return program.plan.spread(row)
