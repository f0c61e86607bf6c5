"""A motion: a skeleton, and the numbers of its channels for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.motion.skeleton import POSITIONS, Skeleton


@dataclass(frozen=True, eq=False)
class Motion:
    """values (F, W) float64: the channels of the skeleton's joints in order, degrees and the file's unit of length, y
    up.

    frame_time: seconds a frame. Equal motions have equal skeletons, numbers and times. Errors: DataError for numbers
    that are not finite, or do not fit the skeleton.
    """

    skeleton: Skeleton
    values: np.ndarray
    frame_time: float

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != self.skeleton.width:
            raise DataError(f"values of shape {values.shape}", expected=f"(frames, {self.skeleton.width})")
        if not len(values):
            raise DataError("a motion of no frames", expected="at least one frame")
        if not np.isfinite(values).all():
            frame = int(np.argmin(np.isfinite(values).all(1)))
            raise DataError(f"frame {frame} holds NaN or infinity", expected="finite numbers")
        if not 0 < self.frame_time < float("inf"):
            raise DataError(f"a frame takes {self.frame_time} seconds", expected="a finite number above 0")
        if values is self.values:
            values = values.copy()
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    @classmethod
    def from_positions(
        cls,
        positions: Any,
        fps: float = 20.0,
        parents: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
    ) -> Motion:
        """Joint positions (F, J, 3), y up. parents: -1 for joint 0, else an earlier joint; all hang on joint 0 if
        None.
        """
        try:
            places = np.asarray(positions, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(f"got {type(positions).__name__} as positions", expected=EXPECTED) from None
        if places.ndim != 3 or places.shape[2] != 3 or 0 in places.shape:
            raise DataError(f"positions of shape {places.shape}", expected=EXPECTED)
        if not np.isfinite(places).all():
            frame, joint = np.argwhere(~np.isfinite(places).all(2))[0]
            raise DataError(f"frame {frame} holds NaN or infinity at joint {joint}", expected="finite numbers")
        J = places.shape[1]
        above = tuple(int(p) for p in parents) if parents is not None else (-1, *[0] * (J - 1))
        called = tuple(str(n) for n in names) if names is not None else tuple(f"joint{j}" for j in range(J))
        if len(above) != J or len(called) != J:
            raise DataError(
                f"{J} joints with {len(above)} parents and {len(called)} names", expected="one each a joint"
            )
        Skeleton(called, above, ((0.0, 0.0, 0.0),) * J, (POSITIONS,) * J)  # checks the parents before they are used
        local = places.copy()
        local[:, 1:] -= places[:, above[1:]]
        offsets = tuple((float(x), float(y), float(z)) for x, y, z in local[0])
        if not 0 < fps < float("inf"):
            raise DataError(f"fps is {fps}", expected="a finite number above 0")
        return cls(Skeleton(called, above, offsets, (POSITIONS,) * J), local.reshape(len(local), -1), 1.0 / fps)

    @property
    def fps(self) -> float:
        """Frames a second."""
        return 1.0 / self.frame_time

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def rotations(self) -> np.ndarray:
        """(F, J, 3, 3): each joint's rotation in its parent's axes."""
        return self.skeleton.locals(self.values)[1]

    @cached_property
    def positions(self) -> np.ndarray:
        """(F, J, 3): where the joints are, by forward kinematics."""
        return self._kinematics()[0]

    @cached_property
    def ends(self) -> np.ndarray:
        """(F, E, 3): where the End Sites are."""
        places, turned = self._kinematics()
        at = [joint for joint, _ in self.skeleton.ends]
        offsets = np.array([offset for _, offset in self.skeleton.ends]).reshape(-1, 3)
        return places[:, at] + np.einsum("fjab,jb->fja", turned[:, at], offsets)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The positions, so that `np.asarray(motion)` is (F, J, 3), as of a motion given as an array."""
        return self.positions.astype(dtype or np.float64)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Motion):
            return NotImplemented
        same = self.skeleton == other.skeleton and self.frame_time == other.frame_time
        return same and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash((self.skeleton, self.frame_time, self.values.tobytes()))

    def __repr__(self) -> str:
        return f"Motion({len(self.skeleton)} joints, {len(self)} frames, {self.fps:g} fps)"

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; a MOTION slot reads it back to an equal motion."""
        return {"frame_time": self.frame_time, "skeleton": self.skeleton.to_dict(), "values": self.values.tolist()}

    def _kinematics(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (F, J, 3) and rotations (F, J, 3, 3) in the world's axes."""
        places, turned = (part.copy() for part in self.skeleton.locals(self.values))
        for joint, parent in enumerate(self.skeleton.parents[1:], 1):
            places[:, joint] = places[:, parent] + np.einsum("fab,fb->fa", turned[:, parent], places[:, joint])
            turned[:, joint] = turned[:, parent] @ turned[:, joint]
        return places, turned


EXPECTED = "joint positions (frames, joints, 3), at least one of each"
