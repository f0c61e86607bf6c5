"""AUDIO keeps the contract of a modality, on both sides."""

import numpy as np
import pytest

from ofasys.modality.audio import AUDIO
from ofasys.testing import check_modality
from tests.modality.audio.sounds import DIGITS, chirp, encoded, tone


def heard_again(value, made):
    """The sound of the same length but for a position's worth, and as loud."""
    from ofasys.modality.audio.read_audio import read_audio

    truth = read_audio(value, made.rate)
    rms = [float(np.sqrt((x.samples**2).mean())) for x in (truth, made)]
    return 0 <= made.seconds - truth.seconds < 0.02 and rms[1] == pytest.approx(rms[0], rel=0.3, abs=0.02)


@pytest.mark.slow
def test_it_keeps_its_contract():
    report = check_modality(
        AUDIO,
        values=[str(DIGITS / "3.wav"), (chirp(0.3), 16000), encoded(tone(0.15)), (np.zeros(3200, np.float32), 16000)],
        bad=[
            None,
            7,
            "nowhere.wav",
            b"no sound",
            tone(),
            (tone(), 0),
            (np.array([0.0, np.nan] * 400), 16000),
            (np.zeros(1, np.float32), 16000),
            {"array": None},
        ],
        extreme=[
            (np.zeros(0, np.float32), 16000),
            (np.ones(400, np.float32), 16000),
            (np.random.default_rng(0).uniform(-1, 1, (2000, 8)), 192000),
            (np.zeros(70 * 16000, np.float32), 16000),
            (tone(2) * 900, 16000),
        ],
        same=heard_again,
    )
    assert not report.left_out
