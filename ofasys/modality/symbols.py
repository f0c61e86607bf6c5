"""Symbols: the tokenizer and the vocabulary of one model, together; what parts need to turn values into ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ofasys.errors import ConfigError, DataError
from ofasys.modality.vocabulary import END, MASK, Vocabulary


def train_tokenizer(texts: Iterable[str], size: int = 8000) -> Tokenizer:
    """A byte-level BPE of at most `size` pieces from these texts. All 256 bytes are in it: any text round-trips."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max(size, 256),
        min_frequency=2,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: str | Path) -> Tokenizer:
    """An existing `tokenizer.json`. Errors: ConfigError when it is absent or not one."""
    try:
        tokenizer = Tokenizer.from_str(Path(path).read_text(encoding="utf8"))
    except Exception as error:
        raise ConfigError(f"{path} is not a tokenizer.json: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def is_text(value: str) -> bool:
    """Whether a str is text that any file can hold: without half a surrogate pair, which is what is left of a cut emoji."""
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
        self.mask, self.end = MASK, END

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without marks. Errors: DataError for lone surrogates, which no encoding can hold."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of several texts."""
        try:
            found = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except (UnicodeEncodeError, TypeError) as error:
            for text in texts:
                check_text(text)
            raise DataError("text holds characters that are not Unicode text", expected="a str") from error
        start = self.text_start
        return [[i + start for i in encoding.ids] for encoding in found]

    def decode(self, ids: np.ndarray | Sequence[int]) -> str:
        """The text of ids in the text range; ids of other ranges are left out."""
        return self.tokenizer.decode(
            [int(i) - self.text_start for i in ids if self.text_start <= i < self.text_end], skip_special_tokens=False
        )

    def to_json(self) -> str:
        """The tokenizer's own file."""
        return self.tokenizer.to_str()
