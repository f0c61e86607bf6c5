"""Metrics of single values: is the answer the right one?"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ofasys.errors import DataError
from ofasys.metric.pairs import pairs, shown


def accuracy(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`accuracy`, 0..1: the share of answers equal to their reference (or one of its alternatives).

    Values are labels: texts, numbers, truth values. None is "no answer" and wrong. A number equals the text that writes
    it, since a label travels through the model as text.
    """
    scored = pairs(predictions, references)
    hits = 0
    for i, (prediction, reference) in enumerate(scored):
        ways = _ways(reference)
        for value in (prediction, *ways):
            if not isinstance(_plain(value), str | int | float | None):
                kind = type(value).__name__
                raise DataError(f"a {kind} is not a label: {shown(value)}", expected="a text or a number", sample=i)
        if not ways or None in ways:
            raise DataError("the reference is missing", expected="a text or a number", sample=i)
        hits += any(_same(prediction, way) for way in ways)
    return {"accuracy": hits / len(scored)}


def exact_match(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`exact_match`, 0..1: the share of answers equal to their reference (or one of its alternatives).

    Values of any kind: texts (blanks at the ends and the length of runs of blanks do not count, case does), numbers,
    lists. A list as prediction is compared with the reference as a whole.
    """
    scored = pairs(predictions, references)
    hits = 0
    for prediction, reference in scored:
        whole = isinstance(_plain(prediction), list)
        hits += any(_same(prediction, way) for way in ([reference] if whole else _ways(reference)))
    return {"exact_match": hits / len(scored)}


def f1(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`f1`, 0..1: F1 of each label, their plain mean ("macro"); `f1_micro`, 0..1: over all decisions.

    The labels are those that stand in the answers or the references, as in scikit-learn; None is "no answer": it costs
    its true label a hit and is no label itself.
    """
    scored = _label_pairs(predictions, references)
    labels = sorted({label for pair in scored for label in pair if label is not None})
    hits = Counter(one for one, other in scored if one == other)
    found = Counter(one for one, _ in scored if one is not None)
    true = Counter(other for _, other in scored)
    each = [2 * hits[label] / (found[label] + true[label]) for label in labels]
    micro = 2 * hits.total() / (found.total() + true.total())
    return {"f1": math.fsum(each) / len(each), "f1_micro": micro}


POSITIVE = ("1", "true", "yes", "positive")


def f1_binary(
    predictions: Sequence[Any], references: Sequence[Any], positive: str | int | bool | None = None
) -> dict[str, float]:
    """`f1_binary`, `precision`, `recall`, each 0..1, of one label; 0 where it is never answered, or never true.

    positive: that label. Without it, the one of POSITIVE (in any case) that the values hold. Errors: DataError where
    they hold none or two of them.
    """
    scored = _label_pairs(predictions, references)
    values = {label for pair in scored for label in pair if label is not None}
    able = sorted(v for v in values if v.lower() in POSITIVE) if positive is None else [_label(positive, 0)]
    if len(able) != 1:
        raise DataError(
            f"which label is the positive one? the labels are {sorted(values)!r:.80}",
            expected=f"one of them to be among {', '.join(POSITIVE)}; else use f1, or pass positive=",
        )
    hits = sum(one == other == able[0] for one, other in scored)
    found, true = (sum(pair[side] == able[0] for pair in scored) for side in (0, 1))
    return {
        "f1_binary": 2 * hits / (found + true) if found + true else 0.0,
        "precision": hits / found if found else 0.0,
        "recall": hits / true if true else 0.0,
    }


def matthews(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`matthews`, -1..1: the correlation of answers and true labels; of any number of labels (Gorodkin 2004).

    0 where either side is always the same label. None is "no answer", a label of its own.
    """
    scored = _label_pairs(predictions, references)
    n, hits = len(scored), sum(one == other for one, other in scored)
    found, true = Counter(one for one, _ in scored), Counter(other for _, other in scored)
    both = sum(found[label] * count for label, count in true.items())
    spread = (n * n - sum(c * c for c in found.values())) * (n * n - sum(c * c for c in true.values()))
    return {"matthews": (hits * n - both) / math.sqrt(spread) if spread else 0.0}


def mean_class_accuracy(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`mean_class_accuracy`, 0..1: the share of right answers for each true label, then their plain mean.

    Also called balanced accuracy. A label that is never true does not count.
    """
    scored = _label_pairs(predictions, references)
    true, hits = Counter(other for _, other in scored), Counter(other for one, other in scored if one == other)
    return {"mean_class_accuracy": math.fsum(hits[label] / count for label, count in true.items()) / len(true)}


def vqa_score(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`vqa_score`, 0..1: how many of the people asked gave this answer (Antol et al. 2015).

    A reference is the list of all answers given, ten in VQA. An answer scores min(others who gave it / 3, 1), averaged over the
    subsets that leave one person out, so 4 of n agreeing people are full marks. A reference that is one text
    scores 1 if equal. Texts are compared in lower case, without articles, punctuation and apostrophes, with numbers up to ten as digits.
    """
    total = []
    for i, (prediction, reference) in enumerate(pairs(predictions, references)):
        ways = _ways(reference)
        if not ways or not all(isinstance(way, str | int | float) for way in ways):
            raise DataError(f"the answers given are {shown(reference)}", expected="a list of texts", sample=i)
        agree = 0 if prediction is None else sum(_spoken(prediction) == _spoken(way) for way in ways)
        n = len(ways)
        # leaving out one who agrees: agree - 1 are left; one who does not: agree
        left_out = agree * min((agree - 1) / 3, 1.0) + (n - agree) * min(agree / 3, 1.0)
        total.append(float(agree) if n == 1 else left_out / n)
    return {"vqa_score": math.fsum(total) / len(total)}


_NUMBERS = "zero one two three four five six seven eight nine ten".split()  # noqa: SIM905
_DIGITS = {"none": "0", **{word: str(i) for i, word in enumerate(_NUMBERS)}}


def _spoken(answer: Any) -> str:
    """An answer as two people would agree that it is the same."""
    text = re.sub(r"(?<=\d),(?=\d)", "", str(answer).lower())
    text = re.sub(r"['\u2019`]", "", text)
    words = re.sub(r"(?!(?<=\d)\.(?=\d))[^\w\s:%$]", " ", text).split()
    return " ".join(_DIGITS.get(word, word) for word in words if word not in ("a", "an", "the"))


def _label_pairs(predictions: Sequence[Any], references: Sequence[Any]) -> list[tuple[str | None, str]]:
    """Labels as the texts that write them. Errors: DataError for a value that is none, a missing reference, alternatives."""
    return [
        (None if prediction is None else _label(prediction, i), _label(reference, i))
        for i, (prediction, reference) in enumerate(pairs(predictions, references))
    ]


def _label(value: Any, sample: int) -> str:
    value = _plain(value)
    if not isinstance(value, str | int | float):
        kind = type(value).__name__
        raise DataError(f"a {kind} is not a label: {shown(value)}", expected="one text or number", sample=sample)
    return " ".join(str(value).split())


def _ways(reference: Any) -> list[Any]:
    reference = _plain(reference)
    return reference if isinstance(reference, list) else [reference]


def _plain(value: Any) -> Any:
    """Arrays and numpy numbers as Python values, tuples as lists."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, tuple) else value


def _same(one: Any, other: Any) -> bool:
    one, other = _plain(one), _plain(other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if one is None or other is None:
        return False
    if isinstance(one, str) or isinstance(other, str):
        return " ".join(str(one).split()) == " ".join(str(other).split())
    return bool(one == other)
