"""Answers as JSON: texts, numbers and lists as they are; pictures, sounds and the like as files in base64."""

from __future__ import annotations

import base64
import math
import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ofasys.hub import Output
from ofasys.hub.output import jsonable, plain
from ofasys.modality import Modality, Registry


def values_of(output: Output, registry: Registry) -> dict[str, Any]:
    """Column -> value of an answer; of a number with a spread `COLUMN_spread` too."""
    slots = {slot.column: slot for slot in output.plan.answered}
    return {
        column: sent(value, registry.spec(slots[column].modality) if column in slots else None)
        for column, value in output.written().items()
    }


def sent(value: Any, spec: Modality | None) -> Any:
    """A value as JSON; one that JSON has no word for as {"type": media type, "base64": the file}."""
    if isinstance(value, (list, tuple)) and not hasattr(value, "to_dict"):
        return [sent(one, spec) for one in value]
    known = value is None or isinstance(value, (bool, int, float, str, Mapping))
    if not known and spec is not None and spec.save is not None and isinstance(jsonable(value), str):
        return _file(value, spec)
    return plain(value)


def number(value: float | None) -> float | None:
    """A number as JSON; None for what is not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def candidates(outputs: Sequence[Output], registry: Registry) -> list[dict[str, Any]]:
    """All answers to a row, the best first."""
    return [
        {"values": values_of(one, registry), "score": number(one.score), "probability": number(one.probability)}
        for one in outputs
    ]


def _file(value: Any, spec: Modality) -> dict[str, str]:
    assert spec.save is not None
    suffix = (*spec.save.suffixes, ".bin")[0]
    with TemporaryDirectory() as folder:
        path = Path(folder, f"value{suffix}")
        spec.save.resolve()(path, [value], None, [])
        data = path.read_bytes()
    kind = mimetypes.guess_type(f"value{suffix}")[0] or "application/octet-stream"
    return {"type": kind, "base64": base64.b64encode(data).decode()}
