"""Where weights may go."""

from __future__ import annotations

import torch

from ofasys.errors import ConfigError


def as_device(device: str | torch.device) -> torch.device:
    """A device that is here. Errors: ConfigError for one that is not, naming those that are."""
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError):
        raise ConfigError(f"device={device!r} is no device; {_there()}") from None
    if place.type == "cpu":
        return torch.device("cpu")
    cuda = torch.cuda.device_count() if place.type == "cuda" and torch.cuda.is_available() else 0
    mps = place.type == "mps" and torch.backends.mps.is_available()
    if not mps and (place.index or 0) >= cuda:
        raise ConfigError(f"device={str(device)!r} is not here; {_there()}")
    if cuda and place.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return place


def _there() -> str:
    found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0))]
    if torch.backends.mps.is_available():
        found.append("mps")
    return f"there {'are' if len(found) > 1 else 'is'} {', '.join(found)}"
