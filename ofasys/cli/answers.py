"""Files of answers: a record a row, as JSON lines, CSV or Parquet.

Records are written as they come, as JSON lines in `NAME.part`; at the end the part is made the file asked for, in one
move. What columns there are, and of what types, is known then, however many rows there are. A part that was left behind
is taken up where the same is asked again, and put aside where something else is.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ofasys.errors import ConfigError

KINDS = (".jsonl", ".csv", ".tsv", ".parquet")
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # what a file system without locks answers
EXACT = 2**53  # whole numbers up to here are floats too
_SPECIAL_IN_CSV = re.compile('[",\r\n]')  # Python before 3.11.9 leaves "\r" without quotes
_SPECIAL_IN_TSV = re.compile('^"|[\t\r\n]')  # a reader that knows no quotes, as ours, takes all other cells as they are
_CHUNK = 10_000  # records a row group of Parquet


class AnswerFile:
    """A file of records, dicts of plain values. Use as a context: without an error it is complete when that ends.

    With an error the part stays, whole lines each, and `part` says where. `.txt` takes `lines` instead of records.
    Within the context no other process writes the file. Errors: ConfigError where another does.

    asked: what the answers are to, in a few digits; None: a part is not taken up. by: rows answered at a time, of which
    a part holds whole numbers when it is taken up, so that each is answered beside the same others. decoding: in what
    tokens are found.
    """

    def __init__(self, path: Path, asked: str | None = None, by: int = 1, decoding: str = "") -> None:
        self.path, self.part = path, path.with_name(f"{path.name}.part")
        self.asked, self.by, self.about = asked, by, path.with_name(f"{path.name}.part.json")
        self.decoding = decoding
        self.columns: dict[str, set[str]] = {}  # column -> the kinds of its values
        self.ascii = True
        self.count = 0
        self.put_aside: Path | None = None  # where the answers to another question are, which the part held
        self.file: IO[str] | None = None
        self.lock: IO[bytes] | None = None

    def __enter__(self) -> AnswerFile:
        self.columns, self.ascii, self.count, self.put_aside = {}, True, 0, None
        self.lock = self._locked()
        try:
            if self.begun is not None:
                self._take_up()
            else:
                self._begin()
            self.file = self.part.open("a", buffering=1, encoding="utf8", newline="\n")
        except BaseException:
            self.lock.close()
            raise
        return self

    def _locked(self) -> IO[bytes]:
        """The part, held as long as this file is open."""
        while True:
            lock = self.part.open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    lock.close()
                    raise ConfigError(
                        f"{self.path} is being written by another command; wait for its end, or give another --out"
                    ) from None
            with suppress(OSError):
                if os.path.samestat(os.fstat(lock.fileno()), self.part.stat()):
                    return lock
            lock.close()  # its holder made it the file asked for in between

    def _begin(self) -> None:
        """An empty part; what another question left in it is put aside."""
        if self.part.stat().st_size:
            self.put_aside = self.part.with_name(f"{self.part.name}.before")
            with self.part.open("rb") as left, self.put_aside.open("wb") as kept:
                shutil.copyfileobj(left, kept)
            os.truncate(self.part, 0)
        self.about.unlink(missing_ok=True)
        if self.asked is not None:
            about = {"asked": self.asked, "decoding": self.decoding}
            self.about.write_text(json.dumps(about) + "\n", encoding="utf8")

    @property
    def begun(self) -> str | None:
        """In what the tokens of a part are found that will be taken up; None: there is none."""
        try:
            about = json.loads(self.about.read_text(encoding="utf8"))
            return str(about["decoding"]) if about["asked"] == self.asked and self.part.is_file() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _take_up(self) -> None:
        """Go on after the whole lines that are there; the last may have been cut off."""
        kept, whole = 0, [0]
        with self.part.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                kept += len(line)
                whole.append(kept)
        self.count = (len(whole) - 1) // self.by * self.by
        with self.part.open("rb+") as file:
            file.truncate(whole[self.count])
        if self.path.suffix != ".txt":
            with self.part.open(encoding="utf8", newline="\n") as lines:
                for text in lines:
                    self._note(json.loads(text), text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.file is not None
        assert self.lock is not None
        self.file.close()
        with self.lock:
            if kind is None:
                self._finish()
            elif not self.count:
                self.part.unlink(missing_ok=True)
                self.about.unlink(missing_ok=True)

    def _finish(self) -> None:
        """Make the part the file asked for."""
        if self.path.suffix in (".jsonl", ".txt"):
            os.replace(self.part, self.path)
            self.about.unlink(missing_ok=True)
            return
        aside = self.path.with_name(f".{self.path.name}.new")
        _WRITERS[self.path.suffix](self, aside)
        os.replace(aside, self.path)
        self.part.unlink()
        self.about.unlink(missing_ok=True)

    def line(self, text: str) -> None:
        """One line of a `.txt` file."""
        assert self.file is not None
        self.file.write(" ".join(text.splitlines()) + "\n")
        self.count += 1

    def add(self, record: Mapping[str, Any]) -> None:
        """One record; numbers that are not finite become null."""
        assert self.file is not None
        plain = {name: _finite(value) for name, value in record.items()}
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
        self.file.write(text.encode("utf8", "replace").decode("utf8") + "\n")
        self.count += 1
        self._note(plain, text)

    def _note(self, plain: Mapping[str, Any], text: str) -> None:
        """What there is to be known of a record, and of its line, for the columns of the whole."""
        self.ascii = self.ascii and text.isascii()
        for name, value in plain.items():
            kinds = self.columns.setdefault(name, set())
            if value is not None and value != []:
                kinds.add(_kind(value))

    def bad(self, column: str) -> int:
        """How many rows so far could not be answered: what is wrong is in this column, or their lines are empty."""
        if self.path.suffix != ".txt":
            return sum(record.get(column) is not None for record in self.records())
        with self.part.open(encoding="utf8", newline="\n") as lines:
            return sum(line == "\n" for line in lines)

    def records(self) -> Iterator[dict[str, Any]]:
        """The records of the part, again."""
        with self.part.open(encoding="utf8", newline="\n") as file:
            for line in file:
                yield json.loads(line)


def check_out(path: Path, kinds: Sequence[str], what: str) -> None:
    """Whether a file can be written there, before there is anything to write; its folder is made.

    Errors: ConfigError for another kind of file, a folder, or a place that may not be written.
    """
    if path.is_dir():
        raise ConfigError(f"--out {path} is a folder; give the name of a file in it, as {path / f'answers{kinds[0]}'}")
    if path.suffix not in kinds:
        raise ConfigError(f"{what} as {', '.join(kinds[:-1])} or {kinds[-1]}, not {path.name!r}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        with path.open("ab"):
            pass
        if new:
            path.unlink()
    except OSError as error:
        raise ConfigError(f"--out {path} cannot be written: {error.strerror or error}") from None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value


def _kind(value: Any) -> str:
    """Of what type a column with such values is."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if abs(value) <= EXACT else "int64" if -(2**63) <= value < 2**63 else "json"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        inner = {_kind(one) for one in value}
        return "numbers" if inner <= {"int", "float"} else "texts" if inner == {"text"} else "json"
    return (
        "shares" if value and all(isinstance(one, float) for one in value.values()) else "json"
    )  # label -> probability


