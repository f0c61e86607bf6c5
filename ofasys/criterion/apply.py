"""Predictions of slots, brought to the criteria that judge them."""

from __future__ import annotations

from collections.abc import Sequence

from ofasys.criterion.criterion import CRITERIA
from ofasys.types import LossOutput, SlotPrediction


def grouped(predictions: Sequence[SlotPrediction]) -> list[list[SlotPrediction]]:
    """Each alone, but for those of a criterion that sees all the slots that name it."""
    groups: dict[str, list[SlotPrediction]] = {}
    for prediction in predictions:
        name = prediction.targets.criterion
        key = name if CRITERIA[name].view == "all" else f"{name} {prediction.targets.slot}"
        groups.setdefault(key, []).append(prediction)
    return list(groups.values())


def apply_criterion(predictions: Sequence[SlotPrediction]) -> LossOutput:
    """What their criterion finds. Predictions of one group of `grouped`."""
    first = predictions[0]
    seen = predictions if CRITERIA[first.targets.criterion].view == "all" else first
    verdict: LossOutput = first.module(seen)
    return verdict
