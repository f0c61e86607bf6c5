"""Tables that lie in files without a name and not in memory: the system takes their pages back when it needs room."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_BYTES = 2**16  # a smaller table costs less than its mapping


def mapped(table: pa.Table) -> pa.Table:
    """The same table, mapped from a file in the system's folder for temporary files, which goes with it.

    As it is where it is small, or cannot be written.
    """
    import pyarrow as pa

    if table.nbytes < LEAST_BYTES:
        return table
    try:
        with tempfile.TemporaryFile(prefix="ofasys-block-") as file:
            with pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)
            file.flush()
            data = np.memmap(file, dtype=np.uint8, mode="r")
        return pa.ipc.open_stream(pa.BufferReader(pa.py_buffer(data))).read_all()
    except (OSError, pa.ArrowException):  # a full disk, a type that is not written
        return table
