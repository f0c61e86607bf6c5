"""An emoji drawn by its name in a named style, code by code; the emoji is known in other styles."""

from __future__ import annotations

from ofasys.gallery.tasks.captions import PACKAGE, drawn
from ofasys.gallery.tasks.split import part
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

STYLES = {"noto": "noto", "fluent-emoji-flat": "fluent", "twemoji": "twemoji"}
HELD_OUT = "noto"  # the style in which some emoji are to be drawn, and not in training


def make(data: Data) -> Splits:
    """Of a tenth of the emoji, by name, the drawing of one style is a test row, of a twentieth a valid row."""
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for name, style, img in drawn(data, STYLES):
        split = part(name) if style == HELD_OUT else "train"
        rows[split].append({"cap": name, "style": STYLES[style], "img": img})
    return rows


TASK = GalleryTask(
    "emoji_drawing",
    "an emoji drawn by its name, in a style in which it was never seen",
    (
        "draw [TEXT:cap] in the style of [TEXT:style] -> [IMAGE:img,size=32,patch=4]",
        "[TEXT:style] paints [TEXT:cap] -> [IMAGE:img,size=32,patch=4]",
        "a picture of [TEXT:cap] by [TEXT:style] -> [IMAGE:img,size=32,patch=4]",
    ),
    "psnr",
    (*(PACKAGE + style for style in STYLES), "emojibase-data"),
    "The emoji that all of Noto, Fluent and Twemoji draw, their English names and the name of the style. Of a tenth "
    "of the emoji, by name, what Noto draws is a test row, of a twentieth a valid row, and is not in training, while "
    "the other styles' drawings are.",
    make,
    (4546, 90, 146),
    "b7da3fb3e6029a54",
    Figure(12.0737, "the mean picture"),
    Figure(12.3744, "the same emoji as Fluent draws it"),
    settings={"micro_batch_size": 16},
    needs={"resvg_py": "gallery"},
)
