import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import DataError
from ofasys.metric import accuracy, exact_match, f1, f1_binary, matthews, mean_class_accuracy, vqa_score


def test_accuracy():
    assert accuracy(["yes", "no", "no"], ["yes", "no", "yes"]) == {"accuracy": pytest.approx(2 / 3)}
    assert accuracy([1, 2], [1, 3]) == {"accuracy": 0.5}
    assert accuracy(["1", "True"], [np.int64(1), True]) == {"accuracy": 1.0}
    assert accuracy(["4", "five"], [["3", "4"], ["6"]]) == {"accuracy": 0.5}
    assert accuracy([None, "a"], ["a", "a"]) == {"accuracy": 0.5}


def test_accuracy_refuses_what_is_no_label():
    with pytest.raises(DataError, match=r"a dict is not a label.*sample 0"):
        accuracy([{"a": 1}], ["a"])
    with pytest.raises(DataError, match="the reference is missing"):
        accuracy(["a"], [None])
    with pytest.raises(DataError, match="2 predictions and 1 references"):
        accuracy(["a", "b"], ["a"])


def test_exact_match():
    assert exact_match([" a  b", "A"], ["a b", "a"]) == {"exact_match": 0.5}
    assert exact_match(["x"], [["y", "x"]]) == {"exact_match": 1.0}
    assert exact_match([[1, 2], (1, 2)], [[1, 2], [2, 1]]) == {"exact_match": 0.5}
    assert exact_match([["cat", "dog"]], [["cat", "dog"]]) == {"exact_match": 1.0}
    assert exact_match([np.array([1, 2])], [[1, 2]]) == {"exact_match": 1.0}
    assert exact_match([None], [None]) == {"exact_match": 0.0}
    with pytest.raises(DataError, match="nothing to score"):
        exact_match([], [])


# --- of whole data sets ----------------------------------------------------------------------------------------------

labels = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abc")), min_size=1, max_size=30)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(labels)
def test_f1_matthews_and_class_accuracy_are_scikit_learns(both):
    from sklearn import metrics

    found, true = [one for one, _ in both], [other for _, other in both]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of labels that are never true
        ours = f1(found, true)
        assert ours["f1"] == pytest.approx(metrics.f1_score(true, found, average="macro"))
        assert ours["f1_micro"] == pytest.approx(metrics.f1_score(true, found, average="micro"))
        assert matthews(found, true)["matthews"] == pytest.approx(metrics.matthews_corrcoef(true, found))
        theirs = metrics.balanced_accuracy_score(true, found)
        assert mean_class_accuracy(found, true)["mean_class_accuracy"] == pytest.approx(theirs)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_binary_f1_is_scikit_learns(both):
    from sklearn import metrics

    found, true = [one for one, _ in both], [other for _, other in both]
    ours = f1_binary(found, true, positive=True)
    theirs = metrics.precision_recall_fscore_support(true, found, pos_label=True, average="binary", zero_division=0)
    assert [ours[k] for k in ("precision", "recall", "f1_binary")] == pytest.approx(theirs[:3])


def test_the_positive_label():
    found, true = ["yes", "no", "yes", None], ["yes", "no", "no", "yes"]
    assert f1_binary(found, true) == {"f1_binary": 0.5, "precision": 0.5, "recall": 0.5}
    assert f1_binary([1, 0], [1, 1])["recall"] == 0.5
    assert f1_binary(found, true, positive="no")["precision"] == 1
    with pytest.raises(DataError, match=r"which label is the positive one\? the labels are \['cat', 'dog'\]"):
        f1_binary(["cat"], ["dog"])


def test_no_answer_costs_a_hit_and_is_no_label():
    assert f1(["a", None], ["a", "b"]) == {"f1": 0.5, "f1_micro": pytest.approx(2 / 3)}
    assert mean_class_accuracy(["a", None, "b"], ["a", "a", "b"]) == {"mean_class_accuracy": 0.75}
    assert matthews([None, None], ["a", "b"]) == {"matthews": 0.0}
    assert matthews(["a", "b"], ["a", "b"]) == {"matthews": 1.0}
    assert matthews([1, 0], [0, 1]) == {"matthews": -1.0}


@pytest.mark.parametrize("metric", [f1, f1_binary, matthews, mean_class_accuracy])
def test_labels_of_data_sets_are_single_values(metric):
    with pytest.raises(DataError, match=r"a list is not a label: \['a', 'b'\] \(sample 0\); expected one text"):
        metric(["a"], [["a", "b"]])
    with pytest.raises(DataError, match="a NoneType is not a label"):
        metric(["a"], [None])


