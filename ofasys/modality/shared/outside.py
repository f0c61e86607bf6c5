"""Values from outside this machine: what JSON holds, and bytes where a file was sent. None of them may name a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofasys.errors import DataError

EXPECTED = 'a file that was sent, {"base64": ...}, or numbers; no name of a file'


def as_it_is(value: Any) -> Any:
    """Of a modality whose texts are texts: the value itself."""
    return value


def without_text(value: Any) -> Any:
    """Of a modality whose texts may be names of files: the value itself, if there is no text in it at any depth.

    Errors: DataError for a text, which is not looked up.
    """
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            raise DataError(f"got the text {one[:40]!r}, which may be the name of a file", expected=EXPECTED)
        if isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, (list, tuple)):
            left += one
    return value
