"""Metrics of boxes, (x1, y1, x2, y2) in one unit or with such `corners`: one a sample, or many with their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from ofasys.errors import DataError
from ofasys.metric.pairs import pairs
from ofasys.metric.value import label, plain

Box = tuple[float, float, float, float]


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0..1; 0 where both are empty."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    union = _area(one) + _area(other) - common
    return common / union if union > 0 else 0.0


def iou_accuracy(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`iou_accuracy@0.5`, 0..1: the share of boxes with IoU >= 0.5; `mean_iou`, 0..1. None is "no box": IoU 0.

    A reference is a box or a list of alternative boxes: the best counts.
    """
    scored = pairs(predictions, references)
    best = []
    for i, (prediction, reference) in enumerate(scored):
        ways = [_true_box(way, i) for way in _boxes_of(reference, i)]
        found = None if prediction is None else _box(prediction, i)
        best.append(max(iou(found, way) for way in ways) if found else 0.0)
    return {
        "iou_accuracy@0.5": sum(value >= 0.5 for value in best) / len(best),
        "mean_iou": math.fsum(best) / len(best),
    }


def detection(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`f1@0.5`, `map@0.5` and `map` (COCO's, IoU 0.5 to 0.95), each 0..1.

    A prediction is (boxes, labels) or (boxes, labels, scores), a reference (boxes, labels). Without scores all boxes
    count as equally sure. F1: inside a sample, boxes in order of score each take the free reference box of their
    label that fits best, if its IoU is >= 0.5; hits and misses are counted over the whole data set. A reference label
    that has alternatives is not supported. mAP is computed by faster-coco-eval (at most 100 boxes a sample).
    """
    scored = [(_finding(p, i, True), _finding(r, i, False)) for i, (p, r) in enumerate(pairs(predictions, references))]
    if not any(truth.boxes for _, truth in scored):
        raise DataError("no sample has a reference box", expected="at least one box in the data set")
    hits = sum(_hits(found, truth) for found, truth in scored)
    drawn = sum(len(found.boxes) + len(truth.boxes) for found, truth in scored)
    mean, mean_half = _average_precision(scored)
    return {"f1@0.5": 2 * hits / drawn, "map": mean, "map@0.5": mean_half}


class _Finding(NamedTuple):
    boxes: list[Box]
    labels: list[str]
    scores: list[float]


def _hits(found: _Finding, truth: _Finding) -> int:
    free = list(range(len(truth.boxes)))
    hits = 0
    for i in sorted(range(len(found.boxes)), key=lambda i: -found.scores[i]):
        fits = [(iou(found.boxes[i], truth.boxes[j]), -j) for j in free if truth.labels[j] == found.labels[i]]
        best, place = max(fits, default=(0.0, 0))
        if best >= 0.5:
            free.remove(-place)
            hits += 1
    return hits


def _average_precision(scored: list[tuple[_Finding, _Finding]]) -> tuple[float, float]:
    from faster_coco_eval import COCO, COCOeval_faster

    names = sorted({label for pair in scored for finding in pair for label in finding.labels})
    number = {name: i for i, name in enumerate(names, start=1)}

    def rows(which: int) -> list[dict[str, Any]]:
        return [
            {
                "image_id": image,
                "category_id": number[label],
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "area": _area(box),
                "iscrowd": 0,
                "score": score,
            }
            for image, pair in enumerate(scored, start=1)
            for box, label, score in zip(*pair[which], strict=True)
        ]

    truth = COCO(
        {
            "images": [{"id": image} for image in range(1, len(scored) + 1)],
            "categories": [{"id": i, "name": name} for name, i in number.items()],
            "annotations": [{"id": i, **row} for i, row in enumerate(rows(1), start=1)],
        }
    )
    run = COCOeval_faster(truth, truth.loadRes(rows(0)), "bbox", print_function=lambda *_: None)
    run.evaluate()
    run.accumulate()
    run.summarize()
    return max(0.0, float(run.stats[0])), max(0.0, float(run.stats[1]))


def _finding(value: Any, sample: int, predicted: bool) -> _Finding:
    expected = "(boxes, labels) or (boxes, labels, scores)" if predicted else "(boxes, labels)"
    if not isinstance(value, list | tuple) or len(value) not in (2, 3)[: 1 + predicted]:
        raise DataError(f"not a list of boxes with its labels: {value!r:.80}", expected=expected, sample=sample)
    parts = [_listed(part, sample, expected) for part in value]
    boxes = [_box(box, sample) if predicted else _true_box(box, sample) for box in parts[0]]
    scores = [float(score) for score in parts[2]] if len(parts) == 3 else [1.0] * len(boxes)
    if len(boxes) != len(parts[1]) or len(boxes) != len(scores):
        counts = ", ".join(str(len(part)) for part in parts)
        raise DataError(f"boxes, labels and scores differ in number: {counts}", expected=expected, sample=sample)
    if any(math.isnan(score) for score in scores):
        raise DataError("the score of a box is NaN", expected="a number", sample=sample)
    return _Finding(boxes, [_label(name, sample) for name in parts[1]], scores)


def _label(value: Any, sample: int) -> str:
    value = plain(value)
    if not isinstance(value, str | int | float | Decimal):
        raise DataError(f"not a label: {value!r:.80}", expected="a text or a number", sample=sample)
    return label(value)


def _listed(value: Any, sample: int, expected: str) -> list[Any]:
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, list | tuple):
        raise DataError(f"not a list: {value!r:.80}", expected=expected, sample=sample)
    return list(value)


def _boxes_of(reference: Any, sample: int) -> list[Any]:
    """One box or a list of alternatives, as a list."""
    if hasattr(reference, "corners"):
        return [reference]
    listed = _listed(reference, sample, "four numbers, or a list of boxes") if reference is not None else []
    if not listed:
        raise DataError("the reference box is missing", expected="x1, y1, x2, y2", sample=sample)
    nested = isinstance(listed[0], list | tuple) or getattr(listed[0], "ndim", 0) > 0
    return listed if nested else [listed]


def _box(value: Any, sample: int) -> Box:
    value = getattr(value, "corners", value)  # of a box that is written in another way
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, list | tuple) or isinstance(value, Mapping) or len(value) != 4:
        raise DataError(f"not a box: {value!r:.80}", expected="four numbers x1, y1, x2, y2", sample=sample)
    try:
        x1, y1, x2, y2 = (float(number) for number in value)
    except (TypeError, ValueError):
        raise DataError(f"not a box: {value!r:.80}", expected="four numbers x1, y1, x2, y2", sample=sample) from None
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise DataError(f"a box with {value!r:.80}", expected="four finite numbers", sample=sample)
    return x1, y1, x2, y2


def _true_box(value: Any, sample: int) -> Box:
    box = _box(value, sample)
    if _area(box) <= 0:
        raise DataError(f"the reference box {value!r:.80} is empty", expected="x1 < x2 and y1 < y2", sample=sample)
    return box


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
