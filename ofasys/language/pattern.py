"""Patterns: syntax of the instruction that comes from outside. A record says how one is written, and how its parts may
stand.

    {[TEXT:a]|[AUDIO:b]}        opens="{", between="|", closes="}": parts around segments
    [IMAGE:a]?                  closes="?" alone: one part, the slot right before it
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ofasys.errors import ConfigError, PluginError

FREE = "{}<>?!~^@#$%&;"
"""The characters a pattern may be written with; `|` too, between its parts."""
MOST_PARTS = 16
"""Parts of one pattern: more are a closed set or a repetition."""
MOST_WAYS = 256
"""Ways that its parts may stand in."""

Ways = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Pattern:
    """Syntax with parts of which some stand in a row. Frozen; handed over in a registry, or found by the entry point
    `ofasys.patterns`. ConfigError where it cannot be told from the rest of the language.
    """

    name: str
    """As plans and errors call it: `choice`."""
    about: str
    """What it says, in a few words, as a plan prints it: `one of these, the one the row has`."""
    ways: Callable[[int], Sequence[Sequence[int]]]
    """Number of parts -> every way they may stand: the parts, by number from 0, in the order they take in the stream.
    A row stands in the way that names just the parts it has columns for. A model says by one token which way it goes.
    """
    closes: str
    """The character that ends it."""
    opens: str = ""
    """The character that begins it. Empty: it has one part, the slot right before `closes`."""
    between: str = ""
    """The character between its parts. Empty: it has one part."""
    least: int = 1
    """Parts it has at least."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ConfigError(f"pattern {self.name!r}: a name is small letters, digits and _, beginning with a letter")
        for field, value in (("opens", self.opens), ("closes", self.closes), ("between", self.between)):
            free = FREE + "|" * (field == "between")
            if value and (len(value) != 1 or value not in free):
                raise ConfigError(f"pattern {self.name!r} has {field}={value!r}; it is one character of {free}")
        if not self.closes:
            raise ConfigError(f"pattern {self.name!r} has no closes; give the character that ends it")
        if len({self.opens, self.closes, self.between}) < 3 - (not self.opens and not self.between):
            raise ConfigError(f"pattern {self.name!r} is written with one character twice; give it others")
        if self.between and not self.opens:
            raise ConfigError(f"pattern {self.name!r} has between={self.between!r} and no opens: give it both")
        if not 1 <= self.least <= (MOST_PARTS if self.between else 1):
            raise ConfigError(f"pattern {self.name!r} has least={self.least}; it may have 1 to {MOST_PARTS} parts")

    @property
    def shown(self) -> str:
        """How it is written, for a message."""
        inner = f"...{self.between}..." if self.between else "..."
        return f"{self.opens}{inner}{self.closes}" if self.opens else f"[TYPE:name]{self.closes}"

    def ways_of(self, parts: int) -> Ways:
        """The ways of so many parts. Errors: PluginError for what is none, or what a row could not be told by."""
        found = self.ways(parts)
        try:
            ways = tuple(tuple(way) for way in found)
        except TypeError:
            raise self._wrong(parts, f"{found!r:.80}, which is no list of ways") from None
        for way in ways:
            if any(type(part) is not int or not 0 <= part < parts for part in way) or len(set(way)) < len(way):
                raise self._wrong(parts, f"the way {way!r}; a way names parts 0..{parts - 1}, each once at most")
        if len({frozenset(way) for way in ways}) < len(ways):
            raise self._wrong(parts, f"two ways with the same parts: {ways!r}; a row could not say which")
        if {part for way in ways for part in way} != set(range(parts)):
            raise self._wrong(parts, f"{ways!r}, in which a part never stands")
        return ways

    def _wrong(self, parts: int, what: str) -> PluginError:
        return PluginError(f"pattern {self.name!r}: ways({parts}) gave {what}; see docs/add-a-pattern.md")


class Grammar:
    """What the parser reads besides slots and repetitions: the patterns that are known, by their characters.

    ConfigError where two of them are written alike.
    """

    def __init__(self, patterns: Iterable[Pattern] = ()) -> None:
        self.patterns = tuple(patterns)
        self.opens: dict[str, Pattern] = {}
        self.closes: dict[str, Pattern] = {}
        """Of those that begin with a character."""
        self.after: dict[str, Pattern] = {}
        """Of those that end a slot."""
        self.between: set[str] = set()
        taken: dict[str, Pattern] = {}
        for one in self.patterns:
            for mark in {one.opens, one.closes, one.between} - {"", "|"}:
                if mark in taken:
                    raise ConfigError(f"patterns {taken[mark].name!r} and {one.name!r} are both written with {mark!r}")
                taken[mark] = one
            if one.opens:
                self.opens[one.opens], self.closes[one.closes] = one, one
                self.between |= {one.between} - {"", "|"}
            else:
                self.after[one.closes] = one
        self.marks = "".join(sorted([*self.opens, *self.closes]))
        """Characters that prose escapes wherever it stands."""
        every = re.escape(self.marks + "".join(sorted(self.between)))
        self.prose = re.compile(rf"[^\\\[\]()|\-{every}]*(?:-(?!>)[^\\\[\]()|\-{every}]*)*")
        self.escape = re.compile(rf"\\([\[\]()|\\{every}]|->)")
