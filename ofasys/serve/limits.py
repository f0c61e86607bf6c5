"""How much of anything one request may ask for."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ofasys.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of what strangers may ask. Every one is more than 0."""

    body: int = 32 << 20
    """Bytes of a request, uploads included."""
    rows: int = 64
    """Rows of one request."""
    uploads: int = 64
    """Files of one request."""
    characters: int = 10_000
    """Of an instruction."""
    cells: int = 200_000
    """Values in the JSON of a request, at any depth."""
    labels: int = 10_000
    """Of closed sets, together."""
    pixels: int = 50_000_000
    """Of a picture, or of a frame of a clip."""
    seconds: float = 600.0
    """Of a sound."""
    positions: int = 8192
    """That the files of one row may take in the model's stream."""
    tokens: int = 1024
    """Generated for a row."""
    beams: int = 16
    """Beams, or answers, of a row."""
    steps: int = 1000
    """Of a value that is drawn step by step."""
    deadline: float = 60.0
    """Seconds that a request may take; also of one that does not say."""
    slow_body: float = 30.0
    """Seconds in which a request has to be there."""
    requests: int = 512
    """That are in hand at once, streams too."""
    decoders: int = 2
    """Processes that read files."""
    decode_seconds: float = 10.0
    """That a file may take to be read."""
    decode_memory: int = 2 << 30
    """Bytes that such a process may take."""
    fetch_seconds: float = 10.0
    """That a file may take to be fetched."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            whole = isinstance(entry.default, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not value > 0:
                kind = "a whole number" if whole else "a number"
                raise ConfigError(f"limit {entry.name} is {value!r}; it is {kind}, more than 0")
