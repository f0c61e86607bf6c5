"""From noise to values: denoising diffusion, all rows at once, one pass of the model a step.

DDIM (Song et al., 2021); with eta 1 it is the ancestral sampling of Ho et al. (2020). Guidance: Ho & Salimans (2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    weight = float(options["guidance_weight"])
    if weight != 1.0 and negative is None:
        raise ConfigError(f"guidance_weight={weight:g} needs a source that can be left out; expected 1")
    stops, shape, device = Stops.of(options), tuple(adaptor.shape(options)), before.hidden.device
    noise = _Noise(seeds, shape, device)
    x = noise.first()
    lengths = torch.full((before.rows,), shape[0], dtype=torch.int64, device=device)
    for i, share in enumerate(stops.shares):
        flat, time = x.flatten(0, 1), torch.full((before.rows,), share, device=device)
        tensors = {"frames": flat, "noised": flat, "time": time, "lengths": lengths}
        embedding = adaptor.embed(tensors).view(before.rows, shape[0], -1)
        said = _predicted(adaptor, before, embedding, tensors).view(x.shape)
        if weight != 1.0 and negative is not None:
            without = _predicted(adaptor, negative, embedding, tensors).view(x.shape)
            said = without + weight * (said - without)
        x = stops.cleaned(i, x, said)
        if stops.fresh[i]:
            x = x + stops.fresh[i] * noise.of(i)
    return [made.cpu().numpy() for made in x]


def _predicted(
    adaptor: Denoiser, beyond: Continuation, embedding: Float[Tensor, "R n D"], tensors: Mapping[str, Tensor]
) -> Tensor:
    """What the model says of all rows, (R * n, ...) in float32."""
    hidden = beyond.peek(embedding)
    return adaptor.predict(hidden.flatten(0, 1), tensors["lengths"], tensors)["frames"].float()


@dataclass(frozen=True)
class Stops:
    """Where denoising stops on its way from noise to a value; a number a step in each list."""

    shares: list[float]
    """The time there, of 1."""
    signals: list[float]
    """Factor of the value in what is seen there."""
    spreads: list[float]
    """Factor of the noise in it."""
    rests: list[float]
    """Factor of the value at the next."""
    fresh: list[float]
    """Factor of the noise that is added on the way to the next; 0: none is."""
    noise_asked: bool
    """Whether the model says the noise, and not the value."""
    clip: float
    """The most a number of a value may be; 0: there is no such bound."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Stops:
        """Errors: ConfigError for more steps than timesteps, and for an eta that method=ancestral has not."""
        timesteps, ancestral = int(options["timesteps"]), options["method"] == "ancestral"
        steps = min(STEPS, timesteps) if options["steps"] is None else int(options["steps"])
        if steps > timesteps:
            raise ConfigError(
                f"steps={steps} is more than the timesteps={timesteps} of training; expected at most {timesteps}"
            )
        if ancestral and options["eta"] not in (0.0, 1.0):
            raise ConfigError(f"eta={options['eta']:g} is of method=ddim; ancestral sampling is eta=1: leave one out")
        times = stopping_times(timesteps, steps)
        left = alpha_bar(timesteps)[times]
        after = np.append(left[1:], 1.0)
        eta = 1.0 if ancestral else float(options["eta"])
        fresh = (eta * np.sqrt((1.0 - after) / (1.0 - left) * (1.0 - left / after))).tolist()
        signals, spreads, rests = (np.sqrt(part).tolist() for part in (left, 1.0 - left, after))
        shares = [(time + 1) / timesteps for time in times.tolist()]
        return cls(shares, signals, spreads, rests, fresh, options["predict"] == "noise", float(options["clip"]))

    def cleaned(self, i: int, x: Tensor, said: Tensor) -> Tensor:
        """What is seen at the stop after the i-th, but for fresh noise, of what is seen there and what the model says
        of it.
        """
        signal, spread, rest = self.signals[i], self.spreads[i], self.rests[i]
        value = (x - spread * said) / signal if self.noise_asked else said
        if self.clip:
            value = value.clamp(-self.clip, self.clip)
        drift = said if self.noise_asked and not self.clip else (x - signal * value) / spread
        return rest * value + max(1.0 - rest**2 - self.fresh[i] ** 2, 0.0) ** 0.5 * drift


class _Noise:
    """The noise of each row, a function of its seed: first that which a value begins as, then that of each step."""

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...], device: torch.device) -> None:
        self.rows = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.shape, self.device = shape, device
        self.block = torch.empty(0)

    def first(self) -> Tensor:
        """(R, n, ...)"""
        return torch.stack([torch.randn(self.shape, generator=row) for row in self.rows]).to(self.device)

    def of(self, step: int) -> Tensor:
        """(R, n, ...) of a step; asked for in order, from 0 on."""
        if step % BLOCK == 0:
            drawn = [torch.randn((BLOCK, *self.shape), generator=row) for row in self.rows]
            self.block = torch.stack(drawn, 1).to(self.device)
        return self.block[step % BLOCK]
