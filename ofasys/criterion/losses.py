"""Predictions brought to their criteria: the sum of losses of each slot, and what is minimised.

Nothing here asks the device for a number: it would have to finish all that is queued first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ofasys.criterion.criterion import CRITERIA
from ofasys.criterion.cross_entropy import cross_entropy
from ofasys.errors import DataError
from ofasys.types import Batch, Loss, LossOutput, Prediction, SlotPrediction


def losses(
    predictions: Sequence[Prediction | SlotPrediction],
    criteria: Mapping[int, nn.Module],
    batch: Batch,
    scale: Tensor | None = None,
    smoothing: float = 0.0,
) -> Loss:
    """The losses of a batch. criteria: slot -> its criterion, of those that are not over tokens.

    scale (S,): factor of each slot's sum in what is minimised; None: its weight by its units, so that the total is the
    weighted sum of the slots' means. Parts of a batch with the scale of the whole add up to the whole, but for criteria
    that compare the samples of a batch. Errors: DataError where there is nothing to predict.
    """
    if not predictions:
        raise DataError(
            "the batch holds no token with a choice, so there is nothing to learn", expected="a slot to predict"
        )
    scale = batch.weights / batch.units.clamp(min=1) if scale is None else scale
    sums = torch.zeros_like(batch.units)
    terms: list[Tensor] = []
    for prediction in predictions:
        if isinstance(prediction, Prediction):
            terms.append(_of_tokens(prediction, scale, sums, smoothing))
    figures: dict[int, Mapping[str, Tensor]] = {}
    left_out: dict[int, Mapping[str, Tensor]] = {}
    for seen in grouped([p for p in predictions if isinstance(p, SlotPrediction)]):
        slot = seen[0].targets.slot
        found: LossOutput = criteria[slot](seen if CRITERIA[seen[0].targets.criterion].view == "all" else seen[0])
        terms.append(found.sum.float() * scale[slot])
        sums[slot] += found.sum.detach()
        figures[slot], left_out[slot] = found.figures, found.left_out
    return Loss(sum(terms[1:], terms[0]), sums, batch.units, figures, left_out)


def _of_tokens(prediction: Prediction, scale: Tensor, sums: Tensor, smoothing: float) -> Tensor:
    """The scaled loss () of some tokens, with its gradient; their losses are added to the sums of their slots."""
    targets = prediction.targets
    factors = scale[targets.slots]
    loss, each, _ = cross_entropy(
        prediction.hidden,
        prediction.candidates,
        targets.labels,
        weights=factors if targets.weights is None else factors * targets.weights,
        allowed=targets.allowed,
        smoothing=smoothing,
    )
    sums.index_add_(0, targets.slots, each.to(sums.dtype))
    return loss


def grouped(predictions: Sequence[SlotPrediction]) -> list[list[SlotPrediction]]:
    """Each alone, but for those of a criterion that sees all the slots that name it."""
    groups: dict[str, list[SlotPrediction]] = {}
    for prediction in predictions:
        name = prediction.targets.criterion
        key = name if CRITERIA[name].view == "all" else f"{name} {prediction.targets.slot}"
        groups.setdefault(key, []).append(prediction)
    return list(groups.values())
