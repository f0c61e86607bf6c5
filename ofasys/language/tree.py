"""The tree of an instruction: frozen values that print as canonical text.

Two trees are equal exactly when they say the same: `span`, the place in the text that was read, does not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from .lexeme import WORD, bare, written
from .option import Value

Span = tuple[int, int]

_ALWAYS = re.compile(r"[\\\[\]]|->|\)(?=\*)")
_ALSO_PARENTHESES = re.compile(r"[\\\[\]()]|->")
_PARENTHESIS = re.compile(r"[()]")


@dataclass(frozen=True, slots=True)
class Text:
    """Prose. Blanks are one space each, none at the edges; ValueError where nothing is left."""

    value: str
    """As the model reads it."""
    span: Span = field(default=(0, 0), compare=False)

    def __post_init__(self) -> None:
        value = " ".join(self.value.split())
        if not value:
            raise ValueError("a text in a tree is not empty")
        object.__setattr__(self, "value", value)

    def __str__(self) -> str:
        return _escaped(self.value, beside_repetition=True)


@dataclass(frozen=True, slots=True)
class Slot:
    """`[TYPE:name,key=value]`. `attributes` are (key, typed value), sorted by key; a name is never empty."""

    modality: str
    """Its tag."""
    name: str | None = None
    attributes: tuple[tuple[str, Value], ...] = ()
    span: Span = field(default=(0, 0), compare=False)

    def __post_init__(self) -> None:
        if self.name == "":
            raise ValueError("the name of a slot is not empty; a slot without a name has None")
        if len(self.attributes) > 1:
            object.__setattr__(self, "attributes", tuple(sorted(self.attributes, key=lambda pair: pair[0])))

    @property
    def options(self) -> dict[str, Value]:
        """The attributes that were written, by key."""
        return dict(self.attributes)

    def get(self, key: str, default: Value | None = None) -> Value | None:
        """The value of one attribute, `default` where it was not written."""
        return next((value for name, value in self.attributes if name == key), default)

    @property
    def body(self) -> str:
        """The canonical text without its brackets."""
        head = self.modality if self.name is None else f"{self.modality}:{written(self.name, WORD)}"
        return ",".join([head, *(_attribute(key, value) for key, value in self.attributes)])

    def __str__(self) -> str:
        return f"[{self.body}]"


@dataclass(frozen=True, slots=True)
class Contrast:
    """`[IMAGE:a|TEXT:b]`: two slots that say the same thing."""

    left: Slot
    """The slot before the bar."""
    right: Slot
    """The slot after it."""
    span: Span = field(default=(0, 0), compare=False)

    def __str__(self) -> str:
        return f"[{self.left.body}|{self.right.body}]"


@dataclass(frozen=True, slots=True)
class Repetition:
    """`( ... )*`: its segments in order, any number of times. At least one slot, no repetition inside, or
    ValueError.
    """

    segments: tuple[Text | Slot | Contrast, ...]
    span: Span = field(default=(0, 0), compare=False)

    def __post_init__(self) -> None:
        if any(isinstance(segment, Repetition) for segment in self.segments):
            raise ValueError("a repetition inside a repetition is not part of the language")
        if not any(True for _ in slots_of(self.segments)):
            raise ValueError("a repetition holds at least one slot")
        object.__setattr__(self, "segments", _merged(self.segments))

    def __str__(self) -> str:
        return self.spelled("")

    def spelled(self, marks: str) -> str:
        """Its text; `marks` are escaped in prose."""
        return f"( {' '.join(_spelled(segment, marks, True) for segment in self.segments)} )*"


@dataclass(frozen=True, slots=True)
class Alternatives:
    """A pattern from outside: parts, of which some stand in a row. Each part has a slot, or ValueError."""

    pattern: str
    """Its name."""
    parts: tuple[tuple[Text | Slot, ...], ...]
    ways: tuple[tuple[int, ...], ...]
    """Which parts may stand together, in their order."""
    written: tuple[str, str, str]
    """The characters that begin it, stand between its parts, and end it; the first is empty after a slot."""
    about: str = field(default="", compare=False)
    """What it says, in a few words."""
    span: Span = field(default=(0, 0), compare=False)

    def __post_init__(self) -> None:
        for part in self.parts:
            if not any(isinstance(segment, Slot) for segment in part):
                raise ValueError(f"a part of a {self.pattern} holds at least one slot")
        object.__setattr__(self, "parts", tuple(_merged(part) for part in self.parts))

    def __str__(self) -> str:
        return self.spelled("", beside_repetition=True)

    def spelled(self, marks: str, beside_repetition: bool) -> str:
        """Its text; `marks` are escaped in prose, and its own characters."""
        opens, between, closes = self.written
        marks += opens + between + (closes if opens else "")
        parts = (
            " ".join(_escaped(s.value, beside_repetition, marks) if isinstance(s, Text) else str(s) for s in part)
            for part in self.parts
        )
        return f"{opens}{between.join(parts)}{closes}"


Segment = Text | Slot | Contrast | Repetition | Alternatives


@dataclass(frozen=True, slots=True)
class Sentence:
    """Segments in order; neighbouring texts are one. Empty, or with at least one slot, or ValueError."""

    segments: tuple[Segment, ...] = ()
    span: Span = field(default=(0, 0), compare=False)

    def __post_init__(self) -> None:
        if self.segments and not any(True for _ in slots_of(self.segments)):
            raise ValueError("a sentence that is not empty holds at least one slot")
        object.__setattr__(self, "segments", _merged(self.segments))

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All slots in order, those inside repetitions and contrasts too."""
        return tuple(slots_of(self.segments))

    def __bool__(self) -> bool:
        return bool(self.segments)

    def __str__(self) -> str:
        return self.spelled()

    def spelled(self, marks: str = "") -> str:
        """Its text. marks: characters of the patterns that are known, which prose escapes; those it holds are."""
        marks += "".join(
            m for s in self.segments if isinstance(s, Alternatives) and s.written[0] for m in s.written[::2]
        )
        beside = any(isinstance(segment, Repetition) for segment in self.segments)
        return " ".join(_spelled(segment, marks, beside) for segment in self.segments)


