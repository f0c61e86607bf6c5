"""What a modality does with raw values: good ones come back, bad ones are a DataError, odd ones are one or the
other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from ofasys import flow
from ofasys.errors import DataError, PluginError
from ofasys.generator.hypothesis import Hypothesis
from ofasys.modality import Context
from ofasys.modality.plugin import UnforeseenError, named
from ofasys.program.answer import Answer
from ofasys.testing.case import SLOT, Case, shown
from ofasys.types import Fixed, Sample, SlotFeatures, TokenSpan

Same = Callable[[Any, Any], bool]

# What nobody meant to give. No modality has to refuse all of it, but nothing else than a DataError may come of it.
STRANGE: tuple[Any, ...] = (
    object(),
    float("nan"),
    -1,
    10**30,
    "",
    " \n",
    "\ud800",
    "\0",
    b"",
    b"\xff\x00",
    [],
    [None],
    [[]],
    {},
    {"a": object()},
    np.zeros((0, 3)),
    np.full((2, 2), np.nan),
    True,
)


def check_values(case: Case) -> str:
    """Good values are read: the features have the length they say, the same value gives the same features, workers can
    do it.
    """
    assert len(case.values) >= 2, "give two good values or more"
    for side in case.sides:
        for i, value in enumerate(case.values):
            one, other = (_piece(case, side, value, i) for _ in range(2))
            _check_features(one, value)
            _check_length(case, side, one, value)
            assert alike(one, other), f"{shown(value)} gives other features when read again"
        try:
            ForkingPickler.dumps(case.programs[side])
        except Exception as error:
            raise AssertionError(f"the preprocessor cannot be sent to a data worker: {error}") from error
    return f"{len(case.values)} read on {' and '.join(case.sides)}"


def check_bad(case: Case) -> str:
    """Each bad value is a DataError that names slot and column and says what was expected; so is none at all."""
    assert case.bad, "give at least one bad value: what is no value of this modality?"
    for side in case.sides:
        slot = case.slot(side)
        for value in [None, *case.bad]:
            error = _refused(case, side, value)
            where = f"the DataError for {shown(value)}"
            assert error.slot == slot.name, f"{where} names slot {error.slot!r}, not {slot.name!r}"
            assert error.column == SLOT, f"{where} names column {error.column!r}, not {SLOT!r}"
            assert error.expected, f"{where} does not say what was expected: {error}"
            assert "\n" not in str(error), f"{where} is more than one line: {error}"
    return f"{len(case.bad)} values, and a missing one"


def _refused(case: Case, side: str, value: Any) -> DataError:
    try:
        case.sample(side, value)
    except UnforeseenError as error:
        raise AssertionError(_unforeseen(value, error)) from error.__cause__
    except DataError as error:
        return error
    except PluginError:
        raise
    except Exception as error:
        raise AssertionError(f"{shown(value)} raises {_named(error)}, not a DataError") from error
    raise AssertionError(f"{shown(value)} is read as if it were a good value")


def check_extremes(case: Case) -> str:
    """Extreme and strange values are read, or a DataError; where the modality is `limited`, max_length holds."""
    read = 0
    for side in case.sides:
        for value in (*case.extreme, *STRANGE):
            try:
                sample = case.sample(side, value)
                flow.collate(case.programs[side], [sample])
                read += 1
            except UnforeseenError as error:
                raise AssertionError(_unforeseen(value, error)) from error.__cause__
            except DataError:
                continue
            except PluginError:
                raise
            except Exception as error:
                raise AssertionError(f"{shown(value)} raises {_named(error)}, not a DataError") from error
        if case.spec.limited and not case.slot(side).closed_set:
            _check_limit(case, side)
    return f"{len(case.extreme) + len(STRANGE)} values, {read} times read"


def check_round_trip(case: Case, same: Same | None) -> str:
    """A value that is preprocessed and postprocessed, as an answer is, is the same; and so is the value it came
    from.
    """
    if "target" not in case.sides:
        return "left out: it is no target"
    slot, program = case.slot("target"), case.programs["target"]
    for i, value in enumerate(case.values):
        sample = case.sample("target", value, i)
        back = flow.postprocess(program, sample, answered(sample, _piece(case, "target", value, i)))[SLOT]
        true = program.preprocessors[slot.index].canonical(value)
        made = f"; {named(program.preprocessors[slot.index].postprocess)} is to give back what was preprocessed"
        if same is not None:
            assert same(value, back), f"{shown(value)} came back as {shown(back)}{made}"
            assert same(true, back), f"canonical gives {shown(true)} for what came back as {shown(back)}{made}"
        else:
            assert alike(true, back) or (isinstance(true, list) and any(alike(one, back) for one in true)), (
                f"{shown(value)}, canonically {shown(true)}, came back as {shown(back)}{made}"
            )
    return f"{len(case.values)} values come back"


def answered(sample: Sample, features: SlotFeatures) -> Answer:
    """The answer of a model that says just what the sample holds. features: of the slot that is drawn, before any
    noise.
    """
    parts: list[Hypothesis | np.ndarray | None] = []
    for part in sample.target:
        if isinstance(part, TokenSpan):
            assert part.tokens is not None
            assert part.states is not None
            parts.append(Hypothesis(part.tokens, part.states, 0.0, 0.0, True))
        else:
            parts.append(np.asarray(features.tensors["frames"]))
    return Answer(tuple(parts), 0.0)


def alike(one: Any, other: Any) -> bool:
    """Equal, floats within 1e-6 of their size; of arrays, mappings, sequences, dataclasses and pictures."""
    if one is other:
        return True
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, str | bytes) or isinstance(other, str | bytes):
        return bool(one == other)
    if is_dataclass(one) and type(one) is type(other):
        return all(alike(getattr(one, entry.name), getattr(other, entry.name)) for entry in fields(one))
    if hasattr(one, "__array__") or hasattr(one, "__array_interface__"):
        a, b = np.asarray(one), np.asarray(other)
        if a.shape != b.shape or a.dtype.kind not in "fiubc":
            return a.shape == b.shape and bool((a == b).all())
        return bool(np.allclose(a, b, rtol=1e-6, atol=1e-6, equal_nan=True))
    if isinstance(one, Sequence) and isinstance(other, Sequence):
        return len(one) == len(other) and all(alike(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, int | float):
        return bool(np.isclose(one, other, rtol=1e-6, atol=1e-6, equal_nan=True))
    return bool(one == other)


def _piece(case: Case, side: str, value: Any, i: int) -> SlotFeatures:
    program, slot = case.programs[side], case.slot(side)
    try:
        sample = case.sample(side, value, i)
    except PluginError:
        raise
    except Exception as error:
        raise AssertionError(f"the good value {shown(value)} as a {side} raises {_named(error)}") from error
    frame = sample.referred.get(slot.index)
    context = Context(referred=frame, labels=program.labels.get(slot.index))
    return program.preprocessors[slot.index].preprocess(value, context)


def _check_features(features: SlotFeatures, value: Any) -> None:
    """What is looked at in every run is known already; here also that numbers are finite."""
    for name, array in features.tensors.items():
        assert array.dtype.kind != "f" or np.isfinite(array).all(), f"tensor {name!r} of {shown(value)} holds NaN"


def _check_length(case: Case, side: str, features: SlotFeatures, value: Any) -> None:
    """A slot of so many tokens has as many, in the target's language and in the plan."""
    slot = case.slot(side)
    item = case.spec.item(slot.index, slot.values) if case.spec.item else None
    if side == "target" and isinstance(item, Fixed):
        for name, said in (("item's count", item.count), ("expected", slot.expected)):
            assert features.length == said, (
                f"{named(case.programs[side].preprocessors[slot.index].preprocess)} gave length={features.length} for "
                f"{shown(value)}, and the spec's {name} is {said}; expected the same number in all three"
            )


def _check_limit(case: Case, side: str) -> None:
    program, slot = case.limited(side, 2), case.slot(side)
    for i, value in enumerate(case.values):
        try:
            features = program.preprocessors[slot.index].preprocess(value, Context())
        except DataError:
            continue
        assert features.length <= 2, f"with max_length=2, {shown(value)} takes {features.length} positions (row {i})"


def _unforeseen(value: Any, error: UnforeseenError) -> str:
    cause = error.__cause__ or error
    return f"{shown(value)} raises {_named(cause)}, not a DataError: {error.message}"


def _named(error: BaseException) -> str:
    return f"{type(error).__name__} ({' '.join(str(error).split())[:160]})"
