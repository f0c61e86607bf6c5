"""A metric as a value: its function, what it reads, and which of its figures is the headline. The built-in ones by
name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError, nearest
from ofasys.metric.box import detection, iou_accuracy
from ofasys.metric.confusion import precision, recall
from ofasys.metric.image import psnr, ssim
from ofasys.metric.label import accuracy, exact_match, f1, f1_binary, matthews, mean_class_accuracy, vqa_score
from ofasys.metric.motion import motion_diversity, motion_frechet, mpjpe
from ofasys.metric.number import calibration, mae, r2, rmse
from ofasys.metric.retrieval import retrieval
from ofasys.metric.speech import cer, mcd, per, wer
from ofasys.metric.sql import execution_accuracy
from ofasys.metric.struct import grid_exact, table_exact, table_exact_any_order, triples_f1
from ofasys.metric.text import bleu, chrf, cider, rouge_l
from ofasys.metric.video import video_psnr
from ofasys.packages import by_own_name, with_brought

Function = Callable[..., Mapping[str, float] | float]


@dataclass(frozen=True)
class Metric:
    """A pure function (predictions, references) -> figures, and what to know about it."""

    name: str
    about: str
    """In a sentence, for lists."""
    takes: tuple[str, ...]
    """The kinds of target values it reads, in order: ("text",), ("box", "text"); ("any",) is one value of any kind."""
    function: Function
    main: str
    """The key of its headline figure."""
    higher_is_better: bool = True
    """Of the headline figure."""
    rooted: bool = False
    """References name files, and the function takes `root=`, the folder that relative paths start from."""
    figures: Mapping[str, bool | None] = field(default_factory=dict, hash=False)
    """Its figures besides -> whether a larger one is better. None: neither larger nor smaller is, or nobody knows."""

    def __call__(
        self, predictions: Sequence[Any], references: Sequence[Any], root: str | Path | None = None
    ) -> dict[str, float]:
        """The figures, as plain floats; a function that returns one number gets it under `main`. root: of the rows."""
        where = {"root": root} if self.rooted else {}
        found = self.function(predictions, references, **where)
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

    @property
    def directions(self) -> dict[str, bool | None]:
        """Its figures, the headline first, and whether a larger one is better."""
        return {self.main: self.higher_is_better} | dict(self.figures)

    def better(self, one: float, other: float) -> bool:
        """Is `one` a better headline figure than `other`?"""
        return one > other if self.higher_is_better else one < other


def _up(*names: str) -> dict[str, bool | None]:
    return dict.fromkeys(names, True)


def _down(*names: str) -> dict[str, bool | None]:
    return dict.fromkeys(names, False)


_EDITS = ("substitutions", "deletions", "insertions")
_RANKS = {
    f"{way}{name}": name != "median_rank"
    for way in ("", "left_", "right_")
    for name in ("recall@1", "recall@5", "recall@10", "median_rank")
}

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "share of right labels, 0..1", ("any",), accuracy, "accuracy"),
        Metric("exact_match", "share of equal answers, 0..1", ("any",), exact_match, "exact_match"),
        Metric("bleu", "corpus BLEU-4 (sacrebleu), 0..100", ("text",), bleu, "bleu"),
        Metric("rouge_l", "ROUGE-L F-measure, 0..1", ("text",), rouge_l, "rouge_l"),
        Metric("cider", "CIDEr-D, 0..10", ("text",), cider, "cider"),
        Metric(
            "iou_accuracy",
            "share of boxes with IoU >= 0.5, 0..1",
            ("box",),
            iou_accuracy,
            "iou_accuracy@0.5",
            figures=_up("mean_iou"),
        ),
        Metric(
            "detection",
            "F1 at IoU 0.5 and COCO mAP of labelled boxes, 0..1",
            ("box", "text"),
            detection,
            "f1@0.5",
            figures=_up("map", "map@0.5"),
        ),
        Metric("f1", "F1 of each label, their mean, 0..1", ("any",), f1, "f1", figures=_up("f1_micro")),
        Metric(
            "precision",
            "right answers of the answers with a label, mean over labels, 0..1",
            ("any",),
            precision,
            "precision",
            figures=_up("precision_micro"),
        ),
        Metric(
            "recall",
            "right answers of the samples with a label, mean over labels, 0..1",
            ("any",),
            recall,
            "recall",
            figures=_up("recall_micro"),
        ),
        Metric(
            "f1_binary",
            "F1 of the positive one of two labels, 0..1",
            ("any",),
            f1_binary,
            "f1_binary",
            figures=_up("precision", "recall"),
        ),
        Metric("matthews", "correlation of answers and labels, -1..1", ("any",), matthews, "matthews"),
        Metric(
            "mean_class_accuracy",
            "share of right labels for each label, their mean, 0..1",
            ("any",),
            mean_class_accuracy,
            "mean_class_accuracy",
        ),
        Metric("vqa_score", "agreement with the people asked, 0..1", ("text",), vqa_score, "vqa_score"),
        Metric("chrf", "corpus chrF2 (sacrebleu), 0..100", ("text",), chrf, "chrf"),
        Metric(
            "wer", "wrong words a word of the references (jiwer)", ("text",), wer, "wer", False, figures=_down(*_EDITS)
        ),
        Metric(
            "cer",
            "wrong characters a character of the references (jiwer)",
            ("text",),
            cer,
            "cer",
            False,
            figures=_down(*_EDITS),
        ),
        Metric(
            "per",
            "wrong phones a phone of the references",
            ("phone",),
            per,
            "per",
            False,
            figures=_down(*_EDITS) | _up("phone_accuracy"),
        ),
        Metric(
            "mcd",
            "mel-cepstral distortion along the best alignment, dB",
            ("audio",),
            mcd,
            "mcd",
            False,
            figures={"mcd_length": None},
        ),
        Metric("psnr", "peak signal-to-noise ratio, dB", ("image",), psnr, "psnr"),
        Metric(
            "video_psnr",
            "peak signal-to-noise ratio, mean over frames, dB",
            ("video",),
            video_psnr,
            "video_psnr",
            figures=_up("video_psnr_last"),
        ),
        Metric("ssim", "structural similarity, -1..1", ("image",), ssim, "ssim"),
        Metric(
            "mpjpe",
            "mean distance of joints from the true pose",
            ("motion",),
            mpjpe,
            "mpjpe_root",
            False,
            figures=_down("mpjpe"),
        ),
        Metric(
            "motion_frechet",
            "Frechet distance of the features of motions",
            ("motion",),
            motion_frechet,
            "motion_frechet",
            False,
        ),
        Metric(
            "motion_diversity",
            "mean distance of the features of two motions",
            ("motion",),
            motion_diversity,
            "motion_diversity",
            figures=dict.fromkeys(("motion_diversity", "motion_diversity_reference")),
        ),
        Metric(
            "retrieval",
            "recall@k and median rank of pairs, both ways",
            ("view", "view"),
            retrieval,
            "recall@1",
            figures=_RANKS,
        ),
        Metric(
            "table_exact",
            "share of equal tables, F1 of their cells, 0..1",
            ("struct",),
            table_exact,
            "table_exact",
            figures=_up("cell_f1"),
        ),
        Metric(
            "table_exact_any_order",
            "the same with rows in any order",
            ("struct",),
            table_exact_any_order,
            "table_exact_any_order",
            figures=_up("cell_f1_any_order"),
        ),
        Metric(
            "grid_exact",
            "share of equal grids, of right cells, 0..1",
            ("struct",),
            grid_exact,
            "grid_exact",
            figures=_up("cell_accuracy"),
        ),
        Metric(
            "triples_f1",
            "F1 of triples, 0..1",
            ("struct",),
            triples_f1,
            "triples_f1",
            figures=_up("triples_precision", "triples_recall"),
        ),
        Metric(
            "execution_accuracy",
            "share of SQL that gives the true result, 0..1",
            ("text",),
            execution_accuracy,
            "execution_accuracy",
            rooted=True,
            figures=_up("executable"),
        ),
        Metric("rmse", "root of the mean squared error, in the numbers' unit", ("number",), rmse, "rmse", False),
        Metric(
            "mae",
            "mean absolute error, in the numbers' unit",
            ("number",),
            mae,
            "mae",
            False,
            figures=_down("median_ae"),
        ),
        Metric("r2", "share of the variance that is explained, up to 1", ("number",), r2, "r2"),
        Metric(
            "calibration",
            "how far the predicted spreads are from telling where truths lie, 0..1",
            ("number",),
            calibration,
            "calibration_error",
            False,
            figures=_down("nll", "crps") | dict.fromkeys(("within_50", "within_90", "within_95", "spread")),
        ),
    )
}


@lru_cache(maxsize=1)
def known_metrics() -> Mapping[str, Metric]:
    """The built-in metrics and those of installed packages, by name; theirs are entry points `ofasys.metrics`.

    Errors: ConfigError naming the entry point that does not load, is no Metric, or has a name that is taken.
    """
    return with_brought(METRICS, entry_points(group="ofasys.metrics"), Metric, "metric", by_own_name)


# What a run tells beside the figures of metrics.
OTHER_FIGURES: dict[str, bool | None] = {
    "loss": False,
    "perplexity": False,
    "codebook_perplexity": True,
    "codebook_share": True,
}


def larger_is_better(figure: str, metrics: Iterable[Metric] | None = None) -> bool | None:
    """Whether a larger value of a figure is the better one; None where neither is, or it is not known.

    figure: the name of a metric (its headline is meant), of one of its figures, `METRIC/figure`, or `loss` and
    `loss/COLUMN`. metrics: those of the task, which may be of one's own; all that are known if None. The figures of a
    plain function are not known, nor is a figure that two metrics have in opposite directions.
    """
    own = list(known_metrics().values() if metrics is None else metrics)
    head, slash, rest = figure.partition("/")
    by_name = {metric.name: metric for metric in own}
    if slash and head in by_name:
        return by_name[head].directions.get(rest)
    found = {metric.directions[figure] for metric in own if figure in metric.directions}
    if found:
        return found.pop() if len(found) == 1 else None
    if figure in by_name:
        return by_name[figure].directions[by_name[figure].main]
    return OTHER_FIGURES.get(head)


def find(metric: str | Metric | Function, metrics: Mapping[str, Metric] | None = None) -> Metric:
    """The metric of that name, of `known_metrics` if None are given; a Metric as it is; a plain function as one that
    takes a value of any kind.

    The headline of a plain function stands under its name: the number it returns, or of a dict without that key the
    first.
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        metrics = known_metrics() if metrics is None else metrics
        if metric not in metrics:
            raise ConfigError(
                f"unknown metric {metric!r}; {nearest(metric, metrics)}known here: {', '.join(sorted(metrics))}"
            )
        return metrics[metric]
    if callable(metric):
        name = getattr(metric, "__name__", type(metric).__name__)
        about = (metric.__doc__ or "").strip().split("\n")[0]
        return Metric(name, about, ("any",), _Headed(metric, name), name, figures={name: None})
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
