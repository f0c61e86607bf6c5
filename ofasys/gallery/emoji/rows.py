"""Rows for the demo's six tasks: sequences that draw a row when it is asked for.

A row is a function of (seed, split, index) alone. Test scenes use the drawings of the training scenes, in scenes of
their own: what is tested is finding and counting, not recognising a new drawing (`caption` and `group` test that).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from random import Random
from typing import Any

from PIL import Image

from ofasys.errors import ConfigError, nearest
from ofasys.gallery.emoji.pack import SIDE, Drawing, drawings
from ofasys.gallery.emoji.scenes import NAMES, Backdrop, Item, Scene, compose
from ofasys.gallery.rows import Row, Rows

SPLITS = ("train", "valid", "test")
SCENES = {"train": 20_000, "valid": 200, "test": 400}  # rows of a task on scenes
# Groups whose names captioning asks for, by split: things, rather than faces and signs. Few for valid, since each emoji
# of it is one more name to learn.
CAPTIONED = {
    "valid": ("animals & nature", "food & drink"),
    "test": ("animals & nature", "food & drink", "travel & places", "activities", "objects"),
}
VIEWS = 8  # how many ways a training drawing is shown


def caption(split: str, *, size: int = SIDE, seed: int = 0) -> Rows:
    """{"img", "cap", "keywords"}: one thing and its name. valid and test: in the style held out for that emoji."""
    pool = captioned(_known(split))
    return _shown(_caption_row, pool, split, size, seed)


def group(split: str, *, size: int = SIDE, seed: int = 0) -> Rows:
    """{"img", "group"}: one emoji and one of nine groups. valid and test: emoji not seen in any style."""
    pool = drawings(caption_split="train") if _known(split) == "train" else drawings(emoji_split=split)
    return _shown(_group_row, pool, split, size, seed)


def grounding(split: str, *, size: int = SIDE, seed: int = 0) -> Rows:
    """{"img", "phrase", "box"}: where is it? The phrase names one of two different objects."""
    return _composed(_grounding_row, split, size, seed)


def grounded_caption(split: str, *, size: int = SIDE, seed: int = 0) -> Rows:
    """{"img", "box", "cap"}: what is in this box, one of two different objects?"""
    return _composed(_grounded_caption_row, split, size, seed)


def detection(split: str, *, size: int = SIDE, seed: int = 0) -> Rows:
    """{"img", "box": [...], "label": [...]}: one to three objects, left to right."""
    return _composed(_detection_row, split, size, seed)


def vqa(split: str, *, size: int = SIDE, seed: int = 0) -> Rows:
    """{"img", "question", "answer"}: is there, how many, what is on the left, what is below."""
    return _composed(_vqa_row, split, size, seed)


def _known(split: str) -> str:
    if split not in SPLITS:
        raise ConfigError(f"unknown split {split!r}; {nearest(split, SPLITS)}known here: {', '.join(SPLITS)}")
    return split


# One emoji per picture


def _shown(row: Callable[..., Row], pool: tuple[Drawing, ...], split: str, size: int, seed: int) -> Rows:
    make = partial(row, split=split, size=size, seed=seed)
    return Rows(make, len(pool) * (VIEWS if split == "train" else 1))


@cache
def captioned(split: str) -> tuple[Drawing, ...]:
    """The drawings of a split that captioning shows: of emoji with a style held out, so that no name is learned in
    vain.
    """
    asked = {d.hexcode for kept, groups in CAPTIONED.items() for d in drawings(caption_split=kept) if d.group in groups}
    return tuple(drawing for drawing in drawings(caption_split=split) if drawing.hexcode in asked)


def _caption_row(index: int, *, split: str, size: int, seed: int) -> Row:
    pool = captioned(split)
    drawing = pool[index % len(pool)]
    img = show(drawing, index // len(pool), size=size, seed=seed)
    return {"img": img, "cap": drawing.name, "keywords": ", ".join(drawing.keywords)}


def _group_row(index: int, *, split: str, size: int, seed: int) -> Row:
    pool = drawings(caption_split="train") if split == "train" else drawings(emoji_split=split)
    drawing = pool[index % len(pool)]
    return {"img": show(drawing, index // len(pool), size=size, seed=seed), "group": drawing.group}


def show(drawing: Drawing, view: int, *, size: int = SIDE, seed: int = 0) -> Image.Image:
    """The drawing as an RGB image. View 0: as it is, on white; others: a pale background, a little smaller, shifted."""
    scale, at, backdrop = 1.0, (0.0, 0.0), Backdrop()
    if view:
        rng = Random(f"{seed}/view/{drawing.hexcode}/{drawing.style}/{view}")
        scale, at = rng.uniform(0.75, 1.0), (rng.random(), rng.random())
        backdrop = Backdrop.random(rng, textured=False)
    side = round(size * scale)
    image = drawing.image if side == SIDE else drawing.image.resize((side, side), Image.Resampling.BICUBIC)
    canvas = backdrop.draw(size)
    canvas.paste(image, (int(at[0] * (size - side + 1)), int(at[1] * (size - side + 1))), image)
    return canvas


# Scenes


def _composed(row: Callable[..., Row], split: str, size: int, seed: int) -> Rows:
    return Rows(partial(row, split=_known(split), size=size, seed=seed), SCENES[split])


def several(rng: Random, low: int, high: int, size: int) -> Scene:
    """Different objects, `low` to `high` of them."""
    return compose(rng, rng.sample(NAMES, rng.randint(low, high)), size)


def _grounding_row(index: int, *, split: str, size: int, seed: int) -> Row:
    rng = Random(f"{seed}/grounding/{split}/{index}")
    scene = several(rng, 2, 2, size)
    target = rng.choice(scene.items)
    return {"img": scene.image, "phrase": target.name, "box": list(target.box)}


def _grounded_caption_row(index: int, *, split: str, size: int, seed: int) -> Row:
    rng = Random(f"{seed}/grounded_caption/{split}/{index}")
    scene = several(rng, 2, 2, size)
    target = rng.choice(scene.items)
    return {"img": scene.image, "box": list(target.box), "cap": target.name}


def _detection_row(index: int, *, split: str, size: int, seed: int) -> Row:
    rng = Random(f"{seed}/detection/{split}/{index}")
    scene = compose(rng, rng.choices(NAMES, k=rng.randint(1, 3)), size)
    return {
        "img": scene.image,
        "box": [list(item.box) for item in scene.items],
        "label": [item.name for item in scene.items],
    }


def _vqa_row(index: int, *, split: str, size: int, seed: int) -> Row:
    scene, question, answer = ask(index, split=split, size=size, seed=seed)
    return {"img": scene.image, "question": question, "answer": answer}


# Questions come in turns, with the answers that a guess could exploit (yes or no, numbers) spread evenly.
_TURNS: tuple[tuple[str, Any], ...] = (
    ("exists", True),
    ("exists", False),
    ("objects", 1),
    ("kind", 0),
    ("end", "on the left"),
    ("beside", "to the left of"),
    ("exists", True),
    ("exists", False),
    ("objects", 2),
    ("kind", 1),
    ("end", "on the right"),
    ("beside", "to the right of"),
    ("exists", True),
    ("exists", False),
    ("objects", 3),
    ("kind", 2),
    ("end", "at the top"),
    ("beside", "above"),
    ("objects", 4),
    ("kind", 3),
    ("end", "at the bottom"),
    ("beside", "below"),
)
# Where a word points: the axis (0: x, 1: y) and the sign.
_POINTS = {
    "on the left": (0, -1),
    "on the right": (0, 1),
    "at the top": (1, -1),
    "at the bottom": (1, 1),
    "to the left of": (0, -1),
    "to the right of": (0, 1),
    "above": (1, -1),
    "below": (1, 1),
}
_CLEAR = 0.1  # by which share of the canvas the outermost object must stand out


def ask(index: int, *, split: str = "train", size: int = SIDE, seed: int = 0) -> tuple[Scene, str, str]:
    """A scene, a question about it and the answer."""
    rng = Random(f"{seed}/vqa/{split}/{index}")
    kind, wanted = _TURNS[index % len(_TURNS)]
    if kind == "exists":
        scene = several(rng, 1, 3, size)
        present = {item.name for item in scene.items}
        name = rng.choice([name for name in NAMES if (name in present) == wanted])
        return scene, f"is there {'an' if name[0] in 'aeiou' else 'a'} {name}?", "yes" if wanted else "no"
    if kind == "objects":
        return compose(rng, rng.choices(NAMES, k=wanted), size), "how many objects are there?", str(wanted)
    if kind == "kind":
        name = rng.choice(NAMES)
        others = [other for other in NAMES if other != name]
        more = rng.randint(1 if wanted == 0 else 0, 4 - max(wanted, 1))
        scene = compose(rng, [name] * wanted + rng.choices(others, k=more), size)
        return scene, f"how many {name if name == 'fish' else name + 's'} are there?", str(wanted)
    axis, sign = _POINTS[wanted]
    while True:
        scene = several(rng, 2, 2, size)
        if kind == "end":
            found = _outermost(scene, axis, sign)
            if found is not None:
                return scene, f"what is {wanted}?", found.name
        else:
            pairs = _neighbours(scene, axis, sign)
            if pairs:
                anchor, found = rng.choice(pairs)
                return scene, f"what is {wanted} the {anchor.name}?", found.name


def _outermost(scene: Scene, axis: int, sign: int) -> Item | None:
    """The object furthest in this direction, if it stands out clearly."""
    last, first = sorted(scene.items, key=lambda item: sign * item.centre[axis])[-2:]
    return first if sign * (first.centre[axis] - last.centre[axis]) >= _CLEAR * scene.size else None


def _neighbours(scene: Scene, axis: int, sign: int) -> list[tuple[Item, Item]]:
    """(anchor, answer): the answer lies wholly on this side of the anchor, and no other object does even in part."""
    pairs = []
    for anchor in scene.items:
        edge = anchor.box[axis + 2] if sign > 0 else -anchor.box[axis]
        near = [sign * item.box[axis if sign > 0 else axis + 2] for item in scene.items]
        far = [sign * item.box[axis + 2 if sign > 0 else axis] for item in scene.items]
        beyond = [i for i, end in enumerate(far) if end > edge]
        if len(beyond) == 1 and near[beyond[0]] >= edge:
            pairs.append((anchor, scene.items[beyond[0]]))
    return pairs
