"""Which frames of a clip are taken."""

from __future__ import annotations

import numpy as np

from ofasys.errors import DataError


def choose(
    times: np.ndarray, duration: float, frames: int, rate: float | None, random: np.random.Generator | None
) -> np.ndarray:
    """Numbers of the frames to take (k,), k <= frames, in order; a frame that is shown for long may come twice.

    times (n,): seconds at which each frame begins, the first at 0. duration: seconds the clip lasts. Without `rate`:
    all frames of a short clip; of a longer one, the frame shown in the middle of each of `frames` equal parts (Wang et
    al., 2016), or with `random` at a random moment of each part. With `rate`: so many a second, at most `frames`; if
    the clip lasts longer than they do, those in its middle, or with `random` from a random moment on.
    """
    if rate is None:
        if len(times) <= frames:
            return np.arange(len(times))
        within = np.full(frames, 0.5) if random is None else random.random(frames)
        moments: np.ndarray = (np.arange(frames) + within) * duration / frames
    else:
        count = max(1, min(frames, int(np.floor(duration * rate + 1e-6))))
        spare = max(0.0, duration - count / rate)
        start = spare * (0.5 if random is None else random.random()) if count == frames else 0.0
        moments = start + (np.arange(count) + 0.5) / rate
    return _shown_at(moments, times, duration)


def exactly(times: np.ndarray, duration: float, frames: int, rate: float | None) -> np.ndarray:
    """Numbers of exactly `frames` frames (frames,), in order, for a clip that is to be made.

    Without `rate` those shown in the middle of so many equal parts of the clip, so of a shorter clip frames come twice.
    With `rate` so many a second out of the clip's middle. Errors: DataError for a clip that ends before.
    """
    if rate is None:
        return _shown_at((np.arange(frames) + 0.5) * duration / frames, times, duration)
    spare = duration - frames / rate
    if spare < -1e-6 * max(1.0, duration):
        raise DataError(
            f"the clip lasts {duration:.2f} s",
            expected=f"at least {frames / rate:.2f} s, which frames={frames} at rate={rate:g} take",
        )
    return _shown_at(max(0.0, spare) / 2 + (np.arange(frames) + 0.5) / rate, times, duration)


def _shown_at(moments: np.ndarray, times: np.ndarray, duration: float) -> np.ndarray:
    """The numbers of the frames that stand at these seconds."""
    moments = moments + 1e-6 * duration / len(times)  # one on a border, rounded down, is the next frame's all the same
    found: np.ndarray = np.clip(np.searchsorted(times, moments, side="right") - 1, 0, len(times) - 1)
    return found
