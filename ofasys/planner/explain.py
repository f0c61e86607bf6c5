"""A plan as a person reads it: what happens to each slot, in stream order, and why."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ofasys.engine.spec import TRANSFORMER, EngineFacts
from ofasys.errors import ConfigError, nearest
from ofasys.modality import Registry, default_registry
from ofasys.model.sizes import SIZES, ModelConfig, flops, parameters
from ofasys.packages import package_of
from ofasys.planner.slot import Choose, Prompt, Repeat, SlotPlan, Step, Views, leaves_of
from ofasys.types import Branch, Continuous, Fixed, Forced, Free, Given, Item, Loop, OneOf

if TYPE_CHECKING:
    from ofasys.planner.plan import Plan

TEXT_PIECES = 8000


def explain(plan: Plan, size: str | None = None, registry: Registry | None = None) -> str:
    """The plan in words: each stream step by step, the target's language, and the cost for a model size if given."""
    registry = registry or default_registry()
    lines = [plan.instruction, ""]
    for side, steps, role in (("source", plan.source, "encoder"), ("target", plan.target, "decoder")):
        if not steps:
            lines.append(
                f"{side} ({role}): empty, so the model runs {'decoder' if side == 'source' else 'encoder'}-only"
            )
            continue
        lines.append(f"{side} ({role}), about {length(plan, steps)} positions a sample")
        lines += _steps(plan, steps, registry, indent=2)
    for slot in plan.on("label"):
        lines += _label_column(plan, slot, registry)
    if plan.automaton:
        lines.append("what the target may be")
        lines.append(f"  {' '.join(_item(plan, item) for item in plan.automaton)}")
    lines += _engine(plan)
    lines += _why(plan)
    if size is not None:
        lines += _cost(plan, size, registry)
    lines.append(f"fingerprint {plan.fingerprint}")
    return "\n".join(lines)


def length(plan: Plan, steps: tuple[Step, ...]) -> int:
    """Stream positions the steps take, an estimate; a repetition counts as three rounds, a pattern as its longest
    way.
    """
    total = 0
    for step in steps:
        if isinstance(step, Prompt):
            total += prompt_length(step.text)
        elif isinstance(step, Repeat):
            total += 3 * length(plan, step.steps)
        elif isinstance(step, Choose):
            parts = [length(plan, part) for part in step.parts]
            total += max((sum(parts[part] for part in way) for way in step.ways), default=0)
        elif isinstance(step, Views):
            total += plan.slots[step.left].expected + plan.slots[step.right].expected
        else:
            total += plan.slots[step.slot].expected
    return total


def prompt_length(text: str) -> int:
    """Pieces of a prompt before there is a tokenizer: about four for three words."""
    return max(1, round(len(text.split()) * 4 / 3))


def _steps(plan: Plan, steps: tuple[Step, ...], registry: Registry, indent: int) -> list[str]:
    pad = " " * indent
    lines = []
    for step in steps:
        if isinstance(step, Prompt):
            lines.append(f'{pad}"{step.text}"  ~{prompt_length(step.text)}')
            lines.append(f"{pad}    prompt: pieces of text, as they stand; no loss")
        elif isinstance(step, Repeat):
            where = f", or tuples in column {step.group.column!r}" if step.group.column else ""
            lines.append(f"{pad}repeated, once per element of its lists{where}")
            lines += _steps(plan, step.steps, registry, indent + 2)
            if step.staged:
                judged = plan.slots[step.judged].name
                lines.append(f"{pad}  whether another comes is one token, learned with [{judged}]")
        elif isinstance(step, Choose):
            lines += _choose(plan, step, registry, pad)
        elif isinstance(step, Views):
            lines.append(f"{pad}two views of the same, each encoded alone, with the text beside it")
            for index in (step.left, step.right):
                lines += _slot(plan, plan.slots[index], registry, pad + "  ")
        else:
            lines += _slot(plan, plan.slots[step.slot], registry, pad)
    return lines


