"""Pictures as a front takes them; what IMAGE and VIDEO share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ofasys.modality.modality import Options
from ofasys.modality.shared.cut import raster
from ofasys.modality.shared.front import front_of
from ofasys.modality.shared.front_pictures import patches, settings
from ofasys.modality.shared.front_processor import Processor

if TYPE_CHECKING:
    from typing import Annotated as Float


class FrontPictures:
    """grid (m, 2): (y, x) of each state of a picture, -1 for the front's marks."""

    def __init__(self, options: Options) -> None:
        known = front_of(options)
        own: dict[str, Any] = dict(known.processor) if options["size"] is None else settings(known, options["size"])
        self.processor = Processor(known.made_by, own)
        marks = np.full((known.family.marks(known.values), 2), -1)
        self.grid = np.concatenate([marks, raster(*patches(options))])

    def pixels(self, image: Image.Image) -> Float[np.ndarray, "1 3 height width"]:
        """An RGB picture as the front's processor makes it."""
        return self.processor(image)
