"""The patch adaptor as a part: IMAGE and VIDEO name it, and their slots share its weights."""

from __future__ import annotations

from ofasys.modality.modality import Options, Part


def _cost(options: Options, width: int) -> tuple[int, int]:
    inside = 3 * options["patch"] ** 2
    return inside * width + width + 2 * width, 2 * inside * width


PATCH = Part(
    "ofasys.modality.shared.patch:PatchAdaptor",
    about="a linear map of each patch",
    family="image",
    keyed=("patch",),
    cost=_cost,
)


def undivided(size: int, patch: int) -> str | None:
    """Why pictures of `size` pixels do not fall into patches; None where they do."""
    if not size % patch:
        return None
    return f"size={size} is not a multiple of patch={patch}; say size={-(-size // patch) * patch}, or another patch"
