"""A WebDataset tar: the members of a sample share a key, `0001.jpg 0001.txt 0001.json`, and are found by their
offsets.
"""

from __future__ import annotations

import io
import json
import tarfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ofasys.errors import DataError
from ofasys.task.source.row import Row, Rows, pick
from ofasys.task.source.watch import Watch
from ofasys.types import NamedBytes

KEY = "__key__"
MOST_EXTENSIONS = 64
TEXTS = ("txt", "text", "transcript")
NUMBERS = ("cls", "cls2", "class", "count", "index", "inx", "id")
JSON = ("json", "jsn")
_BLOCK = 512
_WHOLE = "a whole, uncompressed tar file; write or fetch it again"


class Tar(Rows):
    """An uncompressed tar of samples, read in place: a row is a seek and a read for each of its members.

    Columns: `__key__`; of each extension the member's value; of a member `.json` its fields too. `.txt` is a text (one
    line break at its end does not count), `.cls` a whole number where it is one, `.json` its value, `.npy` an array;
    all else is bytes that know the member's name. The key ends at the first dot of the name, so `0001.seg.png` is
    `seg.png` of `0001`.

    Kept in memory: the keys, and per sample and extension two numbers. A member that at least half of the samples have
    is expected of each; other members are None where they are not. Errors: DataError naming file and member when the
    file is torn, when a sample has two members of one extension, or a member is no plain file; of a row, when it lacks
    an expected member or one cannot be read.
    """

    watch: Watch

    def __init__(self, path: Path) -> None:
        self.path, self.root, self.watch = path, path.parent, Watch(path)
        keys: dict[str, int] = {}
        extensions: dict[str, int] = {}
        found = array("q")
        for member in self._watched():
            folder, slash, name = member.name.removeprefix("./").rpartition("/")
            key, _, extension = name.partition(".")
            if member.isdir() or not key or not extension:
                continue  # a folder, a hidden file, or one that stands beside the samples, such as a README
            if not member.isreg() or member.issparse():
                raise self._fault(f"member {member.name!r} is a link or no plain file", "members that hold their bytes")
            at = keys.setdefault(folder + slash + key, len(keys))
            kind = extensions.setdefault(extension.lower(), len(extensions))
            if len(extensions) > MOST_EXTENSIONS:
                raise self._fault(
                    f"its members have more than {MOST_EXTENSIONS} extensions, such as {extension!r} of "
                    f"{member.name!r}",
                    "names KEY.EXTENSION; the key of a sample ends at the first dot of the name",
                )
            found.extend((at, kind, member.offset_data, member.size))
        self.extensions = list(extensions)
        self._lay(list(keys), np.array(found, dtype=np.int64).reshape(-1, 4))

    def _lay(self, keys: list[str], found: np.ndarray) -> None:
        """keys: of the samples. found (members, 4): sample, extension, start, size."""
        written = [key.encode("utf8", "surrogateescape") for key in keys]
        self.keys = b"".join(written)  # one object: a forked worker that reads it copies no page of the parent's
        self.ends = np.cumsum([0, *map(len, written)], dtype=np.int64)
        self.places = np.full((len(keys), len(self.extensions), 2), -1, dtype=np.int64)  # start and size, -1: no member
        places = found[:, 0] * max(1, len(self.extensions)) + found[:, 1]
        _, first, count = np.unique(places, return_index=True, return_counts=True)
        if (count > 1).any():
            at, kind, _, _ = found[int(first[count > 1].min())]
            name = f"{keys[at]}.{self.extensions[kind]}"
            raise self._fault(f"two members are named {name!r}", "one member of each extension for a key")
        self.places[found[:, 0], found[:, 1]] = found[:, 2:]
        there = self.places[:, :, 0] >= 0
        self.expected = [bool(there[:, kind].sum() * 2 >= len(keys)) for kind in range(len(self.extensions))]

    def _watched(self) -> Iterator[tarfile.TarInfo]:
        with self.watch:
            yield from self._members()

    def _members(self) -> Iterator[tarfile.TarInfo]:
        """The members in order. Errors: DataError when the file is not whole."""
        last = ""
        try:
            with tarfile.open(self.watch.path, "r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # or it keeps them all
                    yield member
                    last = member.name
                self._check_end(tar.fileobj, tar.offset, last)
        except DataError:
            raise
        except (tarfile.TarError, ValueError, OverflowError, IndexError) as error:
            place = f"cut off or damaged at member {last!r}" if last else "not a tar file"
            raise self._fault(f"{place} ({error})", _WHOLE) from None

    def _check_end(self, file: Any, offset: int, last: str) -> None:
        """What follows the last member must be the end mark and nothing more: tarfile takes damage for the end."""
        after = f"after member {last!r}" if last else "at its start"
        file.seek(offset)
        block = file.read(_BLOCK)
        if len(block) < _BLOCK:
            raise self._fault(f"cut off {after}: the end mark is missing", _WHOLE)
        if block.strip(b"\0"):
            raise self._fault(f"damaged {after}: no header at byte {offset}", _WHOLE)
        while rest := file.read(2**20):
            if rest.strip(b"\0"):
                raise self._fault(
                    f"it goes on behind its end mark, {after}", "one tar file, not several laid end to end"
                )

    def __len__(self) -> int:
        return len(self.places)

    def _row(self, i: int) -> Row:
        row: Row = {KEY: self._key(i)}
        with open(self.watch.path, "rb") as file:  # a handle of its own for each row: workers and threads share none
            for kind, extension in enumerate(self.extensions):
                row[extension] = self._value(file, i, kind)
        fields = row.get("json")
        for name, value in fields.items() if isinstance(fields, dict) else ():
            own = row.get(name)
            if own is None:
                row[name] = value
            elif name not in (KEY, "json") and (isinstance(own, np.ndarray) or own != value):
                raise self._fault(
                    f"{f'{row[KEY]}.json'!r} has a field {name!r}, and there is a member of that name with another "
                    "value",
                    "a name of its own for each column",
                )
        return row

    def _value(self, file: BinaryIO, i: int, kind: int) -> Any:
        """The value of one member; None where the sample need not have it."""
        start, size = map(int, self.places[i, kind])
        name = f"{self._key(i)}.{self.extensions[kind]}"
        if start < 0:
            if not self.expected[kind]:
                return None
            usual = " ".join(
                f".{one}" for one, expected in zip(self.extensions, self.expected, strict=True) if expected
            )
            raise self._fault(f"the sample has no member {name!r}", f"the members that most samples have: {usual}")
        file.seek(start)
        data = file.read(size)
        if len(data) != size:
            raise self._fault(f"member {name!r} holds {len(data)} bytes of {size}", _WHOLE)
        return self._decoded(data, name)

    def _decoded(self, data: bytes, name: str) -> Any:
        kind = name.rpartition(".")[2]
        try:
            if kind in JSON:
                return json.loads(data, object_pairs_hook=_fields)
            if kind == "npy":
                return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
            if kind not in TEXTS and kind not in NUMBERS:
                return NamedBytes(data, name)
            text = data.decode("utf-8-sig")
            if kind in TEXTS:
                return text.removesuffix("\n").removesuffix("\r")
            text = text.strip()
            return int(text) if text.removeprefix("-").isdecimal() else text
        except (ValueError, RecursionError, EOFError) as error:
            expected = "JSON" if kind in JSON else "an array as numpy.save writes it" if kind == "npy" else "UTF-8 text"
            raise self._fault(f"member {name!r} cannot be read: {error}", expected) from None

    def _key(self, i: int) -> str:
        return self.keys[int(self.ends[i]) : int(self.ends[i + 1])].decode("utf8", "surrogateescape")

    def describe(self) -> str:
        """The file's name."""
        return self.path.name

    def column(self, name: str) -> list[Any] | None:
        """All values of a column, of the members that can be read; None where they are bytes or arrays."""
        if name == KEY:
            return [self._key(i) for i in range(len(self))]
        own = self.extensions.index(name) if name in self.extensions else None
        if own is not None and name.rpartition(".")[2] not in (*TEXTS, *NUMBERS, *JSON):
            return None
        with self.watch:
            return pick(name, self._readable_rows(name, own), self.path.name)

    def _readable_rows(self, name: str, own: int | None) -> Iterator[Row]:
        """Rows as far as a column needs them: of the extension `own`, or else a field of the `.json` member."""
        columns: Row = dict.fromkeys((KEY, *self.extensions))
        fields = self.extensions.index("json") if "json" in self.extensions else None
        with open(self.watch.path, "rb") as file:
            for i in range(len(self)):
                row = dict(columns)
                for kind in (own, fields):
                    if kind is not None and row.get(name) is None:
                        row |= self._readable(file, i, kind)
                yield row

    def _readable(self, file: BinaryIO, i: int, kind: int) -> Row:
        """The columns that one member gives; none where it cannot be read, which is said when the row itself is
        read.
        """
        try:
            value = self._value(file, i, kind)
        except DataError:
            return {}
        own = {self.extensions[kind]: value}
        return {**value, **own} if self.extensions[kind] == "json" and isinstance(value, dict) else own

    def _fault(self, what: str, expected: str) -> DataError:
        return DataError(f"{self.path.name}: {what}", expected=expected)


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of an object. Errors: ValueError for two of one name, the first of which JSON's own reader drops."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for at, (name, _) in enumerate(pairs) if name in dict(pairs[:at]))
        raise ValueError(f"two fields are named {twice!r}")
    return found