def _slot(plan: Plan, slot: SlotPlan, registry: Registry, pad: str) -> list[str]:
    about, preprocess, adaptor, exact = _words(slot, registry)
    lines = [
        f"{pad}[{slot.name}]  {'' if exact else '~'}{slot.expected}",
        f"{pad}    {'list of ' if slot.group is not None else ''}{about}, from column {slot.column!r}"
        + (f", lies in {plan.slots[slot.refers_to].name}" if slot.refers_to is not None else ""),
        f"{pad}    preprocess  {_choice(slot.preprocess.name, slot.preprocess.why)}: {preprocess}",
        f"{pad}    adaptor     {_choice(slot.adaptor.name, slot.adaptor.why)}: {adaptor}; {slot.positions} positions",
    ]
    lines += _needs(slot, registry, pad)
    lines += [f"{pad}    package     {package}: {', '.join(of)}" for package, of in packages(slot, registry).items()]
    if slot.no_loss:
        lines.append(f"{pad}    given       no_loss: read with the sample, neither learned nor generated")
    if slot.criterion:
        over = _learned(plan, slot)
        weight = "" if slot.weight == 1 else f", weight {slot.weight:g}"
        lines.append(f"{pad}    criterion   {_choice(slot.criterion.name, slot.criterion.why)} over {over}{weight}")
    if slot.criterion and slot.generator and slot.side == "target":
        over = "its closed set" if slot.closed_set else _ranges(plan, slot) or f"the whole {slot.value}"
        lines.append(f"{pad}    generator   {_choice(slot.generator.name, slot.generator.why)} over {over}")
        lines.append(
            f"{pad}    answer      {slot.preprocess.name} back to {about}; out[{slot.column!r}], out.{slot.value}"
        )
    elif slot.made_as.embedded:
        lines.append(f"{pad}    answer      its embedding; out[{slot.column!r}]")
    said = {"preprocess", "adaptor", "criterion", "generator", "no_loss", "closed_set", "weight"}
    shown = [
        f"{name}={_plain(value)}" + _mark(why)
        for name, value, why in slot.options
        if name not in said and (value or why != "default")
    ]
    if shown:
        lines.append(f"{pad}    options     {', '.join(shown)}")
    return lines


def needed_extras(slot: SlotPlan, registry: Registry | None = None) -> tuple[str, ...]:
    """The extras of this package that a slot needs, as `audio`; none where it needs none, or is not known here."""
    try:
        spec = (registry or default_registry()).spec(slot.modality)
    except ConfigError:
        return ()
    parts = (spec.preprocess[slot.preprocess.name], spec.adaptor[slot.adaptor.name])
    return tuple(part.extra for part in parts if part.extra is not None)


def packages(slot: SlotPlan, registry: Registry | None = None) -> dict[str, list[str]]:
    """The packages that do a slot's work besides this one, as `focal-loss 0.1.0` -> what of it, `criterion focal`."""
    chosen: list[tuple[str, str, str]] = []
    with suppress(ConfigError):  # a modality that is not known here
        spec = (registry or default_registry()).spec(slot.modality)
        chosen += [("preprocess", slot.preprocess.name, spec.preprocess[slot.preprocess.name].load)]
        chosen += [("adaptor", slot.adaptor.name, spec.adaptor[slot.adaptor.name].load)] if slot.side != "label" else []
    for noun, record in (("criterion", slot.learned_by), ("generator", slot.made_by)):
        chosen += [(noun, record.name, record.load)] if record is not None else []
    found: dict[str, list[str]] = {}
    for noun, name, load in chosen:
        if (package := package_of(load)) is not None:
            found.setdefault(package, []).append(f"{noun} {name}")
    return found


def _needs(slot: SlotPlan, registry: Registry, pad: str) -> list[str]:
    extras = needed_extras(slot, registry)
    return [f"{pad}    needs       ofasys[{','.join(extras)}]"] if extras else []


def _label_column(plan: Plan, slot: SlotPlan, registry: Registry) -> list[str]:
    about, preprocess, *_ = _words(slot, registry)
    learner = next(s for s in plan.slots if s.label_slot == slot.index)
    lines = [
        f"learned from besides: column {slot.column!r}, for {learner.name}",
        f"    {about}",
        f"    preprocess  {_choice(slot.preprocess.name, slot.preprocess.why)}: {preprocess}",
    ]
    lines += _needs(slot, registry, "")
    if slot in plan.answered and slot.generator:
        lines.append(f"    generator   {_choice(slot.generator.name, slot.generator.why)}")
        lines.append(f"    answer      back to {about}; out[{slot.column!r}], out.{slot.value}")
    return lines


def _learned(plan: Plan, slot: SlotPlan) -> str:
    """What a criterion's scores or predictions are over."""
    if slot.label_slot is not None:
        label = plan.slots[slot.label_slot]
        return f"{_ranges(plan, label)} of column {label.column!r}"
    if slot.made_as.tokens:
        return "its closed set" if slot.closed_set else _ranges(plan, slot)
    return "the other views of the batch" if slot.made_as.embedded else f"its {slot.kind}"


