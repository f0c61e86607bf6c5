"""Metrics of single values: is the answer the right one?"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ofasys.errors import DataError
from ofasys.metric.pairs import pairs, shown
from ofasys.metric.value import key, label, plain
from ofasys.metric.word import even

Label = str | int | float | Decimal
PLAIN = (str, int, float, Decimal, bytes, list, dict, type(None))


def accuracy(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`accuracy`, 0..1: the share of answers equal to their reference (or one of its alternatives).

    Values are labels: texts, numbers, truth values, compared as by `exact_match`. None is "no answer" and wrong.
    """
    scored = pairs(predictions, references)
    hits = 0
    for i, (prediction, reference) in enumerate((plain(one), plain(other)) for one, other in scored):
        ways = _ways(reference)
        for value in (prediction, *ways):
            if not isinstance(value, Label | None):
                kind = type(value).__name__
                raise DataError(f"a {kind} is not a label: {shown(value)}", expected="a text or a number", sample=i)
        if not ways or None in ways:
            raise DataError("the reference is missing", expected="a text or a number", sample=i)
        hits += any(_same(prediction, way) for way in ways)
    return {"accuracy": hits / len(scored)}


def exact_match(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`exact_match`, 0..1: the share of answers equal to their reference (or one of its alternatives).

    Values of any kind: texts (blanks of any kind at the ends and the length of runs of them do not count, nor whether
    an accent is a character of its own; case and punctuation do), numbers (the same when equal, without tolerance: 1
    and 1.0), truth values (True is not 1), lists and dicts of them. A number equals the text that writes it, since a
    value may travel through the model as text. None is "no answer" and wrong. A list as prediction is compared with the
    reference as a whole. Errors: DataError for a text whose reference is a list, as of (SQL, database): no text would
    ever be right.
    """
    scored = pairs(predictions, references)
    hits = 0
    for i, (prediction, reference) in enumerate((plain(one), plain(other)) for one, other in scored):
        ways = [reference] if isinstance(prediction, list) else _ways(reference)
        if isinstance(prediction, str) and (lists := [way for way in ways if isinstance(way, list)]):
            expected = "a reference that is a text too; leave exact_match out, or give it rows of its own"
            raise DataError(
                f"the answer is a text, and a reference the list {lists[0]!r:.80}", expected=expected, sample=i
            )
        hits += prediction is not None and any(_same(prediction, way) for way in ways)
    return {"exact_match": hits / len(scored)}


def f1(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`f1`, 0..1: F1 of each label, their plain mean ("macro"); `f1_micro`, 0..1: over all decisions.

    The labels are those that stand in the answers or the references, as in scikit-learn; None is "no answer": it costs
    its true label a hit and is no label itself.
    """
    scored = label_pairs(predictions, references)
    labels = sorted({label for pair in scored for label in pair if label is not None})
    hits = Counter(one for one, other in scored if one == other)
    found = Counter(one for one, _ in scored if one is not None)
    true = Counter(other for _, other in scored)
    each = [2 * hits[label] / (found[label] + true[label]) for label in labels]
    micro = 2 * hits.total() / (found.total() + true.total())
    return {"f1": math.fsum(each) / len(each), "f1_micro": micro}


POSITIVE = ("1", "true", "yes", "positive")


def f1_binary(predictions: Sequence[Any], references: Sequence[Any], positive: Label | None = None) -> dict[str, float]:
    """`f1_binary`, `precision`, `recall`, each 0..1, of one label; 0 where it is never answered, or never true.

    positive: that label. Without it, the one of POSITIVE (in any case) that the values hold. Errors: DataError where
    they hold none or two of them.
    """
    scored = label_pairs(predictions, references)
    values = {label for pair in scored for label in pair if label is not None}
    able = (
        sorted(v for v in values if v.lower() in POSITIVE) if positive is None else [_label(plain(positive), values, 0)]
    )
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
    scored = label_pairs(predictions, references)
    n, hits = len(scored), sum(one == other for one, other in scored)
    found, true = Counter(one for one, _ in scored), Counter(other for _, other in scored)
    both = sum(found[label] * count for label, count in true.items())
    spread = (n * n - sum(c * c for c in found.values())) * (n * n - sum(c * c for c in true.values()))
    return {"matthews": (hits * n - both) / math.sqrt(spread) if spread else 0.0}


def mean_class_accuracy(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`mean_class_accuracy`, 0..1: the share of right answers for each true label, then their plain mean.

    Also called balanced accuracy. A label that is never true does not count.
    """
    scored = label_pairs(predictions, references)
    true, hits = Counter(other for _, other in scored), Counter(other for one, other in scored if one == other)
    return {"mean_class_accuracy": math.fsum(hits[label] / count for label, count in true.items()) / len(true)}


def vqa_score(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`vqa_score`, 0..1: how many of the people asked gave this answer (Antol et al. 2015).

    A reference is the list of all answers given, ten in VQA. An answer scores min(others who gave it / 3, 1), averaged
    over the subsets that leave one person out, so 4 of n agreeing people are full marks. A reference that is one text
    scores 1 if equal. Texts are compared as the official evaluation does: in lower case, without articles and
    punctuation (that of any script), numbers up to ten as digits, contractions with their apostrophe. Where that leaves
    nothing ("?"), the text itself is.
    """
    total = []
    for i, (prediction, reference) in enumerate(pairs(predictions, references)):
        prediction, ways = plain(prediction), _ways(plain(reference))
        if not ways or not all(isinstance(way, Label) for way in ways):
            raise DataError(f"the answers given are {shown(reference)}", expected="a list of texts", sample=i)
        if not isinstance(prediction, Label | None):
            kind = type(prediction).__name__
            raise DataError(f"a {kind} is no answer: {shown(prediction)}", expected="a text or None", sample=i)
        agree = 0 if prediction is None else [*map(_spoken, ways)].count(_spoken(prediction))
        n = len(ways)
        # leaving out one who agrees: agree - 1 are left; one who does not: agree
        left_out = agree * min((agree - 1) / 3, 1.0) + (n - agree) * min(agree / 3, 1.0)
        total.append(float(agree) if n == 1 else left_out / n)
    return {"vqa_score": math.fsum(total) / len(total)}


_NUMBERS = "zero one two three four five six seven eight nine ten".split()  # noqa: SIM905
_DIGITS = {"none": "0", **{word: str(i) for i, word in enumerate(_NUMBERS)}}
_CONTRACTIONS = """ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't
must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've
somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll that's
there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't
what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've"""
_WHOLE = {
    word[:i] + word[i + 1 :]: word for word in _CONTRACTIONS.split() for i, char in enumerate(word) if char == "'"
} | {"somebody'd": "somebodyd"}
_PUNCTUATION = frozenset(';/[]"{}()=+\\_-><@`,?!')
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07", "'"))


def _spoken(answer: Any) -> str:
    """An answer as two people would agree that it is the same: VQA's rules, which know ASCII's punctuation, and the
    same for the rest.
    """
    given = even(answer if isinstance(answer, str) else label(answer)).strip()
    text = given.translate(_APOSTROPHES)
    between_digits = re.search(r"[0-9],[0-9]", text) is not None
    for sign in _PUNCTUATION & set(text):
        at_a_blank = f"{sign} " in given or f" {sign}" in given
        text = text.replace(sign, "" if at_a_blank or between_digits else " ")
    text = re.sub(r"\.(?!\d)", "", text)
    if not text.isascii():
        text = "".join(" " if not c.isascii() and unicodedata.category(c)[0] == "P" else c for c in text)
    words = [_DIGITS.get(word, word) for word in text.lower().split()]
    return " ".join(_WHOLE.get(word, word) for word in words if word not in ("a", "an", "the")) or given.lower()


def label_pairs(predictions: Sequence[Any], references: Sequence[Any]) -> list[tuple[str | None, str]]:
    """Labels as the texts that write them. Errors: DataError for a value that is none, a missing reference,
    alternatives.

    1 and 1.0 are one label; where texts write it "1.0", it is that.
    """
    scored = [(plain(one), plain(other)) for one, other in pairs(predictions, references)]
    texts = {value for pair in scored for value in pair if isinstance(value, str)}
    return [
        (None if prediction is None else _label(prediction, texts, i), _label(reference, texts, i))
        for i, (prediction, reference) in enumerate(scored)
    ]


def _label(value: Any, texts: set[str], sample: int) -> str:
    if not isinstance(value, Label):
        kind = type(value).__name__
        raise DataError(f"a {kind} is not a label: {shown(value)}", expected="one text or number", sample=sample)
    return str(value) if isinstance(value, float | Decimal) and str(value) in texts else label(value)


def _ways(reference: Any) -> list[Any]:
    return reference if isinstance(reference, list) else [reference]


def _same(one: Any, other: Any) -> bool:
    """Whether two plain values are the same; a number and a text, if the text writes the number."""
    if isinstance(one, str) and isinstance(other, str):
        return one == other or label(one) == label(other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, str) != isinstance(other, str) and isinstance(one, Label) and isinstance(other, Label):
        text, number = (one, other) if isinstance(one, str) else (other, one)
        return label(text) in ({label(number)} if isinstance(number, int) else {label(number), str(number)})
    if not isinstance(one, PLAIN) and not isinstance(other, PLAIN):
        return bool(one == other)
    return key(one) == key(other)
