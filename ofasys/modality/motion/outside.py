"""MOTION from outside this machine: the text or the bytes of a BVH file, or numbers; never the name of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofasys.errors import DataError

EXPECTED = "the text or bytes of a BVH file, positions (frames, joints, 3), or a mapping with `positions`"


def read(value: Any) -> Any:
    """The value itself. Errors: DataError for a text that is no BVH, and a mapping with a path."""
    if isinstance(value, str) and not value[:200].lstrip("\ufeff \t\r\n").upper().startswith("HIERARCHY"):
        raise DataError(f"got the text {value[:40]!r}, which is no BVH", expected=EXPECTED)
    if isinstance(value, Mapping) and "path" in value:
        raise DataError("got a mapping with a path", expected=EXPECTED)
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), str):
        raise DataError("got a mapping with `bytes` that are a text", expected=EXPECTED)
    return value
