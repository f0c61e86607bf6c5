"""What evaluation relies on of a metric, checked on a few answers: figures, which way is up, that it is a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from math import isfinite
from pathlib import Path
from typing import Any

from ofasys.metric import Metric, find
from ofasys.modality import default_registry
from ofasys.testing.case import shown
from ofasys.testing.draws import seed
from ofasys.testing.promise import LEFT_OUT, Report, check_about, kept
from ofasys.testing.values import alike

CLOSE = 1e-6  # of the larger: sums in another order


def check_metric(
    metric: str | Metric | Callable[..., Any],
    predictions: Sequence[Any],
    references: Sequence[Any],
    *,
    perfect: Sequence[Any] | None = None,
    root: str | Path | None = None,
) -> Report:
    """Check what a metric promises, on a few answers.

    predictions: three or more, as an evaluation gives them, some right and some wrong. references: as many right
    answers. perfect: predictions that none can beat; the references if None. root: the folder that relative paths in
    references start from.

    Errors: AssertionError for the first promise that is not kept, in a sentence that names the metric and the check.
    ConfigError for what is no metric, and under `python -O`, which takes assertions out.
    """
    case = _Case(find(metric), list(predictions), list(references), perfect, root)
    return kept(f"metric {case.metric.name}", _checks(case))


class _Case:
    """A metric under check. Arguments as of `check_metric`."""

    def __init__(
        self,
        metric: Metric,
        predictions: list[Any],
        references: list[Any],
        perfect: Sequence[Any] | None,
        root: str | Path | None,
    ) -> None:
        self.metric, self.predictions, self.references, self.root = metric, predictions, references, root
        self.before = deepcopy((predictions, references))
        self.perfect = references if perfect is None else list(perfect)

    def scored(self, predictions: Sequence[Any] | None = None, order: Sequence[int] | None = None) -> dict[str, float]:
        """The figures of predictions, of the given ones if None. order: of the rows."""
        found = self.predictions if predictions is None else predictions
        rows = range(len(found)) if order is None else order
        return self.metric([found[i] for i in rows], [self.references[i] for i in rows], self.root)


def _checks(case: _Case) -> Iterator[tuple[str, Callable[[], str]]]:
    """The checks in order: what is cheap and tells most comes first."""
    yield "record", lambda: _check_record(case.metric)
    yield "figures", lambda: _check_figures(case)
    yield "direction", lambda: _check_direction(case)
    yield "order", lambda: _check_order(case)
    yield "repeated", lambda: _check_repeated(case)


def _check_record(metric: Metric) -> str:
    """It has a name to ask for, says in a line what it is, and reads kinds of values that there are."""
    assert metric.name.replace("@", "_").isidentifier(), f"its name is {metric.name!r}; it is one word"
    check_about(metric.about)
    kinds = {"any", "view", *(modality.value for modality in default_registry().modalities)}
    assert metric.takes, "it takes no kind of value; say takes=('any',)"
    for kind in metric.takes:
        assert kind in kinds, f"it takes {kind!r}; there are {', '.join(sorted(kinds))}"
    return f"{metric.about}; of {' and '.join(metric.takes)}"


def _check_figures(case: _Case) -> str:
    """Each figure it names is there, and all are finite."""
    assert len(case.predictions) >= 3, "give three predictions or more"
    assert len(case.predictions) == len(case.references), (
        f"{len(case.predictions)} predictions and {len(case.references)} references; give as many of both"
    )
    found = case.scored()
    for name in case.metric.directions:
        assert name in found, f"it names a figure {name!r} and gives {', '.join(found)}"
    for name, value in found.items():
        assert isfinite(value), f"figure {name!r} is {value}"
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items())


def _check_direction(case: _Case) -> str:
    """What cannot be beaten has a better headline figure than the given answers, and no figure that is worse."""
    given, best = case.scored(), case.scored(case.perfect)
    told = []
    for name, up in case.metric.directions.items():
        if up is None:
            continue
        better = best[name] > given[name] if up else best[name] < given[name]
        same = abs(best[name] - given[name]) <= CLOSE * max(abs(best[name]), abs(given[name]))
        word = "larger" if up else "smaller"
        assert better or (same and name != case.metric.main), (
            f"figure {name!r} is {best[name]:.6g} of perfect answers and {given[name]:.6g} of the given ones, and "
            f"{word} is said to be better; give some wrong predictions, perfect=, or the other direction"
        )
        told.append(f"{name} {best[name]:.4g} at best")
    return ", ".join(told) or f"{LEFT_OUT}neither larger nor smaller is better"


def _check_order(case: _Case) -> str:
    """Rows come in any order: batches, several processes."""
    count, given = len(case.predictions), case.scored()
    for order in (range(count - 1, -1, -1), [*range(1, count), 0]):
        found = case.scored(order=order)
        for name, value in given.items():
            assert name in found, f"with rows in another order there is no figure {name!r}"
            off = abs(found[name] - value)
            assert off <= CLOSE * max(abs(value), abs(found[name]), CLOSE), (
                f"figure {name!r} is {value:.6g}, and {found[name]:.6g} with the rows in another order"
            )
    return f"{count} rows in any order"


def _check_repeated(case: _Case) -> str:
    """It is a function: the same again, whatever is drawn elsewhere, and what it is given stays as it was."""
    found = []
    for number in (1, 2):
        seed(number)
        found.append(case.scored())
    assert found[0] == found[1], f"of the same answers it gives {shown(found[0])}, then {shown(found[1])}"
    for what, mine, own in zip(
        ("predictions", "references"), (case.predictions, case.references), case.before, strict=True
    ):
        assert alike(mine, own), f"it changes the {what} it is given"
    return "the same again"
