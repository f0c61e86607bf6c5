"""Token ids: named ranges, laid out once, frozen; growing appends. No id that exists ever changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from ofasys.errors import ConfigError

PAD, BOS, MASK, END = 0, 1, 2, 3
SPECIALS = ("<pad>", "<bos>", "<mask>", "<end>")


@dataclass(frozen=True)
class Vocabulary:
    """Ranges as (name, start, size), in id order. `special` and `text` come first, the others sorted by name."""

    ranges: tuple[tuple[str, int, int], ...]

    @classmethod
    def assemble(cls, sizes: Mapping[str, int]) -> Vocabulary:
        """Lay out the ranges of these sizes; the order of the mapping does not matter."""
        first = {"special": len(SPECIALS), "text": sizes.get("text", 0)}
        return cls(()).grown(first).grown({name: size for name, size in sizes.items() if name != "text"})

    def grown(self, sizes: Mapping[str, int]) -> Vocabulary:
        """This vocabulary with the ranges it lacks appended. Errors: ConfigError if a known range changes its size."""
        ranges, known = list(self.ranges), {name: size for name, _, size in self.ranges}
        order = {"special": 0, "text": 1}
        for name in sorted(sizes, key=lambda n: (order.get(n, 2), n)):
            if name in known:
                if known[name] != sizes[name]:
                    raise ConfigError(
                        f"vocabulary range {name!r} holds {known[name]} ids and cannot become {sizes[name]}"
                    )
            else:
                ranges.append((name, ranges[-1][1] + ranges[-1][2] if ranges else 0, sizes[name]))
        return Vocabulary(tuple(ranges))

    def span(self, name: str) -> tuple[int, int]:
        """First id and one past the last of a range."""
        for known, start, size in self.ranges:
            if known == name:
                return start, start + size
        raise ConfigError(f"no vocabulary range {name!r}; there are: {', '.join(n for n, _, _ in self.ranges)}")

    @property
    def spans(self) -> dict[str, tuple[int, int]]:
        """All ranges by name."""
        return {name: (start, start + size) for name, start, size in self.ranges}

    @property
    def size(self) -> int:
        """Ids in all."""
        return sum(size for _, _, size in self.ranges)

    @property
    def fingerprint(self) -> str:
        """A hash of the layout; it stands in the checkpoint."""
        return hashlib.sha256(json.dumps(self.ranges).encode()).hexdigest()[:16]
