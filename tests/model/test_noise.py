"""The noise schedule by its law; against `diffusers` it stands in tests/generator/test_denoise.py."""

import numpy as np
import pytest

from ofasys.model.noise import alpha_bar, stopping_times


@pytest.mark.parametrize("timesteps", [2, 10, 50, 1000, 10_000])
def test_a_value_fades(timesteps):
    left = alpha_bar(timesteps)
    assert left.shape == (timesteps,)
    assert (np.diff(left) < 0).all()
    assert 0 < left[-1] < 0.01
    assert left[0] < 1
    with pytest.raises(ValueError, match="read-only"):
        left[0] = 1


def test_halfway_half_is_left():
    assert alpha_bar(1000)[499] == pytest.approx(
        np.cos(0.508 / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    )


@pytest.mark.parametrize(("timesteps", "steps"), [(1000, 50), (1000, 1), (1000, 1000), (7, 3), (10, 50), (1000, 999)])
def test_a_walk_begins_in_noise_and_falls(timesteps, steps):
    times = stopping_times(timesteps, steps)
    assert times[0] == timesteps - 1
    assert len(times) == min(steps, timesteps)
    assert (np.diff(times) < 0).all()
    assert times[-1] >= 0
