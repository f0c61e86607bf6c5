"""The product of attention for streams that lie end to end: only it needs a rectangle, and the library's own computes
it there. All other layers of the library see no padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ofasys.engine.huggingface.places import Places, here
from ofasys.model.rectangle import filled, picked

if TYPE_CHECKING:
    from typing import Annotated as Float

    from transformers import PreTrainedModel

NAME = "ofasys_sdpa"


def use(model: PreTrainedModel) -> None:
    """Let all stacks of a model of the library compute their attention here."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    for module in model.modules():
        if getattr(module, "config", None) is not None:
            module.config._attn_implementation = NAME  # type: ignore[union-attr]


def attend(
    module: nn.Module,
    query: Float[Tensor, "A H N K"],
    key: Float[Tensor, "B G M K"],
    value: Float[Tensor, "B G M K"],
    attention_mask: Float[Tensor, "R X m L"] | None,
    position_bias: Float[Tensor, "Y H n L"] | None = None,
    **settings: Any,
) -> tuple[Float[Tensor, "A N H K"], None]:
    """The library's "sdpa", of positions that lie in rows or, A = 1, end to end. Keys of a source always lie in rows.

    A bias of positions is added to a mask once for all layers, not in each.
    """
    places = here()
    if position_bias is not None and attention_mask is not None:
        attention_mask, position_bias = places.together(position_bias, attention_mask), None
    rows: Any = ALL_ATTENTION_FUNCTIONS["sdpa"]
    if places.computed is None:
        made: Tensor = rows(module, query, key, value, attention_mask, position_bias=position_bias, **settings)[0]
        return made, None
    own = len(key) == 1  # what is laid end to end has two rows or more
    query = in_rows(query, places)
    key, value = (in_rows(key, places), in_rows(value, places)) if own else (key, value)
    made = rows(module, query, key, value, attention_mask, position_bias=position_bias, **settings)[0]
    return picked(made.flatten(2).flatten(0, 1), places.computed).unflatten(1, made.shape[2:])[None], None


def in_rows(flat: Float[Tensor, "1 H N K"], places: Places) -> Float[Tensor, "R H n K"]:
    """Positions that lie end to end as rows, zeros where nothing is."""
    assert places.computed is not None
    R, n = places.queries.shape
    each = flat[0].transpose(0, 1)
    return filled(each.flatten(1), places.computed, R * n).view(R, n, *each.shape[1:]).transpose(1, 2)
