"""Token ids: named ranges, laid out once, frozen; growing appends. No id that exists ever changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields

from ofasys.errors import ConfigError, nearest

PAD, BOS, MASK, END = 0, 1, 2, 3  # within the range `special`
SPECIALS = ("<pad>", "<bos>", "<mask>", "<end>")


@dataclass(frozen=True)
class ForeignVocabulary:
    """The vocabulary of a backbone, which stands before our own ranges: its ids are as they were.

    Errors: ConfigError where its pieces or marks do not lie within it.
    """

    size: int
    """Its ids are 0..size-1."""
    text: tuple[int, int]
    """First id of its pieces and one past the last; the tokenizer's own numbers are these ids. Its marks lie
    outside.
    """
    end: int
    """Its end mark."""
    begin: int | None = None
    """Its mark of the beginning; None: ours, appended."""
    mask: int | None = None
    """Its mark of what is left out; None: ours, appended."""
    named: tuple[tuple[str, int, int], ...] = ()
    """Ranges behind its pieces that are known by name here, in id order: (name, first id, ids)."""
    wraps: bool = False
    """Whether each run of text in a source stands between its marks of the beginning and the end."""
    beyond: int = 0
    """Pieces its tokenizer has and it has not: their numbers follow its ids, and stand for nothing."""

    def __post_init__(self) -> None:
        lo, hi = self.text
        if not 0 <= lo < hi <= self.size:
            raise ConfigError(f"foreign vocabulary: text is {self.text}; give a span within its {self.size} ids")
        for name in ("end", "begin", "mask"):
            value = getattr(self, name)
            piece = name != "begin" and value is not None and lo <= value < hi  # what begins a target is never made
            if value is not None and (not 0 <= value < self.size or piece):
                raise ConfigError(
                    f"foreign vocabulary: {name} is {value}; give one of its {self.size} ids that is not a piece, {lo} "
                    f"to {hi - 1}"
                )
        last = hi
        for name, start, size in self.named:
            if start < last or size < 1 or start + size > self.size:
                raise ConfigError(
                    f"foreign vocabulary: {name} is {size} ids from {start} on; give ranges that follow its pieces and "
                    f"each other, within its {self.size} ids"
                )
            last = start + size
        if self.wraps and self.begin is None:
            raise ConfigError("foreign vocabulary: wraps is True and begin is None; give the mark runs begin with")
        if self.beyond < 0:
            raise ConfigError(f"foreign vocabulary: beyond is {self.beyond}; give 0 or more")

    @classmethod
    def of(cls, values: Mapping[str, object]) -> ForeignVocabulary:
        """Of its fields, as a file holds them. Errors: ConfigError for what is missing, not known, or no number."""
        known = [one.name for one in fields(cls)]
        needed = [one.name for one in fields(cls) if one.default is MISSING]
        for name in values:
            if name not in known:
                hint = nearest(name, known)
                raise ConfigError(f"foreign vocabulary: it has no {name!r}; {hint}there are {', '.join(known)}")
        if lacking := [name for name in needed if name not in values]:
            raise ConfigError(f"foreign vocabulary: {lacking[0]} is missing; give {', '.join(needed)}")
        found = dict(values)
        text = found["text"]
        found["text"] = tuple(text) if isinstance(text, Sequence) and len(text) == 2 else text
        more = {name: found.pop(name) for name in ("named", "wraps") if name in found}
        if not isinstance(more.get("wraps", False), bool):
            raise ConfigError(f"foreign vocabulary: wraps is {more['wraps']!r:.60}; give true or false")
        for name, value in found.items():
            numbers = value if isinstance(value, tuple) else (value,)
            if isinstance(value, tuple) != (name == "text") or not all(
                type(one) is int or (one is None and name not in needed) for one in numbers
            ):
                what = "two ids, the first and one past the last" if name == "text" else "a whole number"
                raise ConfigError(f"foreign vocabulary: {name} is {values[name]!r:.60}; give {what}")
        return cls(named=_named(more.get("named", ())), wraps=bool(more.get("wraps")), **found)  # type: ignore[arg-type]

    @property
    def ranges(self) -> tuple[tuple[str, int, int], ...]:
        """Its ids as ranges: what is before its pieces, these, what is after them."""
        lo, hi = self.text
        found, last = [("foreign.before", 0, lo), ("text", lo, hi - lo)], hi
        for number, (name, start, size) in enumerate(self.named):
            found += [(f"foreign.after.{number}", last, start - last), (name, start, size)]
            last = start + size
        found.append(("foreign.after", last, self.size - last))
        return tuple(one for one in found if one[2])

    def written(self) -> dict[str, object]:
        """Its fields as a file holds them: those that are not as they are by default."""
        usual = {"named": (), "wraps": False, "beyond": 0}
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in found.items() if name not in usual or value != usual[name]}


def _named(values: object) -> tuple[tuple[str, int, int], ...]:
    """Errors: ConfigError for what are no ranges."""
    ranges = (
        [tuple(one) if isinstance(one, Sequence) else one for one in values] if isinstance(values, Sequence) else []
    )
    sound = isinstance(values, Sequence) and all(
        isinstance(one, tuple) and len(one) == 3 and isinstance(one[0], str) and type(one[1]) is type(one[2]) is int
        for one in ranges
    )
    if not sound:
        raise ConfigError(f"foreign vocabulary: named is {values!r:.60}; give [name, first id, ids] for each range")
    return tuple(ranges)


@dataclass(frozen=True)
class Vocabulary:
    """Ranges as (name, start, size), in id order. `special` and `text` come first, the others sorted by name.

    foreign: what it begins with instead; `special` follows it.
    """

    ranges: tuple[tuple[str, int, int], ...]
    """Without gaps."""
    foreign: ForeignVocabulary | None = None

    @classmethod
    def assemble(cls, sizes: Mapping[str, int], foreign: ForeignVocabulary | None = None) -> Vocabulary:
        """Lay out the ranges of these sizes; the order of the mapping does not matter."""
        others = {name: size for name, size in sizes.items() if name != "text"}
        if foreign is not None:
            return cls(foreign.ranges, foreign).grown({"special": len(SPECIALS)}).grown(others)
        return cls(()).grown({"special": len(SPECIALS), "text": sizes.get("text", 0)}).grown(others)

    @property
    def begin(self) -> int:
        """The mark a target begins with."""
        return self._mark(BOS, None if self.foreign is None else self.foreign.begin)

    @property
    def mask(self) -> int:
        """The mark of what is left out."""
        return self._mark(MASK, None if self.foreign is None else self.foreign.mask)

    @property
    def end(self) -> int:
        """The end mark."""
        return self._mark(END, None if self.foreign is None else self.foreign.end)

    def _mark(self, place: int, foreign: int | None) -> int:
        return self.span("special")[0] + place if foreign is None else foreign

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
        return Vocabulary(tuple(ranges), self.foreign)

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
        layout = self.ranges if self.foreign is None else (self.ranges, self.foreign.written())
        return hashlib.sha256(json.dumps(layout).encode()).hexdigest()[:16]
