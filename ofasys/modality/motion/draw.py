"""How a motion is written: BVH, a moving picture of the skeleton from three sides, or numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ofasys.errors import ConfigError
from ofasys.modality.motion.bvh import write_bvh
from ofasys.modality.motion.motion import Motion
from ofasys.modality.motion.read_motion import read_motion
from ofasys.modality.motion.rotation import turn

SIDE = 220  # pixels of a view
MOST_PICTURES = 600
FASTEST = 25.0  # pictures a second
VIEWS = {"front": 0.0, "aslant": -45.0, "side": -90.0}  # degrees the body is turned about y before one looks along -z
LEFT, RIGHT, MIDDLE, GROUND, PAPER = "#c0392b", "#2471a3", "#333333", "#c8c8c8", "#ffffff"
DOWN = 15.0  # degrees one looks down


def pictures(motion: Motion) -> Iterator[Image.Image]:
    """A picture a frame, at most FASTEST a second and MOST_PICTURES in all: three views, left limbs red, right ones
    blue.
    """
    frames = shown(motion)
    points, bones, colours = _points(motion, frames)
    feet = points[:, 0].copy()  # the place on the ground below the root
    feet[:, 1] = points[..., 1].min()
    turns = [turn("X", np.array(DOWN)) @ turn("Y", np.array(degrees)) for degrees in VIEWS.values()]
    seen = np.stack([np.concatenate([points, feet[:, None]], 1) @ turned.T for turned in turns])[
        ..., :2
    ]  # (V, n, P, 2)
    low, high = seen.min((0, 1, 2)), seen.max((0, 1, 2))
    scale = (SIDE - 30) / max(float((high - low).max()), 1e-6)
    seen = (seen - (low + high) / 2) * (scale, -scale) + SIDE / 2
    seen[..., 0] += SIDE * np.arange(len(VIEWS))[:, None, None]
    for number in range(len(frames)):
        picture = Image.new("RGB", (SIDE * len(VIEWS), SIDE), PAPER)
        pen = ImageDraw.Draw(picture)
        for view, name in enumerate(VIEWS):
            *places, (x, y) = seen[view, number].tolist()
            pen.ellipse((x - 22, y - 7, x + 22, y + 7), fill=GROUND)
            for (a, b), colour in zip(bones, colours, strict=True):
                pen.line((*places[a], *places[b]), fill=colour, width=3)
            for x, y in places[: len(motion.skeleton)]:
                pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=MIDDLE)
            pen.text((SIDE * view + 6, 4), name, fill=MIDDLE)
        yield picture


def shown(motion: Motion) -> np.ndarray:
    """The frames that are drawn."""
    step = max(1.0, motion.fps / FASTEST)
    return np.arange(0, len(motion) - 0.5, step).astype(np.int64)[:MOST_PICTURES]


def save(
    path: str | Path,
    values: Sequence[Any],
    frame: Any = None,
    labels: Sequence[str] = (),
    root: str | Path | None = None,
) -> None:
    """Write motions, as answers or rows hold them: one as `.bvh`; several, one after another, as `.gif`; `.json` for
    the numbers. root: where relative paths start. Errors: ConfigError for other files, DataError for no motion.
    """
    path = Path(path)
    motions = [read_motion(value, root) for value in values]
    kind = path.suffix.lower()
    if kind == ".bvh":
        if len(motions) != 1:
            raise ConfigError(f"a BVH file holds one motion, not {len(motions)}; use .json or .gif")
        path.write_text(write_bvh(motions[0]), encoding="utf8")
    elif kind == ".json":
        made = [motion.to_dict() for motion in motions]
        path.write_text(json.dumps(made[0] if len(made) == 1 else made) + "\n", encoding="utf8")
    elif kind == ".gif":
        drawn = ((picture.quantize(16), motion) for motion in motions for picture in pictures(motion))
        flat, owners = zip(*islice(drawn, MOST_PICTURES), strict=True) if motions else ((), ())
        if not flat:
            raise ConfigError("there is no motion to draw")
        times = [max(20, round(100 * max(1 / FASTEST, motion.frame_time)) * 10) for motion in owners]
        flat[0].save(path, save_all=True, append_images=flat[1:], duration=times, loop=0, disposal=1, optimize=False)
    else:
        raise ConfigError(f"cannot write a motion as {path.name!r}; use .bvh, .gif or .json")


def _points(motion: Motion, frames: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]], list[str]]:
    """Places of joints and End Sites (n, J + E, 3), which are joined, and the colour of each line."""
    some = Motion(motion.skeleton, motion.values[frames], motion.frame_time)
    points = np.concatenate([some.positions, some.ends], 1)
    joints = len(motion.skeleton)
    bones = [(parent, joint) for joint, parent in enumerate(motion.skeleton.parents) if joint]
    bones += [(joint, joints + i) for i, (joint, _) in enumerate(motion.skeleton.ends)]
    return points, bones, [_colour(motion.skeleton.names[b if b < joints else a]) for a, b in bones]


def _colour(name: str) -> str:
    small = name.lower().replace("_", "")
    for colour, words in ((LEFT, ("left", "l")), (RIGHT, ("right", "r"))):
        if (
            words[0] in small
            or (name[:1] == words[1].upper() and name[1:2].isupper())
            or name.startswith(words[1] + "_")
        ):
            return colour
    return MIDDLE
