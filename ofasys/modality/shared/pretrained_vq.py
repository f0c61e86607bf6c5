"""A pretrained VQ model of the library `diffusers` (van den Oord et al., 2017; Esser et al., 2021), as an image
tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ofasys.errors import ConfigError

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

KIND = "VQModel"


def patch_of(config: Mapping[str, Any]) -> int:
    """Pixels of the side of what one code stands for: each block but the last halves the picture."""
    return 2 ** (len(config.get("block_out_channels", (64,))) - 1)


class Pretrained(nn.Module):
    """Pictures (B, 3, H, W) in -1..1 -> codes (B, H/p, W/p) -> pictures, as `Autoencoder`, by a VQModel of this
    configuration.

    Errors: ConfigError when diffusers is not installed, or does not know the configuration.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        try:
            from diffusers import VQModel
        except ImportError as error:
            raise ConfigError("a VQModel needs the library 'diffusers': pip install diffusers") from error
        known = {name: value for name, value in config.items() if not name.startswith("_")}
        try:
            self.model = VQModel.from_config(known)
        except Exception as error:  # diffusers raises many kinds
            raise ConfigError(f"diffusers cannot make a VQModel of this config.json: {error}") from error

    def encode(self, pictures: Float[Tensor, "B 3 H W"]) -> Int[Tensor, "B h w"]:
        """(B, 3, H, W) -> codes (B, H/p, W/p) int64: the nearest entries of the code book."""
        latents = self.model.encode(pictures).latents
        index = self.model.quantize(latents)[2][2]
        return index.view(len(latents), *latents.shape[2:])

    def decode(self, codes: Int[Tensor, "B h w"]) -> Float[Tensor, "B 3 H W"]:
        """Codes (B, h, w) int64 -> pictures (B, 3, h p, w p), about -1..1."""
        entries = self.model.quantize.embedding(codes).movedim(-1, 1).contiguous()
        spatial = self.model.config.norm_type == "spatial"
        return self.model.decoder(self.model.post_quant_conv(entries), entries if spatial else None)
