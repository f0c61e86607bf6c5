"""The optimizers that a run can name: those of this package, and every installed plug-in's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import entry_points

from ofasys.packages import by_own_name, with_brought
from ofasys.train.optimizers.adafactor import ADAFACTOR
from ofasys.train.optimizers.adamw import ADAMW
from ofasys.train.optimizers.muon import MUON
from ofasys.train.optimizers.spec import OptimizerSpec

OPTIMIZERS: dict[str, OptimizerSpec] = {one.name: one for one in (ADAMW, ADAFACTOR, MUON)}
GROUP = "ofasys.optimizers"  # of entry points


@lru_cache(maxsize=1)
def known_optimizers() -> Mapping[str, OptimizerSpec]:
    """Name -> optimizer. Errors: ConfigError naming the plug-in that does not load, is none, or takes a name."""
    return with_brought(OPTIMIZERS, entry_points(group=GROUP), OptimizerSpec, "optimizer", by_own_name)
