"""Predictions of slots, brought to the criteria that judge them."""

from __future__ import annotations

from collections.abc import Sequence

from ofasys.criterion.criterion import CRITERIA
from ofasys.types import SlotPrediction, Verdict


def judged_together(predictions: Sequence[SlotPrediction]) -> list[list[SlotPrediction]]:
    """Each alone, but for those of a criterion that sees all the slots that name it."""
    groups: dict[str, list[SlotPrediction]] = {}
    for prediction in predictions:
        name = prediction.goal.criterion
        key = name if CRITERIA[name].view == "all" else f"{name} {prediction.goal.slot}"
        groups.setdefault(key, []).append(prediction)
    return list(groups.values())


def judge(predictions: Sequence[SlotPrediction]) -> Verdict:
    """What their criterion finds. Predictions of one group of `judged_together`."""
    first = predictions[0]
    seen = predictions if CRITERIA[first.goal.criterion].view == "all" else first
    verdict: Verdict = first.module(seen)
    return verdict