def _words(slot: SlotPlan, registry: Registry) -> tuple[str, str, str, bool]:
    """(about the modality, the preprocessor, the adaptor, whether `expected` is exact); bare where it is not known
    here.
    """
    try:
        spec = registry.spec(slot.modality)
    except ConfigError:
        return f"a {slot.value}", "of a modality that is not registered here", slot.key, False
    item = spec.item(slot.index, slot.values) if spec.item else None
    preprocess, adaptor = spec.preprocess[slot.preprocess.name], spec.adaptor[slot.adaptor.name]
    about = spec.says(slot.values) if spec.says else spec.about
    does = adaptor.says(slot.values) if adaptor.says else adaptor.about
    return about, preprocess.about, does, slot.positions == "2-D" or isinstance(item, Fixed)


def _ranges(plan: Plan, slot: SlotPlan) -> str:
    sizes = _sizes(plan, slot)
    return " + ".join(f"{name} ({size} ids)" if size else name for name, size in sizes.items())


def _sizes(plan: Plan, slot: SlotPlan) -> dict[str, int | None]:
    """Ids of each range that may stand in the slot; None where data decides."""
    sizes = dict(slot.ranges)
    for item in (step.item for step in leaves_of(plan.target)):
        if isinstance(item, Fixed) and item.slot == slot.index and item.size is not None:
            sizes[item.range] = item.size
    return sizes


def _choose(plan: Plan, step: Choose, registry: Registry, pad: str) -> list[str]:
    """A pattern from outside, part by part."""
    package = package_of(registry.home(step.pattern))
    lines = [f"{pad}{step.pattern}: {step.columns.alternatives.about}" + (f", of {package}" if package else "")]
    for number, (part, columns) in enumerate(zip(step.parts, step.columns.columns, strict=True), 1):
        lines.append(f"{pad}  part {number}, where a row has {' or '.join(columns)}")
        lines += _steps(plan, part, registry, len(pad) + 4)
    if step.slots and plan.slots[step.slots[0]].side == "target":
        lines.append(f"{pad}  which way of {len(step.ways)} it goes on is one token of {step.range}, learned as any")
    return lines


def _choice(name: str, why: str) -> str:
    return name + _mark(why)


def _mark(why: str) -> str:
    return "" if why == "default" else f" ({why})"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _item(plan: Plan, item: Item) -> str:
    if isinstance(item, Forced):
        return f'"{item.text}"'
    if isinstance(item, Loop):
        return f"( {' '.join(_item(plan, inner) for inner in item.items)} )* <end>"
    if isinstance(item, Branch):
        ways = [" ".join(_item(plan, one) for part in way for one in item.parts[part]) for way in item.ways]
        return f"{{ {' | '.join(way or 'nothing' for way in ways)} }}"
    name = plan.slots[item.slot].column
    if isinstance(item, Continuous):
        generator = plan.slots[item.slot].generator
        return f"{name}: drawn by {generator.name if generator else 'nothing'}"
    if isinstance(item, Given):
        return f"{name}: given"
    if isinstance(item, Free):
        most = f", at most {item.max_length}," if item.max_length else ""
        return f"{name}: any {item.range}{most} <end>"
    if isinstance(item, Fixed):
        rows = f" in rows of {item.width}" if item.width else ""
        rows += f", {item.height} a frame" if item.height else ""
        return f"{name}: {item.count} of {item.range}" + (f" 0..{item.size - 1}" if item.size else "") + rows
    assert isinstance(item, OneOf)
    return f"{name}: one of its set <end>"


def _engine(plan: Plan) -> list[str]:
    """What an engine brings to the plan, and what of the plan is new to it; nothing where it was asked of none."""
    if plan.engine is None:
        return []
    return [f"engine {plan.engine.place}", *(f"  {what:<12}{words}" for what, words in _said(plan, plan.engine))]


def _said(plan: Plan, told: EngineFacts) -> list[tuple[str, str]]:
    """(what, words) of an engine."""
    sizes = {name: size for slot in plan.slots for name, size in _sizes(plan, slot).items()}
    sizes |= {step.range: len(step.ways) for step in plan.target if isinstance(step, Choose)}
    ranges = [f"{name} ({size or 'data decides'})" for name, size in sorted(sizes.items()) if name not in told.ranges]
    keys = [key for key in sorted({slot.key for slot in plan.slots}) if key not in told.adaptors]
    new = [f"rows of tokens in a table of their own: {', '.join(ranges)}"] if ranges else []
    new += [f"adaptors: {', '.join(keys)}"] if keys else []
    said = [("is", told.about), *told.lines, ("new", "; ".join(new) or "nothing"), ("learned", told.learned)]
    return [(what, words) for what, words in said if words]


