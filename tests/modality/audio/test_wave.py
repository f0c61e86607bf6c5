"""AUDIO sample by sample: wav2vec 2.0's convolutions, each value alone, of any length."""

import numpy as np
import pytest
import torch

from ofasys import DataError, GeneralistModel, OFASys, Task, Trainer
from ofasys.modality import Context
from ofasys.modality.audio import AUDIO
from ofasys.modality.audio.strides import STRIDE, left, seen
from ofasys.modality.audio.wave import Wave
from ofasys.modality.audio.wave_adaptor import WaveAdaptor
from ofasys.planner import plan
from ofasys.testing import check_modality
from tests.modality.audio.sounds import DIGITS, chirp, encoded, tone

OPTIONS = {"rate": 16000, "seconds": 60.0, "max_length": None, "normalise": "utterance"}
LINE = "[AUDIO:wav,adaptor=wave,rate=8000] which one? -> [TEXT:name,closed_set]"


def features(lengths, **options):
    """(preprocessor, features of noise of so many samples)."""
    reader = Wave(OPTIONS | options, None)
    sounds = [np.random.default_rng(n).uniform(-0.5, 0.5, n).astype(np.float32) for n in lengths]
    return reader, [reader.preprocess((sound, 16000), Context()) for sound in sounds]


def embedded(adaptor, reader, parts):
    with torch.no_grad():
        return adaptor.embed({name: torch.from_numpy(value) for name, value in reader.collate(parts).items()})


def test_positions_are_what_the_convolutions_leave():
    assert (STRIDE, left(399), left(400), left(719), left(720), left(16000)) == (320, 0, 1, 1, 2, 49)
    for positions in (1, 2, 49):
        assert left(seen(positions)) == positions
        assert left(seen(positions) - 1) == positions - 1


def test_a_value_alone_is_that_value_in_a_batch():
    torch.manual_seed(0)
    adaptor = WaveAdaptor(OPTIONS, 16).eval()
    reader, parts = features([400, 5000, 719, 1234])
    together = embedded(adaptor, reader, parts).split([part.length for part in parts])
    assert [len(one) for one in together] == [1, 15, 1, 3]
    for part, one in zip(parts, together, strict=True):
        torch.testing.assert_close(embedded(adaptor, reader, [part]), one, atol=1e-5, rtol=1e-4)


def test_the_convolutions_are_those_of_wav2vec():
    library = pytest.importorskip("transformers")
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2FeatureEncoder

    config = library.Wav2Vec2Config(conv_dim=[16] * 7, feat_extract_norm="layer", conv_bias=True)
    theirs = Wav2Vec2FeatureEncoder(config).eval()
    ours = WaveAdaptor(OPTIONS, 16).eval()
    for number, layer in enumerate(theirs.conv_layers):
        ours.layers[number].load_state_dict(layer.conv.state_dict())
        ours.norms[number].load_state_dict(layer.layer_norm.state_dict())
    samples = torch.randn(2, 3000, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours.features(samples), theirs(samples).transpose(1, 2), atol=1e-5, rtol=1e-4)


def test_what_is_normalised_and_what_is_cut():
    _, (whole,) = features([5000])
    assert whole.tensors["samples"].mean() == pytest.approx(0, abs=1e-6)
    assert whole.tensors["samples"].std() == pytest.approx(1, abs=1e-3)
    _, (cut,) = features([5000], max_length=3)
    assert (cut.length, len(cut.tensors["samples"])) == (3, seen(3))
    _, (fixed,) = features([5000], normalise="fixed")
    assert np.abs(fixed.tensors["samples"]).max() < 0.51
    silent = Wave(OPTIONS, None).preprocess((np.zeros(800, np.float32), 16000), Context())
    assert not silent.tensors["samples"].any()


def test_too_short_is_said():
    with pytest.raises(DataError, match="too short: 399 samples at 16000 Hz; expected at least 400 samples"):
        features([399])


def test_the_plan_and_what_it_costs():
    slot = plan(LINE).slots[0]
    assert (slot.preprocess.name, slot.adaptor.name, slot.key, slot.expected) == (
        "wave",
        "wave",
        "audio_wave_8000",
        125,
    )
    weights, flops = AUDIO.adaptor["wave"].cost({}, 16)
    made = WaveAdaptor(OPTIONS, 16)
    assert weights == sum(weight.numel() for weight in made.parameters())
    # of each layer: its weights times its steps in a position, 64, 32, 16, 8, 4, 2 and 1
    own = [layer.weight.numel() for layer in made.layers]
    assert flops == 2 * sum(n * 2 ** (6 - i) for i, n in enumerate(own)) + 2 * 16 * 16


@pytest.mark.slow
def test_it_keeps_its_contract():
    report = check_modality(
        AUDIO,
        values=[str(DIGITS / "3.wav"), (chirp(0.3), 16000), encoded(tone(0.15)), (np.zeros(3200, np.float32), 16000)],
        bad=[None, 7, "nowhere.wav", b"no sound", tone(), (tone(), 0), (np.full(800, np.nan), 16000)],
        extreme=[(np.ones(400, np.float32), 16000), (np.zeros((19200, 8)), 192_000), (tone(2) * 900, 16000)],
        source="[AUDIO:x,adaptor=wave] what is it? -> [TEXT:answer]",
        target="what is [TEXT:question]? -> [AUDIO:x,vocoder_steps=2]",
        same=lambda value, made: made.rate == 16000,
    )
    assert not report.left_out


def test_tones_are_told_apart_saved_and_loaded(tmp_path):
    random = np.random.default_rng(0)
    rows = [
        {"wav": (tone(0.2, hertz, 8000) + random.normal(size=1600) * 0.01, 8000), "name": name}
        for name, hertz in (("low", 200), ("high", 1600))
        for _ in range(8)
    ]
    task = Task("tones", LINE, train=rows, micro_batch_size=8)
    trainer = Trainer(max_steps=60, lr=2e-3, warmup=6, out=tmp_path, live=False, precision="float32")
    trainer.fit(model=GeneralistModel(size="tiny"), tasks=task)
    new = [{"wav": (tone(0.3, hertz, 8000), 8000)} for hertz in (200, 1600)]
    assert [str(out) for out in OFASys.from_pretrained(tmp_path).inference(LINE, data=new)] == ["low", "high"]
