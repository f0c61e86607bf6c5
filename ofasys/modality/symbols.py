"""Symbols: the tokenizer and the vocabulary of one model, together; what parts need to turn values into ids."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ofasys.errors import ConfigError, DataError
from ofasys.modality.shared.label import ClosedSet
from ofasys.modality.vocabulary import Vocabulary

LEAST_PIECES = 256  # of a tokenizer: a piece for each byte
LONGEST_WORD = 256  # characters that a tokenizer learns a word from in one: the time it takes grows with their square
_LONG = re.compile(rf"\S{{{LONGEST_WORD}}}|\s{{{LONGEST_WORD}}}")


def train_tokenizer(texts: Iterable[str], size: int = 8000) -> Tokenizer:
    """A byte-level BPE of at most `size` pieces from these texts. All 256 bytes are in it: any text round-trips.

    A run of more than LONGEST_WORD letters, or blanks, is learned from in parts.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max(size, LEAST_PIECES),
        min_frequency=2,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator((part for text in texts for part in _parts(text)), trainer)
    return tokenizer


def _parts(text: str) -> Iterator[str]:
    """The text, cut after every LONGEST_WORD characters of one run."""
    start = 0
    for run in _LONG.finditer(text) if len(text) > LONGEST_WORD else ():
        yield text[start : run.end()]
        start = run.end()
    if start < len(text):
        yield text[start:]


# What text may hold, and a text that holds it: which of these come back tells what a tokenizer loses.
_PROBES = {
    "capitals": "Hello World",
    "blanks in a row": "a  b",
    "blanks at the ends": " a ",
    "line ends and tabs": "a\nb\tc",
    "accents": "café cafe\u0301",
    "forms of letters": "ﬁ ½ Ａ",
    "punctuation": "don't (stop), x_y-z: 3.5%!",
    "other scripts": "日本語 кот",
    "emoji": "😀",
}


def load_tokenizer(path: str | Path) -> Tokenizer:
    """An existing `tokenizer.json`, without its padding and truncation; its special tokens are never added.

    A UserWarning tells what its texts lose, with examples. Errors: ConfigError when it is absent or not one, draws its
    pieces by chance, or cannot put them together again.
    """
    try:
        tokenizer = Tokenizer.from_str(Path(path).read_text(encoding="utf8"))
    except Exception as error:
        raise ConfigError(f"{path} is not a tokenizer.json: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if getattr(tokenizer.model, "dropout", None):
        raise ConfigError(f"{path} draws its pieces by chance (dropout={tokenizer.model.dropout:.3g}); set it to null")
    if tokenizer.decoder is None and not isinstance(tokenizer.model, models.WordLevel):
        raise ConfigError(
            f"{path} has no decoder, so an answer would be pieces with blanks between them; give it the one of its "
            "kind: ByteLevel, Metaspace, WordPiece, BPEDecoder, or Fuse where pieces are plain"
        )
    if lost := _losses(tokenizer):
        warnings.warn(
            f"{path} does not give every text back: {'; '.join(lost)}. Answers are written so, and "
            "references are not; labels of a closed set keep their own spelling",
            stacklevel=3,
        )
    return tokenizer


def text_ids(tokenizer: Tokenizer) -> int:
    """How many ids its pieces take: one past the last, for some files leave ids out."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def _pieces(tokenizer: Tokenizer, text: str) -> list[int] | None:
    """Ids of a text; None where it cannot be encoded."""
    try:
        found: list[int] = tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
    except Exception:  # the library raises nothing more precise
        return None
    return found


def _losses(tokenizer: Tokenizer) -> list[str]:
    """What does not come back, each with a text and what becomes of it."""
    lost = []
    for what, text in _PROBES.items():
        ids = _pieces(tokenizer, text)
        back = None if ids is None else tokenizer.decode(ids, skip_special_tokens=False)
        if back != text:
            lost.append(f"{what} ({text!r} {'is an error' if back is None else f'becomes {back!r}'})")
    return lost


def _byte_level(piece: str) -> bytes | None:
    """The bytes that the letters of a byte-level piece stand for."""
    return bytes(_BYTE_OF[letter] for letter in piece) if all(letter in _BYTE_OF for letter in piece) else None


def _byte_letters() -> dict[str, int]:
    """Letter -> byte, as GPT-2 writes bytes: those that are seen as they are, the others from 256 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + number): byte for number, byte in enumerate(rest)}


_BYTE_OF = _byte_letters()


