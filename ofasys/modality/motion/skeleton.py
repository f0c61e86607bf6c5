"""The joints of a body: names, who hangs on whom, how far from it, and which numbers a frame has for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.motion.rotation import euler_to_matrix

POSITIONS = ("Xposition", "Yposition", "Zposition")
ROTATIONS = ("Xrotation", "Yrotation", "Zrotation")
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Skeleton:
    """J joints, a parent always before its children; joint 0 is the root and the only one with parent -1.

    offsets: from the parent, in the parent's axes, in the unit of the file. channels: of each joint, the numbers of a
    frame in their order. A position channel stands in place of that coordinate of the offset. ends: End Sites, (joint,
    offset).
    """

    names: tuple[str, ...]
    """(J,), each once."""
    parents: tuple[int, ...]
    """(J,): of each joint its parent's number, -1 of the root."""
    offsets: tuple[Triple, ...]
    channels: tuple[tuple[str, ...], ...]
    ends: tuple[tuple[int, Triple], ...] = ()

    def __post_init__(self) -> None:
        sizes = {len(self.names), len(self.parents), len(self.offsets), len(self.channels)}
        if len(sizes) != 1 or 0 in sizes:
            raise DataError(
                f"a skeleton with {len(self.names)} names, {len(self.parents)} parents, {len(self.offsets)} offsets "
                "and "
                f"channels for {len(self.channels)} joints",
                expected="one of each for every joint",
            )
        for joint, parent in enumerate(self.parents):
            if not (-1 < parent < joint or (joint == 0 and parent == -1)):
                raise DataError(
                    f"joint {joint} ({self.names[joint]!r}) has parent {parent}",
                    expected="-1 for joint 0, and for each other joint one that comes before it",
                )
        for joint, names in enumerate(self.channels):
            if wrong := [name for name in names if name not in POSITIONS + ROTATIONS]:
                raise DataError(f"joint {self.names[joint]!r} has channel {wrong[0]!r}", expected=CHANNELS)
            if len(set(names)) < len(names):
                raise DataError(
                    f"joint {self.names[joint]!r} has a channel twice: {' '.join(names)}", expected=CHANNELS
                )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def width(self) -> int:
        """Numbers a frame."""
        return sum(len(names) for names in self.channels)

    @property
    def turns(self) -> bool:
        """Whether any joint has rotation channels."""
        return any(order(names) for names in self.channels)

    def locals(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """values (F, width) -> places in the parent's axes (F, J, 3), and rotations in them (F, J, 3, 3)."""
        frames = len(values)
        places = np.tile(np.array(self.offsets, dtype=np.float64), (frames, 1, 1))
        groups: dict[str, list[tuple[int, list[int]]]] = {}
        column = 0
        for joint, names in enumerate(self.channels):
            for axis, name in enumerate(POSITIONS):
                if name in names:
                    places[:, joint, axis] = values[:, column + names.index(name)]
            axes = [i for i, name in enumerate(names) if name in ROTATIONS]
            groups.setdefault(order(names), []).append((joint, [column + i for i in axes]))
            column += len(names)
        rotations = np.tile(np.eye(3), (frames, len(self), 1, 1))
        for axes_order, members in groups.items():
            if axes_order:
                joints = [joint for joint, _ in members]
                rotations[:, joints] = euler_to_matrix(values[:, [columns for _, columns in members]], axes_order)
        return places, rotations

    def differs(self, other: Skeleton) -> str | None:
        """Why a motion of `other` cannot stand for one of this skeleton: a sentence that names the joint; None if it
        can.

        Lengths of bones and the order of channels may differ; names, parents, kinds of channels and rest pose may not.
        """
        for joint, (name, theirs) in enumerate(zip(self.names, other.names, strict=False)):
            if name != theirs:
                return f"joint {joint} is {theirs!r}, not {name!r}"
            if self.parents[joint] != other.parents[joint]:
                mine, its = (s.names[s.parents[joint]] if joint else "none" for s in (self, other))
                return f"joint {name!r} hangs on {its!r}, not on {mine!r}"
            if set(self.channels[joint]) != set(other.channels[joint]):
                mine, its = (" ".join(s.channels[joint]) or "none" for s in (self, other))
                return f"joint {name!r} has channels {its}, not {mine}"
            a, b = np.array(self.offsets[joint]), np.array(other.offsets[joint])
            still = joint and not set(POSITIONS) & set(self.channels[joint])
            if still and a @ b < 0.9 * np.linalg.norm(a) * np.linalg.norm(b) - 1e-9:
                return f"joint {name!r} lies elsewhere at rest: {other.offsets[joint]}, not {self.offsets[joint]}"
        if len(self) != len(other):
            more = (other if len(other) > len(self) else self).names[min(len(self), len(other))]
            return (
                f"{len(other)} joints, not {len(self)}: {more!r} is {'more' if len(other) > len(self) else 'missing'}"
            )
        return None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "names": list(self.names),
            "parents": list(self.parents),
            "offsets": [list(offset) for offset in self.offsets],
            "channels": [list(names) for names in self.channels],
            "ends": [[joint, list(offset)] for joint, offset in self.ends],
        }

    @classmethod
    def from_dict(cls, made: Mapping[str, Any]) -> Skeleton:
        """What `to_dict` gave. Errors: DataError when it is none."""
        try:
            return cls(
                tuple(str(name) for name in made["names"]),
                tuple(int(parent) for parent in made["parents"]),
                tuple(_triple(offset) for offset in made["offsets"]),
                tuple(tuple(str(name) for name in names) for names in made["channels"]),
                tuple((int(joint), _triple(offset)) for joint, offset in made.get("ends", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"no skeleton: {error!r}", expected="names, parents, offsets and channels, one of each for every joint"
            ) from None


CHANNELS = f"each at most once: {', '.join(POSITIONS + ROTATIONS)}"


def order(channels: tuple[str, ...]) -> str:
    """The axes a joint turns about, from the left: `ZYX` for Zrotation Yrotation Xrotation; `` if it does not turn."""
    return "".join(name[0] for name in channels if name in ROTATIONS)


def _triple(numbers: Any) -> Triple:
    x, y, z = (float(number) for number in numbers)
    return x, y, z
