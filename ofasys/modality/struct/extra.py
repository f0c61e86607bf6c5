"""Libraries that only some tables need, loaded when asked for."""

from __future__ import annotations

from typing import Any

from ofasys.errors import ConfigError


def pandas() -> Any:
    """The module pandas. Errors: ConfigError with the extra to install."""
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise ConfigError('a pandas.DataFrame needs pandas: pip install "ofasys[struct]"') from error
    return pandas
