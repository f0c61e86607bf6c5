"""Sound to frames on both sides: lengths, normalisation, SpecAugment, and back to sound."""

import pickle

import numpy as np
import pytest

from ofasys.errors import DataError
from ofasys.modality import Context
from ofasys.modality.audio.augment import spec_augment
from ofasys.modality.audio.preprocess import DEVIATION, MEAN, Fbank, Frames, positions
from ofasys.modality.audio.read_audio import read_audio
from ofasys.modality.audio.waveform import Audio
from tests.modality.audio.sounds import DIGITS, SOURCE, TARGET, chirp, encoded, tone


def fbank(value, context=None, **options):
    return Fbank(SOURCE | options, None).preprocess(value, context or Context())


def frames(value, **options):
    return Frames(TARGET | options, None).preprocess(value, Context())


@pytest.mark.parametrize(("seconds", "count", "length"), [(0.025, 3, 1), (0.1, 11, 3), (0.5, 51, 13), (3, 301, 76)])
def test_four_frames_share_a_position(seconds, count, length):
    piece = fbank((tone(seconds), 16000))
    assert piece.tensors["frames"].shape == (count, 80)
    assert piece.tensors["frames"].dtype == np.float32
    assert piece.tensors["counts"].tolist() == [count]
    assert piece.length == length == positions(count)
    assert piece.grid is None


def test_minutes():
    piece = fbank((tone(180), 16000), seconds=200.0)
    assert piece.length == positions(18001) == 4501


def test_max_length_cuts_the_source():
    whole, cut = fbank((chirp(2), 16000), normalise="fixed"), fbank((chirp(2), 16000), normalise="fixed", max_length=7)
    assert cut.length == 7
    np.testing.assert_array_equal(cut.tensors["frames"], whole.tensors["frames"][:28])


def test_an_utterance_has_mean_0_and_deviation_1_and_its_loudness_is_gone():
    noise = np.random.default_rng(0).normal(size=8000).astype(np.float32) * chirp()
    made = fbank((noise, 16000)).tensors["frames"]
    assert made.mean() == pytest.approx(0, abs=1e-5)
    assert made.std() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(fbank((noise * 0.5, 16000)).tensors["frames"], made, atol=1e-3)
    loud, soft = (fbank((noise * by, 16000), normalise="fixed").tensors["frames"] for by in (1, 0.1))
    assert (loud - soft).mean() * DEVIATION == pytest.approx(np.log(10), abs=0.1)


def test_two_steady_tones_stay_different():
    """One mean over all bands, not one per band."""
    low, high = (fbank((tone(hz=hz), 16000)).tensors["frames"][5:-5].mean(0) for hz in (300, 2000))
    assert np.abs(low - high).max() > 1


def test_silence_is_zeros_in_the_source_and_finite_in_the_target():
    silence = (np.zeros(8000, np.float32), 16000)
    assert not fbank(silence).tensors["frames"].any()
    made = frames(silence).tensors["frames"]
    np.testing.assert_allclose(made, (np.log(1e-5) - MEAN) / DEVIATION, rtol=1e-5)


@pytest.mark.parametrize("n", [1, 10, 399])
def test_audio_of_less_than_a_window(n):
    for made in (fbank, frames):
        with pytest.raises(
            DataError, match=rf"too short: {n} samples at 16000 Hz; expected at least 400 samples, one w"
        ):
            made((np.zeros(n, np.float32), 16000))
    assert fbank((np.zeros(400, np.float32), 16000)).length == 1
    assert frames((np.zeros(400, np.float32), 16000)).length == 2


