"""What a backbone is: the library's own configuration, and how streams are laid before it. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ofasys.engine.spec import LEARNED
from ofasys.errors import ConfigError, nearest

ENCODER_DECODER = ("bart", "mbart", "mt5", "pegasus", "t5")
ENCODER_ONLY = ("bert",)
DECODER_ONLY = (
    "gemma",
    "gemma3_text",
    "gpt2",
    "llama",
    "mistral",
    "olmo2",
    "olmo3",
    "phi3",
    "qwen2",
    "qwen3",
    "smollm3",
)
WINDOWED = ("mistral", "phi3")  # all their layers have the sliding window, where there is one
ATTENTION = ("sdpa", "eager")
QUANTIZE = ("int8", "int4")  # as of `ofasys.model.quantized.FORMATS`


@dataclass(frozen=True, kw_only=True)
class BackboneOptions:
    """How a backbone is used; what it is, its folder says."""

    prefix: bool = False
    """Of a decoder alone: positions of the source see each other both ways. Pretraining was causal, so it has to be
    learned. Of an encoder alone they always do.
    """
    chat: bool = False
    """Of a decoder alone: the source is the user's turn, the target the assistant's, as the tokenizer's chat template
    writes them; its end of a turn ends the target.
    """
    attention: str = "sdpa"
    """The library's implementation, "sdpa" or "eager"."""
    quantize: str = ""
    """The weights of its linear layers are held in few bits and stay as they are: "int8" or "int4"; empty: not so."""

    def __post_init__(self) -> None:
        for name in ("prefix", "chat"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"backbone: {name} is {getattr(self, name)!r:.60}; give true or false")
        if self.attention not in ATTENTION:
            raise ConfigError(f"backbone: attention is {self.attention!r:.60}; give {' or '.join(ATTENTION)}")

        if self.quantize not in ("", *QUANTIZE):
            near = nearest(str(self.quantize), QUANTIZE)
            raise ConfigError(
                f"backbone: quantize is {self.quantize!r:.60}; {near}give {' or '.join(QUANTIZE)}, or leave it out"
            )

    @classmethod
    def of(cls, given: object) -> BackboneOptions:
        """Of a mapping, of None, or of what is one already. Errors: ConfigError for names that are not known."""
        if isinstance(given, cls):
            return given
        if given is not None and not isinstance(given, Mapping):
            raise ConfigError(f"model has config={given!r:.80}; of a backbone it is BackboneOptions, a mapping or None")
        known = [one.name for one in fields(cls)]
        for name in given or {}:
            if name not in known:
                raise ConfigError(
                    f"a backbone has no option {name!r}; {nearest(str(name), known)}there are {', '.join(known)}"
                )
        return cls(**(given or {}))


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """A backbone that can be made again."""

    architecture: Mapping[str, Any]
    """The library's configuration, as its config.json has it."""
    folder: str = ""
    """Where its weights were read; empty: its weights are drawn."""
    fingerprint: str = ""
    """SHA-256 of these weights; they are read again only where they are the same."""
    source: str = ""
    """OWNER/NAME@COMMIT of the hub that the folder was got from; empty: it was not."""
    options: BackboneOptions = field(default_factory=BackboneOptions)
    """How it is used."""
    before: tuple[int, ...] = ()
    """Ids that stand before the source."""
    after: tuple[int, ...] = ()
    """Ids that stand after the source; of a decoder alone they are followed by the target."""
    opening: tuple[int, ...] = ()
    """Of an encoder and decoder: ids before the mark that a target begins with."""

    def __post_init__(self) -> None:
        check_supported(self.architecture)

    @property
    def family(self) -> str:
        """The library's name of the architecture."""
        return str(self.architecture["model_type"])

    @property
    def alone(self) -> bool:
        """Whether it is one stack, whose stream holds the source and after it the target."""
        return self.family not in ENCODER_DECODER

    @property
    def empty_source(self) -> bool:
        """Whether a target may stand alone."""
        return self.alone

    @property
    def both_ways(self) -> bool:
        """Of one stack: whether positions of a source see each other both ways."""
        return self.options.prefix or self.encodes

    @property
    def encodes(self) -> bool:
        """Whether it is an encoder alone, to which the marks around a source are a part of it."""
        return self.family in ENCODER_ONLY

    @property
    def about(self) -> str:
        """What it is, in words."""
        kind = "an encoder alone" if self.encodes else "a decoder alone" if self.alone else "an encoder and a decoder"
        layers = self.architecture.get("num_hidden_layers", self.architecture.get("num_layers"))
        return f"{self.family}, {kind}" + (f", of {layers} layers" if layers else "")

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """(what, words) of how streams are laid before it, for plans."""
        before, after = (" ".join(map(str, ids)) or "nothing" for ids in (self.before, self.after))
        found = [("source", f"ids before it: {before}; after it: {after}")]
        if self.alone:
            ways = "both ways" if self.both_ways else "what came before"
            found.append(("stream", f"the source, then the target; a position of the source sees {ways}"))
        if self.options.quantize:
            found.append(("held", f"weights of its linear layers in {self.options.quantize}, as they are"))
        return tuple(found)

    @property
    def learned(self) -> str:
        """What of it training changes, in words."""
        if not self.options.quantize:
            return LEARNED
        return f"what is not held in {self.options.quantize}; groups of the trainer give changes of low rank beside it"

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BackboneConfig:
        """The inverse of `to_dict`. Errors: ConfigError for what is none."""
        known = [one.name for one in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"engine 'hf' has no {name!r}; {nearest(name, known)}known here: {', '.join(known)}")
        found = dict(values)
        if not isinstance(found.get("architecture"), Mapping):
            raise ConfigError("engine 'hf' lacks its architecture; name a backbone as hf:FOLDER or hf:OWNER/NAME")
        found["options"] = BackboneOptions.of(found.get("options"))
        for name in ("before", "after", "opening"):
            found[name] = tuple(found.get(name, ()))
        return cls(**found)


