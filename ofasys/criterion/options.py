"""What may follow the comma in a slot with one of these criteria; the others' options lie beside them."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions:
    """Attributes of a source slot with criterion=classify."""

    classify_target: str | None = option(None, about="the column of the label it learns")


@dataclass(frozen=True, kw_only=True)
class RewardOptions:
    """Attributes of a target slot with criterion=reward."""

    reward: str = option("rouge_l", about="the metric that scores an answer, by name")
