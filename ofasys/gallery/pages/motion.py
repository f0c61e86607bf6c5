"""A motion made from its name, and named."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from ofasys.gallery.pages.bodies import FRAMES, MOVES, motion
from ofasys.gallery.pages.page import Asked, Line, Page, Shown
from ofasys.gallery.rows import Rows
from ofasys.modality.shared import media

if TYPE_CHECKING:
    from PIL import Image

    from ofasys.task.task import Task

TEST = 42
MAKE = Line("make_motion", f"a body is to [TEXT:what] -> [MOTION:m,frames={FRAMES},stride=2,steps=25]", "mpjpe")
NAME = Line(
    "name_motion",
    f"what does the body do? [MOTION:m,frames={FRAMES},stride=2] -> [TEXT:what,closed_set]",
    "accuracy",
)


def rows(split: str, count: int, seed: int = 0) -> Rows:
    """{"what", "m"}: one of seven moves, each time another size of body, speed and reach."""
    return Rows(partial(_row, split=split, seed=seed), count)


def _row(index: int, *, split: str, seed: int) -> dict[str, Any]:
    moves = tuple(MOVES)
    what = moves[index % len(moves)] if split == "test" else Random(f"{seed}/motion/{index}").choice(moves)
    return {"what": what, "m": motion(what, f"{seed}/{split}/{index}")}


def _tasks(asked: Asked) -> Sequence[Task]:
    train = list(rows("train", asked.some(1500), asked.seed))
    test = list(rows("test", asked.some(TEST, 3), asked.seed))
    return [
        MAKE.task(train, test=test, micro_batch_size=asked.some(32, 4)),
        NAME.task(train, test=test, closed_set={"what": tuple(MOVES)}, micro_batch_size=asked.some(16, 4)),
    ]


def nearest(made: np.ndarray, examples: dict[str, list[np.ndarray]]) -> str:
    """The move whose examples (frames, joints, 3) a motion is nearest to, by the mean distance of joints from the
    root's.
    """
    from ofasys.metric import mpjpe

    return min(examples, key=lambda what: min(mpjpe([made], [other])["mpjpe_root"] for other in examples[what]))


def _pictures(value: Any) -> list[Image.Image]:
    """The skeleton aslant, a picture a frame."""
    from ofasys.modality.motion.draw import SIDE, pictures

    return [picture.crop((SIDE, 18, 2 * SIDE, SIDE)) for picture in pictures(value)]


def _show(shown: Shown) -> str:
    make, name = shown.tasks["make_motion"], shown.tasks["name_motion"]
    examples = {what: [motion(what, f"example/{i}")["positions"] for i in range(4)] for what in MOVES}
    found = [nearest(answer["m"].positions, examples) for answer in make.predictions]
    right = sum(what == row["what"] for what, row in zip(found, make.rows, strict=True))
    cards = []
    for i in range(min(len(MOVES), len(make.rows))):
        kind = "right" if found[i] == make.rows[i]["what"] else "wrong"
        cards.append(
            media.card(
                f"<b>{media.text(make.rows[i]['what'])}</b> <span class='{kind}'>nearest to: "
                f"{media.text(found[i])}</span>",
                media.film(_pictures(make.references[i]["m"]), 0.05, 150, 16)
                + media.film(_pictures(make.predictions[i]["m"]), 0.05, 150, 16),
                f"the true one is named: {media.verdict(name.predictions[i]['what'], name.references[i]['what'])}",
                kind="pair",
            )
        )
    return (
        f"<p>Left a true motion, right one that was made from the word. {right} of {len(found)} that were made are "
        "nearer to examples of their own move than "
        f"to those of any other.</p>{media.row(cards)}"
    )


PAGE = Page(
    "motion",
    "A motion made from its name, and named",
    "Seven moves of a body of 15 joints, made by rule, two seconds each; no two have the same size of body, speed and "
    "reach. Made: by diffusion, from noise; the figure is the mean distance of joints from "
    "those of a true motion of that name, in metres with the hips at one place, and the trivial answer a motion of "
    "training with any name. Named: motions that are not in training.",
    (MAKE, NAME),
    _tasks,
    _show,
    text_pieces=400,
    minutes=0.7,
)