def _text(value: Any) -> Any:
    """A cell: text and numbers as they are, truth as in JSON, what is nested as JSON."""
    if isinstance(value, (bool, list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return value


def _write_csv(file: AnswerFile, path: Path) -> None:
    # Spreadsheets take a file for UTF-8 only where it begins with the mark; one of plain ASCII needs none.
    with path.open("w", encoding="utf8" if file.ascii else "utf-8-sig", newline="") as made:
        between, special = ("\t", _SPECIAL_IN_TSV) if file.path.suffix == ".tsv" else (",", _SPECIAL_IN_CSV)

        def line(cells: Iterable[Any]) -> None:
            made.write(between.join(_cell_of_text(cell, special) for cell in cells) + "\n")

        line(file.columns)
        for record in file.records():
            line(_text(record.get(name)) for name in file.columns)


def _cell_of_text(value: Any, special: re.Pattern[str]) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if special.search(text) else text


def _write_parquet(file: AnswerFile, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types: dict[frozenset[str], Any] = {
        frozenset({"bool"}): pa.bool_(),
        frozenset({"int"}): pa.int64(),
        frozenset({"int64"}): pa.int64(),
        frozenset({"int", "int64"}): pa.int64(),
        frozenset({"float"}): pa.float64(),
        frozenset({"int", "float"}): pa.float64(),
        frozenset({"numbers"}): pa.list_(pa.float64()),
        frozenset({"texts"}): pa.list_(pa.string()),
        frozenset({"shares"}): pa.map_(pa.string(), pa.float64()),
    }
    chosen = {name: types.get(frozenset(kinds), pa.string()) for name, kinds in file.columns.items()}
    schema = pa.schema(list(chosen.items()))
    with pq.ParquetWriter(path, schema) as writer:
        for records in _chunks(file.records(), _CHUNK):
            columns = {name: [_cell(record.get(name), chosen[name], pa) for record in records] for name in chosen}
            writer.write_table(pa.table(columns, schema=schema))


def _cell(value: Any, kind: Any, pa: Any) -> Any:
    if value is None:
        return None
    if pa.types.is_string(kind):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if pa.types.is_map(kind):
        return list(value.items())
    return value


def _chunks(records: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    held: list[dict[str, Any]] = []
    for record in records:
        held.append(record)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held


_WRITERS: dict[str, Callable[[AnswerFile, Path], None]] = {
    ".csv": _write_csv,
    ".tsv": _write_csv,
    ".parquet": _write_parquet,
}
