"""The words of the language: which modalities there are, and which attributes each takes.

The language knows no modality itself. Whoever stands above all rooms calls `provide` once; tests pass a Lexicon.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .option import Option, SlotOptions, options_of
from .pattern import Grammar, Pattern

_TAG = re.compile(r"\w+")
_EVERY_SLOT = options_of(SlotOptions)


@dataclass(frozen=True)
class Word:
    """One modality as the language sees it: its tag, other spellings of the tag, and its options by name.

    The options every slot has are added; a word that declares one of them itself keeps its own.
    """

    tag: str
    options: Mapping[str, Option] = field(default_factory=dict, hash=False)
    aliases: tuple[str, ...] = ()
    """Other spellings of the tag."""

    def __post_init__(self) -> None:
        for tag in (self.tag, *self.aliases):
            if not _TAG.fullmatch(tag):
                raise ValueError(f"a tag is made of word characters, not {tag!r}")
        object.__setattr__(self, "options", dict(sorted({**_EVERY_SLOT, **self.options}.items())))


class Lexicon:
    """The words known, found by tag or alias, and the patterns. ValueError where two words claim the same tag,
    ConfigError where two patterns are written alike.
    """

    def __init__(self, words: Iterable[Word], patterns: Iterable[Pattern] = ()) -> None:
        self.grammar = Grammar(patterns)
        self._words: dict[str, Word] = {}
        known = tuple(words)
        for word in known:
            for tag in (word.tag, *word.aliases):
                if tag in self._words:
                    raise ValueError(f"two modalities are called {tag!r}: {self._words[tag].tag} and {word.tag}")
                self._words[tag] = word
        self.tags: tuple[str, ...] = tuple(sorted(word.tag for word in known))

    def word(self, tag: str) -> Word | None:
        """The word with this tag or alias, spelt exactly so; None if there is none."""
        return self._words.get(tag)

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every tag and alias."""
        return tuple(self._words)

    def __repr__(self) -> str:
        return f"Lexicon({', '.join(self.tags)})"


_factory: Callable[[], Lexicon] | None = None


def provide(factory: Callable[[], Lexicon]) -> None:
    """Says where the default lexicon comes from. `factory` is asked at every use, so it may grow; it should be
    quick.
    """
    global _factory
    _factory = factory


def default_lexicon() -> Lexicon:
    """The lexicon of the modalities at hand. RuntimeError where nobody provided one."""
    if _factory is None:
        raise RuntimeError(
            "no lexicon: `import ofasys` provides the built-in modalities; without it, pass one: Instruction(text, "
            "lexicon)"
        )
    return _factory()
