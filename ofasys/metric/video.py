"""Metrics of clips: how like two are, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ofasys.errors import DataError
from ofasys.metric.image import psnr
from ofasys.metric.pairs import pairs, shown

if TYPE_CHECKING:
    import numpy as np


def video_psnr(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`video_psnr`, dB, 0..100: the peak signal-to-noise ratio of each frame (see `psnr`), mean over frames and clips.
    `video_psnr_last`: of the last frames alone, where what went wrong has added up.

    A value is a made clip, an array (T, H, W, 3), (T, H, W, 4) or (T, H, W), or a list of what `psnr` takes. Errors:
    DataError for a clip of another number of frames than its reference.
    """
    every, last = [], []
    for i, (one, other) in enumerate(pairs(predictions, references)):
        made, true = _frames(one, i), _frames(other, i)
        if len(made) != len(true):
            raise DataError(f"{len(made)} frames, and {len(true)} in the reference", expected="as many", sample=i)
        every.append(psnr(made, true)["psnr"])
        last.append(psnr(made[-1:], true[-1:])["psnr"])
    return {"video_psnr": math.fsum(every) / len(every), "video_psnr_last": math.fsum(last) / len(last)}


def _frames(value: Any, sample: int) -> list[Any]:
    import numpy as np

    found = value
    if not isinstance(value, list | tuple):
        array: np.ndarray = np.asarray(value) if hasattr(value, "__array__") else np.zeros(())
        found = list(array) if array.ndim in (3, 4) else []
    if not len(found):
        expected = "a clip of one frame at least: an array (T, H, W, 3) or (T, H, W), or a list of pictures"
        raise DataError(f"not a clip: {shown(value)}", expected=expected, sample=sample)
    return list(found)
