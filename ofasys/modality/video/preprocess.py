"""VIDEO: a clip -> some of its frames -> patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from ofasys.engine.ofa.config import FRAME
from ofasys.modality.modality import Concatenate, Context, Options
from ofasys.modality.shared.colours import centred
from ofasys.modality.shared.cut import cut, pictures, raster, shape_in_patches
from ofasys.modality.symbols import Symbols
from ofasys.modality.video.choose import choose
from ofasys.modality.video.read import opened
from ofasys.types import SlotFeatures


class Frames(Concatenate):
    """A clip -> patches (t * h * w, 3 * p * p) uint8, frame by frame in raster order, and shapes (t, 2) in patches.

    A frame takes one place of the sentence, so that positions are (frame, y, x). At most one frame is held as large as
    it comes; the others are resized already. In training the moments are random: see `choose`.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.frames, self.rate = int(options["frames"]), options["rate"]
        self.size, self.patch, self.keep_aspect = options["size"], options["patch"], options["keep_aspect"]

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value is no clip, has no frame, breaks off, or is too large."""
        random = context.random if context.training else None
        with opened(value, context.root, timed=self.rate is not None) as clip:
            chosen = choose(clip.times, clip.duration, self.frames, self.rate, random)
            once, places = np.unique(chosen, return_inverse=True)
            patches: list[np.ndarray] = []
            for image in clip.pick(once):
                if not patches:
                    width, height = image.size
                    h, w = shape_in_patches(width, height, self.size, self.patch, self.keep_aspect)
                patches.append(self.of_frame(image, h, w))
        taken = [patches[place] for place in places]
        tensors = {"patches": np.concatenate(taken), "shapes": np.full((len(taken), 2), (h, w), dtype=np.int64)}
        grid = np.tile(raster(h, w), (len(taken), 1))
        info = {"width": width, "height": height, "duration": clip.duration, "frames": len(clip.times)}
        return SlotFeatures(tensors, len(grid), grid, orders=len(taken), info=info)

    def of_frame(self, image: Image.Image, h: int, w: int) -> np.ndarray:
        """The patches of a frame (h * w, 3 * p * p)."""
        return cut(image, h, w, self.patch)

    def postprocess(self, made: np.ndarray, context: Context) -> Any:
        """Patches are read, not made; clips are made of codes."""
        raise NotImplementedError("VIDEO is made by preprocess=codes, not by preprocess=frames")


class Film(Frames):
    """The square in the middle of each, resized by bicubic curves; positions say their frame beside the row, as
    OFASys's do.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        super().__init__(options, symbols)
        self.colours = str(options.get("colours") or "imagenet")

    def of_frame(self, image: Image.Image, h: int, w: int) -> np.ndarray:
        """As of `Frames`."""
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        middle = image.crop((left, top, left + side, top + side))
        return centred(cut(middle, h, w, self.patch, "bicubic"), self.colours)

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value is no clip, has no frame, breaks off, or is too large."""
        made = super().preprocess(value, context)
        assert made.grid is not None
        shapes = made.tensors["shapes"]
        frame = np.repeat(np.arange(1, len(shapes) + 1), shapes.prod(1))
        return replace(made, grid=made.grid + np.stack([FRAME * frame, np.zeros_like(frame)], 1))

    def collate(self, parts: Sequence[SlotFeatures]) -> dict[str, np.ndarray]:
        """patches (n, 3 * p * p), and of each shape (h, w) of frames `grid HxW` (frames, h * w): their rows."""
        return pictures(parts)
