"""Confusion, precision and recall, beside scikit-learn."""

import json
import random
import warnings

import pytest
from sklearn import metrics as sk

from ofasys.errors import DataError
from ofasys.metric import Confusion, f1, precision, recall

LABELS = ["a", "b b", "été", "<b>", "猫", "1", "never said"]
CASES = {
    "usual": (["a", "a", "b b", "été"], ["a", "b b", "b b", "été"]),
    "never answered": (["a", "a", "a"], ["a", "b b", "猫"]),
    "never true": (["<b>", "猫", "a"], ["a", "a", "a"]),
    "all wrong": (["a", "b b"], ["b b", "a"]),
    "one row": (["a"], ["a"]),
    "one label": (["a", "a"], ["a", "a"]),
}


def theirs(which, predictions, references, average):
    labels = sorted(set(predictions) | set(references)) if average == "macro" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return which(references, predictions, labels=labels, average=average, zero_division=0)


@pytest.mark.parametrize("case", CASES)
def test_as_scikit_learn(case):
    predictions, references = CASES[case]
    for name, ours, which in (("precision", precision, sk.precision_score), ("recall", recall, sk.recall_score)):
        found = ours(predictions, references)
        assert found[name] == pytest.approx(theirs(which, predictions, references, "macro"))
        assert found[f"{name}_micro"] == pytest.approx(theirs(which, predictions, references, "micro"))


def test_by_label_as_scikit_learn():
    draw = random.Random(0)
    references = [draw.choice(LABELS[:5]) for _ in range(300)]
    predictions = [draw.choice(LABELS[1:6]) if draw.random() < 0.6 else true for true in references]
    found = Confusion.of(predictions, references)
    labels = sorted(set(references) | set(predictions))
    assert list(found.labels) == labels
    table = sk.confusion_matrix(references, predictions, labels=labels)
    assert [[found.counts[true, answer] for answer in labels] for true in labels] == table.tolist()
    each = sk.precision_recall_fscore_support(references, predictions, labels=labels, zero_division=0)
    for i, label in enumerate(labels):
        own = found.precision(label), found.recall(label), found.f1(label), found.true[label]
        assert own == pytest.approx([column[i] for column in each])
    macro = sum(map(found.f1, labels)) / len(labels)
    assert macro == pytest.approx(f1(predictions, references)["f1"])


def test_no_answer_is_a_column_and_no_label():
    predictions, references = ["a", None, None, "b b"], ["a", "a", "b b", "a"]
    found = Confusion.of(predictions, references)
    assert found.labels == ("a", "b b")
    assert found.unanswered == 2
    assert found.counts["a", None] == 1
    # As scikit-learn has it, with a label of its own for no answer that is left out of the mean.
    said = ["(none)" if one is None else one for one in predictions]
    expected = sk.precision_score(references, said, labels=["a", "b b"], average="macro", zero_division=0)
    assert precision(predictions, references)["precision"] == pytest.approx(expected)
    assert precision(predictions, references)["precision_micro"] == pytest.approx(1 / 2)
    assert recall(predictions, references)["recall_micro"] == pytest.approx(1 / 4)
    nothing = precision([None], ["a"])
    assert nothing == {"precision": 0.0, "precision_micro": 0.0}


def test_labels_are_the_same_as_in_other_metrics():
    found = Confusion.of(["caf\u00e9", 1.0, "a  b"], ["cafe\u0301", "1", "a b"])
    assert found.hits.total() == 3
    with pytest.raises(DataError, match="not a label"):
        Confusion.of(["a"], [["a", "b"]])
    with pytest.raises(DataError, match="not a label"):
        precision(["a"], [None])


def test_the_line_of_the_log_is_bounded_and_strict():
    draw = random.Random(1)
    references = [f"label {min(int(draw.expovariate(0.02)), 999):03d}" for _ in range(5000)]
    predictions = [None if draw.random() < 0.1 else draw.choice(references) for _ in references]
    found = Confusion.of(predictions, references)
    line = found.line()
    text = json.dumps(line, allow_nan=False)
    assert len(text) < 40_000
    assert len(line["labels"]) == 50
    assert line["labels_left_out"] == len(found.labels) - 50
    often = {label: found.true[label] + found.answered[label] for label in found.labels}
    least = min(often[label] for label in line["labels"])
    assert all(often[label] <= least for label in found.labels if label not in line["labels"])
    for i, j, count in line["confusion"]:
        assert found.counts[line["labels"][i], None if j is None else line["labels"][j]] == count
    whole = found.line(10_000)
    assert sum(count for *_, count in whole["confusion"]) == whole["samples"] == 5000
    assert sum(count for _, j, count in whole["confusion"] if j is None) == whole["unanswered"] == found.unanswered


def test_what_is_mixed_up_most():
    found = Confusion.of(["b", "b", "c", None, "a"], ["a", "a", "a", "a", "a"])
    assert found.mixed(2) == [("a", "b", 2), ("a", None, 1)]
    assert Confusion.of(["a"], ["a"], labels=["z"]).labels == ("a", "z")
    assert Confusion.of(["a"], ["a"], labels=["z"]).f1("z") == 0.0
