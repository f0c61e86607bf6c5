"""Clips in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.errors import ConfigError
from ofasys.modality.video.moving import Video, beside
from ofasys.modality.video.read import as_given


def save(path: Path, values: Sequence[Any], frame: Any, labels: Sequence[str]) -> None:
    """Clips, as answers or rows hold them, as one moving picture, beside each other.

    Errors: DataError for a value that is no clip.
    """
    if not values:
        raise ConfigError(f"cannot write {path.name!r}: the answer holds no clip")
    clips = [as_given(value) for value in values]
    together = np.stack([beside(frames) for frames in zip(*(clip.frames for clip in clips), strict=True)])
    Video(together, clips[0].rate).save(path)
