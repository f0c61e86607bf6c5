"""VIDEO: a clip -> the codes of an image tokenizer, frame after frame, a token each, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from ofasys.errors import DataError
from ofasys.modality.modality import NOWHERE, Context, Options
from ofasys.modality.shared.coded import Coded, square
from ofasys.modality.shared.cut import raster
from ofasys.modality.symbols import Symbols
from ofasys.modality.video.choose import exactly
from ofasys.modality.video.moving import Video
from ofasys.modality.video.read import opened
from ofasys.types import SlotFeatures


class CodedFrames(Coded):
    """A clip -> exactly `frames` squares of `size` pixels -> tokens (frames * h * w,): the codes of each frame in
    raster order, which are those that IMAGE makes of it.

    In a source a frame takes one place of the sentence, so that positions are (frame, y, x) as those of patches. In a
    target each token takes its own, since they are made one after another: the place counts frames by h * w, and y and
    x begin anew with each.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        super().__init__(options, symbols)
        self.frames, self.rate = int(options["frames"]), options["rate"]

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value is no clip, has no frame, breaks off, is too large, or with a `rate` too
        short.
        """
        with opened(value, context.root, timed=self.rate is not None) as clip:
            chosen = exactly(clip.times, clip.duration, self.frames, self.rate)
            once, places = np.unique(chosen, return_inverse=True)
            made: list[np.ndarray] = []
            for image in clip.pick(once):
                width, height = image.size
                made.append(self.tokens_of(image))
            info = {"width": width, "height": height, "duration": clip.duration, "frames": len(clip.times)}
        tokens = np.concatenate([made[place] for place in places])
        grid = np.tile(raster(self.side, self.side), (self.frames, 1))
        return SlotFeatures({"tokens": tokens}, len(tokens), grid, orders=self.frames, info=info)

    def postprocess(self, made: np.ndarray, context: Context) -> Video:
        """Tokens (frames * h * w,) -> the clip, RGB frames of `size` x `size` pixels."""
        frames = np.asarray(made).reshape(self.frames, self.side * self.side)
        return Video(np.stack([self.pixels_of(tokens) for tokens in frames]), self.rate)

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """A true clip as an answer would be: a `Video` of so many frames, squares of `size` pixels. What cannot be read
        stays itself.
        """
        try:
            return Video(np.stack(list(_squares(value, context, self.options))), self.rate)
        except DataError:
            return value

    @staticmethod
    def lessons(value: Any, context: Context, options: Options) -> Iterator[Any]:
        """The frames that are taken of it, as pictures; of a clip that cannot be read none."""
        try:
            frames = list(_squares(value, context, options))
        except DataError:  # said when its row is read
            return
        yield from map(Image.fromarray, frames)


def _squares(value: Any, context: Context, options: Options) -> Iterator[np.ndarray]:
    """RGB (size, size, 3) of each of the frames that are taken."""
    rate = options["rate"]
    with opened(value, context.root, timed=rate is not None) as clip:
        chosen = exactly(clip.times, clip.duration, int(options["frames"]), rate)
        once, places = np.unique(chosen, return_inverse=True)
        made = [square(image, int(options["size"])) for image in clip.pick(once)]
    yield from (made[place] for place in places)
