"""What a backbone brings: its configuration, its tokenizer, and its marks, read from a folder or the hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ofasys.engine.huggingface.config import ENCODER_ONLY, BackboneConfig, BackboneOptions, check_supported
from ofasys.engine.huggingface.folder import fingerprint, folder_of, got_of, json_object, library, needed_files
from ofasys.engine.spec import Brought
from ofasys.errors import ConfigError

_ASKED = "\ue000"  # what stands for a text of the user in a chat template
_ANSWERED = "\ue001"
_WORD = "zygote"  # of which no template speaks


def bring(place: str, options: object) -> Brought:
    """Of a folder with config.json, model.safetensors and tokenizer.json, or of a name on the hub.

    Errors: ConfigError for what is not there, not supported, or does not belong together.
    """
    used = BackboneOptions.of(options)
    folder, source = got_of(place)
    architecture = _architecture(folder)
    check_supported(architecture, str(folder))
    files = needed_files(folder)
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no tokenizer.json; write it with AutoTokenizer.from_pretrained(...).save_pretrained(folder)"
        )
    marks = _Marks(folder, architecture, used)
    config = BackboneConfig(
        architecture=architecture,
        folder=str(folder),
        fingerprint=fingerprint(files),
        source=source,
        options=used,
        before=marks.before,
        after=marks.after,
        opening=marks.opening,
    )
    tied = bool(architecture["tie_word_embeddings"])
    return Brought(config, path, marks.vocabulary(), tied, str(folder), asdict(used))


def located(config: Mapping[str, Any], given: str | Path | None) -> Path:
    """Where the backbone of a saved configuration lies: the folder that is given, or where it was, or got again from
    the hub. Errors: ConfigError where it cannot be got.
    """
    there = str(config["folder"]) if given is None else str(given)
    found, source = Path(there).expanduser(), str(config.get("source", ""))
    known = bool(there) and found.is_dir()
    if known or given is not None or not source:
        return found.resolve() if known else found
    return folder_of(source)


def _architecture(folder: Path) -> dict[str, Any]:
    """The library's configuration with all its fields. Errors: ConfigError."""
    written = json_object(folder / "config.json")
    check_supported(written, str(folder))
    try:
        found: dict[str, Any] = library().AutoConfig.from_pretrained(str(folder), local_files_only=True).to_dict()
    except Exception as error:  # the library raises nothing more precise
        raise ConfigError(f"{folder}/config.json cannot be read by transformers ({error})") from error
    if written["model_type"] in ("t5", "mt5"):
        # What is written is so; the library says of all that they are tied (transformers 5.23.0).
        found["tie_word_embeddings"] = written.get("tie_word_embeddings", True)
    if written["model_type"] in ENCODER_ONLY:
        found["tie_word_embeddings"] = True
    found = {name: value for name, value in found.items() if not name.startswith("_")}
    kept: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return kept


