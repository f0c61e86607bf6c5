"""What a spec says of itself: fields, parts, options; and that it says so without loading torch."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

from ofasys import flow
from ofasys.criterion import CRITERIA
from ofasys.errors import InstructionError, OfasysError
from ofasys.generator import GENERATORS
from ofasys.language import Option, SlotOptions, options_of
from ofasys.modality import Defaults, Modality, Part
from ofasys.testing.case import SLOT, Case
from ofasys.testing.promise import reads
from ofasys.types import Continuous, Fixed, Forced, Free, Given, Loop, OneOf

READS = ("preprocess", "postprocess", "from_frames", "collate", "texts", "fit", "canonical")
ITEMS = (Forced, Given, Free, Fixed, OneOf, Continuous, Loop)


def check_spec(case: Case) -> str:
    """Names, sides, defaults, ranges and item are there and go together; every part loads and has its methods."""
    spec = case.spec
    assert isinstance(spec, Modality), f"it is a {type(spec).__name__}, not a Modality"
    assert re.fullmatch(r"[A-Z][A-Z0-9_]*", spec.tag), f"the tag is {spec.tag!r}; tags are capitals, digits and _"
    assert spec.value.isidentifier(), f"value is {spec.value!r}; it is a name, as out.{spec.tag.lower()} will have it"
    assert re.fullmatch(r".+", spec.about), f"about is {spec.about!r}; it is one line that says what a value is"
    sides = {"source": spec.source, "target": spec.target}
    assert any(sides.values()), "it stands on no side; give source=Defaults(...), target=Defaults(...) or both"
    for side, defaults in sides.items():
        if defaults is not None:
            _check_defaults(spec, side, defaults)
    for kind, parts in (("preprocess", spec.preprocess), ("adaptor", spec.adaptor)):
        for name, part in parts.items():
            _check_part(f"{kind}={name}", part, READS if kind == "preprocess" else ("embed",))
    if spec.save is not None:
        _check_part("save", spec.save, ())
    assert spec.target is None or spec.item is not None, "it is a target and has no item="
    own_options(spec)
    for side in case.sides:
        slot = case.slot(side)
        for name, size in slot.ranges:
            assert size is None or (isinstance(size, int) and size > 0), f"range {name!r} has {size!r} ids"
        assert slot.expected > 0, f"expected is {slot.expected}; it is the stream positions of one value, 1 or more"
        _check_item(case, side)
    names = ", ".join([*(f"preprocess={n}" for n in spec.preprocess), *(f"adaptor={n}" for n in spec.adaptor)])
    return f"{' and '.join(side for side, d in sides.items() if d)}; {names}"


def _check_defaults(spec: Modality, side: str, defaults: Defaults) -> None:
    for what, name, parts in (
        ("preprocess", defaults.preprocess, spec.preprocess),
        ("adaptor", defaults.adaptor, spec.adaptor),
    ):
        assert name in parts, f"the {side}'s default {what} is {name!r}; the spec has {', '.join(parts)}"
    for name in defaults.learned:
        assert name in CRITERIA, f"the {side} names criterion {name!r}; there are {', '.join(CRITERIA)}"
    assert side == "source" or defaults.criterion, "the target has no criterion, so there is nothing to learn"
    if defaults.generator is not None:
        known = ", ".join(GENERATORS)
        assert defaults.generator in GENERATORS, f"the {side} names generator {defaults.generator!r}; there are {known}"


def _check_part(name: str, part: Part, methods: tuple[str, ...]) -> None:
    assert part.about, f"{name} has no about=; it is a line of the plan"
    try:
        made = part.resolve()
    except (OfasysError, ImportError, AttributeError) as error:
        raise AssertionError(f"{name} does not load: {error}") from error
    for method in methods:
        assert callable(getattr(made, method, None)), f"{name}: {part.load} has no method {method}"


def _check_item(case: Case, side: str) -> None:
    """Only of what is generated: a target."""
    if side != "target":
        return
    spec, slot = case.spec, case.slot(side)
    assert spec.item is not None
    item = spec.item(slot.index, slot.values)
    assert isinstance(item, ITEMS), f"item gives a {type(item).__name__}, not one of those in ofasys.types"
    if isinstance(item, Continuous):
        part = spec.adaptor[slot.adaptor.name]
        assert callable(getattr(part.resolve(), "predict", None)), (
            f"its value is drawn, and adaptor={slot.adaptor.name} ({part.load}) has no method predict"
        )
    if isinstance(item, Free | Fixed) and slot.adaptor.name != "head":
        known = [name for name, _ in slot.ranges]
        assert item.range in known, f"its item is of range {item.range!r}; its ranges are {', '.join(known) or 'none'}"


def check_light(case: Case) -> str:
    """Importing the module that holds the spec loads no torch, in a process of its own."""
    module = _home(case.spec)
    if module is None:
        return "left out: no module of the package of its parts holds the spec"
    code = f"import sys; sys.path[:] = {sys.path!r}; import {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"import {module} fails in a new process: {done.stderr.strip()[-300:]}"
    assert done.stdout.strip() == "False", (
        f"import {module} loads torch; name what needs it as Part('module:Class'), so that a plan is made without it"
    )
    return f"{module} loads no torch"


def _home(spec: Modality) -> str | None:
    """A module of the package of its parts that holds the spec: the folder the parts lie in, if it does."""
    parts = [part.load.partition(":")[0] for part in (*spec.preprocess.values(), *spec.adaptor.values())]
    packages, folders = {part.partition(".")[0] for part in parts}, {part.rpartition(".")[0] for part in parts}
    names = [
        name
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in packages and any(value is spec for value in vars(module).values())
    ]
    return min([name for name in names if name in folders] or names, key=len, default=None)


def check_options(case: Case) -> str:
    """Each option is typed and explained, is read from a sentence with its type, and a misspelt one is answered with
    it.
    """
    own, every_slot = own_options(case.spec), options_of(SlotOptions)
    for name, option in own.items():
        assert option.about or name in every_slot, f"option {name} has no about="
        if option.default is not None:
            written = str(option.default).lower() if option.type is bool else str(option.default)
            assert reads(option, written), f"option {name} has the default {option.default!r}, but is {option.expects}"
        _check_in_a_sentence(case, name, option)
        _check_misspelt(case, name, set(own) | set(every_slot))
    _check_misspelt(case, "criterion", set(own) | set(every_slot))
    return ", ".join(own) or "none of its own"


def own_options(spec: Modality) -> dict[str, Option]:
    """The options of a spec and its parts, by name. AssertionError for one that is no option."""
    kinds = [spec.options, *(part.options for part in (*spec.preprocess.values(), *spec.adaptor.values()))]
    try:
        return {name: option for kind in kinds if kind for name, option in options_of(kind).items()}
    except TypeError as error:
        raise AssertionError(str(error)) from None


def _sentence(case: Case, attribute: str, side: str) -> str:
    slot = f"[{case.spec.tag}:{SLOT},{attribute}]"
    return f"{slot} -> [TEXT:answer]" if side == "source" else f"[TEXT:question] -> {slot}"


def _check_in_a_sentence(case: Case, name: str, option: Option) -> None:
    side = option.side or "target"
    try:
        slots = flow.parse(_sentence(case, option.example, side), case.registry).slots
    except InstructionError as error:
        raise AssertionError(f"[{case.spec.tag}:{SLOT},{option.example}] is not read: {error.message}") from error
    value: Any = next(slot for slot in slots if slot.modality == case.spec.tag and name in slot.options).options[name]
    assert isinstance(value, option.type), f"{option.example} comes out as a {type(value).__name__}"


def _check_misspelt(case: Case, name: str, known: set[str]) -> None:
    wrong = name + name[-1]
    if wrong in known:
        return
    try:
        flow.parse(_sentence(case, f"{wrong}=1", "target"), case.registry)
    except InstructionError as error:
        answer = str(error)
    else:
        raise AssertionError(f"a misspelt option is taken: [{case.spec.tag}:{SLOT},{wrong}=1]")
    assert name in answer, f"{wrong}=1 is answered without the nearest, {name}: {answer}"
