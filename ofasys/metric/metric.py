"""A metric as a value: its function, what it reads, and which of its figures is the headline. The built-in ones by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ofasys.errors import ConfigError, nearest
from ofasys.metric.box import detection, iou_accuracy
from ofasys.metric.label import accuracy, exact_match
from ofasys.metric.text import bleu, cider, rouge_l

Function = Callable[[Sequence[Any], Sequence[Any]], Mapping[str, float] | float]


@dataclass(frozen=True)
class Metric:
    """A pure function (predictions, references) -> figures, and what to know about it.

    takes: the kinds of target values it reads, in order: ("text",), ("box", "text"); ("any",) is one value of any kind.
    main: the key of its headline figure.
    """

    name: str
    about: str
    takes: tuple[str, ...]
    function: Function
    main: str
    higher_is_better: bool = True

    def __call__(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        """The figures, as plain floats; a function that returns one number gets it under `main`."""
        found = self.function(predictions, references)
        figures = found if isinstance(found, Mapping) else {self.main: found}
        try:
            scores = {str(key): float(value) for key, value in figures.items()}
        except (TypeError, ValueError):
            raise ConfigError(
                f"metric {self.name!r} returned {found!r:.80}; return a number or a dict of numbers"
            ) from None
        if self.main not in scores:
            known = ", ".join(scores) or "nothing"
            raise ConfigError(
                f"metric {self.name!r} gives {known}; its headline figure {self.main!r} is not among them"
            )
        return scores

    def better(self, one: float, other: float) -> bool:
        """Is `one` a better headline figure than `other`?"""
        return one > other if self.higher_is_better else one < other


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "share of right labels, 0..1", ("any",), accuracy, "accuracy"),
        Metric("exact_match", "share of equal answers, 0..1", ("any",), exact_match, "exact_match"),
        Metric("bleu", "corpus BLEU-4 (sacrebleu), 0..100", ("text",), bleu, "bleu"),
        Metric("rouge_l", "ROUGE-L F-measure, 0..1", ("text",), rouge_l, "rouge_l"),
        Metric("cider", "CIDEr-D, 0..10", ("text",), cider, "cider"),
        Metric("iou_accuracy", "share of boxes with IoU >= 0.5, 0..1", ("box",), iou_accuracy, "iou_accuracy@0.5"),
        Metric("detection", "F1 at IoU 0.5 and COCO mAP of labelled boxes, 0..1", ("box", "text"), detection, "f1@0.5"),
    )
}


def find(metric: str | Metric | Function, metrics: Mapping[str, Metric] = METRICS) -> Metric:
    """The metric of that name; a Metric as it is; a plain function as one that takes a value of any kind.

    The headline of a plain function stands under its name: the number it returns, or of a dict without that key the first.
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        if metric not in metrics:
            raise ConfigError(
                f"unknown metric {metric!r}; {nearest(metric, metrics)}known here: {', '.join(sorted(metrics))}"
            )
        return metrics[metric]
    if callable(metric):
        name = getattr(metric, "__name__", type(metric).__name__)
        about = (metric.__doc__ or "").strip().split("\n")[0]
        return Metric(name, about, ("any",), _Headed(metric, name), name)
    raise ConfigError(
        f"not a metric: {metric!r:.80}; give a name, a Metric, or a function of (predictions, references)"
    )


@dataclass(frozen=True)
class _Headed:
    """A plain function whose figures have one under the function's name."""

    function: Function
    name: str

    def __call__(self, predictions: Sequence[Any], references: Sequence[Any]) -> Mapping[str, float] | float:
        found = self.function(predictions, references)
        if isinstance(found, Mapping) and found and self.name not in found:
            return {self.name: next(iter(found.values())), **found}
        return found
