"""Which label is taken for which: the counts behind precision, recall and F1 by label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ofasys.metric.label import label_pairs

IN_A_LINE = 50  # labels told of in one line of a log


@dataclass(frozen=True)
class Confusion:
    """labels: those in the answers or the references, sorted. counts: (true label, answer) -> samples; an answer of
    None is "no answer".
    """

    labels: tuple[str, ...]
    counts: Counter[tuple[str, str | None]]

    @classmethod
    def of(cls, predictions: Sequence[Any], references: Sequence[Any], labels: Sequence[str] = ()) -> Confusion:
        """labels: further ones, that may be in neither. Errors: DataError, as of `f1`."""
        scored = label_pairs(predictions, references)
        known = {label for pair in scored for label in pair if label is not None} | set(labels)
        return cls(tuple(sorted(known)), Counter((true, found) for found, true in scored))

    @cached_property
    def true(self) -> Counter[str]:
        """Label -> samples whose reference it is."""
        return self._side(0)

    @cached_property
    def answered(self) -> Counter[str]:
        """Label -> samples whose answer it is."""
        return self._side(1)

    @property
    def unanswered(self) -> int:
        """Samples without an answer."""
        return sum(count for (_, found), count in self.counts.items() if found is None)

    @cached_property
    def hits(self) -> Counter[str]:
        """Label -> samples answered with it rightly."""
        return Counter({true: count for (true, found), count in self.counts.items() if true == found})

    def precision(self, label: str) -> float:
        """Of the answers with this label, the share that is right; 0 where there is none, as scikit-learn's."""
        return self.hits[label] / self.answered[label] if self.answered[label] else 0.0

    def recall(self, label: str) -> float:
        """Of the samples with this label, the share answered rightly; 0 where there is none."""
        return self.hits[label] / self.true[label] if self.true[label] else 0.0

    def f1(self, label: str) -> float:
        """2h / (a + t) for h hits, a answers and t references; 0 where all are 0."""
        drawn = self.answered[label] + self.true[label]
        return 2 * self.hits[label] / drawn if drawn else 0.0

    def frequent(self, most: int) -> list[str]:
        """The `most` labels that stand most often in references and answers; in the order of `labels`."""
        if len(self.labels) <= most:
            return list(self.labels)
        order = sorted(self.labels, key=lambda label: (-self.true[label] - self.answered[label], label))
        return sorted(order[:most])

    def mixed(self, most: int) -> list[tuple[str, str | None, int]]:
        """(true label, wrong answer, samples): what is taken for what, most often first."""
        wrong = [(true, found, count) for (true, found), count in self.counts.items() if true != found]
        return sorted(wrong, key=lambda one: (-one[2], one[0], one[1] or ""))[:most]

    def line(self, most: int = IN_A_LINE) -> dict[str, Any]:
        """As the log holds it, in numbers JSON has: for the `most` most frequent labels lists of their figures, and the
        `confusion` as [true label, answer or null, samples] by numbers in `labels`. `labels_left_out`: how many others
        there are.
        """
        labels = self.frequent(most)
        number: dict[str | None, int | None] = {label: i for i, label in enumerate(labels)}
        number[None] = None
        among = sorted(
            (
                [i, number[found], n]
                for (true, found), n in self.counts.items()
                if (i := number.get(true, -1)) != -1 and found in number
            ),
            key=lambda one: (one[0], -1 if one[1] is None else one[1]),
        )
        return {
            "samples": sum(self.counts.values()),
            "labels": labels,
            "labels_left_out": len(self.labels) - len(labels),
            "true": [self.true[label] for label in labels],
            "answered": [self.answered[label] for label in labels],
            "precision": [_short(self.precision(label)) for label in labels],
            "recall": [_short(self.recall(label)) for label in labels],
            "f1": [_short(self.f1(label)) for label in labels],
            "confusion": among,
            "unanswered": self.unanswered,
        }

    def _side(self, side: int) -> Counter[str]:
        found: Counter[str] = Counter()
        for pair, count in self.counts.items():
            if (label := pair[side]) is not None:
                found[label] += count
        return found


def precision(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`precision`, 0..1: of each label the share of its answers that is right, their plain mean ("macro");
    `precision_micro`: of all answers.

    The labels are those that stand in the answers or the references; one that is never answered counts 0, as in
    scikit-learn. None is "no answer": no label, and no answer of any. Without any answer both are 0.
    """
    found = Confusion.of(predictions, references)
    answers = found.answered.total()
    return {
        "precision": _mean([found.precision(label) for label in found.labels]),
        "precision_micro": found.hits.total() / answers if answers else 0.0,
    }


def recall(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`recall`, 0..1: of each label the share of its samples answered rightly, their plain mean ("macro");
    `recall_micro`: of all samples.

    The labels are those that stand in the answers or the references; one that is never true counts 0, as in
    scikit-learn; `mean_class_accuracy` leaves it out. None is "no answer", and wrong.
    """
    found = Confusion.of(predictions, references)
    return {
        "recall": _mean([found.recall(label) for label in found.labels]),
        "recall_micro": found.hits.total() / found.true.total(),
    }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _short(value: float) -> float:
    return round(value, 4)
