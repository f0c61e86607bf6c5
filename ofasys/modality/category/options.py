"""What may follow the comma in a CATEGORY slot."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class CategoryOptions:
    """Attributes of CATEGORY besides those every slot has."""

    uncased: bool = option(False, about="labels are compared and answered in lower case")
