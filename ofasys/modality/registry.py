"""The modalities of this package by plain import, and others' through the entry point group `ofasys.modality`."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from ofasys.criterion import Criterion
from ofasys.engine.spec import EngineSpec
from ofasys.errors import ConfigError
from ofasys.generator import Generator
from ofasys.language import Lexicon, Pattern
from ofasys.modality.audio import AUDIO
from ofasys.modality.box import BOX
from ofasys.modality.category import CATEGORY
from ofasys.modality.image import IMAGE
from ofasys.modality.modality import Modality, Registry
from ofasys.modality.motion import MOTION
from ofasys.modality.number import NUMBER
from ofasys.modality.phone import PHONE
from ofasys.modality.struct import STRUCT
from ofasys.modality.text import TEXT
from ofasys.modality.video import VIDEO

GROUPS: dict[str, Any] = {
    "ofasys.generators": Generator,
    "ofasys.criteria": Criterion,
    "ofasys.engines": EngineSpec,
    "ofasys.patterns": Pattern,
    "ofasys.modality": Modality,
}
BUILT_IN = Registry((TEXT, IMAGE, BOX, CATEGORY, PHONE, STRUCT, AUDIO, VIDEO, MOTION, NUMBER))


@lru_cache(maxsize=1)
def default_registry() -> Registry:
    """The built-in modalities, criteria, generators and engines, and every installed plug-in's.

    Errors: ConfigError naming the plug-in that fails.
    """
    registry = BUILT_IN
    for group, kind in GROUPS.items():
        for entry in entry_points(group=group):
            try:
                found = entry.load()
            except Exception as error:
                text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise ConfigError(
                    f"plug-in {entry.name!r} ({entry.value}) does not load: {text}; mend it, or uninstall its package"
                ) from error
            if not isinstance(found, kind):
                raise ConfigError(
                    f"plug-in {entry.name!r} ({entry.value}) is a {type(found).__name__}, not a {kind.__name__}"
                )
            registry = registry.with_(found)
    return registry


@lru_cache(maxsize=16)
def lexicon(registry: Registry | None = None) -> Lexicon:
    """The words of these modalities (default: all that are installed), for the language."""
    known = registry or default_registry()
    return Lexicon([known.word(modality) for modality in known.modalities], known.patterns)