def _why(plan: Plan) -> list[str]:
    chosen = [(slot, name, value, why) for slot in plan.slots for name, value, why in slot.options if why != "default"]
    if not chosen:
        return ["every choice is a default"]
    return ["not default"] + [f"  {slot.name}  {name}={_plain(value)}  ({why})" for slot, name, value, why in chosen]


def _cost(plan: Plan, size: str, registry: Registry) -> list[str]:
    config = _config(plan, size)
    body, adaptors, table = count_parameters(plan, config, registry)
    total = count_flops(plan, config, registry)
    return [
        f"size {size}: {(body + adaptors + table) / 1e6:.2f} M parameters"
        f" (model {body / 1e6:.2f}, adaptors {adaptors / 1e6:.2f}, vocabulary {table / 1e6:.2f} at {TEXT_PIECES} text "
        "pieces)",
        f"  about {total / 1e9:.3f} GFLOP a sample forward, {3 * total / 1e9:.3f} to train on it",
    ]


def _candidates(plan: Plan, slot: SlotPlan) -> int:
    return sum(size or TEXT_PIECES for size in _sizes(plan, slot).values())


def _config(plan: Plan, size: str) -> ModelConfig:
    """Errors: ConfigError for no size, and for one of another engine than the plan is asked of."""
    if size not in SIZES:
        raise ConfigError(f"unknown size {size!r}; {nearest(size, SIZES)}there are {', '.join(SIZES)}")
    if plan.engine is not None and plan.engine.place != TRANSFORMER.name:
        raise ConfigError(
            f"size {size!r} is one of engine {TRANSFORMER.name!r}, and engine {plan.engine.place!r} has none; leave "
            "the size or the engine out"
        )
    return SIZES[size]


def count_flops(plan: Plan, config: ModelConfig, registry: Registry) -> int:
    """FLOPs of one sample forward: the universal model, the adaptors, and the scores of what is generated."""
    embed = sum(
        registry.spec(slot.modality).adaptor[slot.adaptor.name].cost(slot.values, config.width)[1] * slot.expected
        for slot in plan.slots
    )
    head = 2 * config.width * sum(slot.expected * _candidates(plan, slot) for slot in plan.slots if slot.made_as.tokens)
    return flops(config, length(plan, plan.source), length(plan, plan.target)) + embed + head


def count_parameters(plan: Plan, config: ModelConfig, registry: Registry) -> tuple[int, int, int]:
    """(universal model, adaptors without the token table, token table at TEXT_PIECES text pieces)."""
    adaptors = {
        slot.key: registry.spec(slot.modality).adaptor[slot.adaptor.name].cost(slot.values, config.width)[0]
        for slot in plan.slots
    }
    ranges = {"special": 4, "text": TEXT_PIECES}
    ranges |= {name: size or 0 for slot in plan.slots for name, size in slot.ranges if name != "text"}
    ranges |= {step.range: len(step.ways) for step in plan.target if isinstance(step, Choose)}
    criteria = {
        slot.learned_by.key(slot.values): slot.learned_by.cost(slot.values, config.width)
        for slot in plan.slots
        if slot.learned_by
    }
    learned = sum(adaptors.values()) + sum(criteria.values())
    return parameters(config), learned, sum(ranges.values()) * config.width


def to_json(plan: Plan, size: str | None = None, registry: Registry | None = None) -> dict[str, object]:
    """`plan.to_dict()` with the estimates beside it, for `ofasys explain --json`."""
    found: dict[str, object] = plan.to_dict() | {"fingerprint": plan.fingerprint}
    found["packages"] = {slot.column: own for slot in plan.slots if (own := packages(slot, registry))}
    found["estimate"] = {"source": length(plan, plan.source), "target": length(plan, plan.target)}
    if plan.engine is not None:
        found["engine"] = {"place": plan.engine.place, **dict(_said(plan, plan.engine))}
    if size is not None:
        registry = registry or default_registry()
        config = _config(plan, size)
        body, adaptors, table = count_parameters(plan, config, registry)
        found["cost"] = {
            "size": size,
            "parameters": body + adaptors + table,
            "flops": count_flops(plan, config, registry),
        }
    return found
