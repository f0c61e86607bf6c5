"""CTC decoding: against all paths on tiny shapes; greedy; the form it is called in."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.generator.ctc import best_path, ctc, prefix_beam


def scores(steps, labels, seed, sharp=2.0):
    x = np.random.default_rng(seed).normal(size=(steps, labels + 1)) * sharp
    return torch.log_softmax(torch.from_numpy(x), 1).numpy()


def collapsed(path):
    return tuple(label - 1 for label, _ in itertools.groupby(path) if label)


def exhaustive(log_probs):
    """Labelling -> log-probability, over all paths."""
    T, labels = log_probs.shape
    found = {}
    for path in itertools.product(range(labels), repeat=T):
        own = sum(log_probs[t, label] for t, label in enumerate(path))
        key = collapsed(path)
        found[key] = np.logaddexp(found.get(key, -np.inf), own)
    return found


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 4.0]))
def test_a_wide_beam_finds_every_labelling_with_its_probability(steps, labels, seed, sharp):
    log_probs = scores(steps, labels, seed, sharp)
    truth = exhaustive(log_probs)
    found = prefix_beam(log_probs, 5000)
    assert {tuple(tokens) for tokens, _ in found} == set(truth)
    for tokens, score in found:
        assert score == pytest.approx(truth[tuple(tokens)], abs=1e-9)
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
    assert sum(math.exp(s) for _, s in found) == pytest.approx(1)


@pytest.mark.parametrize("beam", [2, 3, 8])
def test_a_narrow_beam_keeps_one_entry_a_labelling_and_never_claims_too_much(beam):
    for seed in range(12):
        log_probs = scores(5, 3, seed, 0.7)
        truth = exhaustive(log_probs)
        found = prefix_beam(log_probs, beam)
        assert len(found) <= beam
        assert len({tuple(tokens) for tokens, _ in found}) == len(found)
        for tokens, score in found:
            assert score <= truth[tuple(tokens)] + 1e-9


def test_a_beam_finds_what_the_best_path_misses():
    """Graves et al. (2006), figure 2: blanks win each step, the label wins in sum."""
    log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])
    tokens, score = best_path(log_probs)
    assert tokens.tolist() == []
    assert score == pytest.approx(math.log(0.36))
    tokens, score = prefix_beam(log_probs, 4)[0]
    assert tokens.tolist() == [0]
    assert score == pytest.approx(math.log(0.64))


@pytest.mark.parametrize(
    ("path", "tokens"),
    [
        ([0, 0, 0], []),
        ([1, 1, 1], [0]),
        ([1, 0, 1], [0, 0]),
        ([0, 2, 2, 0, 0, 2, 1, 1], [1, 1, 0]),
        ([3], [2]),
    ],
)
def test_the_best_path_is_collapsed(path, tokens):
    log_probs = np.full((len(path), 4), -9.0)
    log_probs[np.arange(len(path)), path] = -0.5
    found, score = best_path(log_probs)
    assert found.dtype == np.int64
    assert found.tolist() == tokens
    assert score == pytest.approx(-0.5 * len(path))
    assert prefix_beam(log_probs, 3)[0][0].tolist() == tokens


def test_values_end_to_end_are_decoded_each_alone():
    lengths = [4, 1, 7]
    parts = [scores(T, 30, T) for T in lengths]
    for beam in (1, 5):
        together = ctc(torch.from_numpy(np.concatenate(parts)), lengths, {"ctc_beam": beam})
        alone = [ctc(torch.from_numpy(part), [len(part)], {"ctc_beam": beam})[0] for part in parts]
        assert [t.tolist() for t, _ in together] == [t.tolist() for t, _ in alone]
        assert [s for _, s in together] == pytest.approx([s for _, s in alone])


def test_a_label_left_and_found_again_is_one_labelling():
    """Many labels, sharp and flat steps in turn: prefixes leave the beam and come back."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        x = rng.normal(size=(30, 40)) * rng.choice([0.1, 5], size=(30, 1))
        found = prefix_beam(torch.log_softmax(torch.from_numpy(x), 1).numpy(), 6)
        assert len({tuple(t) for t, _ in found}) == len(found) == 6


def test_certain_zeros_do_not_disturb():
    log_probs = np.where(np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]]) == 1, 0.0, -np.inf)
    assert [(t.tolist(), s) for t, s in prefix_beam(log_probs, 4)] == [([0, 0], 0.0)]
