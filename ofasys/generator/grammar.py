"""What a text must be, beyond a sentence of tokens: a regular expression, a JSON schema, a grammar. By `llguidance`.

`U` pieces of text, of which the model writes; the end mark is one more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ofasys.errors import ConfigError

if TYPE_CHECKING:
    from typing import Annotated as Bool

Bools = np.ndarray


class Grammar:
    """A language of texts over pieces. kind: "regex", "json_schema" or "grammar" (Lark, as llguidance reads it).

    pieces: the bytes of each piece; None of one that is no text. blank: whether texts are written with a blank before
    them that is not of the text, as SentencePiece does.

    Errors: ConfigError for what is none, or without the library.
    """

    def __init__(self, kind: str, text: str, pieces: Sequence[bytes | None], blank: bool = False) -> None:
        self.kind, self.text, self.pieces, self.blank = kind, text, tuple(pieces), blank
        self._first = _matcher(kind, text, self.pieces, blank)

    def __reduce__(self) -> tuple[Any, ...]:
        return Grammar, (self.kind, self.text, self.pieces, self.blank)

    def begin(self) -> Guide:
        """At the beginning of a text."""
        return Guide(self._first.deep_copy(), len(self.pieces))


class Guide:
    """A text that is being written."""

    def __init__(self, matcher: Any, pieces: int) -> None:
        self.matcher, self.pieces = matcher, pieces

    def copy(self) -> Guide:
        """Another that goes on from here."""
        return Guide(self.matcher.deep_copy(), self.pieces)

    def allowed(self) -> Bool[Bools, "U"]:
        """Which pieces may come next; the last says whether the text may end. Never none."""
        bits = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        found = np.unpackbits(bits, bitorder="little")[: self.pieces + 1].astype(np.bool_)
        if not found.any():
            raise ConfigError(
                f"a text cannot go on by its grammar: {self.matcher.get_error() or self.matcher.stop_reason()}; "
                "give a simpler one"
            )
        return found

    def take(self, piece: int) -> None:
        """The next piece, one that is allowed."""
        self.matcher.consume_token(piece)


def _matcher(kind: str, text: str, pieces: tuple[bytes | None, ...], blank: bool) -> Any:
    try:
        from llguidance import LLMatcher
    except ImportError as error:
        raise ConfigError(f'{kind}= is read by the library `llguidance`: pip install "ofasys[constraints]"') from error
    matcher = LLMatcher(_tokenizer(pieces), _lark(kind, text, blank), log_level=0)
    if matcher.is_error():
        raise ConfigError(f"{kind}={text!r:.80} is none: {matcher.get_error()}")
    return matcher


def _lark(kind: str, text: str, blank: bool) -> str:
    """A grammar as llguidance reads it. Errors: ConfigError for a JSON schema that is no JSON."""
    before = '" "? ' if blank else ""
    if kind == "regex":
        return f"start: {before}TEXT\nTEXT: /{_slashed(text)}/\n"
    if kind == "json_schema":
        try:
            schema = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"json_schema={text!r:.80} is no JSON: {error}") from None
        if not isinstance(schema, Mapping):
            raise ConfigError(f'json_schema={text!r:.80} is no schema; give an object, as {{"type": "object"}}')
        made = {"x-guidance": {"whitespace_pattern": " ?"}, **schema}  # any number of blanks would be one way to no end
        return f"start: {before}body\nbody: %json {json.dumps(made)}\n"
    return f"start: {before}body\nbody: %lark {{\n{text}\n}}\n" if blank else text


def _slashed(pattern: str) -> str:
    """A pattern between slashes: those within are escaped, where they are not already."""
    made, escaped = [], False
    for letter in pattern:
        made.append("\\/" if letter == "/" and not escaped else "\\n" if letter == "\n" else letter)
        escaped = letter == "\\" and not escaped
    return "".join(made)


@lru_cache(maxsize=4)
def _tokenizer(pieces: tuple[bytes | None, ...]) -> Any:
    """The pieces as llguidance reads them, numbered as they are; the end mark comes after them."""
    from llguidance import LLTokenizer, TokenizerWrapper

    gone = [number for number, piece in enumerate(pieces) if not piece]
    names = [piece or f"<no text {number}>".encode() for number, piece in enumerate(pieces)]
    by_byte = {piece: number for number, piece in enumerate(pieces) if piece is not None and len(piece) == 1}

    class Bytes:
        eos_token_id, bos_token_id = len(pieces), None
        tokens, special_token_ids = [*names, b"<end>"], [*gone, len(pieces)]

        def __call__(self, text: bytes | str) -> list[int]:
            return [by_byte[bytes([one])] for one in (text if isinstance(text, bytes) else text.encode())]

    return LLTokenizer(TokenizerWrapper(Bytes()), n_vocab=len(pieces) + 1, eos_token=len(pieces))
