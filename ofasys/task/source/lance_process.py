"""The process that reads a Lance data set: requests come in on standard input, answers go out on standard output.

It is run as a file of its own, with no more than lance and pyarrow. It ends where standard input does: with the process
that asks.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

LENGTH_BYTES = 8  # of the number before an answer that says how long it is
TABLE, ERROR = b"t", b"e"  # the first byte of an answer


class Reader:
    """One version of a data set. version: its number; 0 means the latest."""

    def __init__(self, uri: str, version: int) -> None:
        import lance

        self.data = lance.dataset(uri, version=version or None)
        self.blobs = [field.name for field in self.data.schema if is_blob(field)]

    def about(self) -> dict[str, Any]:
        """Its version, its rows, and the files they lie in, which Lance never changes."""
        parts = self.data.get_fragments()
        files = [[[file.path for file in part.data_files()], str(part.deletion_file())] for part in parts]
        return {"version": self.data.version, "rows": self.data.count_rows(), "files": files}

    def rows(self, numbers: Sequence[int], names: Sequence[str] | None = None) -> Any:
        """A table of some rows. names: the columns; None: all."""
        wanted = self.data.schema.names if names is None else list(names)
        table = self.data.take(list(numbers), [name for name in wanted if name not in self.blobs])
        for name in wanted:
            if name in self.blobs:
                table = table.append_column(name, [_blobs(self.data, name, numbers)])
        return table

    def span(self, start: int, end: int, names: Sequence[str]) -> Any:
        """A table of the rows from one to another; none of the columns is a blob."""
        return self.data.to_table(columns=list(names), offset=start, limit=end - start, scan_in_order=True)


def is_blob(field: Any) -> bool:
    """Whether Lance keeps the bytes of a column apart, and gives in its place where they lie."""
    blob = getattr(field.type, "extension_name", "") == "lance.blob.v2"
    return blob or b"lance-encoding:blob" in (field.metadata or {})


def _blobs(data: Any, name: str, numbers: Sequence[int]) -> Any:
    import pyarrow as pa

    return pa.array([bytes_ for _, bytes_ in data.read_blobs(name, indices=list(numbers))], pa.large_binary())


def _packed(table: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _answer(reader: Reader, asked: dict[str, Any]) -> Any:
    """The table of Arrow that is sent for a request."""
    if asked["what"] == "about":
        return reader.data.schema.with_metadata({"about": json.dumps(reader.about())}).empty_table()
    if asked["what"] == "rows":
        return reader.rows(asked["rows"], asked.get("names"))
    return reader.span(asked["start"], asked["end"], asked["names"])


def serve(uri: str, version: int, requests: BinaryIO, out: BinaryIO) -> None:
    """Answer each line of `requests`, a JSON object, until there is none."""
    reader = None
    for line in requests:
        try:
            reader = reader or Reader(uri, version)
            kind, data = TABLE, _packed(_answer(reader, json.loads(line)))
        except Exception as error:  # lance raises many kinds
            kind, data = ERROR, f"{type(error).__name__}: {error}".encode()
        out.write(len(data).to_bytes(LENGTH_BYTES, "little") + kind + data)
        out.flush()


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    serve(sys.argv[1], int(sys.argv[2]), sys.stdin.buffer, answers)
