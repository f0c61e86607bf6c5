"""Frames: those of a known implementation; silence; the way back to magnitudes and to sound."""

import numpy as np
import pytest
import torch

from ofasys.errors import ConfigError
from ofasys.modality.audio.griffin_lim import griffin_lim
from ofasys.modality.audio.mel import FLOOR, MelSpec, hz_to_mel, linear, log_mel, mel_to_hz
from ofasys.modality.audio.read_audio import read_audio
from ofasys.modality.audio.vocoder import sound
from ofasys.modality.audio.waveform import Audio
from tests.modality.audio.sounds import DIGITS, OPTIONS, chirp, pitch, tone

SPEC = MelSpec.of(OPTIONS)


def speech(digit, rate=16000):
    return read_audio(DIGITS / f"{digit}.wav", rate).samples


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rate": 8000, "mels": 40},
        {"rate": 22050, "window": 46.44, "hop": 11.61},
        {"window": 64.0, "hop": 16.0, "fmin": 80.0, "fmax": 7600.0},
        {"rate": 48000, "mels": 128},
    ],
)
def test_they_are_those_of_transformers(options):
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    spec = MelSpec.of(OPTIONS | options)
    samples = chirp(rate=spec.rate) + tone(hz=0.01, rate=spec.rate, loud=0.1)
    bank = mel_filter_bank(
        spec.fft // 2 + 1, spec.mels, spec.fmin, spec.fmax, spec.rate, norm="slaney", mel_scale="slaney"
    )
    np.testing.assert_allclose(spec.bank().numpy(), bank.T, atol=1e-7)
    expected = spectrogram(
        samples,
        window_function(spec.window, "hann"),
        spec.window,
        spec.hop,
        fft_length=spec.fft,
        power=1.0,
        center=True,
        mel_filters=bank,
        mel_floor=FLOOR,
        log_mel="log",
    )
    made = log_mel(samples, spec)
    assert made.dtype == np.float32
    assert made.shape == (1 + len(samples) // spec.hop, spec.mels)
    np.testing.assert_allclose(made, expected.T, atol=0.02)  # single against double precision, near the floor
    assert np.abs(made - expected.T).mean() < 1e-4


def test_the_scale_is_linear_then_logarithmic_and_turns_back():
    np.testing.assert_allclose(hz_to_mel(np.array([0, 200, 1000, 6400])), [0, 3, 15, 42])
    hz = np.geomspace(1, 20000, 100)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz)


def test_silence_is_finite():
    frames = log_mel(np.zeros(1600, np.float32), SPEC)
    np.testing.assert_array_equal(frames, np.float32(np.log(FLOOR)))


def test_a_tone_is_loudest_in_its_band():
    for hz in (200, 1000, 5000):
        frames = log_mel(tone(hz=hz), SPEC)
        edges = mel_to_hz(np.linspace(0, hz_to_mel(np.array(8000.0)), 82))
        loudest = frames[10:-10].mean(0).argmax()
        assert edges[loudest] < hz < edges[loudest + 2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fmax": 9000.0}, "fmax=9000 Hz is more than half the rate; give at most 8000"),
        ({"fmin": 8000.0}, "fmin=8000 Hz is not below fmax=8000"),
        ({"hop": 30.0}, "hop=30 ms is longer than window=25 ms"),
        ({"window": 4.0, "hop": 4.0, "mels": 256}, "bands hold nothing; give fewer mels, or a longer window"),
    ],
)
def test_options_that_contradict_each_other(options, says):
    with pytest.raises(ConfigError, match=says):
        MelSpec.of(OPTIONS | options)


@pytest.mark.parametrize("digit", [0, 5])
def test_magnitudes_behind_frames(digit):
    frames = log_mel(speech(digit), SPEC)
    magnitude = linear(frames, SPEC)
    assert (magnitude >= 0).all()
    back = (SPEC.bank() @ magnitude).clamp(min=FLOOR).log().T.numpy()
    assert np.abs(back - frames).mean() < 0.01


def test_griffin_lim_knows_the_phases_of_nothing_and_still_finds_the_sound():
    """Spectral convergence on speech, well below what the first phases give; momentum does better than none."""
    samples = torch.from_numpy(speech(5))
    magnitude = SPEC.spectrum(samples).abs()

    def off(steps, momentum=0.99):
        made = griffin_lim(magnitude, SPEC, len(samples), steps, momentum)
        assert made.shape == samples.shape
        return float((SPEC.spectrum(made).abs() - magnitude).norm() / magnitude.norm())

    assert off(60) < 0.5 * off(1)
    assert off(60) < off(60, momentum=0)
    assert off(60) < 0.2


@pytest.mark.parametrize(("rate", "digit"), [(16000, 3), (8000, 7)])
def test_frames_become_the_sound_they_were_made_of(rate, digit):
    spec = MelSpec.of(OPTIONS | {"rate": rate})
    frames = log_mel(speech(digit, rate), spec)[:-1]
    made = sound(frames, spec, "griffin_lim", 60)
    assert made.shape == (len(frames) * spec.hop,)
    again = log_mel(made, spec)[:-1]
    other = log_mel(speech(1, rate), spec)[: len(frames)]
    off = np.abs(again - frames).mean()
    assert off < 0.15
    assert off < 0.1 * np.abs(frames[: len(other)] - other).mean()


def test_a_tone_keeps_its_pitch():
    for hz in (220, 440, 2000):
        frames = log_mel(tone(1.0, hz=hz), SPEC)[:-1]
        assert pitch(Audio(sound(frames, SPEC, "griffin_lim", 30), 16000)) == pytest.approx(hz, rel=0.05)


def test_silence_and_nonsense_become_finite_sound():
    for frames in (np.full((20, 80), np.log(FLOOR)), np.zeros((3, 80)), np.full((3, 80), 500.0)):
        made = sound(frames.astype(np.float32), SPEC, "griffin_lim", 5)
        assert np.isfinite(made).all()
    assert np.abs(sound(np.full((20, 80), np.log(FLOOR), np.float32), SPEC, "griffin_lim", 5)).max() < 1e-3
