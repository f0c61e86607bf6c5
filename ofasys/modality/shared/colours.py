"""How pixels are centred before a network reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # options read this, and a plan is made without numpy
    import numpy as np

MEANS, DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels, of 0..1
COLOURS = ("half", "imagenet")
ABOUT_COLOURS = "pixels reach from -1 to 1; or ImageNet's means are taken off, in its deviations"


def centred(patches: np.ndarray, colours: str) -> np.ndarray:
    """Patches (n, 3 * p * p) uint8, channel first -> such as are centred so, once 0..255 is made -1..1 of them."""
    if colours == "half":
        return patches
    import numpy as np

    means, deviations = (np.array(values, dtype=np.float32)[:, None] for values in (MEANS, DEVIATIONS))
    pixels = patches.reshape(len(patches), 3, -1).astype(np.float32) / 255
    found: np.ndarray = ((pixels - means) / deviations + 1) * np.float32(127.5)
    return found.reshape(patches.shape)
