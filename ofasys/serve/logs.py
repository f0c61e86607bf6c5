"""The log: a line of JSON each thing that happens. What strangers ask and get is not in it."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO


class Lines(logging.Formatter):
    """A record as one line of JSON, with its `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        known: dict[str, Any] = {"time": when, "level": record.levelname.lower(), "from": record.name}
        known["event"] = record.getMessage()
        known |= getattr(record, "fields", {})
        if record.exc_info:
            known["error"] = self.formatException(record.exc_info)
        return json.dumps(known, ensure_ascii=False, default=str)


def begin(stream: TextIO | None = None, level: int = logging.INFO) -> logging.Handler:
    """Write the log of the server, of uvicorn and of the package to `stream`, standard error if None."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines())
    for name in ("ofasys", "uvicorn"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(level)
    return handler
