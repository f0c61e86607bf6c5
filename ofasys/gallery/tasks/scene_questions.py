"""Questions about scenes that are composed of emoji: is there, how many, what is where."""

from __future__ import annotations

from random import Random

from ofasys.gallery.tasks.composed import (
    NAMES,
    PACKAGES,
    SIDE,
    UNSEEN,
    Scene,
    Sprites,
    article,
    compose,
    several,
    splits,
)
from ofasys.gallery.tasks.fashion import png_of
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

ENDS = {"on the left": (0, -1), "on the right": (0, 1), "at the top": (1, -1), "at the bottom": (1, 1)}
"""Where words point: the axis, 0 of x, and the sign."""
CLEAR = 0.1  # share of the scene's side by which the outermost object stands out


def make(data: Data) -> Splits:
    """Questions take turns, so that yes and no, the numbers and the ends come as often each."""
    return splits(_row, data, "scene_questions")


def _row(sprites: Sprites, random: Random, index: int) -> Row:
    turn, form = divmod(index, 4)
    ask = (_exists, _objects, _kind, _end)[form]
    scene, question, answer = ask(sprites, random, turn)
    return {"img": png_of(scene.picture()), "question": question, "answer": answer}


def _exists(sprites: Sprites, random: Random, turn: int) -> tuple[Scene, str, str]:
    scene, there = several(sprites, random, 1, 3), turn % 2 == 0
    name = random.choice([name for name in NAMES if (name in scene.names) == there])
    return scene, f"is there {article(name)}?", "yes" if there else "no"


def _objects(sprites: Sprites, random: Random, turn: int) -> tuple[Scene, str, str]:
    wanted = 1 + turn % 4
    return compose(sprites, random, random.choices(NAMES, k=wanted)), "how many things are there?", str(wanted)


def _kind(sprites: Sprites, random: Random, turn: int) -> tuple[Scene, str, str]:
    wanted, name = turn % 4, random.choice(NAMES)
    others = random.choices([other for other in NAMES if other != name], k=random.randint(wanted == 0, 4 - wanted))
    return compose(sprites, random, [name] * wanted + others), f"how often is there {article(name)}?", str(wanted)


def _end(sprites: Sprites, random: Random, turn: int) -> tuple[Scene, str, str]:
    words = tuple(ENDS)[turn % len(ENDS)]
    axis, sign = ENDS[words]
    while True:
        scene = several(sprites, random, 2, 3)
        last, first = sorted(scene.items, key=lambda item: sign * item.centre[axis])[-2:]
        if sign * (first.centre[axis] - last.centre[axis]) >= CLEAR * SIDE:
            return scene, f"what is {words}?", first.name


TASK = GalleryTask(
    "scene_questions",
    "questions about a scene of emoji, in a style that was never seen",
    (
        "[IMAGE:img,size=64,patch=8] [TEXT:question] -> [TEXT:answer,closed_set]",
        "look at [IMAGE:img,size=64,patch=8] and answer: [TEXT:question] -> [TEXT:answer,closed_set]",
        "[TEXT:question] the picture: [IMAGE:img,size=64,patch=8] -> [TEXT:answer,closed_set]",
    ),
    "accuracy",
    PACKAGES,
    "Scenes of one to four emoji of twenty kinds, and a question about one: whether a thing is there, how many things "
    "there are, how many of a kind, what is outermost. "
    f"{UNSEEN}",
    make,
    (6000, 300, 1000),
    "f715e56a243470e9",
    Figure(0.125, "always 'yes'"),
    Figure(0.358, "8 x 8 pixels, TF-IDF and a linear SVM"),
    Figure(0.433, "1000 steps, seed 0, the last checkpoint, bfloat16", "2026-11-29", ("trainer.max_steps=1000",)),
    settings={"closed_set": ("yes", "no", "0", "1", "2", "3", "4", *NAMES), "micro_batch_size": 32},
    needs={"resvg_py": "gallery"},
    text_pieces=300,
)
