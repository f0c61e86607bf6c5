"""The processor of a front, made when first used: it is sent to data workers as its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ofasys.engine.huggingface.folder import library
from ofasys.errors import ConfigError
from ofasys.modality.shared.front_family import Processor as Record
from ofasys.packages import loaded

_MADE = ("pixel_values", "input_features", "input_values")  # what the library's processors call it


class Processor:
    """A picture or samples -> what the encoder reads (1, ...) float32."""

    def __init__(self, record: Record, settings: Mapping[str, Any]) -> None:
        self.record, self.settings = record, dict(settings)
        self.made: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "made": None}

    def __call__(self, value: Any, **more: Any) -> np.ndarray:
        """What the library's own makes of a value."""
        if self.made is None:
            self.made = self._make()
        found = self.made(value, return_tensors="np", **more)
        name = next(name for name in _MADE if name in found)
        return np.asarray(found[name], dtype=np.float32)

    def _make(self) -> Any:
        """Errors: ConfigError for settings that the library does not take."""
        library()
        kind = loaded("a front's processor", "load", self.record.load)
        try:
            return kind.from_dict(self.settings)
        except Exception as error:  # the library raises nothing more precise
            raise ConfigError(
                f"preprocessor_config.json of a front is not read by transformers ({error}); take a whole copy"
            ) from error
