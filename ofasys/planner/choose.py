"""Instruction -> Plan: every choice made before any data is seen, from the specs of the modalities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol, TypeVar, cast, get_args

from ofasys.criterion import Criterion
from ofasys.criterion.criterion import CONTRAST
from ofasys.engine.spec import EngineFacts
from ofasys.errors import ConfigError, PlanError, nearest
from ofasys.language import Alternatives, Contrast, Instruction, Option, Place, Repetition, Sentence, Text, options_of
from ofasys.language import Slot as SlotTree
from ofasys.modality import Defaults, Modality, Registry, default_registry, lexicon, plugin
from ofasys.packages import loaded
from ofasys.planner.plan import Plan
from ofasys.planner.slot import Choice, Choose, Fill, Prompt, Repeat, SlotPlan, Step, Views, items_of
from ofasys.types import Branch, Continuous, Fixed, Forced, Free, Given, Item, Loop, OneOf

Settings = Mapping[str, Any]
Known = Mapping[str, Mapping[str, str]]
AnyStep = TypeVar("AnyStep", bound=Step)
A_RANGE = "a dict of range -> how many ids it has, or None"


class Engined(Protocol):
    """A model, as a plan asks it for what it has."""

    @property
    def modalities(self) -> Registry:
        """What it knows."""
        ...

    @property
    def places(self) -> Mapping[str, Mapping[str, str]]:
        """As of `known`."""
        ...

    def engine_facts(self) -> EngineFacts:
        """What it brings and has."""
        ...


def plan(
    instruction: str | Instruction,
    *,
    modalities: Registry | None = None,
    settings: Settings | None = None,
    known: Known | None = None,
    engine: str | Engined | None = None,
    config: object = None,
) -> Plan:
    """Make every choice for an instruction.

    settings: defaults for this run, `{"IMAGE.size": 64}` for a modality or `{"img.size": 64}` for a column; what the
    instruction says wins. known: place that an adaptor is named with -> what lies there, of a model that was made so:
    it is not looked at again. engine: the plan says what this one brings and what is new to it: a model, or a name as
    "hf:FOLDER", of which JSON files are read and no weights; config: how a backbone of that name is used. Errors:
    InstructionError for text that is not an instruction; PlanError for a sentence that cannot be planned; ConfigError
    for a setting that reaches nothing, and for an engine that cannot be used, or makes no target without a source.
    """
    model = None if engine is None or isinstance(engine, str) else engine
    registry = modalities or (default_registry() if model is None else model.modalities)
    if isinstance(instruction, str):
        instruction = Instruction(instruction, lexicon(registry))
    if known is None and model is not None:
        known = model.places
    made = _Planner(instruction, registry, settings or {}, known or {}).plan()
    if engine is None:
        return made
    name, _, place = str(engine).partition(":")
    facts = registry.engine(name).facts(place, config) if model is None else model.engine_facts()
    if not made.source:
        facts.check_source(made.instruction)
    return replace(made, engine=facts)


class _Planner:
    def __init__(self, instruction: Instruction, registry: Registry, settings: Settings, known: Known) -> None:
        self.instruction, self.registry, self.settings, self.known = instruction, registry, settings, known
        self.used: set[str] = set()
        self.views = _views(instruction)

    def plan(self) -> Plan:
        slots = [self.slot(i, place) for i, place in enumerate(self.instruction.places)]
        slots = self.with_label_columns(slots)
        slots = [replace(slot, refers_to=self.refers_to(slot, slots)) for slot in slots]
        _check_views([slots[view] for view in self.views])
        if unused := sorted(set(self.settings) - self.used):
            raise ConfigError(
                f"setting {unused[0]!r} reaches no slot of {self.instruction}; {_setting_help(slots, unused[0])}"
            )
        counter = iter(range(len(slots)))
        source = self.steps(self.instruction.source, "source", counter)
        target = self.with_items(self.steps(self.instruction.target, "target", counter), slots)
        _check_target(str(self.instruction), target, slots)
        return Plan(str(self.instruction), tuple(slots), source, target)

    def slot(self, index: int, place: Place) -> SlotPlan:
        tree, side = place.slot, place.side
        spec = self.registry.spec(tree.modality)
        defaults = self.defaults(spec, side, tree)
        preprocess = self.preprocess(spec, place, defaults)
        reads = spec.preprocess[preprocess.name].adaptor or defaults.adaptor
        adaptor, brought = self.adaptor(spec, place, reads)
        criterion = self.criterion(index, spec, place, defaults)
        generator = self.generator(spec, place, defaults, criterion)
        learned_by = self.registry.criterion(criterion.name) if criterion else None
        made_by = self.registry.generator(generator.name) if generator else None
        takes = spec.takes(preprocess.name, adaptor.name, learned_by, made_by)
        options = self.options(spec, place, takes)
        written = f"{adaptor.name}:{brought['place']}" if brought else adaptor.name
        options |= {"preprocess": (preprocess.name, preprocess.why), "adaptor": (written, adaptor.why)}
        for name, chosen in (("criterion", criterion), ("generator", generator)):
            options[name] = (chosen.name, chosen.why) if chosen else (None, "default")
        values = {name: value for name, (value, _) in options.items()} | {"column": place.column} | brought
        none = (str, type(None))
        if problem := plugin.asked(str(tree), "check", spec.check, [values], none, "a sentence, or None"):
            raise PlanError(f"{tree}: {problem}")
        if spec.labelled and tree.get("closed_set") is False:
            raise PlanError(f"{tree}: {spec.tag} is one of a known set always; leave out closed_set=false")
        if values["max_length"] is not None and not spec.limited:
            raise PlanError(f"{tree}: {spec.tag} does not take max_length; leave it out")
        if criterion is None:
            _check_without_loss(tree, side)
        return SlotPlan(
            index=index,
            modality=spec.tag,
            side=side,
            column=place.column,
            group=place.group,
            optional=place.optional,
            preprocess=preprocess,
            adaptor=adaptor,
            key=spec.adaptor[adaptor.name].key(spec.tag, adaptor.name, values),
            positions=spec.positions if isinstance(spec.positions, str) else spec.positions(values),
            criterion=criterion,
            generator=generator,
            kind=learned_by.kind if learned_by else None,
            label_slot=None,
            closed_set=bool(values["closed_set"]) or spec.labelled,
            value=spec.value,
            ranges=tuple(sorted(plugin.asked(str(tree), "ranges", spec.ranges, [values], Mapping, A_RANGE).items())),
            expected=plugin.asked(str(tree), "expected", spec.expected, [values], int, "a whole number of positions"),
            refers_to=None,
            options=tuple((name, value, why) for name, (value, why) in sorted(options.items())),
            brought=tuple(sorted(brought.items())),
            learned_by=learned_by,
            made_by=made_by,
        )

    def preprocess(self, spec: Modality, place: Place, defaults: Defaults) -> Choice:
        """What reads a slot's values: what is asked for, else the default; unless the slot names an adaptor that only
        another one is read by.
        """
        name = defaults.preprocess
        asked, why = self.value("adaptor", spec, place, spec.preprocess[name].adaptor or defaults.adaptor)
        bare = str(asked).partition(":")[0]
        readers = [reader for reader, part in spec.preprocess.items() if part.adaptor == bare]
        if name not in readers and len(readers) == 1:
            name = readers[0]
        chosen = self.choice("preprocess", spec, place, name, spec.preprocess)
        only = spec.preprocess[chosen.name].side
        if only not in (None, place.side):
            raise PlanError(
                f"{place.slot}: preprocess={chosen.name}, which adaptor={asked} reads, is for the {only} alone, and "
                f"this is the {place.side}; leave both out"
            )
        return Choice(name, why) if chosen.why == "default" and name != defaults.preprocess else chosen

    def adaptor(self, spec: Modality, place: Place, default: str) -> tuple[Choice, dict[str, str]]:
        """What embeds a slot's values; and of one that is named with a place, what lies there."""
        asked, why = self.value("adaptor", spec, place, default)
        name, _, where = str(asked).partition(":")
        part = spec.adaptor.get(name)
        if part is None or not (part.bring or where):
            known = {f"{own}:FOLDER" if one.bring else own: one for own, one in spec.adaptor.items()}
            return self.choice("adaptor", spec, place, default, known), {}
        if not part.bring:
            raise PlanError(f"{place.slot}: adaptor={name} is read from no place; write it without :{where}")
        if not where:
            raise PlanError(f"{place.slot}: adaptor={name} is read from a place; write adaptor={name}:FOLDER")
        found = self.known.get(where)
        if found is None:
            bring = loaded(f"adaptor {name!r} of {spec.tag}", "bring", part.bring)
            try:
                found = plugin.asked(str(place.slot), "bring", bring, [where], Mapping, "a mapping of texts")
            except ConfigError as error:
                raise PlanError(f"{place.slot}: {error}") from error
        return Choice(name, why), dict(found)

    def criterion(self, index: int, spec: Modality, place: Place, defaults: Defaults) -> Choice | None:
        """What a slot is learned by: of the target its default, of the source what is asked for, of a contrast that."""
        tree = place.slot
        if index in self.views:
            if "weight" in tree.options and index != min(self.views):
                raise PlanError(
                    f"{tree}: a contrast has one loss, weighed at its first view; write "
                    f"weight={tree.options['weight']:g} there"
                )
            return self.of_view(tree)
        if tree.options.get("no_loss"):
            if "criterion" in tree.options:
                _check_without_loss(tree, place.side)
            return None
        learned = self.registry.learned(spec, defaults)
        default = defaults.criterion if place.side == "target" else None
        name, why = self.value("criterion", spec, place, default)
        elsewhere = why == "setting" and place.side == "source" and name not in learned
        if name is None or elsewhere:
            return None
        if place.side == "source" and (place.group is not None or place.optional):
            where = "pattern" if place.optional else "repetition"
            raise PlanError(
                f"{tree}: a criterion on a slot inside a {where} of the source is not there; take it out of it"
            )
        if name not in learned:
            there = f"there are {', '.join(sorted(learned))}" if learned else "there is none"
            near = nearest(str(name), learned)
            raise PlanError(f"{tree}: no criterion {name!r} for {spec.tag} as a {place.side}; {near}{there}")
        return Choice(name, why)

    def of_view(self, tree: SlotTree) -> Choice:
        """What both views of a contrast are learned by: the one of its kind that the first names, or the default."""
        first = self.instruction.places[min(self.views)].slot.options
        chosen = str(first.get("criterion", CONTRAST.name))
        known = [one.name for one in self.registry.criteria if one.of.embedded]
        asked = str(tree.options.get("criterion", chosen))
        if asked not in known:
            more = "" if len(known) == 1 else f", or name one of {', '.join(known)}"
            raise PlanError(f"{tree}: a view is learned by contrast; leave out criterion={asked}{more}")
        if asked != chosen:
            raise PlanError(
                f"{tree}: both views of a contrast have one criterion, {chosen} at its first; name it there too"
            )
        return Choice(chosen, "attribute" if "criterion" in first else "default")

    def generator(self, spec: Modality, place: Place, defaults: Defaults, criterion: Choice | None) -> Choice | None:
        """What answers a slot: one for its kind of target; a view is answered by its embedding, without one."""
        if criterion is None:
            return None
        record = self.registry.criterion(criterion.name)
        known = {one.name: one for one in self.registry.generators if one.kind == record.kind}
        if not known:
            return None
        default = defaults.generator if criterion.name == defaults.criterion else record.generator
        return self.choice("generator", spec, place, default, known)

    def with_label_columns(self, slots: list[SlotPlan]) -> list[SlotPlan]:
        """The slots, and after them the columns that their criteria learn from."""
        found = list(slots)
        for slot in slots:
            criterion = slot.learned_by
            if criterion is None or criterion.label_column is None:
                continue
            column = slot.values[criterion.label_column]
            if column is None:
                raise PlanError(
                    f"{slot.name}: criterion={criterion.name} needs the column it learns from; write "
                    f"{criterion.label_column}=column"
                )
            if any(place.optional and place.column == column for place in self.instruction.places):
                raise PlanError(
                    f"{slot.name}: {criterion.label_column}={column} names what a row may lack; take it out of its "
                    "pattern, or give its loss a task of its own"
                )
            label = self.label(len(found), slot, criterion, str(column))
            found[slot.index] = replace(slot, label_slot=label.index)
            found.append(label)
        return found

    def label(self, index: int, slot: SlotPlan, criterion: Criterion, column: str) -> SlotPlan:
        """The slot that stands for a column a criterion learns from: as the instruction has it, else of a named
        modality.
        """
        beside = next((p.slot for p in self.instruction.places if p.column == column), None)
        tag = slot.values.get(f"{criterion.name}_as")
        if beside is not None and criterion.label_options is None and (tag is None or beside.modality == tag):
            known = self.registry.word(self.registry.spec(beside.modality)).options
            spec = self.registry.spec(beside.modality)
            kinds = (spec.options, *(part.options for part in spec.preprocess.values()))
            own = {name for kind in kinds if kind for name in options_of(kind)}
            kept = tuple((k, v) for k, v in beside.attributes if k in own | _READING and known[k].side != "source")
            tree = SlotTree(beside.modality, column, kept)
        else:
            attributes = (
                tuple((criterion.label_options or {}).items()) if tag is None or criterion.label_modality == tag else ()
            )
            tree = SlotTree(str(tag or criterion.label_modality), column, attributes)
        try:
            made = self.slot(index, Place(tree, "target", column))
        except ConfigError as error:  # an unknown modality
            raise PlanError(f"{slot.name}: {criterion.name}_as={tag}: {error}") from None
        if not made.made_as.tokens:
            raise PlanError(f"{slot.name}: criterion={criterion.name} learns tokens; {made.modality} has none")
        generator = slot.generator or made.generator
        made_by = slot.made_by or made.made_by
        return replace(
            made, side="label", criterion=None, generator=generator, kind=None, learned_by=None, made_by=made_by
        )

    def defaults(self, spec: Modality, side: str, tree: SlotTree) -> Defaults:
        found = spec.source if side == "source" else spec.target
        if found is None:
            can = ", ".join(m.tag for m in self.registry.modalities if (m.source if side == "source" else m.target))
            raise PlanError(f"{tree}: {spec.tag} as a {side} is not there; {side} slots may be {can}")
        return found

    def choice(self, what: str, spec: Modality, place: Place, default: str | None, known: Mapping[str, Any]) -> Choice:
        name, why = self.value(what, spec, place, default)
        if name not in known:
            raise PlanError(
                f"{place.slot}: no {what} {name!r} for {spec.tag}; {nearest(str(name), known)}there are "
                f"{', '.join(sorted(known))}"
            )
        return Choice(name, why)

    def options(self, spec: Modality, place: Place, takes: Mapping[str, Option]) -> dict[str, tuple[Any, str]]:
        for key in place.slot.options:
            if key not in takes:
                raise PlanError(f"{place.slot}: {key} does not reach this slot: {self.taker(key)}")
        return {name: self.value(name, spec, place, option.default, option) for name, option in takes.items()}

    def taker(self, attribute: str) -> str:
        """Which criteria or generators an attribute is of; that its modality's parts do not take it where none."""
        for noun, records in (("criterion", self.registry.criteria), ("generator", self.registry.generators)):
            names = [one.name for one in records if one.options and attribute in options_of(one.options)]
            if names:
                return f"it is of {' or '.join(f'{noun}={name}' for name in names)}"
        return "its adaptor and preprocessor do not take it"

    def value(
        self, name: str, spec: Modality, place: Place, default: Any, option: Option | None = None
    ) -> tuple[Any, str]:
        found, why = default, "default"
        for scope in (spec.tag, place.column):
            key = f"{scope}.{name}"
            if key in self.settings and (option is None or option.side in (None, place.side)):
                self.used.add(key)
                found, why = self.settings[key], "setting"
                if option is not None:
                    found = _checked(key, found, option)
        if name in place.slot.options:
            found, why = place.slot.options[name], "attribute"
        return found, why

    def refers_to(self, slot: SlotPlan, slots: Iterable[SlotPlan]) -> int | None:
        """The slot that one like BOX refers to: the one named by `of`, else the only one the sentence has."""
        kind = self.registry.spec(slot.modality).refers
        if kind is None:
            return None
        able = [s for s in slots if self.registry.spec(s.modality).provides == kind and s.group in (None, slot.group)]
        of = slot.values.get("of")
        if of is not None:
            known = [s.column for s in able]
            able = [s for s in able if s.column == of]
            if not able:
                there = f"there are {', '.join(dict.fromkeys(known))}" if known else "there is none"
                raise PlanError(f"{slot.name}: of={of} names no slot with a {kind}; {nearest(str(of), known)}{there}")
        tags = " or ".join(m.tag for m in self.registry.modalities if m.provides == kind)
        beside = [s for s in able if self.together(slot.column, s.column)]
        if able and not beside:
            raise PlanError(
                f"{slot.name}: it lies in {able[0].name}, and no row has both; write both into one part of the pattern"
            )
        able = beside
        if not able:
            raise PlanError(f"{slot.name}: nothing for it to lie in; the instruction needs a slot of {tags}")
        if len({s.column for s in able}) > 1:
            names = ", ".join(s.column for s in able)
            raise PlanError(
                f"{slot.name}: it could lie in any of {names}; say which: [{slot.name},of={able[0].column}]"
            )
        if wrong := self.registry.spec(able[0].modality).unfit(able[0].values):
            raise PlanError(f"{slot.name}: it lies in {able[0].name}, and {wrong}; leave that out")
        return able[0].index

    def together(self, *columns: str) -> bool:
        """Whether a row may have all of these columns: no pattern holds them in parts that never stand together."""
        for parts in self.instruction.parts:
            here = {part for part, own in enumerate(parts.columns) if not set(own).isdisjoint(columns)}
            if here and not any(here <= set(way) for way in parts.alternatives.ways):
                return False
        return True

    def steps(self, sentence: Sentence, side: str, numbers: Iterator[int]) -> tuple[Step, ...]:
        groups = (group for group in self.instruction.groups if group.side == side)
        patterns = (parts for parts in self.instruction.parts if parts.side == side)

        def step(segment: Any) -> Step:
            if isinstance(segment, Text):
                return Prompt(segment.value)
            if isinstance(segment, Repetition):
                inner = tuple(step(s) for s in segment.segments)
                return Repeat(tuple(s for s in inner if isinstance(s, (Prompt, Fill))), next(groups))
            if isinstance(segment, Alternatives):
                found = tuple(tuple(step(s) for s in part) for part in segment.parts)
                return Choose(cast("tuple[tuple[Prompt | Fill, ...], ...]", found), next(patterns))
            if isinstance(segment, Contrast):
                return Views(next(numbers), next(numbers))
            return Fill(next(numbers))

        return tuple(step(segment) for segment in sentence.segments)

    def with_items(self, steps: tuple[AnyStep, ...], slots: list[SlotPlan]) -> tuple[AnyStep, ...]:
        """The steps of a target, each slot with what it is to the automaton."""
        found: list[Any] = []
        for step in steps:
            if isinstance(step, Fill):
                found.append(replace(step, item=self.item(slots[step.slot])))
            elif isinstance(step, Repeat):
                found.append(replace(step, steps=self.with_items(step.steps, slots)))
            elif isinstance(step, Choose):
                found.append(replace(step, parts=tuple(self.with_items(part, slots) for part in step.parts)))
            else:
                found.append(step)
        return tuple(found)

    def item(self, slot: SlotPlan) -> Item:
        spec = self.registry.spec(slot.modality)
        if slot.no_loss:
            return Given(slot.index)
        if spec.item is None:
            raise PlanError(f"{slot.name}: {spec.tag} cannot be generated")
        arguments = [slot.index, slot.values]
        item: Item = plugin.asked(
            slot.name, "item", spec.item, arguments, get_args(Item), "Fixed, Free, OneOf or Continuous"
        )
        if isinstance(item, Continuous) == slot.made_as.tokens:
            what = "tokens" if slot.made_as.tokens else "no tokens"
            raise PlanError(f"{slot.name}: its criterion learns {what}, which its value is not")
        if slot.values["closed_set"] and not spec.labelled and not isinstance(item, OneOf):
            raise PlanError(f"{slot.name}: {spec.tag} does not take closed_set; leave it out")
        return item


