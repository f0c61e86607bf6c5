"""Predictions brought to their criteria: the sum of losses of each slot, and what is minimised.

Nothing here asks the device for a number: it would have to finish all that is queued first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ofasys.criterion.check import check_output, check_tokens
from ofasys.criterion.criterion import CROSS_ENTROPY, Criterion
from ofasys.errors import DataError
from ofasys.types import Batch, Loss, Prediction, SlotPrediction

if TYPE_CHECKING:
    from typing import Annotated as Float


@dataclass(frozen=True)
class Bound:
    """A slot's criterion: its record, the slot's options, and its module where it is not over tokens."""

    record: Criterion
    options: Mapping[str, Any]
    module: nn.Module | None


def losses(
    predictions: Sequence[Prediction | SlotPrediction],
    criteria: Mapping[int, Bound],
    batch: Batch,
    scale: Float[Tensor, "S"] | None = None,
    smoothing: float = 0.0,
) -> Loss:
    """The losses of a batch. criteria: slot -> what it is learned by.

    scale: factor of each slot's sum in what is minimised; None: its weight by its units, so that the total is the
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
            terms.append(_of_tokens(prediction, criteria[prediction.targets.slot], scale, sums, smoothing))
    figures: dict[int, Mapping[str, Tensor]] = {}
    left_out: dict[int, Mapping[str, Tensor]] = {}
    for seen in grouped([p for p in predictions if isinstance(p, SlotPrediction)], criteria):
        slot = seen[0].targets.slot
        bound = criteria[slot]
        assert bound.module is not None
        found = check_output(bound.record, bound.module(seen if bound.record.view == "all" else seen[0]))
        terms.append(found.sum.float() * scale[slot])
        sums[slot] += found.sum.detach()
        figures[slot], left_out[slot] = found.figures, found.left_out
    return Loss(sum(terms[1:], terms[0]), sums, batch.units, figures, left_out)


def _of_tokens(
    prediction: Prediction, bound: Bound, scale: Float[Tensor, "S"], sums: Float[Tensor, "S"], smoothing: float
) -> Float[Tensor, ""]:
    """The scaled loss of some tokens, with its gradient; their losses are added to the sums of their slots."""
    targets = prediction.targets
    factors = scale[targets.slots]
    record = bound.record if bound.record.of.tokens else CROSS_ENTROPY  # whether a repetition of its values goes on
    own = {"options": {name: bound.options[name] for name in record.keyed}} if record.keyed else {}
    found = record.resolve()(
        prediction.hidden,
        prediction.candidates,
        targets.labels,
        weights=factors if targets.weights is None else factors * targets.weights,
        allowed=targets.allowed,
        smoothing=smoothing,
        **own,
    )
    loss, each = check_tokens(record, found, len(targets.labels))
    sums.index_add_(0, targets.slots, each.to(sums.dtype))
    return loss


def grouped(predictions: Sequence[SlotPrediction], criteria: Mapping[int, Bound]) -> list[list[SlotPrediction]]:
    """Each alone, but for those of a criterion that sees all the slots that name it."""
    groups: dict[str, list[SlotPrediction]] = {}
    for prediction in predictions:
        record = criteria[prediction.targets.slot].record
        key = record.name if record.view == "all" else f"{record.name} {prediction.targets.slot}"
        groups.setdefault(key, []).append(prediction)
    return list(groups.values())
