"""VIDEO for a front that takes pictures: a clip -> some of its frames, as the front's own processor makes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ofasys.modality.modality import Concatenate, Context, Options
from ofasys.modality.shared.front_pixels import FrontPictures
from ofasys.modality.symbols import Symbols
from ofasys.modality.video.choose import choose
from ofasys.modality.video.read import opened
from ofasys.types import SlotFeatures


class FrontFrames(Concatenate):
    """A clip -> pixels (frames, 3, height, width) float32. A frame takes one place of the sentence, its patches have
    one in the grid, the front's marks none. In training the moments are random: see `choose`.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.frames, self.rate = int(options["frames"]), options["rate"]
        self.pictures = FrontPictures(options)

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value is no clip, has no frame, breaks off, or is too large."""
        random = context.random if context.training else None
        with opened(value, context.root, timed=self.rate is not None) as clip:
            chosen = choose(clip.times, clip.duration, self.frames, self.rate, random)
            once, places = np.unique(chosen, return_inverse=True)
            made: list[np.ndarray] = []
            for image in clip.pick(once):
                width, height = image.size
                made.append(self.pictures.pixels(image))
        grid = np.tile(self.pictures.grid, (len(places), 1))
        info = {"width": width, "height": height, "duration": clip.duration, "frames": len(clip.times)}
        pixels = np.concatenate([made[place] for place in places])
        return SlotFeatures({"pixels": pixels}, len(grid), grid, orders=len(places), info=info)

    def postprocess(self, made: np.ndarray, context: Context) -> Any:
        """A front reads; clips are made of codes."""
        raise NotImplementedError("VIDEO is made by preprocess=codes, not by preprocess=hf")
