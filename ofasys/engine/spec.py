"""The spec of an engine, and those that are known. A spec is a value: the plan reads it, torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from ofasys.errors import ConfigError, PluginError, nearest
from ofasys.packages import loaded


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
ENGINES = {TRANSFORMER.name: TRANSFORMER}
