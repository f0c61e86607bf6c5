"""Pictures as a front takes them; what IMAGE and VIDEO share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ofasys.errors import DataError
from ofasys.modality.modality import Options
from ofasys.modality.shared.cut import raster
from ofasys.modality.shared.front import front_of
from ofasys.modality.shared.front_pictures import grown, patches, settings
from ofasys.modality.shared.front_processor import Processor
from ofasys.modality.shared.read_image import MOST_PIXELS

if TYPE_CHECKING:
    from typing import Annotated as Float


class FrontPictures:
    """grid (m, 2): (y, x) of each state of a picture, -1 for the front's marks."""

    def __init__(self, options: Options) -> None:
        known = self.known = front_of(options)
        self.size = options["size"]
        own: dict[str, Any] = dict(known.processor) if options["size"] is None else settings(known, options["size"])
        self.processor = Processor(known.made_by, own)
        marks = np.full((known.family.marks(known.values), 2), -1)
        self.grid = np.concatenate([marks, raster(*patches(options))])

    def pixels(self, image: Image.Image) -> Float[np.ndarray, "1 3 height width"]:
        """An RGB picture as the front's processor makes it. Errors: DataError for one that is too long and narrow."""
        if (pixels := grown(self.known, self.size, image.width, image.height)) > MOST_PIXELS:
            raise DataError(
                f"the picture is {image.width} x {image.height} pixels, of which the front's processor makes "
                f"{pixels:,} before it cuts the middle out",
                expected=f"at most {MOST_PIXELS:,}: a picture that is less long and narrow",
            )
        return self.processor(image)
