"""Any value that a row may hold as bytes, and back: what a column of Arrow of one kind cannot keep as it is.

JSON, and behind it the bytes of arrays and files. What JSON has no word for is a dict that names its kind under MARK.
Reading runs no code.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from ofasys.task.source.value import Numbers
from ofasys.types import NamedBytes

MARK = "\0"
_HEAD = 8  # bytes that say how long the JSON is
_LARGEST = 63  # bits of a whole number that JSON writes in digits
_SIMPLE = frozenset((str, float, bool, type(None)))
_TEXTS: dict[type, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
    datetime.datetime: (datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    datetime.date: (datetime.date.isoformat, datetime.date.fromisoformat),
    datetime.time: (datetime.time.isoformat, datetime.time.fromisoformat),
    Decimal: (str, Decimal),
    UUID: (str, UUID),
    int: (hex, lambda text: int(text, 16)),
    complex: (repr, complex),
}
_KINDS = {kind.__name__: kind for kind in _TEXTS}


def write(value: Any) -> tuple[bytes, bool]:
    """The value as bytes, and whether it holds arrays or bytes of its own. Errors: TypeError for what cannot be
    written.
    """
    parts: list[bytes] = []
    tree = json.dumps(_Writer(parts).tree(value)).encode()
    return b"".join((len(tree).to_bytes(_HEAD, "little"), tree, *parts)), bool(parts)


def read(data: bytes) -> Any:
    """The value that was written."""
    start = _HEAD + int.from_bytes(data[:_HEAD], "little")
    return _Reader(memoryview(data)[start:]).value(json.loads(data[_HEAD:start]))


class _Writer:
    """parts: bytes that stand behind the JSON, in order; filled here."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts, self.end = parts, 0

    def tree(self, value: Any) -> Any:
        kind = type(value)
        if kind in _SIMPLE or (kind is int and value.bit_length() <= _LARGEST):
            return value
        if kind is list:
            return value if _SIMPLE.issuperset(map(type, value)) else [self.tree(one) for one in value]
        if kind is dict and all(type(name) is str for name in value) and MARK not in value:
            return {name: self.tree(one) for name, one in value.items()}
        if kind is dict:
            return {MARK: "dict", "of": [[self.tree(name), self.tree(one)] for name, one in value.items()]}
        if kind is tuple:
            return {MARK: "tuple", "of": [self.tree(one) for one in value]}
        if kind in _TEXTS:
            return {MARK: kind.__name__, "text": _TEXTS[kind][0](value)}
        if kind is datetime.timedelta:
            return {MARK: "timedelta", "of": [value.days, value.seconds, value.microseconds]}
        if isinstance(value, Path):
            return {MARK: "path", "text": os.fspath(value)}
        if kind is NamedBytes:
            return {MARK: "named", "at": self.placed(value), "text": value.path}
        if kind is bytes or kind is bytearray:
            return {MARK: kind.__name__, "at": self.placed(bytes(value))}
        if kind is Numbers:
            return {MARK: "numbers", "dtype": value.dtype.str, "of": self.tree(list(value))}
        if isinstance(value, np.generic) or kind is np.ndarray:
            return self.array(kind, np.asarray(value))
        if kind.__name__ == "Tensor" and kind.__module__ == "torch":
            return self.tensor(value)
        raise TypeError(f"a {kind.__name__} has no written form")

    def placed(self, data: bytes) -> list[int]:
        self.parts.append(data)
        self.end += len(data)
        return [self.end - len(data), self.end]

    def array(self, kind: type, value: np.ndarray) -> dict[str, Any]:
        if value.dtype.kind in "OV":
            raise TypeError(f"an array of {value.dtype} has no written form")
        name = "array" if kind is np.ndarray else "scalar"
        return {MARK: name, "dtype": value.dtype.str, "shape": value.shape, "at": self.placed(value.tobytes())}

    def tensor(self, value: Any) -> dict[str, Any]:
        import torch

        flat = value.detach().cpu().contiguous().flatten()
        data = flat.view(torch.uint8).numpy().tobytes()
        kind = str(value.dtype).removeprefix("torch.")
        return {MARK: "tensor", "dtype": kind, "shape": list(value.shape), "at": self.placed(data)}


class _Reader:
    def __init__(self, parts: memoryview) -> None:
        self.parts = parts

    def value(self, tree: Any) -> Any:
        if type(tree) is list:
            return [self.value(one) for one in tree] if any(type(one) in (list, dict) for one in tree) else tree
        if type(tree) is not dict:
            return tree
        return self.marked(tree) if MARK in tree else {name: self.value(one) for name, one in tree.items()}

    def marked(self, tree: Mapping[str, Any]) -> Any:
        kind = tree[MARK]
        if kind in _KINDS:
            return _TEXTS[_KINDS[kind]][1](tree["text"])
        if kind == "dict":
            return {self.value(name): self.value(one) for name, one in tree["of"]}
        if kind == "tuple":
            return tuple(map(self.value, tree["of"]))
        if kind == "timedelta":
            return datetime.timedelta(*tree["of"])
        if kind == "numbers":
            return Numbers(self.value(tree["of"]), tree["dtype"])
        if kind == "path":
            return Path(tree["text"])
        data = bytes(self.parts[slice(*tree["at"])])
        if kind == "named":
            return NamedBytes(data, tree["text"])
        if kind in ("bytes", "bytearray"):
            return data if kind == "bytes" else bytearray(data)
        if kind == "tensor":
            return _tensor(data, tree)
        array = np.frombuffer(data, dtype=np.dtype(tree["dtype"])).reshape(tree["shape"]).copy()
        return array[()] if kind == "scalar" else array


def _tensor(data: bytes, tree: Mapping[str, Any]) -> Any:
    import torch

    flat = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
    return flat.view(getattr(torch, tree["dtype"])).reshape(tree["shape"])
