import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import DataError
from ofasys.metric import bleu, chrf, cider, rouge_l
from ofasys.metric.text import words

CAPTIONS = ["a man on a horse", "two dogs in the snow", "a red house"]
TRUTHS = [
    ["a man rides a horse", "a person on a horse"],
    ["two dogs play in the snow"],
    ["a red car near the house", "the red car"],
]
ascii_text = st.text(alphabet="abc de-F.9'_", max_size=24)


def test_bleu_is_sacrebleus_with_any_number_of_references():
    import sacrebleu

    flat = [way[0] for way in TRUTHS]
    assert bleu(CAPTIONS, flat)["bleu"] == sacrebleu.corpus_bleu(CAPTIONS, [flat]).score
    second = [way[1] if len(way) > 1 else None for way in TRUTHS]
    assert bleu(CAPTIONS, TRUTHS)["bleu"] == sacrebleu.corpus_bleu(CAPTIONS, [flat, second]).score
    assert bleu(flat, flat)["bleu"] == pytest.approx(100)
    assert bleu(["", "", ""], flat)["bleu"] == 0


def test_chrf_is_sacrebleus():
    import sacrebleu

    second = [way[1] if len(way) > 1 else None for way in TRUTHS]
    theirs = sacrebleu.corpus_chrf(CAPTIONS, [[way[0] for way in TRUTHS], second]).score
    assert chrf(CAPTIONS, TRUTHS) == {"chrf": theirs}
    assert chrf(["ab c"], ["a bc"])["chrf"] == pytest.approx(100)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(ascii_text, st.lists(ascii_text, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_rouge_l_is_rouge_scores(samples):
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    theirs = [scorer.score_multi(ways, text)["rougeL"].fmeasure for text, ways in samples]
    ours = rouge_l([text for text, _ in samples], [ways for _, ways in samples])
    assert ours["rouge_l"] == pytest.approx(sum(theirs) / len(theirs))


def test_words_of_any_script():
    assert words("It's a café, No_1!") == ["it", "s", "a", "café", "no", "1"]
    assert words("一只猫 cat") == ["一", "只", "猫", "cat"]
    assert rouge_l(["чёрный кот"], ["чёрный кот"])["rouge_l"] == 1


def test_cider_equals_the_fields_code():
    # what pycocoevalcap 1.2 gives on these words (on 50 random sets too the two differ by less than 1e-9)
    assert cider(CAPTIONS, TRUTHS)["cider"] == pytest.approx(3.251201949877068, abs=1e-9)


def test_cider_by_hand():
    # Two samples, one word each: only 1-grams, idf log 2 each, cosine 1 and 0; three of four levels are empty.
    assert cider(["cat", "cat"], ["cat", "dog"])["cider"] == pytest.approx(10 * (1 / 4 + 0) / 2)
    # one word too many: 1-gram cosine is 1/sqrt(2), times the Gaussian of one word
    expected = 10 * (1 / math.sqrt(2) * math.exp(-1 / 72)) / 4 / 2
    assert cider(["cat sat", "x"], ["cat", "dog"])["cider"] == pytest.approx(expected)


def test_cider_properties():
    other = "completely different words over there"
    same = ["a small green bird sits here", other]
    assert cider(same, same)["cider"] == pytest.approx(10)
    assert cider([other, same[0]], same)["cider"] == 0
    # repeating words cannot raise it (the D of CIDEr-D)
    assert cider(["bird " * 6, other], same)["cider"] < cider(["a small bird", other], same)["cider"]
    # n-grams in every sample's references weigh nothing
    assert cider(["the", "the"], ["the", "the"])["cider"] == 0
    assert cider(["", other], same)["cider"] == pytest.approx(5)


@pytest.mark.parametrize("metric", [bleu, chrf, rouge_l, cider])
@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "nothing to score"),
        (["a"], ["a", "b"], "1 predictions and 2 references"),
        ("a", ["a"], "the predictions are one str"),
        (["a", 3], ["a", "b"], r"the prediction is a int: 3 \(sample 1\); expected a string"),
        ([None], ["a"], "the prediction is a NoneType"),
        (["a"], [None], "the reference is None"),
        (["a"], [[]], r"the reference is \[\]"),
        (["a"], [["a", 1]], "expected a string, or a list"),
    ],
)
def test_bad_input_says_what(metric, predictions, references, message):
    with pytest.raises(DataError, match=message):
        metric(predictions, references)
    assert all(isinstance(value, float) for value in metric(["a"], ["a"]).values())
