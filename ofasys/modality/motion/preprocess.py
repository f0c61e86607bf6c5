"""MOTION: a motion -> frames of normalised features at one rate, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.modality import NOWHERE, Concatenate, Context, Options
from ofasys.modality.motion.features import Features
from ofasys.modality.motion.motion import Motion
from ofasys.modality.motion.read_motion import Files, read_motion
from ofasys.modality.motion.skeleton import Skeleton
from ofasys.modality.symbols import Symbols
from ofasys.types import SlotFeatures

LEAST_SHARE = 0.1  # of the spread of its kind that a feature which hardly moves is divided by
MOST_SKELETONS = 64  # of which the commonest is looked for; values with yet another are left out


class Frames(Concatenate):
    """A motion -> frames (n, stride * C) float32: features less their mean, by their deviation, `stride` frames a
    position.

    `time` (1,), how much of it is noise: none; `lengths` (1,), its positions. Mean, deviation and skeleton are fitted;
    see `fit`. Longer values are cut to `frames`: anywhere in training, else at the start. A last group of fewer than
    `stride` frames repeats the last one.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None:
        self.fps, self.stride, self.start = float(options["fps"]), int(options["stride"]), options["start"]
        self.frames = int(options["frames"])
        if most := options.get("max_length"):
            self.frames = min(self.frames, int(most) * self.stride)
        fitted: Mapping[str, np.ndarray] = options["fitted"]
        self.features, self.files = features_of(fitted), Files()
        self.mean, self.deviation = (np.asarray(fitted[name], dtype=np.float64) for name in ("mean", "deviation"))

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """Errors: DataError when the value is no motion, or has another skeleton."""
        random = context.random if context.training else None
        made = (self._features(self._read(value, context), random) - self.mean) / self.deviation
        if short := -len(made) % self.stride:
            made = np.concatenate([made, np.repeat(made[-1:], short, 0)])
        return self.from_frames(made.astype(np.float32).reshape(-1, self.stride * made.shape[1]))

    def from_frames(self, frames: np.ndarray) -> SlotFeatures:
        """Frames (n, stride * C) as they stand in a stream."""
        length = np.array([len(frames)], dtype=np.int64)
        return SlotFeatures({"frames": frames, "time": np.zeros(1, dtype=np.float32), "lengths": length}, len(frames))

    def postprocess(self, frames: np.ndarray, context: Context) -> Motion:
        """frames (n, stride * C) -> the motion. Errors: DataError when the model made no finite numbers."""
        made = np.asarray(frames, dtype=np.float64).reshape(-1, self.features.width)
        if not np.isfinite(made).all():
            raise DataError("the model made NaN or infinity", expected="finite frames; was the training stable?")
        return self.features.decode(made * self.deviation + self.mean, 1 / self.fps)

    def canonical(self, value: Any, context: Context = NOWHERE) -> Motion:
        """The motion at this slot's rate, cut and placed as a preprocessed one is."""
        return self.features.decode(self._features(self._read(value, context), None), 1 / self.fps)

    def _read(self, value: Any, context: Context) -> Motion:
        motion = read_motion(value, context.root, self.fps, self.files)
        self.features.check(motion)
        return motion

    def _features(self, motion: Motion, random: np.random.Generator | None) -> np.ndarray:
        first = 0
        if random is not None and (spare := count(motion, self.fps) - self.frames) > 0:
            first = int(random.integers(spare + 1))
        return window(self.features, motion, self.fps, first, self.frames, self.start)

    @staticmethod
    def fit(values: Iterable[tuple[Any, Context]], options: Options, seed: int) -> dict[str, np.ndarray]:
        """skeleton: JSON as uint8, the commonest; mean and deviation (C,) over all frames of all values that have it.

        A value is seen in pieces of `frames` frames, each placed as `start` says. A feature's deviation is no less than
        a share of its kind's, so that a joint that never moves is not blown up. Values that are no motion, or have
        another skeleton, are left out. Errors: DataError if none is left.
        """
        fps = float(options["fps"])
        found: list[_Spread] = []
        bad: DataError | None = None
        for value, context in values:
            try:
                motion = read_motion(value, context.root, fps)
            except DataError as error:
                bad = bad or error
                continue
            spread = next((spread for spread in found if spread.takes(motion)), None)
            if spread is None and len(found) < MOST_SKELETONS:
                spread = _Spread(_chosen(motion, options["features"]))
                try:
                    spread.features.check(motion)
                except DataError as error:  # rotations asked for, and it has none
                    bad = bad or error
                    continue
                found.append(spread)
            if spread is not None:
                spread.add(motion, fps, int(options["frames"]), options["start"])
        if not found:
            raise DataError(
                "no motion to learn a skeleton and its statistics from"
                + (f"; the first value: {bad.message}" if bad else ""),
                expected=(bad.expected if bad else None) or "at least one training value",
            )
        chosen = max(found, key=lambda spread: spread.values)
        features, mean, square, total = chosen.features, chosen.mean, chosen.square, chosen.total
        deviation = np.sqrt(np.maximum(square / total, 0.0))
        for kind in (slice(0, features.places), slice(features.places, None)):
            usual = float(np.sqrt((deviation[kind] ** 2).mean())) if deviation[kind].size else 0.0
            deviation[kind] = np.maximum(deviation[kind], LEAST_SHARE * usual) if usual > 1e-6 else 1.0
        described = {"features": features.kind, "skeleton": features.skeleton.to_dict()}
        text = json.dumps(described, sort_keys=True).encode()
        return {
            "skeleton": np.frombuffer(text, dtype=np.uint8).copy(),
            "mean": mean.astype(np.float32),
            "deviation": deviation.astype(np.float32),
        }