class _Marks:
    """The ids a backbone's texts and turns begin and end with."""

    def __init__(self, folder: Path, architecture: Mapping[str, Any], options: BackboneOptions) -> None:
        self.folder, self.architecture = folder, architecture
        try:
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises nothing more precise
            raise ConfigError(
                f"{folder}/tokenizer.json is not a tokenizer.json ({error}); take a whole copy of the backbone"
            ) from error
        self.tokenizer.no_padding()  # those of sentence encoders pad each text, and cut it
        self.tokenizer.no_truncation()
        self.encoder = architecture["model_type"] in ENCODER_ONLY
        self.special = self._special()
        self.mask = self._id_of("<mask>", "[MASK]")
        self.opening: tuple[int, ...] = ()
        self.before, self.after = self._around()
        self.begin, self.end = self._first(), self._last()
        if options.chat:
            self._chat()

    def vocabulary(self) -> dict[str, Any]:
        """The fields of a foreign vocabulary. Errors: ConfigError for a tokenizer that is not that of the weights."""
        size, pieces = int(self.architecture["vocab_size"]), self.tokenizer.get_vocab_size(with_added_tokens=True)
        last = max(self.tokenizer.get_vocab(with_added_tokens=True).values())
        if last >= size:
            raise ConfigError(
                f"tokenizer.json of {self.folder} has {pieces} pieces, up to id {last}, and the weights have rows for "
                f"{size}: it is not theirs; take the one that was saved with them"
            )
        fixed = {"before": self.before, "after": self.after, "opening": self.opening, "end": (self.end,)}
        for name, ids in fixed.items():
            if ids and not 0 <= min(ids) <= max(ids) < size:
                raise ConfigError(
                    f"{self.folder}: its marks {name} are {ids}, and its weights have rows for {size} ids"
                )
        found = {"size": size, "text": self._pieces(last + 1), "end": self.end, "begin": self.begin}
        return found if self.mask is None else {**found, "mask": self.mask}

    def _special(self) -> set[int]:
        """Ids that are no pieces of text."""
        added = json_object(self.folder / "tokenizer.json").get("added_tokens") or []
        named = {int(one["id"]) for one in added if one.get("special")}
        marks = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
        for value in (self.architecture.get(name) for name in marks):
            named |= set(value if isinstance(value, list) else [] if value is None else [value])
        return named

    def _pieces(self, count: int) -> tuple[int, int]:
        """The longest run of ids without a mark, as a span."""
        marks = sorted(one for one in self.special | {self.end} if 0 <= one < count)
        ends = [-1, *marks, count]
        _, lo, hi = max((hi - lo, lo + 1, hi) for lo, hi in pairwise(ends))
        return lo, hi

    def _around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the tokenizer puts before a text, and after it."""
        bare = self.tokenizer.encode("a", add_special_tokens=False).ids
        whole = self.tokenizer.encode("a", add_special_tokens=True).ids
        for at in range(len(whole) - len(bare) + 1):
            if whole[at : at + len(bare)] == bare:
                return tuple(whole[:at]), tuple(whole[at + len(bare) :])
        raise ConfigError(
            f"tokenizer.json of {self.folder} changes a text where it adds its marks; take another backbone"
        )

    def _asked(self, name: str) -> int:
        """A mark of config.json. Errors: ConfigError where it is missing."""
        value = self.architecture.get(name)
        first = value[0] if isinstance(value, list) and value else value
        if not isinstance(first, int):
            raise ConfigError(f"{self.folder}/config.json has {name}={value!r}; write the id of the mark there")
        return first

    def _first(self) -> int:
        """The mark a target begins with: the decoder's own, or of a decoder alone the end of a line. Of an encoder it
        is the mark of what is left out, in whose place it has learned to say a piece.
        """
        if self.encoder:
            return self._last() if self.mask is None else self.mask
        if not self.architecture.get("is_encoder_decoder"):
            self.after = ()  # the text goes on with the target
            line, known = self._bare("\n"), self.architecture.get("bos_token_id")
            led = len(line) == 2 and self.tokenizer.decode([line[1]]) == "\n"  # by a blank, as any text
            if len(line) == 1 or led:
                return line[-1]
            return known if isinstance(known, int) else self._asked("eos_token_id")
        start, forced = (self.architecture.get(name) for name in ("decoder_start_token_id", "forced_bos_token_id"))
        start = self._asked("eos_token_id") if start is None else start
        if forced is None:
            return int(start)
        self.opening = (int(start),)
        return int(forced)

    def _last(self) -> int:
        """The mark a target ends with: of an encoder that which its texts end with."""
        return self.after[-1] if self.encoder and self.after else self._asked("eos_token_id")

    def _id_of(self, *pieces: str) -> int | None:
        found = (self.tokenizer.token_to_id(piece) for piece in pieces)
        return next((one for one in found if one in self.special), None)

    def _chat(self) -> None:
        """Marks as the chat template has them. Errors: ConfigError where there is none, or no decoder alone."""
        if self.encoder or self.architecture.get("is_encoder_decoder"):
            kind = "an encoder" if self.encoder else "an encoder and a decoder"
            raise ConfigError(f"{self.folder} is {kind}, which has no turns; leave chat out")
        try:
            whole = library().AutoTokenizer.from_pretrained(str(self.folder), local_files_only=True)
            user = [{"role": "user", "content": _ASKED}]
            asked = whole.apply_chat_template(user, tokenize=False, add_generation_prompt=True)
            answered = whole.apply_chat_template([*user, {"role": "assistant", "content": _ANSWERED}], tokenize=False)
        except Exception as error:  # a template may raise anything
            raise ConfigError(
                f"{self.folder} has no chat template that can be used ({error}); leave chat out"
            ) from error
        before, found, after = asked.partition(_ASKED)
        ids = self._beside(before, after)
        rest = self.tokenizer.encode(answered.partition(_ANSWERED)[2], add_special_tokens=False).ids
        ends = [one for one in rest if one in self.special]
        if not found or not ids[1] or not ends:
            raise ConfigError(f"the chat template of {self.folder} does not end its turns with a mark; leave chat out")
        self.before, self.after, self.begin, self.end = ids[0], ids[1][:-1], ids[1][-1], ends[0]

    def _beside(self, before: str, after: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids of what stands before a text and after it. A tokenizer that writes a blank before each text takes one
        that stands there already for its own; so it is asked for a whole turn, where it reads the text in it as alone.
        """
        alone, *parts = (self._bare(text) for text in (_WORD, before, after))
        whole, n = self._bare(f"{before}{_WORD}{after}"), len(alone)
        at = [first for first in range(len(whole) - n + 1) if whole[first : first + n] == alone]
        if len(at) == 1:
            parts = [whole[: at[0]], whole[at[0] + n :]]
        return parts[0], parts[1]

    def _bare(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)
