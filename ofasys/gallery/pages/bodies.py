"""Motions made by rule: a body of 15 joints that walks, jumps, waves, squats, kicks, turns or bows, each time a little
differently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

FPS, FRAMES = 20.0, 40
NAMES: tuple[str, ...] = (
    "hips",
    "chest",
    "head",
    "left_arm",
    "left_elbow",
    "left_hand",
    "right_arm",
    "right_elbow",
    "right_hand",
)
NAMES += ("left_hip", "left_knee", "left_foot", "right_hip", "right_knee", "right_foot")
PARENTS = (-1, 0, 1, 1, 3, 4, 1, 6, 7, 0, 9, 10, 0, 12, 13)
# Metres from the parent, for a body of 1.7 m that stands.
BONES = np.array(
    [
        *([0, 0.92, 0], [0, 0.45, 0], [0, 0.3, 0]),
        *([0.18, 0.02, 0], [0.02, -0.28, 0], [0, -0.26, 0]),
        *([-0.18, 0.02, 0], [-0.02, -0.28, 0], [0, -0.26, 0]),
        *([0.1, -0.04, 0], [0, -0.43, 0], [0, -0.43, 0]),
        *([-0.1, -0.04, 0], [0, -0.43, 0], [0, -0.43, 0]),
    ]
)
J = {name: i for i, name in enumerate(NAMES)}

Angles = dict[str, np.ndarray]  # joint -> radians (FRAMES,) about x (forward), of what hangs on it


def _walk(t: np.ndarray, random: np.random.Generator) -> tuple[Angles, Angles, np.ndarray]:
    swing, pace = random.uniform(0.4, 0.6), random.uniform(0.9, 1.1)
    phase = np.sin(2 * np.pi * pace * t)
    x = {
        "left_hip": -swing * phase,
        "right_hip": swing * phase,
        "left_knee": swing * np.clip(np.sin(2 * np.pi * pace * t + 1.2), 0, 1) * 1.4,
        "right_knee": swing * np.clip(-np.sin(2 * np.pi * pace * t + 1.2), 0, 1) * 1.4,
        "left_arm": swing * phase,
        "right_arm": -swing * phase,
    }
    moved = np.zeros((len(t), 3))
    moved[:, 2] = t * pace * random.uniform(0.9, 1.1)
    return x, {}, moved


def _jump(t: np.ndarray, random: np.random.Generator) -> tuple[Angles, Angles, np.ndarray]:
    pace, high = random.uniform(0.9, 1.1), random.uniform(0.25, 0.4)
    phase = (t * pace) % 1.0
    crouch = np.clip(np.sin(2 * np.pi * phase), 0, 1)
    flight = np.clip(-np.sin(2 * np.pi * phase), 0, 1)
    x = _bent(0.9 * crouch) | {"left_arm": -2.4 * flight, "right_arm": -2.4 * flight}
    moved = np.zeros((len(t), 3))
    moved[:, 1] = high * flight
    return x, {}, moved


def _squat(t: np.ndarray, random: np.random.Generator) -> tuple[Angles, Angles, np.ndarray]:
    depth = np.sin(np.pi * np.clip(t * random.uniform(0.45, 0.55), 0, 1)) * random.uniform(1.2, 1.5)
    return _bent(depth) | {"left_arm": -1.1 * depth, "right_arm": -1.1 * depth}, {}, np.zeros((len(t), 3))


def _wave(t: np.ndarray, random: np.random.Generator) -> tuple[Angles, Angles, np.ndarray]:
    up = np.clip(t * 3, 0, 1)
    wag = 0.5 * np.sin(2 * np.pi * t * random.uniform(1.4, 1.7))
    return {}, {"right_arm": -up * random.uniform(2.3, 2.6), "right_elbow": -up * (0.4 + wag)}, np.zeros((len(t), 3))


def _kick(t: np.ndarray, random: np.random.Generator) -> tuple[Angles, Angles, np.ndarray]:
    back = np.exp(-((t - 0.6) ** 2) / 0.03) * random.uniform(0.5, 0.7)
    front = np.exp(-((t - random.uniform(1.0, 1.1)) ** 2) / 0.04) * random.uniform(1.2, 1.5)
    x = {"right_hip": back - front, "right_knee": 1.2 * back, "left_arm": -0.6 * front, "right_arm": 0.5 * front}
    return x, {}, np.zeros((len(t), 3))


def _turn(t: np.ndarray, random: np.random.Generator) -> tuple[Angles, Angles, np.ndarray]:
    steps = 0.25 * np.sin(2 * np.pi * 2 * t)
    return {"left_hip": -np.clip(steps, 0, 1), "right_hip": np.clip(steps, -1, 0)}, {}, np.zeros((len(t), 3))


def _bow(t: np.ndarray, random: np.random.Generator) -> tuple[Angles, Angles, np.ndarray]:
    deep = np.sin(np.pi * np.clip(t * random.uniform(0.45, 0.55), 0, 1)) * random.uniform(0.9, 1.2)
    return {"hips": deep, "left_hip": -deep, "right_hip": -deep, "chest": 0.3 * deep}, {}, np.zeros((len(t), 3))


MOVES: dict[str, Callable[[np.ndarray, np.random.Generator], tuple[Angles, Angles, np.ndarray]]] = {
    "walk": _walk,
    "jump": _jump,
    "wave": _wave,
    "squat": _squat,
    "kick": _kick,
    "turn": _turn,
    "bow": _bow,
}


def motion(name: str, seed: str | int, frames: int = FRAMES) -> dict[str, Any]:
    """A move as a MOTION slot takes it: positions (frames, 15, 3) in metres, y up, facing +z. A function of its
    arguments alone.
    """
    random = np.random.default_rng(list(f"{name}/{seed}".encode()))
    t = np.arange(frames) / FPS
    forward, aside, moved = MOVES[name](t, random)
    size = random.uniform(0.94, 1.06)
    sway = 0.03 * np.sin(2 * np.pi * (t * random.uniform(0.3, 0.5) + random.uniform()))
    spin = (
        2 * np.pi * np.clip(t / 2, 0, 1) * random.uniform(0.9, 1.0) if name == "turn" else np.zeros(frames)
    )  # of the whole body, about y
    places = np.zeros((frames, len(NAMES), 3))
    turned = np.zeros((frames, len(NAMES), 3, 3))
    for joint, joint_name in enumerate(NAMES):
        own = _about_x(forward.get(joint_name, np.zeros(frames)) + (sway if joint_name == "chest" else 0)) @ _about_z(
            aside.get(joint_name, np.zeros(frames))
        )
        above = PARENTS[joint]
        if above < 0:
            places[:, joint] = BONES[joint] * size + moved * size
            turned[:, joint] = _about_y(spin) @ own
        else:
            places[:, joint] = places[:, above] + turned[:, above] @ (BONES[joint] * size)
            turned[:, joint] = turned[:, above] @ own
    feet = places[:, [J["left_foot"], J["right_foot"]], 1].min(1)
    places[:, :, 1] -= (feet - moved[:, 1] * size)[:, None]  # the lower foot is on the ground, but for a jump
    return {"positions": places, "fps": FPS, "parents": list(PARENTS), "names": list(NAMES)}


def _bent(depth: np.ndarray) -> Angles:
    """Hips, knees and back of a body that crouches."""
    legs = {
        f"{side}_{joint}": part * depth for side in ("left", "right") for joint, part in (("hip", -1.0), ("knee", 1.7))
    }
    return legs | {"hips": 0.3 * depth}


def _about_x(angle: np.ndarray) -> np.ndarray:
    return _matrices(angle, 1, 2)


def _about_y(angle: np.ndarray) -> np.ndarray:
    return _matrices(angle, 2, 0)


def _about_z(angle: np.ndarray) -> np.ndarray:
    return _matrices(angle, 0, 1)


def _matrices(angle: np.ndarray, one: int, other: int) -> np.ndarray:
    """(F,) radians -> (F, 3, 3), turning axis `one` towards axis `other`."""
    made = np.tile(np.eye(3), (len(angle), 1, 1))
    made[:, one, one] = made[:, other, other] = np.cos(angle)
    made[:, one, other], made[:, other, one] = -np.sin(angle), np.sin(angle)
    return made
