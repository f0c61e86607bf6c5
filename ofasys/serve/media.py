"""The values of a request: files by upload, base64 or address become bytes; nothing else becomes anything."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from ofasys.serve.fetch import Fetcher
from ofasys.serve.refusal import Refusal

KINDS = ("base64", "upload", "url")
_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.+-]+=[^;,]*)*;base64,", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/", " \t\r\n=")


class Files:
    """The files of one request. uploads: by the name of their field."""

    def __init__(self, uploads: Mapping[str, bytes], fetcher: Fetcher) -> None:
        self.uploads, self.fetcher = uploads, fetcher

    def value(self, value: Any, place: str, text: bool) -> Any:
        """A value with bytes for each file that it names. place: where it stands, for messages. text: whether texts in
        it are texts; else a data URL is a file. Errors: Refusal for a file that is not there.
        """
        if isinstance(value, Mapping):
            named = value.keys() - {"type"}
            if len(named) == 1 and (kind := next(iter(named))) in KINDS and isinstance(value[kind], str):
                return self._file(kind, value[kind], f"{place}.{kind}")
            return {name: self.value(one, f"{place}.{name}", text) for name, one in value.items()}
        if isinstance(value, list):
            return [self.value(one, f"{place}[{number}]", text) for number, one in enumerate(value)]
        if isinstance(value, str) and not text and (found := _DATA_URL.match(value)):
            return from_base64(value[found.end() :], place)
        return value

    def _file(self, kind: str, said: str, place: str) -> bytes:
        if kind == "base64":
            found = _DATA_URL.match(said)
            return from_base64(said[found.end() :] if found else said, place)
        if kind == "url":
            return self.fetcher.fetch(said, place)
        if said not in self.uploads:
            there = ", ".join(map(repr, self.uploads)) or "none"
            raise Refusal(
                422,
                f"no file was sent as {said!r}",
                place=place,
                value=said,
                next=f"send it as a part of multipart/form-data with that name; sent were: {there}",
            )
        return self.uploads[said]


def from_base64(text: str, place: str) -> bytes:
    """The bytes of base64 in either alphabet, with or without blanks and padding. Errors: Refusal."""
    kept = text.translate(_URL_SAFE)
    try:
        return base64.b64decode(kept + "=" * (-len(kept) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(
            422, f"not base64: {error}", place=place, value=text[:40], next="encode the file's bytes as base64"
        ) from None


def holds_file(value: Any) -> bool:
    """Whether there are bytes in a value."""
    if isinstance(value, bytes):
        return True
    if isinstance(value, Mapping):
        return any(map(holds_file, value.values()))
    return isinstance(value, (list, tuple)) and any(map(holds_file, value))


def count_cells(value: Any, most: int) -> int:
    """Values in what JSON holds, at any depth; counting ends behind `most`."""
    left, count = [value], 0
    while left and count <= most:
        one = left.pop()
        count += 1
        if isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, list):
            left += one
    return count
