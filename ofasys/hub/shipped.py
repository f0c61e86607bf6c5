"""Models that come with the package, each asked for by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofasys.hub.store import MANIFEST

SHIPPED = Path(__file__).parent.parent / "shipped"


def shipped(given: Any) -> Path | None:
    """The folder of the model of this name; None where there is none, or a file or folder here has that name."""
    name = str(given) if isinstance(given, str | Path) else ""
    if not name.isidentifier() or Path(name).exists():
        return None
    place = SHIPPED / name
    return place if (place / MANIFEST).is_file() else None


def named() -> list[str]:
    """The names there are."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{MANIFEST}"))