def check_supported(architecture: Mapping[str, Any], where: str = "the backbone") -> None:
    """Errors: ConfigError for an architecture that is not known, or computes what our output rows cannot."""
    family = architecture.get("model_type")
    known = sorted((*ENCODER_DECODER, *ENCODER_ONLY, *DECODER_ONLY))
    if family not in known:
        raise ConfigError(
            f"{where} is of architecture {family!r}, which is not supported; take one of {', '.join(known)}"
        )
    for name, why in _REFUSED.items():
        if architecture.get(name):
            raise ConfigError(f"{where} has {name}={architecture[name]!r:.60}: {why}; take another backbone")
    for turned in _turned(architecture):
        if turned in ("longrope", "su"):
            raise ConfigError(
                f"{where} has rope_type={turned!r}: where one row of a batch is long all of them are turned "
                "otherwise, so that answers would depend on what else is asked; take another backbone"
            )
    if (kind := architecture.get("position_embedding_type", "absolute")) != "absolute":
        raise ConfigError(
            f"{where} has position_embedding_type={kind!r:.60}: its positions are not those of a table; take another "
            "backbone"
        )


def _turned(architecture: Mapping[str, Any]) -> set[str]:
    """The kinds of rotary positions that are written: one, or one of each kind of layer."""
    found = set()
    for name in ("rope_parameters", "rope_scaling"):
        given = architecture.get(name)
        parts = [given, *given.values()] if isinstance(given, Mapping) else []
        named = (part.get("rope_type", part.get("type")) for part in parts if isinstance(part, Mapping))
        found |= {one for one in named if isinstance(one, str)}
    return found


_REFUSED = {
    "final_logit_softcapping": "its scores are no products of states and rows",
    "use_bidirectional_attention": "it is an encoder, and makes no target",
    "add_cross_attention": "it is the decoder of another model",
    "quantization_config": "its weights are not float",
}
