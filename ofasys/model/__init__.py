"""The universal model: embedding stream in, hidden stream out. It knows no modality, vocabulary, loss or optimizer.

`sizes` loads without torch; the model itself is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ofasys.model.sizes import SIZES, ModelConfig, flops, parameters

if TYPE_CHECKING:
    from ofasys.model.cache import Cache
    from ofasys.model.universal import UniversalModel

__all__ = ["SIZES", "Cache", "ModelConfig", "UniversalModel", "flops", "parameters"]


def __getattr__(name: str) -> Any:
    if name == "UniversalModel":
        from ofasys.model.universal import UniversalModel

        return UniversalModel
    if name == "Cache":
        from ofasys.model.cache import Cache

        return Cache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
