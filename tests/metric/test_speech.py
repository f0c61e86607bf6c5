"""Errors in words, characters and phones are jiwer's; the distance of two sounds is one worked out by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import DataError
from ofasys.metric import cer, dtw, mcd, per, wer
from ofasys.metric.speech import cepstra, log_mel

texts = st.lists(st.tuples(st.text("ab ", max_size=12), st.text("ab ", max_size=12)), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(texts)
def test_wer_and_cer_are_jiwers(both):
    import jiwer

    both = [(one, other) for one, other in both if other.strip()] or [("a", "a b")]
    found, true = [one for one, _ in both], [other for _, other in both]
    assert wer(found, true)["wer"] == pytest.approx(jiwer.wer(true, found))
    assert cer(found, true)["cer"] == pytest.approx(jiwer.cer(true, found))


def test_wer_by_hand():
    found = wer(["a x c d e"], ["a b c f"])  # b -> x, f -> d, e added
    assert found == {"wer": 0.75, "substitutions": 0.5, "deletions": 0, "insertions": 0.25}
    assert wer(["", "a"], ["a b", "a"])["deletions"] == pytest.approx(2 / 3)
    assert wer(["a b c"], ["a"])["wer"] == 2  # may be over 1
    assert cer(["kitten"], ["sitting"])["cer"] == pytest.approx(3 / 7)
    assert cer([" a "], ["a"])["cer"] == 0


def test_an_empty_reference_counts_what_is_answered_to_it():
    assert wer(["x y", "a"], ["", "a b"]) == {"wer": 1.5, "substitutions": 0, "deletions": 0.5, "insertions": 1}
    with pytest.raises(DataError, match="all references are empty"):
        wer(["x"], [" "])


def test_the_best_of_several_references_counts():
    ways = ["T AH M EY T OW", "T AH M AA T OW"]
    assert per(["T AH M AA T OW"], [ways]) == {
        "per": 0,
        "phone_accuracy": 1,
        "substitutions": 0,
        "deletions": 0,
        "insertions": 0,
    }
    assert per(["T AH M AA T"], [ways])["per"] == pytest.approx(1 / 6)
    # the one with the lowest rate, not the one with the fewest errors: 1/2 and 2/6
    assert per(["A B C D"], [["A B", "A B C D E F"]])["per"] == pytest.approx(2 / 6)
    assert per(["HH AH", "L"], ["HH AH", "L OW"]) == {
        "per": pytest.approx(1 / 4),
        "phone_accuracy": 0.5,
        "substitutions": 0,
        "deletions": pytest.approx(1 / 4),
        "insertions": 0,
    }


@pytest.mark.parametrize("metric", [wer, cer, per])
def test_what_is_no_text(metric):
    with pytest.raises(DataError, match="the prediction is a list"):
        metric([["HH", "AH"]], ["HH AH"])
    with pytest.raises(DataError, match="the reference is None"):
        metric(["HH"], [None])


# --- sounds ----------------------------------------------------------------------------------------------------------


def plain_dtw(one, other):
    n, m = len(one), len(other)
    cost = np.full((n + 1, m + 1), np.inf)
    steps = np.zeros((n + 1, m + 1), dtype=int)
    cost[0, 0] = 0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            before = min((cost[a, b], steps[a, b]) for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)))
            cost[i, j] = before[0] + np.sqrt(((one[i - 1] - other[j - 1]) ** 2).sum())
            steps[i, j] = before[1] + 1
    return cost[n, m], steps[n, m]


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (7, 1), (5, 5), (12, 9), (4, 30)])
def test_dtw_is_the_plain_one(n, m):
    random = np.random.default_rng(n * 100 + m)
    for _ in range(5):
        one, other = random.normal(size=(n, 3)), random.normal(size=(m, 3))
        cost, steps = dtw(one, other)
        expected = plain_dtw(one, other)
        assert cost == pytest.approx(expected[0])
        assert steps == expected[1]


def test_dtw_follows_a_slower_sound():
    one = np.array([[0.0], [1], [2]])
    assert dtw(one, np.repeat(one, 3, axis=0)) == (0, 9)
    assert dtw(one, one) == (0, 3)


def test_mcd_is_the_difference_of_spectra_in_decibels():
    bands = 20
    wave = np.cos(np.pi * 3 * (np.arange(bands) + 0.5) / bands)
    flat = np.zeros((6, bands))
    # c_3 differs by 0.5 and nothing else does: 10 / ln 10 * sqrt(2) * 0.5
    expected = 10 / math.log(10) * math.sqrt(2) * 0.5
    assert mcd([flat], [flat + 0.5 * wave])["mcd"] == pytest.approx(expected)
    # ... which is the root mean square difference of the two log spectra, in dB
    difference = 20 / math.log(10) * np.sqrt(np.mean((0.5 * wave) ** 2))
    assert mcd([flat], [flat + 0.5 * wave])["mcd"] == pytest.approx(difference)
    assert mcd([flat], [flat + 7.0]) == {"mcd": pytest.approx(0, abs=1e-9), "mcd_length": 1}  # loudness
    assert mcd([flat, flat], [flat, (flat + wave)[:3]]) == {
        "mcd": pytest.approx(expected),
        "mcd_length": pytest.approx(1.5),
    }


def test_cepstra_are_the_orthogonal_ones_scaled():
    from scipy.fft import dct

    frames = np.random.default_rng(0).normal(size=(5, 40))
    np.testing.assert_allclose(cepstra(frames), dct(frames, type=2, axis=1)[:, 1:14] / 40)


def sound(frequency, rate=16000, seconds=0.5, loud=0.3):
    time = np.arange(int(rate * seconds)) / rate
    return SimpleNamespace(samples=loud * np.sin(2 * np.pi * frequency * time).astype(np.float32), rate=rate)


def test_mcd_of_sounds():
    same = mcd([sound(440)], [sound(440)])
    assert same == {"mcd": 0, "mcd_length": 1}
    near, far = (mcd([sound(440)], [sound(other)])["mcd"] for other in (480, 2000))
    assert 1 < near < far
    assert mcd([sound(440)], [sound(440, seconds=1)])["mcd"] < 1  # slower only
    assert mcd([sound(440)], [sound(440, rate=22050)])["mcd"] < near / 2  # another rate
    assert mcd([sound(440, seconds=0.001)], [sound(440)])["mcd"] > 0
    stereo = SimpleNamespace(samples=np.stack([sound(440).samples] * 2, 1), rate=16000)
    assert mcd([stereo], [sound(440)])["mcd"] == pytest.approx(0, abs=1e-6)


def test_a_tone_lies_in_its_band():
    mel = log_mel(sound(1000).samples, 16000, 8000.0)
    edges = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42)
    band = int(np.argmin(np.abs(edges[1:-1] - 2595 * np.log10(1 + 1000 / 700))))
    assert (mel.argmax(1) == band).all()
    assert len(mel) == 1 + (8000 - 400) // 160


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "not a sound"),
        ("x.wav", "not a sound"),
        (np.zeros((0, 20)), r"not a sound: ndarray of shape \(0, 20\)"),
        (np.zeros(20), "not a sound"),
        (np.full((3, 20), np.nan), "holds NaN"),
        (SimpleNamespace(samples=np.zeros(0), rate=8000), "not a sound"),
        (SimpleNamespace(samples=np.zeros(8000 * 121), rate=8000), "longer than 12,000 frames"),
        (np.zeros((12_001, 20)), "longer than 12,000 frames"),
        (np.zeros((4, 30)), "frames of 30 and 20 bands"),
    ],
)
def test_what_is_no_sound(value, says):
    with pytest.raises(DataError, match=rf"{says}.*\(sample 0\)"):
        mcd([value], [np.zeros((4, 20))])