_READING = {
    "preprocess",
    "adaptor",
    "closed_set",
    "max_length",
}  # what a label column takes over besides its modality's own


def _check_views(views: Sequence[SlotPlan]) -> None:
    """Errors: PlanError for views of a contrast whose criterion would have other weights for each."""
    for one, other in pairwise(views):
        for name in one.learned_by.keyed if one.learned_by is not None else ():
            if one.values[name] != other.values[name]:
                raise PlanError(
                    f"{other.name}: both views of a contrast are learned with the same {name}; write "
                    f"{name}={one.values[name]} there too"
                )


def _views(instruction: Instruction) -> tuple[int, ...]:
    """Numbers of the slots of a contrast. Errors: PlanError where one stands beside anything but plain text."""
    sentences = (instruction.source, instruction.target)
    found = [s for sentence in sentences for s in sentence.segments if isinstance(s, Contrast)]
    inside = [
        inner
        for sentence in sentences
        for segment in sentence.segments
        if isinstance(segment, Repetition)
        for inner in segment.segments
        if isinstance(inner, Contrast)
    ]
    if not found and not inside:
        return ()
    first = (found + inside)[0]
    if inside or len(found) > 1 or instruction.target or len(instruction.slots) > 2:
        raise PlanError(
            f"{first}: a contrast stands alone in the source, with plain text beside it at most, and the target is "
            "empty: "
            f"{first} ->; give what else is to be learned a task of its own"
        )
    return (0, 1)


