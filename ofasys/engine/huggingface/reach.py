"""The way to the Hugging Face hub: its library, and the address it is asked at."""

from __future__ import annotations

import os
from typing import Any

from ofasys.errors import ConfigError


def hub_library() -> Any:
    """The module `huggingface_hub`. Errors: ConfigError where it is not installed.

    With an address of its own it still asks huggingface.co first who may be asking (huggingface_hub 2.4.0), so what it
    tells of itself is turned off where another hub is meant.
    """
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError as error:
        raise ConfigError(
            "a name of the Hugging Face hub needs the library huggingface_hub; pip install 'ofasys[hub]', or give a "
            "folder"
        ) from error
    if endpoint() not in (None, huggingface_hub.constants.ENDPOINT):
        huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    return huggingface_hub


def endpoint() -> str | None:
    """The address of the hub, as HF_ENDPOINT is now: its library knows only what that was when it was imported."""
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None
