"""What of an instruction an exported graph reads and makes, or why it cannot be exported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ofasys.engine.spec import TRANSFORMER
from ofasys.errors import PlanError
from ofasys.generalist import GeneralistModel
from ofasys.generator.constraint import Constraint
from ofasys.hub.export.graphs import MEMORY, Read
from ofasys.modality import Registry
from ofasys.model.sizes import ModelConfig
from ofasys.model.universal import UniversalModel
from ofasys.packages import loaded
from ofasys.planner.slot import Fill, Prompt, SlotPlan, leaves_of
from ofasys.program.program import Program, TokenStage
from ofasys.types import Fixed


@dataclass(frozen=True)
class Line:
    """An instruction that can be exported."""

    program: Program
    """It, bound."""
    reads: tuple[Read, ...]
    """Its source, part by part; empty: it has none."""
    stage: TokenStage
    """Its target."""

    @property
    def constraint(self) -> Constraint:
        """The automaton of its target."""
        return self.stage.constraint


def line_of(model: GeneralistModel, program: Program) -> Line:
    """The parts of a program's instruction. Errors: PlanError that says what of it no graph can hold."""
    if model.engine_spec is not TRANSFORMER:
        raise PlanError(
            f"engine {model.engine_spec.name!r} cannot be exported: the graphs are of engine {TRANSFORMER.name!r}; "
            "export a backbone by its own library"
        )
    plan = program.plan
    if not program.stages:
        raise PlanError(f"{plan.instruction} has no target, and what is exported makes one token by token; give one")
    reads = tuple(_reads(program, model.modalities))
    _check_columns(program)
    stage = program.stages[0]
    if len(program.stages) > 1 or not isinstance(stage, TokenStage) or not stage.chosen:
        raise PlanError(
            f"the target of {plan.instruction} is made in {len(program.stages)} stages, of which some are no tokens or "
            "given; a graph makes one stage of tokens, so answer it with this package, or export a line of tokens alone"
        )
    for slot, grammar in stage.constraint.grammars.items():
        raise PlanError(
            f"{plan.slots[slot].name} has {grammar.kind}=, which the automaton of an export does not hold; leave it out"
        )
    for step in stage.lead:
        if not isinstance(step, Prompt):
            _plain_slot(_filled(program, step))
    return Line(program, reads, stage)


def _filled(program: Program, step: object) -> SlotPlan:
    """The slot of a step that is no text. Errors: PlanError for a pattern."""
    if not isinstance(step, Fill):
        raise PlanError(
            f"{program.plan.instruction} has a repetition, a contrast or a pattern among what is given, and the inputs "
            "of a graph are of one number; write its slots out"
        )
    return program.plan.slots[step.slot]


def _plain_slot(slot: SlotPlan) -> None:
    """Errors: PlanError for a slot that is not tokens in a line."""
    if slot.key != "tokens" or slot.positions != "1-D":
        raise PlanError(
            f"{slot.name} is read by preprocess={slot.preprocess.name}, adaptor={slot.adaptor.name}, for which there "
            "is no form in a graph; there is one for tokens in a line, as of TEXT and BOX, and for pixels of an IMAGE"
        )


def _check_columns(program: Program) -> None:
    """Errors: PlanError for a column that cannot be an input: it is called as an output, or is read in two ways."""
    read: dict[str, SlotPlan] = {}
    for slot in program.plan.on("source"):
        other = read.setdefault(slot.column, slot)
        if other.values != slot.values:
            raise PlanError(
                f"two slots read column {slot.column!r} each in its own way, and an input of a graph is one value; "
                "give both the same options, or each a column of its own"
            )
    if taken := read.keys() & set(MEMORY):
        raise PlanError(
            f"column {min(taken)!r} is called as what the graph of a source gives ({', '.join(MEMORY)}); give it "
            "another name"
        )


def _reads(program: Program, registry: Registry) -> Iterator[Read]:
    for step in program.plan.source:
        if isinstance(step, Prompt):
            yield Read(tokens=tuple(program.prompts[step.text].tolist()))
            continue
        slot = _filled(program, step)
        part = registry.spec(slot.modality).preprocess[slot.preprocess.name]
        if part.graph is None:
            _plain_slot(slot)
            yield Read(slot.column)
            continue
        make = loaded(f"preprocess {slot.preprocess.name!r}", "graph", part.graph)
        try:
            yield Read(slot.column, key=slot.key, value=make(slot.values))
        except PlanError as error:
            raise PlanError(f"{slot.name}: {error}") from error


