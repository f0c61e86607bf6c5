"""A vocoder of the library transformers, out of a folder; here one that has learned nothing."""

import json

import numpy as np
import pytest

from ofasys.errors import ConfigError
from ofasys.modality.audio.mel import MelSpec, log_mel
from ofasys.modality.audio.vocoder import sound
from tests.modality.audio.sounds import OPTIONS, chirp

pytestmark = pytest.mark.slow  # loads a large library
SPEC = MelSpec.of(OPTIONS | {"window": 64.0, "hop": 16.0, "fmin": 80.0, "fmax": 7600.0})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    config = SpeechT5HifiGanConfig(
        upsample_initial_channel=16,
        upsample_rates=[8, 8, 4],
        upsample_kernel_sizes=[16, 16, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
    )
    path = tmp_path_factory.mktemp("vocoder")
    SpeechT5HifiGan(config).save_pretrained(path)
    return path


def test_it_makes_as_many_samples_as_its_frames_stand_for(folder):
    import torch
    from transformers import SpeechT5HifiGan

    frames = log_mel(chirp(), SPEC)[:-1]
    made = sound(frames, SPEC, str(folder), 60)
    assert made.shape == (len(frames) * 256,)
    with torch.no_grad():
        model = SpeechT5HifiGan.from_pretrained(folder)
        expected = model(torch.from_numpy(np.log10(np.exp(frames))))  # what its frames are in the library's own recipe
    np.testing.assert_allclose(made, expected.numpy(), atol=1e-5)


def test_frames_it_was_not_made_for(folder):
    spec = MelSpec.of(OPTIONS)
    with pytest.raises(ConfigError, match=r"wants other frames.*write rate=16000,hop=16,mels=80"):
        sound(log_mel(chirp(), spec), spec, str(folder), 60)


def test_what_is_no_vocoder(tmp_path):
    frames = log_mel(chirp(), SPEC)
    with pytest.raises(ConfigError, match=r"vocoder='.*nowhere' cannot be read.*griffin_lim, or a folder"):
        sound(frames, SPEC, str(tmp_path / "nowhere"), 60)
    (tmp_path / "config.json").write_text("[1, 2]")
    with pytest.raises(ConfigError, match="cannot be read"):
        sound(frames, SPEC, str(tmp_path), 60)
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["SpeechT5HifiGun"]}))
    with pytest.raises(ConfigError, match="did you mean SpeechT5HifiGan"):
        sound(frames, SPEC, str(tmp_path), 60)
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["SpeechT5HifiGan"], "model_type": "hifigan"}))
    with pytest.raises(ConfigError, match="cannot be loaded"):  # no model.safetensors
        sound(frames, SPEC, str(tmp_path), 60)
