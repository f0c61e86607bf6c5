"""Whether a sentence is true of a scene composed of emoji; where a part of it is covered, one may not know."""

from __future__ import annotations

from random import Random

from ofasys.gallery.tasks.composed import NAMES, PACKAGES, SIDE, UNSEEN, Scene, Sprites, article, several, splits
from ofasys.gallery.tasks.fashion import png_of
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

ANSWERS = ("yes", "no", "maybe")
COVER = (110, 110, 110)  # RGB of what hides a part of a scene
COVERED = 22  # pixels of its side
SIDES = {"to the left of": (0, -1), "to the right of": (0, 1), "above": (1, -1), "below": (1, 1)}
"""Where words point: the axis, 0 of x, and the sign."""
CLEAR = 0.1  # share of the scene's side that lies between two things at least


def make(data: Data) -> Splits:
    """The answers come as often each; a cover lies over as many scenes of yes as of others."""
    return splits(_row, data, "scene_entailment")


def _row(sprites: Sprites, random: Random, index: int) -> Row:
    turn, form = divmod(index, 5)
    if form < 3:
        scene, sentence, answer, covered = _existence(sprites, random, ANSWERS[form], turn)
    else:
        scene, sentence, answer = _relation(sprites, random, ANSWERS[form - 3])
        covered = None
    picture = scene.picture()
    if covered is not None:
        picture.paste(COVER, covered)
    return {"img": png_of(picture), "sentence": sentence, "answer": answer}


def _existence(
    sprites: Sprites, random: Random, answer: str, turn: int
) -> tuple[Scene, str, str, tuple[int, int, int, int] | None]:
    """What is not seen may be below the cover, where one lies."""
    while True:
        scene = several(sprites, random, 1, 2)
        x, y = random.randint(0, SIDE - COVERED), random.randint(0, SIDE - COVERED)
        cover = (x, y, x + COVERED, y + COVERED)
        if all(_apart(item.box, cover) for item in scene.items):
            break
    name = random.choice([name for name in NAMES if (name in scene.names) == (answer == "yes")])
    lies = answer == "maybe" or (answer == "yes" and turn % 2 == 0)
    return scene, f"there is {article(name)}", answer, cover if lies else None


def _apart(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def _relation(sprites: Sprites, random: Random, answer: str) -> tuple[Scene, str, str]:
    words = random.choice(tuple(SIDES))
    axis, sign = SIDES[words]
    while True:
        scene = several(sprites, random, 2, 2)
        one, other = sorted(scene.items, key=lambda item: sign * item.centre[axis], reverse=True)
        if abs(one.centre[axis] - other.centre[axis]) >= CLEAR * SIDE:
            first, second = (one, other) if answer == "yes" else (other, one)
            return scene, f"the {first.name} is {words} the {second.name}", answer


TASK = GalleryTask(
    "scene_entailment",
    "whether a sentence is true of a scene of emoji, in a style that was never seen",
    (
        "[IMAGE:img,size=64,patch=8] is it so? [TEXT:sentence] -> [TEXT:answer,closed_set]",
        "does [IMAGE:img,size=64,patch=8] mean that [TEXT:sentence]? -> [TEXT:answer,closed_set]",
        "[TEXT:sentence] is this true of [IMAGE:img,size=64,patch=8]? -> [TEXT:answer,closed_set]",
    ),
    "accuracy",
    PACKAGES,
    "Scenes of one or two emoji of twenty kinds, some with a grey square over a part, and a sentence: what is there, "
    "or how two things lie. What is not seen where a square lies may be there: maybe. "
    f"{UNSEEN}",
    make,
    (6000, 300, 1000),
    "9f01d70de576a2a3",
    Figure(0.4, "always 'yes'"),
    Figure(0.547, "8 x 8 pixels, TF-IDF and a linear SVM"),
    Figure(0.601, "1000 steps, seed 0, the last checkpoint, bfloat16", "2026-11-29", ("trainer.max_steps=1000",)),
    settings={"closed_set": ANSWERS, "micro_batch_size": 32},
    needs={"resvg_py": "gallery"},
    text_pieces=300,
)