class _Spread:
    """Mean and sum of squares of the features of all motions of one skeleton, as they come."""

    def __init__(self, features: Features) -> None:
        self.features, self.values, self.total = features, 0, 0
        self.mean = self.square = np.zeros(features.width)

    def takes(self, motion: Motion) -> bool:
        try:
            self.features.check(motion)
        except DataError:
            return False
        return True

    def add(self, motion: Motion, fps: float, most: int, start: str) -> None:
        self.values += 1
        for first in range(0, count(motion, fps), most):
            made = window(self.features, motion, fps, first, most, start)
            self.total += len(made)
            step = made - self.mean
            self.mean = self.mean + step.sum(0) / self.total  # Chan et al. (1979), a window at a time
            self.square = self.square + (step * (made - self.mean)).sum(0)


def features_of(fitted: Mapping[str, Any]) -> Features:
    """The features that what `fit` gave is about."""
    described = json.loads(np.asarray(fitted["skeleton"], dtype=np.uint8).tobytes())
    return Features(Skeleton.from_dict(described["skeleton"]), described["features"])


def _chosen(motion: Motion, kind: str) -> Features:
    if kind == "auto":
        kind = "rotations" if motion.skeleton.turns else "positions"
    return Features(motion.skeleton, kind)


def pace(motion: Motion, fps: float) -> float:
    """Frames of the motion a frame of another rate. A BVH says .0083333 for a 120th: what is nearly whole is whole."""
    exact = 1 / (fps * motion.frame_time)
    for nearly in (max(1.0, np.round(exact)), 1 / max(1.0, np.round(1 / exact))):
        if abs(exact - nearly) < 1e-4 * nearly:
            return float(nearly)
    return exact


def count(motion: Motion, fps: float) -> int:
    """Frames of a motion at another rate: those that lie within it."""
    return int((len(motion) - 1) / pace(motion, fps) + 1e-6) + 1


def window(features: Features, motion: Motion, fps: float, first: int, frames: int, start: str) -> np.ndarray:
    """Features (n, C) float64 of up to `frames` frames at `fps`, from frame `first` of that rate on."""
    numbers = np.arange(first, min(first + frames, count(motion, fps)))
    at = np.minimum(numbers * pace(motion, fps), len(motion) - 1)
    before = np.floor(at + 1e-9).astype(np.int64)
    share = np.maximum(at - before, 0.0)
    made = features.encode(motion, before)
    if share.any():
        after = np.minimum(before + 1, len(motion) - 1)
        made = features.between(made, features.encode(motion, after), share)
    return features.to_origin(made) if start == "origin" else made
