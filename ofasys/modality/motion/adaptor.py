"""MOTION: frames -> embeddings; hidden states -> what the frames were before noise, or the noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ofasys.modality.modality import Options
from ofasys.modality.motion.preprocess import features_of

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

WAVES = 64


class FrameAdaptor(nn.Module):
    """frames (n, C) and the time of each value -> (n, D), and back to (n, C).

    C is stride x the features of a frame. Time is the share of noise steps a value has taken: 0 where it is not noised.
    """

    def __init__(self, options: Options, width: int) -> None:
        super().__init__()
        self.stride = int(options["stride"])
        self.channels = self.stride * features_of(options["fitted"]).width
        self.project = nn.Linear(self.channels, width)
        self.when = nn.Sequential(nn.Linear(WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)
        self.frames = nn.Linear(width, self.channels)
        self.through = nn.Linear(WAVES, self.channels)  # what of the noised frame itself is in the answer, by time
        for last in (self.frames, self.through):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """frames (n, C), time (values,), lengths (values,) -> embeddings."""
        frames = tensors["frames"].to(self.project.weight.dtype)
        when = self.when(waves(tensors["time"]).to(frames.dtype))
        when = when.repeat_interleave(tensors["lengths"], 0, output_size=len(frames))
        width = self.norm.normalized_shape[0]
        return self.norm(self.project(frames) + when) * width**-0.5

    def predict(
        self, hidden: Float[Tensor, "n D"], lengths: Int[Tensor, "values"], tensors: Mapping[str, Tensor]
    ) -> dict[str, Float[Tensor, "n channels"]]:
        """States, and in `tensors` noised (n, C) and time (values,) -> frames."""
        through = self.through(waves(tensors["time"]).to(hidden.dtype))
        through = through.repeat_interleave(lengths, 0, output_size=len(hidden))
        return {"frames": self.frames(hidden) + through * tensors["noised"].to(hidden.dtype)}

    def shape(self, options: Options) -> tuple[int, int]:
        """(positions, C) of a value to be made: `length` frames, or as many as values have at most."""
        frames = int(options.get("length") or options["frames"])
        return min(-(-frames // self.stride), int(options.get("max_length") or frames)), self.channels


def waves(time: Float[Tensor, "..."]) -> Float[Tensor, "... 64"]:
    """time from 0 to 1 -> WAVES numbers each: cosines and sines of it, from slow to fast (Vaswani et al., 2017)."""
    rates = 1000.0 * torch.exp(-math.log(10_000.0) * torch.arange(WAVES // 2, device=time.device) / (WAVES // 2))
    angles = time.float()[..., None] * rates
    return torch.cat([angles.cos(), angles.sin()], -1)
