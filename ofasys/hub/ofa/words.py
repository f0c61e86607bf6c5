"""The original's dictionary as a vocabulary that ours begins with, and its byte-level BPE as a tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count as count_up
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers
from tokenizers.pre_tokenizers import ByteLevel

from ofasys.errors import CheckpointError, ConfigError
from ofasys.modality.box.options import BINS
from ofasys.modality.vocabulary import ForeignVocabulary

MARKS = ("<s>", "<pad>", "</s>", "<unk>")
MASK = "<mask>"
TEXT = re.compile(r"^<text>_(.+)$")
PAIRS = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))
"""Names of the two files of GPT-2's BPE: as OFASys has them, and as Hugging Face's GPT-2 has them."""


@dataclass(frozen=True)
class Dictionary:
    """The symbols of a checkpoint, in the order of their ids."""

    symbols: tuple[str, ...]

    @classmethod
    def of(cls, indices: Mapping[str, int]) -> Dictionary:
        """Of `global_dict_indices`. Errors: CheckpointError where ids are not 0, 1, 2 ..., each once."""
        order = sorted(indices, key=lambda symbol: indices[symbol])
        if [indices[symbol] for symbol in order] != list(range(len(order))):
            raise CheckpointError("the dictionary's ids are not 0, 1, 2 ..., each once; it is not of this checkpoint")
        return cls(tuple(order))

    def __post_init__(self) -> None:
        if self.symbols[:4] != MARKS:
            raise CheckpointError(
                f"the dictionary begins with {', '.join(self.symbols[:4])}, and OFASys's with {', '.join(MARKS)}; give "
                "the dictionary of the checkpoint"
            )
        if not self.pieces:
            raise CheckpointError("the dictionary has no <text>_... symbols; give the dictionary of the checkpoint")

    @property
    def pieces(self) -> dict[str, int]:
        """Number of a piece of GPT-2's BPE, or a made-up word -> its id."""
        return {match[1]: number for number, symbol in enumerate(self.symbols) if (match := TEXT.match(symbol))}

    def vocabulary(self, beyond: int = 0) -> ForeignVocabulary:
        """Our view of it: pieces, marks, and the ranges that are known here by name.

        Errors: CheckpointError where pieces do not stand together.
        """
        ids = sorted(self.pieces.values())
        lo, hi = ids[0], ids[-1] + 1
        if hi - lo != len(ids):
            raise CheckpointError(f"the dictionary's text symbols do not stand together: ids {lo} to {hi - 1}")
        mask = self.symbols.index(MASK) if MASK in self.symbols else None
        named = ((name, start, size) for name, start, size in self.ranges() if start >= hi)
        return ForeignVocabulary(len(self.symbols), (lo, hi), 2, 0, mask, tuple(named), wraps=True, beyond=beyond)

    def ranges(self) -> list[tuple[str, int, int]]:
        """Runs of numbered symbols: (name here, first id, ids); of bins `bins`, where there are as many as BOX has."""
        found: list[tuple[str, int, int]] = []
        ids = {symbol: number for number, symbol in enumerate(self.symbols)}
        for name in ("code", "bin"):
            if (first := ids.get(f"<{name}>_0")) is None:
                continue
            count = next(n for n in count_up() if self.symbols[first + n : first + n + 1] != (f"<{name}>_{n}",))
            known = "bins" if name == "bin" and count == BINS else f"ofa.{name}s"
            found.append((known, first, count))
        return sorted(found, key=lambda one: one[1])


def bpe_beside(folder: Path) -> tuple[Path, Path] | None:
    """The two files of GPT-2's BPE in a folder; None where they are not there."""
    for pair in PAIRS:
        encoder, merges = (folder / name for name in pair)
        if encoder.is_file() and merges.is_file():
            return encoder, merges
    return None


def tokenizer_of(dictionary: Dictionary, encoder: Path, merges: Path) -> tuple[Tokenizer, int]:
    """GPT-2's BPE with the dictionary's ids for numbers, and how many of its pieces have no id.

    encoder: piece -> number of GPT-2. Errors: ConfigError for files that are none, CheckpointError for those of another
    vocabulary.
    """
    try:
        numbers: dict[str, int] = json.loads(encoder.read_text(encoding="utf8"))
        ids = dictionary.pieces
        known = {piece: ids[str(number)] for piece, number in numbers.items() if str(number) in ids}
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{encoder} is not a file of GPT-2's BPE: {error}") from None
    real = sum(name.isdecimal() for name in ids)
    if len(known) < real:
        raise CheckpointError(
            f"{encoder} has {len(known)} of the {real} pieces of the checkpoint's dictionary, to which it does not "
            "belong; give GPT-2's encoder.json and vocab.bpe"
        )
    others = [piece for piece in numbers if piece not in known]
    beyond = {piece: len(dictionary.symbols) + number for number, piece in enumerate(others)}
    made_up = {name: number for name, number in ids.items() if not name.isdecimal()}  # they fill the table
    return assembled({**known, **beyond, **made_up}, pairs_in(merges)), len(beyond)


def pairs_in(merges: Path) -> list[tuple[str, str]]:
    """The pairs of pieces that are joined, in their order. Errors: ConfigError for a file that is none."""
    try:
        lines = merges.read_text(encoding="utf8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{merges} is not a file of GPT-2's BPE: {error}") from None
    parts = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    if not all(len(pair) == 2 for pair in parts):
        raise ConfigError(f"{merges} is not a file of GPT-2's BPE: each line is two pieces with a blank between them")
    return [(first, second) for first, second in parts]


def completed(pieces: Mapping[str, int], size: int, pairs: Sequence[tuple[str, str]]) -> tuple[Tokenizer, int]:
    """A tokenizer of pieces, with numbers from `size` on for those that they are joined of and that have none: it reads
    all of a text, and what a model has no id for is told and not left out.
    """
    parts = [*ByteLevel.alphabet(), *(piece for first, second in pairs for piece in (first, second, first + second))]
    others = sorted(set(parts) - set(pieces))
    beyond = {piece: size + number for number, piece in enumerate(others)}
    return assembled({**pieces, **beyond}, pairs), len(beyond)


def assembled(pieces: Mapping[str, int], pairs: Sequence[tuple[str, str]]) -> Tokenizer:
    """A tokenizer that reads each text as ' ' and the text without blanks at its ends, as the original did."""
    able = [(a, b) for a, b in pairs if a in pieces and b in pieces and a + b in pieces]
    made = Tokenizer(models.BPE(vocab=dict(pieces), merges=able))
    made.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.Prepend(" ")])
    made.pre_tokenizer = ByteLevel(add_prefix_space=False)
    made.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    return made
