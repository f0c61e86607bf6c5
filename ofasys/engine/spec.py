"""The spec of an engine, and those that are known. A spec is a value: the plan reads it, torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError, PluginError, nearest
from ofasys.packages import loaded


@dataclass(frozen=True)
class Brought:
    """What an engine brings that is there already, as a pretrained backbone."""

    config: Any
    """Its configuration."""
    tokenizer: Path
    """Its `tokenizer.json`."""
    vocabulary: Mapping[str, Any]
    """The fields of a `ForeignVocabulary`."""
    tied: bool
    """Whether its output rows are its input rows."""
    place: str
    """Where it lies, from anywhere."""
    options: Mapping[str, Any]
    """What the user gave as config, all of it, as JSON can hold it."""


LEARNED = "all of it, unless groups of the trainer freeze it or give it changes of low rank"


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """What an engine is to a plan: what it brings and what it already has, so that the plan can say what is new."""

    place: str
    """By which it is named, as hf:FOLDER."""
    about: str
    """What it is, in words."""
    lines: tuple[tuple[str, str], ...] = ()
    """(what, words) of what it brings and how it is used."""
    ranges: frozenset[str] = frozenset()
    """Ranges of the vocabulary that are there."""
    adaptors: frozenset[str] = frozenset()
    """Keys of adaptors that are there."""
    learned: str = ""
    """What of it training changes, in words."""
    empty_source: bool = True
    """Whether a target may stand alone, as far as is known without its weights."""

    def check_source(self, instruction: str) -> None:
        """Whether it can do without the source that an instruction lacks. Errors: ConfigError."""
        if not self.empty_source:
            raise ConfigError(
                f"{instruction} has no source, and engine {self.place.partition(':')[0]!r} makes no target without "
                "one; write a slot before the arrow"
            )


def tokens_of(vocabulary: Mapping[str, Any]) -> str:
    """What of a backbone's tokens is kept, in words. vocabulary: the fields of a `ForeignVocabulary`."""
    lo, hi = vocabulary["text"]
    marks = {name: vocabulary.get(name) for name in ("begin", "end", "mask")}
    named = ", ".join(f"{name} {one}" for name, one in marks.items() if one is not None)
    return f"{vocabulary['size']} kept with their rows: text is {lo}..{hi - 1}; marks: {named}"


def brought_lines(config: Any, vocabulary: Mapping[str, Any], tied: bool) -> tuple[tuple[str, str], ...]:
    """(what, words) of what a backbone brings, and how it is used. config: it may have `lines` of its own."""
    rows = "those of tokens" if tied else "a table of their own"
    return (("tokens", tokens_of(vocabulary)), ("output rows", rows), *getattr(config, "lines", ()))


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """An engine a model can be made with."""

    name: str
    """By which a saved model names it: small letters, digits and _."""
    about: str
    """In a sentence, for lists."""
    load: str
    """"module:class" of a `torch.nn.Module` that is an `Engine`, made of its configuration; imported when first
    asked.
    """
    config: str
    """"module:class" of the frozen dataclass that is its configuration, whose fields JSON can hold. A `from_dict` of
    its own reads them back, where it has one."""

    extra: str = ""
    """The extra of this package that brings its library; empty: it needs none."""
    bring: str = ""
    """"module:function" of an engine that is named with a place, as "hf:FOLDER": (place, config as the user gave it) ->
    `Brought`. Empty: it has none."""

    def facts(self, place: str, config: object = None) -> EngineFacts:
        """What a plan is told of it. place: as of `brought`; empty: it is new. Errors: as of `brought`; ConfigError for
        one that is read from a place, and has no shape without.
        """
        if not place:
            if self.bring and not isinstance(config, self.config_class()):
                self.read({})
            return EngineFacts(place=self.name, about=self.about, learned="all of it; its weights are drawn")
        brought = self.brought(place, config)
        return EngineFacts(
            place=f"{self.name}:{place}",
            about=str(getattr(brought.config, "about", self.about)),
            lines=brought_lines(brought.config, brought.vocabulary, brought.tied),
            ranges=frozenset(["text", *(name for name, *_ in brought.vocabulary.get("named", ()))]),
            adaptors=frozenset(["tokens"]),
            learned=str(getattr(brought.config, "learned", LEARNED)),
            empty_source=bool(getattr(brought.config, "empty_source", True)),
        )

    def brought(self, place: str, config: object) -> Brought:
        """What lies at a place. Errors: ConfigError of an engine that has none; whatever its function raises."""
        if not self.bring:
            raise ConfigError(f"engine {self.name!r} is read from no place; write {self.name} without :{place}")
        found: Brought = loaded(f"engine {self.name!r}", "bring", self.bring)(place, config)
        return found

    def resolve(self) -> Any:
        """The class of the engine. Errors: PluginError where it cannot be imported."""
        return loaded(f"engine {self.name!r}", "load", self.load)

    def config_class(self) -> Any:
        """The class of its configuration. Errors: PluginError for what cannot be imported, or is no dataclass."""
        found = loaded(f"engine {self.name!r}", "config", self.config)
        if not (isinstance(found, type) and is_dataclass(found)):
            raise PluginError(
                f"engine {self.name!r}: config={self.config!r} is no dataclass; give the class of its shape"
            )
        return found

    def written(self, config: Any) -> dict[str, Any]:
        """A configuration as JSON can hold it."""
        return asdict(config)

    def read(self, values: Mapping[str, Any]) -> Any:
        """The inverse of `written`. Errors: ConfigError for fields that are not known, missing, or of no good value."""
        kind = self.config_class()
        if hasattr(kind, "from_dict"):
            return kind.from_dict(values)
        known = [one.name for one in fields(kind)]
        for name in values:
            if name not in known:
                raise ConfigError(
                    f"engine {self.name!r} has no {name!r}; {nearest(name, known)}known here: {', '.join(known)}"
                )
        try:
            return kind(**values)
        except TypeError as error:
            raise ConfigError(
                f"engine {self.name!r} cannot be configured so: {error}; it has {', '.join(known)}"
            ) from None


TRANSFORMER = EngineSpec(
    name="transformer",
    about="an encoder and a decoder, or either alone",
    load="ofasys.model.universal:UniversalModel",
    config="ofasys.model.sizes:ModelConfig",
)
OFA = EngineSpec(
    name="ofa",
    about="the encoder and decoder of OFA and OFASys (2022), to go on with their checkpoints",
    load="ofasys.engine.ofa.model:OFAModel",
    config="ofasys.engine.ofa.config:OFAConfig",
)
HUGGINGFACE = EngineSpec(
    name="hf",
    about="a pretrained backbone of transformers: T5, BART, Pegasus, Qwen, Llama, Mistral, Gemma, GPT-2, BERT",
    load="ofasys.engine.huggingface.backbone:Backbone",
    config="ofasys.engine.huggingface.config:BackboneConfig",
    extra="hf",
    bring="ofasys.engine.huggingface.bring:bring",
)
ENGINES = {one.name: one for one in (TRANSFORMER, OFA, HUGGINGFACE)}
