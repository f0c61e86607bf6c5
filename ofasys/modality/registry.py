"""The modalities of this package by plain import, and others' through the entry point group `ofasys.modality`."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from ofasys.criterion import Criterion
from ofasys.engine.spec import EngineSpec
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
from ofasys.packages import brought

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
        for _, found in brought(entry_points(group=group), kind, kind.__name__):
            registry = registry.with_(found)
    return registry


@lru_cache(maxsize=16)
def lexicon(registry: Registry | None = None) -> Lexicon:
    """The words of these modalities (default: all that are installed), for the language."""
    known = registry or default_registry()
    return Lexicon([known.word(modality) for modality in known.modalities], known.patterns)
