"""Pictures on a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ofasys.modality.modality import View
from ofasys.modality.shared import media
from ofasys.modality.shared.read_image import read_image


def show(values: Sequence[Any], view: View) -> str:
    """HTML of pictures, each at most `media.WIDE` pixels wide and high. Errors: DataError for what is none."""
    return "".join(media.thumbnail(read_image(value, view.root)) for value in values)
