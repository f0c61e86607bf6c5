"""End to end: spoken digits are recognised, and spoken; saved and loaded, the model answers the same."""

import numpy as np
import pytest

from ofasys import GeneralistModel, OFASys, Task, Trainer
from ofasys.metric.speech import mcd
from ofasys.modality.audio.read_audio import read_audio
from tests.modality.audio.sounds import DIGITS

pytestmark = pytest.mark.slow
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RATE = 8000


def spoken(digit, seed):
    """The recording, a little faster or slower, softer, later, and with noise."""
    random = np.random.default_rng([seed, digit])
    samples = read_audio(DIGITS / f"{digit}.wav", RATE).samples
    count = round(len(samples) / random.uniform(0.9, 1.1))
    samples = np.interp(np.linspace(0, len(samples) - 1, count), np.arange(len(samples)), samples)
    samples = np.pad(samples, random.integers(0, 400, 2)) * random.uniform(0.5, 1)
    return (samples + random.normal(size=len(samples)) * 0.01).astype(np.float32), RATE


def rows(seeds):
    return [{"wav": spoken(digit, seed), "word": NAMES[digit]} for seed in seeds for digit in range(10)]


def trained(instruction, data, steps, folder, lr=2e-3, batch=10):
    task = Task("digits", instruction, train=data, micro_batch_size=batch)
    model = GeneralistModel(size="tiny", seed=0)
    Trainer(max_steps=steps, lr=lr, warmup=10, out=str(folder)).fit(model=model, tasks=[task])
    return model


def answers(model, instruction, data):
    found = model.inference(instruction, data=data, batch_size=10)
    return [str(out) for out in found]


def test_digits_are_recognised(tmp_path):
    """By a label and by CTC at once; in recordings it has not heard so."""
    text = "[AUDIO:wav,rate=8000,criterion=ctc,ctc_target=said,weight=0.1] which digit? -> [TEXT:word,closed_set]"
    data = [row | {"said": row["word"]} for row in rows(range(6))]
    trained(text, data, 80, tmp_path / "run", lr=1e-3)
    model = OFASys.from_pretrained(tmp_path / "run")
    unheard = [{"wav": row["wav"]} for row in rows((50, 51))]
    found = model.inference(text, data=unheard, batch_size=10)
    right = sum(out["word"] == NAMES[i % 10] for i, out in enumerate(found))
    assert right >= 10  # of 20; by chance it would be 2
    again = OFASys.from_pretrained(tmp_path / "run").inference(text, data=unheard, batch_size=3)
    assert [(out["word"], out["said"]) for out in again] == [(out["word"], out["said"]) for out in found]


def test_digits_are_recognised_by_alignment_alone(tmp_path):
    text = "[AUDIO:wav,rate=8000,criterion=ctc,ctc_target=word] ->"
    trained(text, rows(range(6)), 80, tmp_path / "run")
    model = OFASys.from_pretrained(tmp_path / "run")
    data = [{"wav": row["wav"]} for row in rows((50, 51))]
    found = answers(model, text, data)
    assert sum(word == NAMES[i % 10] for i, word in enumerate(found)) >= 8
    assert answers(OFASys.from_pretrained(tmp_path / "run"), text, data) == found
    beam = [str(out) for out in model.inference(text, data=data, batch_size=10, ctc_beam=8)]
    assert sum(word == NAMES[i % 10] for i, word in enumerate(beam)) >= 8


def test_two_digits_are_spoken(tmp_path):
    """By heart: each is near its own recording, far from the other, and as long."""
    text = "say [TEXT:word] -> [AUDIO:wav,rate=8000,mels=40,max_length=60]"
    data = [{"word": NAMES[digit], "wav": str(DIGITS / f"{digit}.wav")} for digit in (3, 7)]
    trained(text, data, 100, tmp_path / "run", lr=3e-3, batch=2)
    model = OFASys.from_pretrained(tmp_path / "run")
    made = [out.audio for out in model.inference(text, data=[{"word": row["word"]} for row in data], batch_size=2)]
    truth = [read_audio(row["wav"], RATE) for row in data]
    for own, other in ((0, 1), (1, 0)):
        assert made[own].rate == RATE
        assert made[own].seconds == pytest.approx(truth[own].seconds, abs=0.1)
        near, far = (mcd([made[own]], [truth[i]])["mcd"] for i in (own, other))
        assert near < 0.6 * far
    out = OFASys.from_pretrained(tmp_path / "run").inference(text, data={"word": "seven"})
    np.testing.assert_allclose(out.audio.samples, made[1].samples, atol=0.02)  # now alone; phases magnify rounding
    assert read_audio(out.save(tmp_path / "seven.wav"), RATE).seconds == pytest.approx(out.audio.seconds)
