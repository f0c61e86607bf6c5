"""What a model sees of a frame, and back: the root's place and six numbers a rotation, or the places of the joints.

`rotations`: the place of each joint that has position channels (3; mostly the root alone), then the rotation of each
joint that has rotation channels (6: two columns of its matrix). `positions`: the root's place (3), then each other
joint's less the root's (3 each).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.motion.motion import Motion
from ofasys.modality.motion.rotation import matrix_to_euler, matrix_to_six, six_to_matrix, turn
from ofasys.modality.motion.skeleton import POSITIONS, ROTATIONS, Skeleton, order


@dataclass(frozen=True)
class Features:
    """The features of motions of one skeleton. kind: "rotations" or "positions"."""

    skeleton: Skeleton
    kind: str

    @cached_property
    def placed(self) -> list[int]:
        """Joints whose places are features, in order."""
        if self.kind == "positions":
            return list(range(len(self.skeleton)))
        return [j for j, names in enumerate(self.skeleton.channels) if set(names) & set(POSITIONS)]

    @cached_property
    def turned(self) -> list[int]:
        """Joints whose rotations are features, in order; they stand after all places."""
        return [j for j, names in enumerate(self.skeleton.channels) if self.kind == "rotations" and order(names)]

    @property
    def places(self) -> int:
        """How many features are places; the others are rotations."""
        return 3 * len(self.placed)

    @property
    def width(self) -> int:
        """Features a frame."""
        return self.places + 6 * len(self.turned)

    def check(self, motion: Motion) -> None:
        """Errors: DataError naming the joint where the motion has another skeleton."""
        if motion.skeleton == self.skeleton and (self.turned or self.kind == "positions"):
            return
        names, others = self.skeleton.names, motion.skeleton.names
        why = None
        if self.kind == "rotations" and not motion.skeleton.turns:
            why = f"it has places of {len(others)} joints, and no rotations"
        elif self.kind == "rotations":
            why = self.skeleton.differs(motion.skeleton)
        elif len(names) != len(others):
            why = f"{len(others)} joints, not {len(names)}"
        elif names != others:
            at = next(j for j, name in enumerate(names) if name != others[j])
            why = f"joint {at} is {others[at]!r}, not {names[at]!r}"
        if why:
            shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            raise DataError(
                f"the motion has another skeleton than this slot has learnt: {why}",
                expected=f"{self.kind} of {len(names)} joints, {shown}; a slot with another skeleton= learns another",
            )

    def encode(self, motion: Motion, frames: np.ndarray) -> np.ndarray:
        """The features (n, width) float64 of the frames with these numbers."""
        values = motion.values[frames]
        if self.kind == "positions":
            world = Motion(motion.skeleton, values, motion.frame_time).positions
            return np.concatenate([world[:, :1], world[:, 1:] - world[:, :1]], 1).reshape(len(values), -1)
        places, rotations = motion.skeleton.locals(values)
        parts = (places[:, self.placed], matrix_to_six(rotations[:, self.turned]))
        return np.concatenate([part.reshape(len(values), -1) for part in parts], 1)

    def decode(self, features: np.ndarray, frame_time: float) -> Motion:
        """The motion of features (n, width), whatever numbers they are; angles do not jump from frame to frame."""
        features = np.asarray(features, dtype=np.float64)
        places = features[:, : self.places].reshape(len(features), -1, 3)
        if self.kind == "positions":
            world = np.concatenate([places[:, :1], places[:, 1:] + places[:, :1]], 1)
            return Motion.from_positions(world, 1 / frame_time, self.skeleton.parents, self.skeleton.names)
        matrices = six_to_matrix(features[:, self.places :].reshape(len(features), -1, 6))
        values = np.empty((len(features), self.skeleton.width))
        column = 0
        for joint, names in enumerate(self.skeleton.channels):
            axes = order(names)
            if axes:
                angles = matrix_to_euler(matrices[:, self.turned.index(joint)], axes)
                angles = np.unwrap(angles, axis=0, period=360.0)
            for name in names:
                if name in POSITIONS:
                    values[:, column] = places[:, self.placed.index(joint), POSITIONS.index(name)]
                else:
                    values[:, column] = angles[:, axes.index(name[0])]
                column += 1
        return Motion(self.skeleton, values, frame_time)

    def between(self, before: np.ndarray, after: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Features `share` (n,) of the way from `before` to `after` (n, width): places on the line, rotations on the
        arc.
        """
        made = before + share[:, None] * (after - before)
        six = made[:, self.places :].reshape(len(made), -1, 6)
        made[:, self.places :] = matrix_to_six(six_to_matrix(six)).reshape(len(made), -1)
        return made

    def to_origin(self, features: np.ndarray) -> np.ndarray:
        """Moved and turned as a whole so that the first frame's root is over the origin (x = z = 0) and faces +z.

        It is only moved where the root does not turn freely or looks straight up, and left as it is where it has no
        place.
        """
        if 0 not in self.placed:
            return features
        made = features.copy()
        made[:, (0, 2)] -= features[0, (0, 2)]
        if set(self.skeleton.channels[0]) != set(POSITIONS + ROTATIONS) or self.kind == "positions":
            return made
        root = slice(self.places, self.places + 6)
        x, _, z = six_to_matrix(features[0, root])[:, 2]
        if np.hypot(x, z) < 0.1:
            return made
        back = turn("Y", -np.rad2deg(np.arctan2(x, z)))
        made[:, :3] = made[:, :3] @ back.T
        made[:, root] = (made[:, root].reshape(-1, 2, 3) @ back.T).reshape(-1, 6)
        return made
