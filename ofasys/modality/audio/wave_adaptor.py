"""AUDIO: samples -> embeddings. `n` positions, `S` samples, `W` channels, `D` width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ofasys.modality.audio.strides import WAVE
from ofasys.modality.modality import Options

if TYPE_CHECKING:
    from typing import Annotated as Float


class WaveAdaptor(nn.Module):
    """samples (values, S) and the rows of the positions that there are -> (n, D).

    The feature encoder of wav2vec 2.0 (Baevski et al., 2020), as its large models have it: seven convolutions over
    time, without padding, each with LayerNorm and GELU; then LayerNorm and a projection. As there is no padding, no
    position sees past the end of its value.
    """

    def __init__(self, options: Options, width: int) -> None:
        super().__init__()
        sizes = [1] + [width] * len(WAVE)
        self.layers = nn.ModuleList(
            nn.Conv1d(before, after, kernel, stride=stride)
            for before, after, (kernel, stride) in zip(sizes, sizes[1:], WAVE, strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in WAVE)
        self.before, self.project, self.norm = nn.LayerNorm(width), nn.Linear(width, width), nn.LayerNorm(width)

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """samples (values, S), rows (n,) -> embeddings."""
        heard = self.features(tensors["samples"]).flatten(0, 1).index_select(0, tensors["rows"])
        return self.norm(self.project(self.before(heard))) * self.norm.normalized_shape[0] ** -0.5

    def features(self, samples: Float[Tensor, "values S"]) -> Float[Tensor, "values T W"]:
        """What the convolutions make of waveforms."""
        x = samples[:, None]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = nn.functional.gelu(norm(layer(x).transpose(1, 2))).transpose(1, 2)
        return x.transpose(1, 2)
