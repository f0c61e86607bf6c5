"""How big a universal model is, as numbers: configuration, the table of sizes, parameters and FLOPs. No torch here.

`S` source length, `T` target length, `D` width, `F` width inside the feed-forward, `H` heads, `K` head width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ofasys.errors import ConfigError, nearest
from ofasys.model.positions import SCHEMES


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a universal model."""

    width: int
    """D."""
    heads: int
    """H, a divisor of D."""
    ffn: int
    """F, the width inside the feed-forward."""
    encoder_layers: int
    """Blocks of the source's side."""
    decoder_layers: int
    """Blocks of the target's side."""
    dropout: float = 0.1
    """Share of values dropped, in training, from the embedded stream and from what each branch adds."""
    max_positions: int = 2048
    """The longest stream; of learned positions the rows of the table of places."""
    max_grid: int = 64
    """Most rows, and most columns, of a picture's patches; of learned positions the rows of the y and of the x
    table.
    """
    norm: Literal["pre", "post"] = "pre"
    """LayerNorm before each branch, or after its residual, as BART."""
    attention_norm: bool = True
    """A LayerNorm on what attention gives, before its residual."""
    ffn_norm: bool = True
    """One inside the feed-forward, after the activation."""
    head_scale: bool = True
    """A learned factor per head."""
    embed_norm: bool = True
    """A LayerNorm on the embedded stream."""
    final_norm: bool = True
    """One on the last states of each side."""
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    """Of the feed-forward."""
    positions: str = "learned"
    """How positions are told apart, a name in `SCHEMES`: "learned", "relative", "alibi", "rotary"."""
    buckets: int = 32
    """Of relative positions: how many distances have a bias of their own."""
    farthest: int = 128
    """Of relative positions: the distance from which all are one."""
    rotary_axes: Literal[1, 2, 3] = 1
    """Of rotary positions: 1 the sentence, 2 rows and columns, 3 all of them."""
    rotary_base: float = 10_000.0
    """Of rotary positions: the slowest turn is nearly 2 pi times as long."""

    def __post_init__(self) -> None:
        for name in ("width", "heads", "ffn", "max_positions", "max_grid"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name} is {getattr(self, name)}; expected at least 1")
        for name in ("encoder_layers", "decoder_layers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"model.{name} is {getattr(self, name)}; expected 0 or more")
        if self.width % self.heads:
            raise ConfigError(f"model.width {self.width} does not divide into {self.heads} heads; give a multiple")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"model.dropout is {self.dropout}; expected 0 or more and less than 1")
        if self.norm not in ("pre", "post"):
            raise ConfigError(f"model.norm is {self.norm!r}; expected 'pre' or 'post'")
        if self.positions not in SCHEMES:
            raise ConfigError(
                f"model.positions is {self.positions!r}; {nearest(str(self.positions), SCHEMES)}there are "
                f"{', '.join(SCHEMES)}"
            )
        if self.rotary_axes not in (1, 2, 3):
            raise ConfigError(f"model.rotary_axes is {self.rotary_axes!r}; it is 1, 2 or 3")
        if not (isinstance(self.rotary_base, int | float) and self.rotary_base > 1):
            raise ConfigError(f"model.rotary_base is {self.rotary_base!r}; it is a number above 1")
        for name in ("buckets", "farthest"):
            if not isinstance(getattr(self, name), int) or isinstance(getattr(self, name), bool):
                raise ConfigError(f"model.{name} is {getattr(self, name)!r}; it is a whole number")
        if self.farthest <= self.buckets:
            raise ConfigError(f"model.farthest is {self.farthest}; it is more than buckets, {self.buckets}")
        if wrong := SCHEMES[self.positions].check(self):
            raise ConfigError(f"model.positions is {self.positions!r}, and {wrong}")
        if self.activation not in ("gelu", "relu", "silu"):
            raise ConfigError(f"model.activation is {self.activation!r}; expected 'gelu', 'relu' or 'silu'")

    @property
    def head(self) -> int:
        """K."""
        return self.width // self.heads

    @property
    def score_scale(self) -> float | None:
        """What scores of attention are multiplied by. None: K ** -0.5."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`; a field this version does not know is an error that names the nearest."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"model has no field {name!r}; {nearest(name, known)}known here: {', '.join(known)}")
        missing = [name for name in known[:5] if name not in values]
        if missing:
            other = f", or a size out of {', '.join(SIZES)}" if cls is ModelConfig else " as config"
            raise ConfigError(f"model lacks {', '.join(missing)}; give each{other}")
        return cls(**values)


SIZES: dict[str, ModelConfig] = {
    "tiny": ModelConfig(width=128, heads=4, ffn=512, encoder_layers=3, decoder_layers=3, dropout=0.0),
    "small": ModelConfig(width=256, heads=4, ffn=1024, encoder_layers=4, decoder_layers=4),
    "base": ModelConfig(width=768, heads=12, ffn=3072, encoder_layers=6, decoder_layers=6),
    "large": ModelConfig(width=1024, heads=16, ffn=4096, encoder_layers=12, decoder_layers=12),
}


def parameters(config: ModelConfig) -> int:
    """Learned numbers of the universal model. Embeddings of modalities are not part of it."""
    D, F = config.width, config.ffn
    norm = 2 * D
    attention = 4 * (D * D + D) + (config.heads if config.head_scale else 0) + (norm if config.attention_norm else 0)
    ffn = D * F + F + F * D + D + (2 * F if config.ffn_norm else 0)
    side = (norm if config.embed_norm else 0) + (norm if config.final_norm else 0)
    encoder = config.encoder_layers * (attention + norm + ffn + norm)
    decoder = config.decoder_layers * (2 * (attention + norm) + ffn + norm)
    scheme = SCHEMES[config.positions]
    return 2 * side + scheme.cost(config, False) + scheme.cost(config, True) + encoder + decoder


def flops(config: ModelConfig, source: int, target: int) -> int:
    """FLOPs of one forward pass of one sample of S = `source` and T = `target` positions, 2 per multiply-add.

    Matrix products only, without embedding and vocabulary head. An empty side costs nothing; a step of training is
    three times this.
    """
    D, F, S, T = config.width, config.ffn, source, target
    encoder = 2 * S * (4 * D * D + 2 * D * F) + 4 * S * S * D
    decoder = 2 * T * (4 * D * D + 2 * D * F) + 2 * T * (T + 1) * D  # causal: half of the square
    if S and T:
        decoder += 2 * T * 2 * D * D + 2 * S * 2 * D * D + 4 * T * S * D
    return config.encoder_layers * encoder + config.decoder_layers * decoder