def slots_of(segments: Iterable[Segment]) -> Iterator[Slot]:
    """The slots of some segments in order, those inside repetitions and contrasts too."""
    for segment in segments:
        if isinstance(segment, Slot):
            yield segment
        elif isinstance(segment, Contrast):
            yield segment.left
            yield segment.right
        elif isinstance(segment, Repetition):
            yield from slots_of(segment.segments)
        elif isinstance(segment, Alternatives):
            for part in segment.parts:
                yield from slots_of(part)


def _spelled(segment: Segment, marks: str, beside_repetition: bool) -> str:
    if isinstance(segment, Text):
        return _escaped(segment.value, beside_repetition, marks)
    if isinstance(segment, Alternatives):
        return segment.spelled(marks, beside_repetition)
    return segment.spelled(marks) if isinstance(segment, Repetition) else str(segment)


def _merged(segments: Iterable[Segment]) -> tuple[Any, ...]:
    merged: list[Segment] = []
    for segment in segments:
        before = merged[-1] if merged else None
        if isinstance(segment, Text) and isinstance(before, Text):
            merged.pop()
            segment = Text(f"{before.value} {segment.value}", (before.span[0], segment.span[1]))
        merged.append(segment)
    return tuple(merged)


def _attribute(key: str, value: Value) -> str:
    if isinstance(value, bool):
        return key if value else f"{key}=false"
    return f"{key}={written(value if isinstance(value, str) else repr(value), bare(key))}"


def _escaped(value: str, beside_repetition: bool, marks: str = "") -> str:
    r"""Prose that reads back as it is. `\`, `[`, `]`, `->` and the `)` of `)*` are always escaped. In a sentence with
    a repetition so is every parenthesis without a partner in the same text, for it could open or close that repetition.
    marks: characters that are escaped besides.
    """
    if not beside_repetition:
        return _either(_ALWAYS, marks).sub(r"\\\g<0>", value)
    paired = _paired_parentheses(value)
    special = _either(_ALSO_PARENTHESES, marks)
    return special.sub(lambda m: m[0] if m.start() in paired else f"\\{m[0]}", value)


@lru_cache(maxsize=64)
def _either(pattern: re.Pattern[str], marks: str) -> re.Pattern[str]:
    return re.compile(f"{pattern.pattern}|[{re.escape(marks)}]") if marks else pattern


def _paired_parentheses(value: str) -> set[int]:
    paired: set[int] = set()
    opened: list[int] = []
    for match in _PARENTHESIS.finditer(value):
        if match[0] == "(":
            opened.append(match.start())
        elif opened:
            start = opened.pop()
            if not value.startswith("*", match.end()):
                paired |= {start, match.start()}
    return paired
