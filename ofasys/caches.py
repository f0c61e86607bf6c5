"""The folder of the user in which programs keep what they can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(kind: str) -> Path:
    """Where this package keeps things of a kind: in the folder that XDG_CACHE_HOME names, else in `~/.cache`.

    Errors: RuntimeError for a user without a home.
    """
    given = os.environ.get("XDG_CACHE_HOME")
    folder = Path(given) if given and Path(given).is_absolute() else Path.home() / ".cache"
    return folder / "ofasys" / kind
