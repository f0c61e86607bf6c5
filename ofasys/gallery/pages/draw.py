"""An emoji drawn from its name: text to the codes of an image tokenizer that is trained in the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ofasys.gallery.emoji.pack import drawings
from ofasys.gallery.pages.page import Asked, Line, Page, Shown
from ofasys.modality.shared import media

if TYPE_CHECKING:
    from ofasys.task.task import Task

SIDE = 32
LINE = Line("draw", "[TEXT:name] -> [IMAGE:img]", "psnr")
# Things of one bold shape, so that one can tell at 32 pixels what was meant.
THINGS = (
    "red heart",
    "star",
    "pizza",
    "red apple",
    "tangerine",
    "sunflower",
    "deciduous tree",
    "cactus",
    "crescent moon",
    "sun",
    "cloud",
    "droplet",
    "penguin",
    "frog",
    "pig face",
    "lady beetle",
    "balloon",
    "umbrella",
    "basketball",
    "eggplant",
    "carrot",
    "watermelon",
    "house",
    "bell",
)
COLOURS = {
    "on white": (255, 255, 255),
    "on yellow": (255, 224, 102),
    "on blue": (116, 192, 252),
    "on pink": (255, 168, 168),
    "on green": (140, 233, 154),
}


def drawing(thing: str, colour: str, size: int = SIDE) -> Image.Image:
    """The picture that a prompt means, RGB (size x size). Errors: ValueError for a thing that the pack has not."""
    (found,) = [one for one in drawings(style="fluent") if one.name == thing]
    margin = size // 16
    small = found.image.resize((size - 2 * margin, size - 2 * margin), Image.Resampling.LANCZOS)
    picture = Image.new("RGB", (size, size), COLOURS[colour])
    picture.paste(small, (margin, margin), small)
    return picture


def rows() -> list[dict[str, Any]]:
    """{"name", "img"}: every thing on every colour."""
    return [{"name": f"{thing} {colour}", "img": drawing(thing, colour)} for thing in THINGS for colour in COLOURS]


def _tasks(asked: Asked) -> Sequence[Task]:
    train = rows()
    test = train[::3]
    return [
        LINE.task(
            train[: asked.some(len(train))],
            test=test[: asked.some(len(test), 4)],
            micro_batch_size=asked.some(16, 4),
            settings={"IMAGE.size": SIDE, "IMAGE.patch": 8, "IMAGE.fit_steps": asked.some(350, 3)},
        )
    ]


def _show(shown: Shown) -> str:
    judged = shown.tasks["draw"]
    cards = []
    for i in media.spread(len(judged.rows), 9):
        truth = judged.references[i]["img"]
        three = (truth, decoded(shown, truth), judged.predictions[i]["img"])
        pictures = "".join(media.picture(picture, 66) for picture in three)
        cards.append(media.card(pictures, media.text(judged.rows[i]["name"])))
    return (
        "<p>From left to right: the picture that is meant; what the image tokenizer makes of its codes, which is the "
        "best there can be; "
        f"what was drawn from the words.</p>{media.row(cards)}"
    )


def decoded(shown: Shown, picture: Image.Image) -> Image.Image:
    """A picture through the image tokenizer that the model was trained with, and back."""
    from ofasys.modality.shared.image_tokenizer import ImageTokenizer

    (slot,) = shown.tasks["draw"].task.plan.on("target")
    key = shown.model.model.fit_key(slot)
    assert key is not None
    tokenizer = ImageTokenizer.from_arrays(shown.model.model.fitted[key])
    return Image.fromarray(tokenizer.decode(tokenizer.encode(np.asarray(picture))))


PAGE = Page(
    "draw",
    "An emoji drawn from its name",
    "24 things on 5 colours, as pictures of 32 pixels: 16 codes of an image tokenizer that was trained on the pictures "
    "first. They are drawn by heart: the test is on a "
    "third of the very pictures of training, from their names. The figure is the peak signal-to-noise ratio; the "
    "trivial answer is the mean picture.",
    (LINE,),
    _tasks,
    _show,
    minutes=1.5,
)
