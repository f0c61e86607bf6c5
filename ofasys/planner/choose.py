"""Instruction -> Plan: every choice made before any data is seen, from the faces of the modalities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ofasys.criterion import CRITERIA
from ofasys.errors import ConfigError, PlanError, nearest
from ofasys.generator import GENERATORS
from ofasys.language import Contrast, Instruction, Option, Place, Repetition, Sentence, Text
from ofasys.language import Slot as SlotTree
from ofasys.modality import Defaults, Modality, Registry, default_registry, lexicon
from ofasys.planner.plan import Choice, Fill, Plan, Prompt, Repeat, SlotPlan, Step
from ofasys.types import Fixed, Forced, Free, Given, Item, Loop, OneOf

Settings = Mapping[str, Any]


def plan(
    instruction: str | Instruction, *, modalities: Registry | None = None, settings: Settings | None = None
) -> Plan:
    """Make every choice for an instruction.

    settings: defaults for this run, `{"IMAGE.size": 64}` for a modality or `{"img.size": 64}` for a column; what the
    instruction says wins. Errors: InstructionError for text that is not an instruction; PlanError for a sentence that
    cannot be planned; ConfigError for a setting that reaches nothing.
    """
    registry = modalities or default_registry()
    if isinstance(instruction, str):
        instruction = Instruction(instruction, lexicon(registry))
    _refuse_contrast(instruction)
    return _Planner(instruction, registry, settings or {}).plan()


class _Planner:
    def __init__(self, instruction: Instruction, registry: Registry, settings: Settings) -> None:
        self.instruction, self.registry, self.settings = instruction, registry, settings
        self.used: set[str] = set()

    def plan(self) -> Plan:
        slots = [self.slot(i, place) for i, place in enumerate(self.instruction.places)]
        slots = [replace(slot, frame=self.frame(slot, slots)) for slot in slots]
        if unused := sorted(set(self.settings) - self.used):
            raise ConfigError(
                f"setting {unused[0]!r} reaches no slot of {self.instruction}; {_setting_help(slots, unused[0])}"
            )
        counter = iter(range(len(slots)))
        source = self.steps(self.instruction.source, "source", counter)
        target = self.steps(self.instruction.target, "target", counter)
        automaton = tuple(self.item(step, slots) for step in target)
        _check_target(str(self.instruction), target, automaton, slots)
        return Plan(str(self.instruction), tuple(slots), source, target, automaton)

    def slot(self, index: int, place: Place) -> SlotPlan:
        tree, side = place.slot, place.side
        face = self.registry.face(tree.modality)
        defaults = self.defaults(face, side, tree)
        preprocess = self.choice("preprocess", face, place, defaults.preprocess, face.preprocess)
        adaptor = self.choice("adaptor", face, place, defaults.adaptor, face.adaptor)
        options = self.options(face, place, face.takes(preprocess.name, adaptor.name))
        options["preprocess"], options["adaptor"] = (preprocess.name, preprocess.why), (adaptor.name, adaptor.why)
        values = {name: value for name, (value, _) in options.items()}
        if problem := face.check(values):
            raise PlanError(f"{tree}: {problem}")
        criterion = generator = None
        if side == "target" and not values["no_loss"]:
            criterion = self.choice("criterion", face, place, defaults.criterion, CRITERIA)
            generator = self.choice("generator", face, place, defaults.generator, GENERATORS)
        else:
            _check_without_loss(tree, side)
        return SlotPlan(
            index=index,
            modality=face.tag,
            side=side,
            column=place.column,
            group=place.group,
            preprocess=preprocess,
            adaptor=adaptor,
            key=face.adaptor[adaptor.name].key(face.tag, adaptor.name, values),
            positions=face.positions,
            criterion=criterion,
            generator=generator,
            postprocess=Choice(preprocess.name, preprocess.why),
            weight=values["weight"],
            no_loss=side == "target" and values["no_loss"],
            closed_set=bool(values["closed_set"]) or face.labelled,
            is_label=values["is_label"],
            value=face.value,
            ranges=tuple(sorted(face.ranges(values).items())),
            expected=face.expected(values),
            frame=None,
            options=tuple((name, value, why) for name, (value, why) in sorted(options.items())),
        )

    def defaults(self, face: Modality, side: str, tree: SlotTree) -> Defaults:
        found = face.source if side == "source" else face.target
        if found is None:
            can = ", ".join(m.tag for m in self.registry.modalities if (m.source if side == "source" else m.target))
            raise PlanError(f"{tree}: {face.tag} as a {side} is not there yet; {side} slots may be {can}")
        return found

    def choice(self, what: str, face: Modality, place: Place, default: str | None, known: Mapping[str, Any]) -> Choice:
        name, why = self.value(what, face, place, default)
        if name not in known:
            raise PlanError(
                f"{place.slot}: no {what} {name!r} for {face.tag}; {nearest(str(name), known)}there are {', '.join(sorted(known))}"
            )
        return Choice(name, why)

    def options(self, face: Modality, place: Place, takes: Mapping[str, Option]) -> dict[str, tuple[Any, str]]:
        for key in place.slot.options:
            if key not in takes:
                raise PlanError(
                    f"{place.slot}: {key} does not reach this slot: its adaptor and preprocessor do not take it"
                )
        return {name: self.value(name, face, place, option.default, option) for name, option in takes.items()}

    def value(
        self, name: str, face: Modality, place: Place, default: Any, option: Option | None = None
    ) -> tuple[Any, str]:
        found, why = default, "default"
        for scope in (face.tag, place.column):
            key = f"{scope}.{name}"
            if key in self.settings and (option is None or option.side in (None, place.side)):
                self.used.add(key)
                found, why = self.settings[key], "setting"
                if option is not None:
                    found = _checked(key, found, option)
        if name in place.slot.options:
            found, why = place.slot.options[name], "attribute"
        return found, why

    def frame(self, slot: SlotPlan, slots: Iterable[SlotPlan]) -> int | None:
        """The slot that one like BOX refers to: the one named by `of`, else the only one the sentence has."""
        kind = self.registry.face(slot.modality).refers
        if kind is None:
            return None
        able = [s for s in slots if self.registry.face(s.modality).provides == kind and s.group in (None, slot.group)]
        of = slot.values.get("of")
        if of is not None:
            able = [s for s in able if s.column == of]
            if not able:
                raise PlanError(f"{slot.name}: of={of} names no slot with a {kind}")
        tags = " or ".join(m.tag for m in self.registry.modalities if m.provides == kind)
        if not able:
            raise PlanError(f"{slot.name}: nothing for it to lie in; the instruction needs a slot of {tags}")
        if len({s.column for s in able}) > 1:
            names = ", ".join(s.column for s in able)
            raise PlanError(
                f"{slot.name}: it could lie in any of {names}; say which: [{slot.name},of={able[0].column}]"
            )
        return able[0].index

    def steps(self, sentence: Sentence, side: str, numbers: Iterator[int]) -> tuple[Step, ...]:
        groups = (group for group in self.instruction.groups if group.side == side)

        def step(segment: Any) -> Step:
            if isinstance(segment, Text):
                return Prompt(segment.value)
            if isinstance(segment, Repetition):
                inner = tuple(step(s) for s in segment.segments)
                return Repeat(tuple(s for s in inner if not isinstance(s, Repeat)), next(groups))
            return Fill(next(numbers))

        return tuple(step(segment) for segment in sentence.segments)

    def item(self, step: Step, slots: list[SlotPlan]) -> Item:
        if isinstance(step, Prompt):
            return Forced(step.text)
        if isinstance(step, Repeat):
            return Loop(tuple(self.item(inner, slots) for inner in step.steps))
        slot = slots[step.slot]
        face = self.registry.face(slot.modality)
        if slot.no_loss:
            return Given(slot.index)
        if face.item is None:
            raise PlanError(f"{slot.name}: {face.tag} cannot be generated as tokens")
        item = face.item(slot.index, slot.values)
        if slot.values["closed_set"] and not face.labelled and not isinstance(item, OneOf):
            raise PlanError(f"{slot.name}: {face.tag} does not take closed_set; leave it out")
        return item


def _refuse_contrast(instruction: Instruction) -> None:
    for segment in (*instruction.source.segments, *instruction.target.segments):
        for inner in segment.segments if isinstance(segment, Repetition) else (segment,):
            if isinstance(inner, Contrast):
                raise PlanError(f"{inner}: contrast is not there yet; give each slot a task of its own for now")


def _check_without_loss(tree: SlotTree, side: str) -> None:
    """Attributes of what is learned and generated, on a slot that is only read."""
    for key in ("criterion", "generator", "weight", "is_label"):
        if key in tree.options:
            where = "a source slot is not there yet" if side == "source" else "a no_loss slot has no effect"
            raise PlanError(f"{tree}: {key} on {where}; leave out {key}={_written(tree.options[key])}")


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_target(text: str, steps: tuple[Step, ...], items: tuple[Item, ...], slots: list[SlotPlan]) -> None:
    if not any(slot.criterion for slot in slots):
        raise PlanError(f"{text}: nothing to learn and nothing to generate; the target needs a slot without no_loss")
    generators = {slot.generator.name for slot in slots if slot.generator}
    if "rank" in generators:
        made_items = [item for item in items if not isinstance(item, (Forced, Given))]
        closed = [slot for slot in slots if slot.generator and slot.closed_set]
        if len(made_items) != 1 or not closed or isinstance(made_items[0], Loop) or made_items[0] is not items[-1]:
            raise PlanError(
                f"{text}: generator=rank answers one closed set that ends the target; use generator=search here"
            )
    made = False
    for item in items:
        if isinstance(item, Given) and made:
            raise PlanError(
                f"{slots[item.slot].name}: a no_loss slot after a generated one is not there yet; put it first"
            )
        if isinstance(item, Loop):
            if any(isinstance(inner, Given) for inner in item.items):
                raise PlanError(f"{text}: no_loss inside a repetition of the target is not there yet")
            if not any(isinstance(inner, (Free, Fixed, OneOf)) for inner in item.items):
                raise PlanError(f"{text}: the repetition generates nothing")
        made = made or isinstance(item, (Free, Fixed, OneOf, Loop))


def _checked(key: str, value: Any, option: Option) -> Any:
    try:
        return option.read(str(value).lower() if isinstance(value, bool) else None if value is None else str(value))
    except ValueError as error:
        raise ConfigError(f"setting {key}={value!r}: {error}") from error


def _setting_help(slots: list[SlotPlan], key: str) -> str:
    known = {
        f"{scope}.{name}" for slot in slots for scope in (slot.modality, slot.column) for name, _, _ in slot.options
    }
    return f"{nearest(key, known)}settings are MODALITY.attribute or column.attribute"
