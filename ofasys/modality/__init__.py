"""One folder per modality, the same pages in each. Reading this room's faces loads nothing heavy."""

from ofasys.modality.modality import Adaptor, Concatenate, Context, Defaults, Modality, Part, Preprocessor, Registry
from ofasys.modality.registry import BUILT_IN, default_registry, lexicon

__all__ = [
    "BUILT_IN",
    "Adaptor",
    "Concatenate",
    "Context",
    "Defaults",
    "Modality",
    "Part",
    "Preprocessor",
    "Registry",
    "default_registry",
    "lexicon",
]
