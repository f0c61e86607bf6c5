"""One folder per modality, the same pages in each. Reading this room's specs loads nothing heavy."""

from ofasys.modality.modality import (
    Adaptor,
    Concatenate,
    Context,
    Defaults,
    Modality,
    Options,
    Part,
    Preprocessor,
    Registry,
    View,
)
from ofasys.modality.registry import BUILT_IN, default_registry, lexicon
from ofasys.modality.shared.part import TOKENS

__all__ = [
    "BUILT_IN",
    "TOKENS",
    "Adaptor",
    "Concatenate",
    "Context",
    "Defaults",
    "Modality",
    "Options",
    "Part",
    "Preprocessor",
    "Registry",
    "View",
    "default_registry",
    "lexicon",
]