def test_a_path_starts_at_the_root_of_the_data():
    piece = fbank("7.wav", Context(root=DIGITS))
    assert piece.length == positions(1 + len(read_audio(DIGITS / "7.wav", 16000)) // 160)


def test_the_truth_is_found_where_the_value_was():
    made = Frames(TARGET, None)
    made.preprocess("7.wav", Context(root=DIGITS))
    assert made.canonical("7.wav", Context(root=DIGITS)) == read_audio(DIGITS / "7.wav", 16000)
    assert made.canonical(None) is None


def test_seconds_is_a_limit():
    with pytest.raises(DataError, match=r"longer than 0\.4 s"):
        fbank(encoded(tone(0.5)), seconds=0.4)
    assert fbank(encoded(tone(0.4)), seconds=0.4).length == 11


def in_training(seed=0, **options):
    return fbank((chirp(2), 16000), Context(training=True, random=np.random.default_rng(seed)), **options)


def test_spec_augment_is_a_function_of_the_sample_s_generator():
    plain = fbank((chirp(2), 16000)).tensors["frames"]
    one, again, other = in_training(1), in_training(1), in_training(2)
    np.testing.assert_array_equal(one.tensors["frames"], again.tensors["frames"])
    assert not np.array_equal(one.tensors["frames"], other.tensors["frames"])
    changed = one.tensors["frames"] != plain
    assert 0 < changed.mean() < 0.7
    assert np.abs(one.tensors["frames"][changed]).max() < 1e-5  # the mean of a normalised utterance
    np.testing.assert_array_equal(in_training(time_masks=0, band_masks=0).tensors["frames"], plain)


def test_nothing_is_hidden_outside_training():
    plain = fbank((chirp(2), 16000)).tensors["frames"]
    shown = fbank((chirp(2), 16000), Context(random=np.random.default_rng(0))).tensors["frames"]
    np.testing.assert_array_equal(shown, plain)


def test_spec_augment_keeps_to_its_bounds():
    x = np.random.default_rng(0).normal(size=(100, 80)).astype(np.float32)
    none = {"time_masks": 0, "time_mask": 30, "time_share": 0.2, "band_masks": 0, "band_mask": 10}
    widths = []
    for seed in range(200):
        made = spec_augment(x, np.random.default_rng(seed), **none | {"time_masks": 1})
        rows = np.flatnonzero((made != x).all(1))
        widths.append(len(rows))
        assert len(rows) == 0 or rows[-1] - rows[0] + 1 == len(rows)
        np.testing.assert_allclose(made[rows], x.mean(), atol=1e-6)
        np.testing.assert_array_equal(np.delete(made, rows, 0), np.delete(x, rows, 0))
    assert (min(widths), max(widths)) == (0, 20)
    bands = [
        (spec_augment(x, np.random.default_rng(s), **none | {"band_masks": 1}) != x).all(0).sum() for s in range(200)
    ]
    assert (min(bands), max(bands)) == (0, 10)
    tiny = spec_augment(x[:1, :1], np.random.default_rng(0), **none | {"time_masks": 5, "band_masks": 5})
    assert tiny.shape == (1, 1)


@pytest.mark.parametrize("reduction", [1, 2, 3])
def test_a_target_is_whole_positions(reduction):
    piece = frames((tone(0.5), 16000), reduction=reduction)
    assert piece.length == -(-50 // reduction)
    assert piece.tensors["frames"].shape == (piece.length * reduction, 80)
    assert piece.tensors["frames"].dtype == np.float32


def test_a_target_longer_than_max_length_is_an_error():
    assert frames((tone(0.5), 16000), max_length=25).length == 25
    with pytest.raises(DataError, match=r"takes 25 positions, more than max_length=24; expected at most 0.48 s"):
        frames((tone(0.5), 16000), max_length=24)


@pytest.mark.parametrize("digit", [2, 8])
def test_a_target_becomes_sound_again(digit):
    made = Frames(TARGET, None)
    truth = made.canonical(str(DIGITS / f"{digit}.wav"))
    assert isinstance(truth, Audio)
    piece = made.preprocess(truth, Context())
    audio = made.postprocess(piece.tensors["frames"], Context())
    assert audio.rate == 16000
    assert 0 <= audio.seconds - truth.seconds < 0.02
    again = made.preprocess(audio, Context()).tensors["frames"]
    assert np.abs(again - piece.tensors["frames"]).mean() * DEVIATION < 0.15
    assert made.postprocess(piece.tensors["frames"], Context()) == audio  # no chance in it
    assert made.from_frames(piece.tensors["frames"]).length == piece.length


def test_no_frames_are_no_sound():
    assert len(Frames(TARGET, None).postprocess(np.zeros((0, 80), np.float32), Context())) == 0


def test_they_travel_to_data_workers():
    for kind, options in ((Fbank, SOURCE), (Frames, TARGET)):
        again = pickle.loads(pickle.dumps(kind(options, None)))
        there, here = (made.preprocess((chirp(), 16000), Context()) for made in (again, kind(options, None)))
        assert (there.length, set(there.tensors)) == (here.length, set(here.tensors))
        for name, value in here.tensors.items():
            np.testing.assert_array_equal(there.tensors[name], value)
