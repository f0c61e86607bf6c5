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
