"""The shape of a model of OFA's architecture, as numbers and switches. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from ofasys.errors import ConfigError, nearest
from ofasys.model.sizes import ModelConfig

KINDS = ("line", "grid", "wave", "film", "codes")
"""Of places: a text, the patches of a picture, sound, the patches of a video, the codes of a picture."""

# y of a position that stands in no picture, or in a frame of a film, as a stream says it; -1 is a line.
MARK = -2
"""The mark that codes of a picture begin with."""
WAVE = -3
"""Sound."""
FRAME = 1024
"""y of a film is FRAME * (frame + 1) + row."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How positions of one kind of place are embedded, on one side."""

    rows: int
    """Places that have an embedding; of a film its frames."""
    near: int
    """In a line: distances of about half of it each way have a bias of their own. In a grid: most rows and columns."""
    far: int = 1024
    """In a line: the distance from which all are one."""
    scale: float = 1.0
    """What embeddings are multiplied by."""
    embed_norm: bool = True
    """A LayerNorm on embeddings."""
    place_norm: bool = True
    """A LayerNorm on the embeddings of places."""
    typed: bool = True
    """Whether a learned vector of the kind is added to its embeddings; of a source alone."""
    entangled: bool = False
    """Whether the embedding of its place is added to each embedding."""
    gradient: float = 1.0
    """The share of its gradient that embeddings pass on."""

    def __post_init__(self) -> None:
        for name in ("rows", "near", "far"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"a kind of place has {name} {value!r:.40}; give a whole number of 1 or more")


@dataclass(frozen=True, kw_only=True)
class OFAConfig(ModelConfig):
    """Of `ModelConfig` all but its positions; norm and final_norm are the source's."""

    embed_norm: bool = False
    """Never: each kind of place has one of its own."""
    decoder_norm: Literal["pre", "post"] = "pre"
    """As norm, of the target's side."""
    decoder_final_norm: bool = True
    """As final_norm, of the target's side."""
    attention_factor: float = 2.0
    """Scores are divided by sqrt(K * attention_factor)."""
    residual_scale: bool = False
    """A learned factor of each channel on what the feed-forward branch is added to."""
    absolute: bool = True
    """Scores are biased by projections of both places' embeddings, on each side and between them."""
    shared_bias: bool = False
    """All layers of a side have one table of distances."""
    source: Mapping[str, Kind] = field(default_factory=dict)
    """By a name of `KINDS`: the places of a source."""
    target: Mapping[str, Kind] = field(default_factory=dict)
    """Those of a target."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decoder_norm not in ("pre", "post"):
            raise ConfigError(f"model.decoder_norm is {self.decoder_norm!r}; expected 'pre' or 'post'")
        if self.embed_norm:
            raise ConfigError("model.embed_norm is True; each kind of place has its own, so leave it out")
        if not self.attention_factor > 0:
            raise ConfigError(f"model.attention_factor is {self.attention_factor}; expected more than 0")
        for side in ("source", "target"):
            if "line" not in getattr(self, side):
                raise ConfigError(f"model.{side} has no kind of place 'line'; text stands in one, so give it")
            for name in getattr(self, side):
                if name not in KINDS:
                    raise ConfigError(
                        f"model.{side} has a kind of place {name!r}; {nearest(name, KINDS)}there are {', '.join(KINDS)}"
                    )
        if "film" in self.source and "grid" not in self.source:
            raise ConfigError("model.source has 'film' and no 'grid', whose tables a film's frames share; give both")
        for side, alone in (("target", ("grid", "film")), ("source", ("codes",))):
            if found := [name for name in alone if name in getattr(self, side)]:
                raise ConfigError(f"model.{side} has {found[0]!r}, which never stands there; leave it out")

    @property
    def score_scale(self) -> float:
        """(K * attention_factor) ** -0.5."""
        return float(self.width / self.heads * self.attention_factor) ** -0.5

    def of(self, decoder: bool) -> OFAConfig:
        """As one side has it."""
        return replace(self, norm=self.decoder_norm, final_norm=self.decoder_final_norm) if decoder else self

    def kinds(self, decoder: bool) -> Mapping[str, Kind]:
        """The places of one side, in the order of `KINDS`."""
        side = self.target if decoder else self.source
        return {name: side[name] for name in KINDS if name in side}

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OFAConfig:
        """The inverse of `to_dict`. Errors: ConfigError for what is not known or missing."""
        found = dict(values)
        for side in ("source", "target"):
            kinds = found.get(side, {})
            if not isinstance(kinds, Mapping):
                raise ConfigError(f"model.{side} is {kinds!r:.60}; give an object of kinds of places")
            found[side] = {name: _kind(f"model.{side}.{name}", kind) for name, kind in kinds.items()}
        made = super().from_dict(found)
        assert isinstance(made, OFAConfig)
        return made


def _kind(where: str, values: Any) -> Kind:
    if isinstance(values, Kind):
        return values
    known = [one.name for one in fields(Kind)]
    if not isinstance(values, Mapping) or (set(values) - set(known)) or not {"rows", "near"} <= set(values):
        raise ConfigError(f"{where} is {values!r:.80}; give an object of {', '.join(known)}, with rows and near")
    return Kind(**values)
