"""What may follow the comma in a TEXT slot."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """Attributes of TEXT besides those every slot has."""

    mask_ratio: float = option(0.0, low=0, high=1, side="source", about="share of tokens hidden, in spans (BART)")
    noise_ratio: float = option(0.0, low=0, high=1, side="source", about="share of tokens replaced by random ones")
    uncased: bool = option(False, about="lower-case the text")
    regex: str = option("", side="target", about="a regular expression that an answer matches as a whole")
    json_schema: str = option("", side="target", about="a JSON schema that an answer is valid by")
    grammar: str = option("", side="target", about="a grammar in Lark's notation that an answer is a sentence of")