def _sentence_piece(piece: str, bytewise: bool) -> bytes | None:
    """The bytes of a piece of SentencePiece: a blank is written ▁, a byte <0x0A> if there are bytes. None of a piece
    with a bare blank, which is in no text.
    """
    if bytewise and re.fullmatch(r"<0x[0-9A-F]{2}>", piece):
        return bytes([int(piece[3:5], 16)])
    return None if " " in piece else piece.replace("▁", " ").encode()


def is_text(value: str) -> bool:
    """Whether a str is text that any file can hold: without half a surrogate pair, which is what is left of a cut
    emoji.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(value: str) -> None:
    """Errors: DataError for half a surrogate pair, saying where."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"half a surrogate pair, {value[error.start]!a}, at character {error.start}, is not Unicode text",
            expected="text without lone surrogates: was an emoji cut in two?",
        ) from None


class Symbols:
    """Text <-> ids, and where each range lies. Picklable.

    fitted: part's key -> what it learned from training values before training.
    """

    def __init__(
        self, tokenizer: Tokenizer, vocabulary: Vocabulary, fitted: Mapping[str, Mapping[str, np.ndarray]] | None = None
    ) -> None:
        self.tokenizer, self.vocabulary, self.fitted = tokenizer, vocabulary, fitted or {}
        self.text_start, self.text_end = vocabulary.span("text")
        self.offset = self.text_start if vocabulary.foreign is None else 0  # of ids from the tokenizer's own numbers
        self.begin, self.mask, self.end = vocabulary.begin, vocabulary.mask, vocabulary.end

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without marks. Errors: DataError for lone surrogates, and for what has no piece."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of several texts."""
        try:
            found = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except (UnicodeEncodeError, TypeError) as error:
            for text in texts:
                check_text(text)
            raise DataError("text holds characters that are not Unicode text", expected="a str") from error
        except Exception as error:  # the library raises nothing more precise
            raise DataError(
                f"the tokenizer cannot read the text: {error}", expected="text made of its pieces"
            ) from error
        ids = [[i + self.offset for i in encoding.ids] for encoding in found]
        if self.vocabulary.foreign is not None:
            self._check_pieces(texts, ids)
        return ids

    def _check_pieces(self, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> None:
        """Errors: DataError for a text whose pieces are marks of a foreign vocabulary."""
        for text, own in zip(texts, ids, strict=True):
            for one in own:
                if not self.text_start <= one < self.text_end:
                    raise DataError(
                        f"the tokenizer reads {text!r:.60} as token {one}, which is a mark and no piece of text",
                        expected="text without the names of marks, made of pieces the tokenizer has",
                    )

    def decode(self, ids: np.ndarray | Sequence[int]) -> str:
        """The text of ids in the text range; ids of other ranges are left out."""
        return self.tokenizer.decode(
            [int(i) - self.offset for i in ids if self.text_start <= i < self.text_end], skip_special_tokens=False
        )

    def pieces(self) -> tuple[list[bytes | None], bool]:
        """(the bytes of each id of the text range, None of what is no text; whether a text is written with a blank
        before it that is none of its own).

        Errors: ConfigError for a tokenizer whose pieces are not bytes one after the other.
        """
        about = json.loads(self.tokenizer.to_str())
        decoder = json.dumps(about["decoder"] or {}, ensure_ascii=False)
        marks = {one["content"] for one in about.get("added_tokens", []) if one["special"]}
        names = [self.tokenizer.id_to_token(one - self.offset) for one in range(self.text_start, self.text_end)]
        if '"ByteLevel"' in decoder:
            made = [_byte_level(name) if name is not None and name not in marks else None for name in names]
            return made, False
        if '"Metaspace"' in decoder or "▁" in decoder:
            bytewise = '"ByteFallback"' in decoder
            made = [None if one is None or one in marks else _sentence_piece(one, bytewise) for one in names]
            led = next((number for number, one in enumerate(made) if one is not None and one[:1] == b" "), None)
            return made, led is None or not self.decode([self.text_start + led]).startswith(" ")
        raise ConfigError(
            "a text that must match a grammar needs a tokenizer of byte-level or SentencePiece pieces, which this "
            "model's is not"
        )

    def label(self, ids: np.ndarray | Sequence[int], labels: Sequence[str]) -> str:
        """The label of a closed set with these ids, as the set spells it; of what is none the text."""
        known = labels.spelled if isinstance(labels, ClosedSet) else None
        if known is None:
            known = dict(zip(map(tuple, self.encode_batch(labels)), labels, strict=True))
            if isinstance(labels, ClosedSet):
                labels.spelled = known
        return known.get(tuple(int(i) for i in ids)) or self.decode(ids)

    def to_json(self) -> str:
        """The tokenizer's own file."""
        return self.tokenizer.to_str()