def _check_without_loss(tree: SlotTree, side: str) -> None:
    """Attributes of what is learned and generated, on a slot that is only read."""
    for key in ("criterion", "generator", "weight", "is_label"):
        if key in tree.options:
            where = "a source slot without a criterion" if side == "source" else "a no_loss slot"
            raise PlanError(f"{tree}: {key} on {where} has no effect; leave out {key}={_written(tree.options[key])}")


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_target(text: str, steps: tuple[Step, ...], slots: list[SlotPlan]) -> None:
    items = items_of(steps)
    if not any(slot.criterion for slot in slots):
        what = "the target needs a slot without no_loss" if steps else "give a source slot a criterion=..."
        raise PlanError(f"{text}: nothing to learn and nothing to generate; {what}")
    ranks = any(slot.made_by and slot.made_by.ranks for slot in slots)
    if ranks:
        made_items = [item for item in items if not isinstance(item, (Forced, Given))]
        closed = [slot for slot in slots if slot.generator and slot.closed_set]
        several = len(made_items) != 1 or isinstance(made_items[0], (Loop, Branch))
        if several or not closed or made_items[0] is not items[-1]:
            raise PlanError(
                f"{text}: generator=rank answers one closed set that ends the target; use generator=search here"
            )
    rewarded = [slot for slot in slots if slot.learned_by and slot.learned_by.rewarded]
    if rewarded:
        alone = [slot for slot in slots if slot.criterion] == rewarded[:1]
        plain = all(isinstance(item, (Forced, Given, Free, Fixed, OneOf)) for item in items)
        made = [isinstance(item, Given) for item in items if not isinstance(item, Forced)]
        if not alone or not plain or made != sorted(made, reverse=True) or ranks:
            raise PlanError(
                f"{rewarded[0].name}: criterion=reward learns one value that is searched for, by itself: no other slot "
                "with a loss, no "
                "repetition, no generator=rank; give what else is to be learned a task of its own"
            )
        _check_reward(rewarded[0])
    for item in items:
        if isinstance(item, Loop):
            for inner in item.items:
                if isinstance(inner, Given):
                    name = slots[inner.slot].name
                    raise PlanError(
                        f"{name}: no_loss inside a repetition of the target is not there yet; leave no_loss out, or "
                        f"move the slot into a repetition of the source: ([{name}])* ->"
                    )
        if isinstance(item, Branch):
            for inner in item.items:
                if isinstance(inner, (Given, Continuous)):
                    what = "a no_loss slot" if isinstance(inner, Given) else "a value that is no tokens"
                    raise PlanError(
                        f"{slots[inner.slot].name}: {what} inside a pattern of the target is not there; take it out of "
                        "it, or write a line for each way"
                    )


def _check_reward(slot: SlotPlan) -> None:
    from ofasys.metric import find

    try:
        metric = find(slot.values["reward"])
    except ConfigError as error:
        raise PlanError(f"{slot.name}: reward={slot.values['reward']}: {error}") from None
    kinds = {"any", slot.value} | ({"text"} if slot.value == "label" else set())
    if len(metric.takes) != 1 or metric.takes[0] not in kinds:
        raise PlanError(
            f"{slot.name}: reward={metric.name} scores {' and '.join(metric.takes)}, not {slot.value}; name a metric "
            f"of {slot.value}: "
            f"[{slot.name},criterion=reward,reward=...]"
        )


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
