"""The optimizers that a run can name: those of this package, and every installed plug-in's."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import entry_points

from ofasys.errors import ConfigError
from ofasys.train.optimizers.adafactor import ADAFACTOR
from ofasys.train.optimizers.adamw import ADAMW
from ofasys.train.optimizers.muon import MUON
from ofasys.train.optimizers.spec import OptimizerSpec

OPTIMIZERS: dict[str, OptimizerSpec] = {one.name: one for one in (ADAMW, ADAFACTOR, MUON)}
GROUP = "ofasys.optimizers"  # of entry points


@lru_cache(maxsize=1)
def known_optimizers() -> dict[str, OptimizerSpec]:
    """Name -> optimizer. Errors: ConfigError naming the plug-in that does not load, is none, or takes a name."""
    found = dict(OPTIMIZERS)
    for entry in entry_points(group=GROUP):
        try:
            spec = entry.load()
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ConfigError(
                f"plug-in {entry.name!r} ({entry.value}) does not load: {text}; mend it, or uninstall its package"
            ) from error
        if not isinstance(spec, OptimizerSpec):
            raise ConfigError(
                f"plug-in {entry.name!r} ({entry.value}) is a {type(spec).__name__}, not an OptimizerSpec"
            )
        if spec.name in found:
            raise ConfigError(
                f"plug-in {entry.name!r} ({entry.value}) is an optimizer {spec.name!r}, which there is already; give "
                "it another name"
            )
        found[spec.name] = spec
    return found