def described(model: GeneralistModel, line: Line, most: int) -> dict[str, Any]:
    """All that one needs besides the graphs to ask them, as JSON holds it. most: tokens of an answer."""
    program, constraint = line.program, line.constraint
    plan, symbols = program.plan, program.symbols
    config, engine = cast(ModelConfig, model.config), cast(UniversalModel, model.engine)
    items = [step.item for step in leaves_of(line.stage.steps)]
    counts = {item.slot: item.count for item in items if isinstance(item, Fixed)}
    return {
        "instruction": str(plan.instruction),
        "fingerprint": plan.fingerprint,
        "text_offset": symbols.offset,
        "ranges": {name: [start, start + size] for name, start, size in symbols.vocabulary.ranges},
        "inputs": [_input(program, part) for part in line.reads if part.name],
        "prefix": [*_prefix(program, line.stage)],
        "target": [
            {
                "slot": slot.index,
                "column": slot.column,
                "modality": slot.modality,
                "text": any(name == "text" for name, _ in slot.ranges),
                "repeated": slot.group is not None,
                "count": counts.get(slot.index),
            }
            for slot in plan.answered
        ],
        "past": [config.decoder_layers, 2, 1, config.heads, 0, config.head],
        "places": bool(engine.decoder.positions.biased),
        "max_length": most,
        "positions": engine.max_positions - int(constraint.reserve.max()),
        "automaton": _automaton(program, constraint, most),
    }


def _input(program: Program, part: Read) -> dict[str, Any]:
    slot = next(slot for slot in program.plan.on("source") if slot.column == part.name)
    value = part.value
    return {
        "name": part.name,
        "about": _tokens(slot) if value is None else value.about,
        "dtype": "int64" if value is None else str(value.dtype).partition(".")[2],
        "shape": ["batch", "length"] if value is None else ["batch", *value.shape],
        "options": _options(slot),
    }


def _options(slot: SlotPlan) -> dict[str, Any]:
    """By which a value is made ready."""
    return {name: value for name, value, _ in slot.options}


def _tokens(slot: SlotPlan) -> str:
    """What to hand over for a slot that is tokens in a line."""
    names = [name for name, _ in slot.ranges]
    whose = "of its text" if names == ["text"] else f"as preprocess={slot.preprocess.name} makes them, of {names}"
    return f"ids {whose}; -1 behind those of a sample that has fewer than others"


def _prefix(program: Program, stage: TokenStage) -> Iterator[dict[str, Any]]:
    """What stands in a target before anything is chosen: ids, or the column whose ids stand there, and how they are
    made.
    """
    yield {"tokens": [program.symbols.begin]}
    for step in stage.lead:
        if isinstance(step, Prompt):
            yield {"tokens": program.prompts[step.text].tolist()}
        else:
            slot = _filled(program, step)
            yield {"column": slot.column, "about": _tokens(slot), "options": _options(slot)}


def _automaton(program: Program, constraint: Constraint, most: int) -> dict[str, Any]:
    """As of `Constraint`; and of each closed set that is spelled in tokens the state in which its labels begin. most:
    tokens of an answer, of which `inside` keeps the room of later slots.
    """
    arrays = ("lo", "hi", "next", "first", "token", "to", "slot_of", "stoppable", "limit", "forks", "loops")
    symbols = program.symbols
    closed = {slot for slot in program.labels if program.plan.slots[slot].side != "source"}
    return {
        "start": constraint.start,
        "accept": constraint.accept,
        "end": constraint.end,
        **{name: np.asarray(getattr(constraint, name)).tolist() for name in arrays},
        "inside": (constraint.inside + constraint.held(most)[constraint.ahead]).tolist(),
        "grid": None if constraint.grid is None else constraint.grid.tolist(),
        "labels": {str(slot): list(program.labels[slot]) for slot in sorted(closed)},
        "closed": [
            {"state": trie.root, "tokens": _spelled(symbols, program.labels[int(constraint.slot_of[trie.root])])}
            for trie in constraint.tries
        ],
    }


def _spelled(symbols: Any, labels: Sequence[str]) -> list[list[int]]:
    """The ids of each label, the end mark last."""
    return [[*ids, symbols.end] for ids in symbols.encode_batch(list(labels))]
