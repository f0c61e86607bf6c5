"""From noise to values: denoising diffusion, all rows at once, one pass of the model a step.

DDIM (Song et al., 2021); with eta 1 it is the ancestral sampling of Ho et al. (2020). Guidance: Ho & Salimans (2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ofasys.errors import ConfigError
from ofasys.generator.decoder import Continuation
from ofasys.model.noise import alpha_bar, stopping_times

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

STEPS = 50  # where nothing is said
BLOCK = 16  # steps whose noise is drawn at once: few enough to hold, and then no loop over rows stands inside a step


class Denoiser(Protocol):
    """What an adaptor of values made from noise can do besides the usual."""

    def shape(self, options: Mapping[str, Any]) -> tuple[int, ...]:
        """(n, ...): the frames to be made, by the options of the slot and of the request."""
        ...

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """frames (n, ...), time (R,), lengths (R,): of R values, n positions in all -> embeddings."""
        ...

    def predict(
        self, hidden: Float[Tensor, "n D"], lengths: Int[Tensor, "R"], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Float[Tensor, "n ..."]]:
        """States and, in `tensors`, `noised` (n, ...) and `time` (R,) -> frames."""
        ...


@torch.no_grad()
def denoise(
    adaptor: Denoiser,
    before: Continuation,
    options: Mapping[str, Any],
    seeds: Sequence[int],
    negative: Continuation | None = None,
) -> list[np.ndarray]:
    """Values (n, ...) float32, a row each of `before`. A row's noise is a function of its seed alone.

    options: those of DenoiseOptions, `timesteps` and `predict` as trained, and what the adaptor's `shape` reads.
    negative: the model after what guidance leads away from; needed unless guidance_weight is 1. Errors: ConfigError
    where it is missing, for more steps than timesteps, and for an eta that method=ancestral has not.
    """
    rows, device = before.rows, before.hidden.device
    weight = float(options["guidance_weight"])
    if weight != 1.0 and negative is None:
        raise ConfigError(f"guidance_weight={weight:g} needs a source that can be left out; expected 1")
    shape = tuple(adaptor.shape(options))
    timesteps, noise_asked = int(options["timesteps"]), options["predict"] == "noise"
    steps = min(STEPS, timesteps) if options["steps"] is None else int(options["steps"])
    if steps > timesteps:
        raise ConfigError(
            f"steps={steps} is more than the timesteps={timesteps} of training; expected at most {timesteps}"
        )
    if options["method"] == "ancestral" and options["eta"] not in (0.0, 1.0):
        raise ConfigError(f"eta={options['eta']:g} is of method=ddim; ancestral sampling is eta=1: leave one out")
    times = stopping_times(timesteps, steps)
    left = alpha_bar(timesteps)[times]
    after = np.append(left[1:], 1.0)
    eta = 1.0 if options["method"] == "ancestral" else float(options["eta"])
    fresh = (eta * np.sqrt((1.0 - after) / (1.0 - left) * (1.0 - left / after))).tolist()
    signals, spreads, rests = (np.sqrt(part).tolist() for part in (left, 1.0 - left, after))
    noises = [torch.Generator().manual_seed(seed) for seed in seeds]
    x = torch.stack([torch.randn(shape, generator=noise) for noise in noises]).to(device)
    lengths = torch.full((rows,), shape[0], dtype=torch.int64, device=device)
    clip = float(options["clip"])

    def predicted(beyond: Continuation, embedding: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        hidden = beyond.peek(embedding)
        return adaptor.predict(hidden.flatten(0, 1), lengths, tensors)["frames"].float().view(rows, *shape)

    for i, time in enumerate(times.tolist()):
        flat = x.flatten(0, 1)
        share = torch.full((rows,), (time + 1) / timesteps, device=device)
        tensors = {"frames": flat, "noised": flat, "time": share, "lengths": lengths}
        embedding = adaptor.embed(tensors).view(rows, shape[0], -1)
        said = predicted(before, embedding, tensors)
        if weight != 1.0 and negative is not None:
            without = predicted(negative, embedding, tensors)
            said = without + weight * (said - without)
        signal, spread = signals[i], spreads[i]
        value = (x - spread * said) / signal if noise_asked else said
        if clip:
            value = value.clamp(-clip, clip)
        drift = said if noise_asked and not clip else (x - signal * value) / spread
        x = rests[i] * value + max(1.0 - rests[i] ** 2 - fresh[i] ** 2, 0.0) ** 0.5 * drift
        if fresh[i]:
            if i % BLOCK == 0:
                draws = torch.stack([torch.randn((BLOCK, *shape), generator=noise) for noise in noises], 1).to(device)
            x = x + fresh[i] * draws[i % BLOCK]
    return [made.cpu().numpy() for made in x]
