"""Laws of metrics: what is the same scores as the same, in any script; and in plain English the figures are those of
known libraries.
"""

import math
import unicodedata
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ofasys.metric import METRICS, bleu, cer, chrf, cider, exact_match, rouge_l, wer
from ofasys.metric.word import pieces, words

SCRIPTS = (
    "aZé ñß e\u0301 किताबढ़ مَكَ שָׁ ที่นี่ ខ្មែ 猫犬が か\u3099 한글 "
    "ёЙ Ωά 9٣ '-.,!?\u2019\u00a0\u3000\u200b\u200c\n\U00020bb7👍🏽\ufe0f"
)
texts = st.text(st.sampled_from(SCRIPTS) | st.characters(exclude_categories=("Cs",)), max_size=24)
english = st.text("abc dE.F',9-_ ", max_size=24)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
labels = st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | texts
TEXT_METRICS = ("wer", "cer", "per", "exact_match", "accuracy", "vqa_score", "rouge_l", "bleu", "chrf", "cider")


def main(name: str, predictions: list[Any], references: list[Any]) -> float:
    metric = METRICS[name]
    return metric(predictions, references)[metric.main]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(texts.filter(words), min_size=1, max_size=4))
def test_what_is_answered_right_is_right(true):
    for name in ("exact_match", "accuracy", "f1", "mean_class_accuracy", "vqa_score", "rouge_l"):
        assert main(name, true, true) == pytest.approx(1), name
    assert main("vqa_score", true, [[text] * 10 for text in true]) == 1
    assert [main(name, true, true) for name in ("wer", "cer", "per")] == [0, 0, 0]
    long = [" ".join([text] * 4) for text in true]
    assert main("bleu", long, long) == pytest.approx(100) or not any(any(map(str.isalnum, t)) for t in true)
    assert main("chrf", true, true) == pytest.approx(100)
    best = cider(true, true)["cider"]
    assert all(cider([text] * len(true), true)["cider"] <= best + 1e-9 for text in true)


@settings(max_examples=150, deadline=None)
@given(st.lists(values, min_size=1, max_size=4))
def test_a_value_is_the_same_as_itself(true):
    answered = sum(value is not None for value in true)
    assert exact_match(true, [[value] if not isinstance(value, list) else value for value in true])[
        "exact_match"
    ] == answered / len(true)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(texts, labels, min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_table_is_the_same_as_itself(rows):
    same = [row for row in rows if row.keys() == rows[0].keys()]
    assert main("table_exact", [same], [same]) == main("table_exact_any_order", [same[::-1]], [same]) == 1
    grid = [list(row.values()) for row in same]
    assert main("grid_exact", [grid], [grid]) == 1
    triples = [(name, "is", value) for row in rows for name, value in row.items()]
    assert main("triples_f1", [triples], [triples]) == 1


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=1, max_size=4), st.randoms())
def test_neither_the_form_of_accents_nor_the_order_of_samples_counts(samples, random):
    assume(any(pieces(way) for _, ways in samples for way in ways))
    assume(all(pieces(way) for _, ways in samples for way in ways))
    other = [
        (unicodedata.normalize("NFD", text), [unicodedata.normalize("NFD", w) for w in ways]) for text, ways in samples
    ]
    random.shuffle(other)
    for name in TEXT_METRICS:
        one = main(name, *map(list, zip(*samples, strict=True)))
        assert main(name, *map(list, zip(*other, strict=True))) == pytest.approx(one, abs=1e-9), name


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=8), st.randoms())
def test_the_order_of_labels_does_not_count(both, random):
    shuffled = both.copy()
    random.shuffle(shuffled)
    for name in ("accuracy", "f1", "matthews", "mean_class_accuracy"):
        one, other = (METRICS[name](*map(list, zip(*pairs, strict=True))) for pairs in (both, shuffled))
        assert one == pytest.approx(other, abs=1e-9), name


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(english, english.filter(str.strip)), min_size=1, max_size=4))
def test_in_english_the_figures_are_those_of_known_libraries(both):
    import jiwer
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    found, true = map(list, zip(*both, strict=True))
    near = {"rel": 1e-9, "abs": 1e-9}
    assert wer(found, true)["wer"] == pytest.approx(jiwer.wer(true, found), **near)
    assert cer(found, true)["cer"] == pytest.approx(jiwer.cer(true, found), **near)
    assert bleu(found, true)["bleu"] == pytest.approx(sacrebleu.corpus_bleu(found, [true]).score, **near)
    assert chrf(found, true)["chrf"] == pytest.approx(sacrebleu.corpus_chrf(found, [true]).score, **near)
    scorer = RougeScorer(["rougeL"])
    theirs = math.fsum(scorer.score(way, text)["rougeL"].fmeasure for text, way in both) / len(both)
    assert rouge_l(found, true)["rouge_l"] == pytest.approx(theirs, **near)
