"""Parts that several specs name."""

from __future__ import annotations

from ofasys.modality.modality import Part

TOKENS = Part(
    "ofasys.modality.shared.tokens:TokenAdaptor",
    about="the shared embedding table, which is the output projection too",
    shared="tokens",
)
