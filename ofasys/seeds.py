"""What random draws are a function of: numbers from names and places, the same in every process and Python version."""

from __future__ import annotations

import hashlib


def key_of(*parts: int | str) -> int:
    """64 bits that depend on every part and its place (BLAKE2b)."""
    written = "".join(f"{type(part).__name__}{len(str(part))}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(written.encode(), digest_size=8).digest(), "little")
