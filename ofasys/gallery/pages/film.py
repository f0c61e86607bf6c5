"""A clip made from words: text to the codes of an image tokenizer, frame after frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ofasys.gallery.emoji.scenes import NAMES, sprite
from ofasys.gallery.pages.page import Asked, Line, Page, Shown
from ofasys.modality.shared import media
from ofasys.modality.video.moving import Video

if TYPE_CHECKING:
    from ofasys.task.task import Task

SIDE, FRAMES, THING, STEP = 32, 3, 16, 8  # a step a frame is as wide as what a code stands for
TEXT = "what does it look like when [TEXT:what]? ->"
LINE = Line("film", f"{TEXT} [VIDEO:clip,frames={FRAMES},size={SIDE},patch={STEP}]", "video_psnr")
EVENTS = ("moves left", "moves right", "moves up", "moves down", "appears", "disappears")
COLOURS = {"white": (255, 255, 255), "yellow": (255, 224, 102), "blue": (116, 192, 252), "green": (140, 233, 154)}
WAYS = {"moves left": (-1, 0), "moves right": (1, 0), "moves up": (0, -1), "moves down": (0, 1)}


def clip(name: str, event: str, colour: str) -> list[Image.Image]:
    """FRAMES pictures (SIDE x SIDE) of what happens to one thing in front of one colour."""
    thing = sprite(name, "fluent", THING)
    middle = (SIDE - THING) // 2
    across, down = WAYS.get(event, (0, 0))
    frames = []
    for i in range(FRAMES):
        frame = Image.new("RGB", (SIDE, SIDE), COLOURS[colour])
        if not (event == "appears" and i == 0) and not (event == "disappears" and i == FRAMES - 1):
            x, y = (middle + way * STEP * (i - FRAMES // 2) for way in (across, down))
            frame.paste(thing, (x + (THING - thing.width) // 2, y + (THING - thing.height) // 2), thing)
        frames.append(frame)
    return frames


def rows(split: str) -> list[dict[str, Any]]:
    """{"what", "clip"}: each thing and each event is in training, but a sixth of their pairs in no colour; these are
    the test.
    """
    found = []
    for i, name in enumerate(NAMES):
        for j, event in enumerate(EVENTS):
            if ((i + j) % len(EVENTS) == 0) == (split == "test"):
                found += [
                    {"what": f"the {name} {event} on {colour}", "clip": clip(name, event, colour)} for colour in COLOURS
                ]
    return found


def _tasks(asked: Asked) -> Sequence[Task]:
    train, test = rows("train"), rows("test")
    return [
        LINE.task(
            train[: asked.some(len(train))],
            test=test[: asked.some(len(test), 4)],
            micro_batch_size=asked.some(16, 4),
            settings={"VIDEO.fit_steps": asked.some(350, 3)},
        )
    ]


def _show(shown: Shown) -> str:
    judged = shown.tasks["film"]
    cards = []
    for i in media.spread(len(judged.rows), 8):
        truth = judged.references[i]["clip"]
        three = (truth, decoded(shown, truth), judged.predictions[i]["clip"])
        films = "".join(media.film(one.pictures(), 0.5, 66, 256) for one in three)
        strips = "".join(media.picture(one.strip(), 2 * one.strip().width) for one in three)
        cards.append(media.card(films, strips, media.text(judged.rows[i]["what"]), kind="wide"))
    return (
        "<p>From left to right, and from above: the clip that is meant; what the image tokenizer makes of its codes, "
        f"which is the best there can be; what was made from the words.</p>{media.row(cards)}"
    )


def decoded(shown: Shown, truth: Video) -> Video:
    """A clip through the image tokenizer that the model was trained with, and back."""
    from ofasys.modality.shared.image_tokenizer import ImageTokenizer

    (slot,) = shown.tasks["film"].task.plan.on("target")
    key = shown.model.model.fit_key(slot)
    assert key is not None
    tokenizer = ImageTokenizer.from_arrays(shown.model.model.fitted[key])
    return Video(np.stack([tokenizer.decode(tokenizer.encode(frame)) for frame in truth.frames]), truth.rate)


PAGE = Page(
    "film",
    "A short video made from words",
    "Eight things and six events in front of four colours: three frames of 32 pixels, each 16 codes of an image "
    "tokenizer that was trained on the frames first. What moves goes as far each frame as a code is wide. Tested on "
    "pairs of a thing and an event that training has in no colour. The figure is the peak signal-to-noise ratio, mean "
    "over frames; the trivial answer is the mean clip.",
    (LINE,),
    _tasks,
    _show,
    lr=3e-3,
    minutes=2.0,
)
