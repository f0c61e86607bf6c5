"""Which frames are taken: evenly over the clip, or so many a second."""

import numpy as np
import pytest

from ofasys.modality.video.choose import choose


def even(count, rate=1.0):
    return np.arange(count) / rate, count / rate


def random(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize(
    ("count", "frames", "taken"),
    [
        (10, 5, [1, 3, 5, 7, 9]),
        (8, 8, list(range(8))),
        (3, 8, [0, 1, 2]),
        (1, 8, [0]),
        (9, 2, [2, 6]),
        (100, 1, [50]),
        (1_000_000, 4, [125_000, 375_000, 625_000, 875_000]),
    ],
)
def test_spread_evenly(count, frames, taken):
    assert choose(*even(count), frames, None, None).tolist() == taken
    assert choose(*even(count, 30), frames, None, None).tolist() == taken  # however fast they follow


def test_spread_over_time_where_the_rate_varies():
    times = np.array([0, 1, 2, 8, 9.0])
    assert choose(times, 10, 3, None, None).tolist() == [1, 2, 3]  # at 1.67, 5 and 8.33 s


@pytest.mark.parametrize("count", [9, 17, 100])
def test_at_random_one_of_each_part(count):
    seen = set()
    for seed in range(200):
        taken = choose(*even(count), 8, None, random(seed))
        parts = (taken + 0.0) * 8 / count
        assert len(taken) == 8
        assert (np.diff(taken) >= 0).all()
        assert (np.floor(parts) <= np.arange(8)).all()
        assert (taken + 1 > np.arange(8) * count / 8).all()
        seen.update(taken.tolist())
    assert seen == set(range(count))
    assert choose(*even(count), 8, None, random(3)).tolist() == choose(*even(count), 8, None, random(3)).tolist()


@pytest.mark.parametrize(
    ("count", "fps", "rate", "taken"),
    [
        (30, 10, 2, [2, 7, 12, 17, 22, 27]),  # three seconds, two a second
        (30, 10, 10, list(range(11, 19))),  # eight tenths of a second out of its middle
        (100, 10, 2, [32, 37, 42, 47, 52, 57, 62, 67]),
        (4, 10, 2, [2]),  # shorter than a half second: one frame all the same
        (3, 1, 2, [0, 0, 1, 1, 2, 2]),  # a slow clip: the frame that is shown then
    ],
)
def test_so_many_a_second(count, fps, rate, taken):
    assert choose(*even(count, fps), 8, rate, None).tolist() == taken


def test_at_random_so_many_a_second_from_a_random_moment_on():
    starts = set()
    for seed in range(200):
        taken = choose(*even(100, 10), 8, 2, random(seed))
        assert set(np.diff(taken)) <= {4, 5, 6}
        starts.add(int(taken[0]))
    assert min(starts) == 2
    assert max(starts) >= 61
    assert choose(*even(30, 10), 8, 2, random()).tolist() == [2, 7, 12, 17, 22, 27]  # a short clip: all of it
