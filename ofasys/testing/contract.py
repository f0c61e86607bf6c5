"""The contract of a modality, check by check."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofasys.modality import Modality, Registry
from ofasys.testing import embedding, learning, spec, values
from ofasys.testing.case import Case
from ofasys.testing.promise import Report, kept
from ofasys.testing.values import Same


def check_modality(
    modality: Modality,
    *,
    values: Sequence[Any],
    bad: Sequence[Any],
    extreme: Sequence[Any] = (),
    source: str | None = None,
    target: str | None = None,
    beside: Mapping[str, Any] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    settings: Mapping[str, Any] | None = None,
    same: Same | None = None,
    registry: Registry | None = None,
) -> Report:
    """Check everything a modality promises, on a small model without training data. Takes seconds.

    values: good raw values, two at least, of different lengths where lengths differ. bad: values that must be a
    DataError. extreme: values that are very short, long or odd: they are read, or they are a DataError, and nothing
    else happens. source, target: instructions with its slot, named `x`, on that side; the defaults are `[TAG:x] what is
    it? -> [TEXT:answer]` and `what is [TEXT:question]? -> [TAG:x]`. beside: values of other columns of these
    instructions. labels: closed sets by column. settings: defaults for the plan, such as {"IMAGE.size": 32}. same:
    (value, what came back) -> are they the same within what the modality keeps? Without it, what came back is compared
    with the value as `canonical` writes it. registry: the other modalities; the built-in and installed ones if None.

    Errors: AssertionError for the first promise that is not kept, in a sentence that names the modality and the check.
    ConfigError under `python -O`, which takes assertions out.
    """
    case = Case(
        modality,
        values,
        bad=bad,
        extreme=extreme,
        source=source,
        target=target,
        beside=beside or {},
        labels=labels or {},
        settings=settings or {},
        registry=registry,
    )
    return kept(modality.tag, _checks(case, same))


def _checks(case: Case, same: Same | None) -> Iterator[tuple[str, Callable[[], str]]]:
    """The checks in order: what is cheap and tells most comes first."""
    yield "spec", lambda: spec.check_spec(case)
    yield "import", lambda: spec.check_light(case)
    yield "options", lambda: spec.check_options(case)
    yield "values", lambda: values.check_values(case)
    yield "bad input", lambda: values.check_bad(case)
    yield "extremes", lambda: values.check_extremes(case)
    yield "round trip", lambda: values.check_round_trip(case, same)
    yield "batch", lambda: embedding.check_batch(case)
    for side in ("source", "target"):
        yield f"as {side}", lambda side=side: learning.check_step(case, side)  # type: ignore[misc]
    yield "save, load", lambda: _saved(case)


def _saved(case: Case) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return learning.check_saved(case, Path(folder) / "model")
