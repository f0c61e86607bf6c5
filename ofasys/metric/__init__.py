"""Metrics: pure functions (predictions, references) -> dict, and the registry that knows them by name."""

from ofasys.metric.box import detection, iou, iou_accuracy
from ofasys.metric.label import accuracy, exact_match
from ofasys.metric.metric import METRICS, Metric, find
from ofasys.metric.text import bleu, cider, rouge_l

__all__ = [
    "METRICS",
    "Metric",
    "accuracy",
    "bleu",
    "cider",
    "detection",
    "exact_match",
    "find",
    "iou",
    "iou_accuracy",
    "rouge_l",
]