def test_vqa_score_leaves_one_person_out():
    ten = ["yes"] * 3 + ["no"] * 7
    # three agree: leaving out one of the three, two are left (2/3); of the seven, three (1)
    assert vqa_score(["yes"], [ten]) == {"vqa_score": pytest.approx((3 * 2 / 3 + 7) / 10)}
    assert vqa_score(["no", "maybe", None], [ten, ten, ten]) == {"vqa_score": pytest.approx(1 / 3)}
    assert vqa_score(["x"], [["x"] + ["y"] * 9]) == {"vqa_score": pytest.approx(9 / 30)}

    def by_hand(answer, people):
        rest = [people[:i] + people[i + 1 :] for i in range(len(people))]
        return sum(min(part.count(answer) / 3, 1) for part in rest) / len(rest)

    for n in range(11):
        people = ["a"] * n + ["b"] * (10 - n)
        assert vqa_score(["a"], [people])["vqa_score"] == pytest.approx(by_hand("a", people))


def test_vqa_answers_are_compared_as_people_speak():
    same = [
        ("Yes.", "yes"),
        ("the two dogs", "2 dogs"),
        ("don't know", "dont know"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        (2, "two"),
    ]
    for one, other in same:
        assert vqa_score([one], [other])["vqa_score"] == 1, (one, other)
    assert vqa_score(["3.5", "5 pm"], ["35", "5:00 pm"])["vqa_score"] == 0
    with pytest.raises(DataError, match=r"the answers given are \[\]"):
        vqa_score(["a"], [[]])


OFFICIAL = [  # what the official evaluation of VQA makes of these
    ("U.S.A.", "usa"),
    ("5 p.m.", "5 pm"),
    ("10:30", "10:30"),
    ("t-shirt", "t shirt"),
    ("red- white", "red white"),
    ("1,000 red-white", "1000 redwhite"),
    ("a, b", "b"),
    ("Yes, it is.", "yes it is"),
    ("the three cats!", "3 cats"),
    ("dont", "don't"),
    ("shouldn'tve", "shouldn't've"),
    ("somebody'd", "somebodyd"),
    ("dog's", "dog's"),
    ("black & white", "black & white"),
    (".5", ".5"),
    ("None", "0"),
]


@pytest.mark.parametrize(("answer", "official"), OFFICIAL)
def test_vqa_answers_are_made_even_as_officially(answer, official):
    assert vqa_score([answer], [[official] * 10]) == {"vqa_score": 1}
    others = [other for _, other in OFFICIAL if other != official]
    assert vqa_score([answer] * len(others), others) == {"vqa_score": 0}


@pytest.mark.parametrize(
    ("one", "other", "right"),
    [
        ("हाँ।", "हाँ", 1),
        ("「はい」", "はい", 1),
        ("¿qué?", "qué", 1),
        ("don\u2019t", "dont", 1),
        ("qué", "que", 0),
        ("👍", "👎", 0),
        ("5 €", "5 $", 0),
        ("?", "!", 0),  # of which the rules leave nothing
        ("the", "a", 0),
        ("", "the", 0),
        ("A", "a", 1),
        (np.str_("yes"), "yes", 1),
        (np.int64(2), "two", 1),
        (2.0, "2", 1),
    ],
)
def test_vqa_answers_of_any_script(one, other, right):
    assert vqa_score([one], [[other] * 10]) == vqa_score([one], [np.array([other] * 10)]) == {"vqa_score": right}


def test_a_vqa_answer_is_a_text():
    with pytest.raises(DataError, match=r"a list is no answer: \['yes'\] \(sample 0\); expected a text or None"):
        vqa_score([["yes"]], ["yes"])


def test_a_label_is_a_number_or_the_text_that_writes_it():
    assert f1([1.0, 2], [1, 2.0]) == {"f1": 1, "f1_micro": 1}
    assert f1(["1.0", "2.0"], [1.0, 2.0]) == {"f1": 1, "f1_micro": 1}
    assert matthews(["e\u0301", "b\u00a0c"], ["é", "b c"]) == {"matthews": 1}
    assert f1_binary([True, False], ["True", "False"], positive=True)["f1_binary"] == 1
    assert accuracy([True], [1]) == {"accuracy": 0}


def test_a_text_beside_a_list_is_no_answer_to_compare():
    """A query's true answers are (SQL, database): exact match of the text would be 0 whatever the model says."""
    with pytest.raises(
        DataError, match=r"the answer is a text, and a reference the list \['SELECT 1', 'a.db'\]"
    ) as error:
        exact_match(["SELECT 1"], [[["SELECT 1", "a.db"]]])
    assert error.value.sample == 0
    assert exact_match(["SELECT 1"], [["SELECT 1", "select 1"]]) == {"exact_match": 1.0}
    assert exact_match([None, ["a", 1]], [[["b", "c"]], ["a", 1]]) == {"exact_match": 0.5}
