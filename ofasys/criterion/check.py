"""What a criterion gives, looked at where it comes in: what is not as promised is said in words.

Shapes and kinds alone, which ask no device for anything; the rest is for the contract kit to see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ofasys.criterion.criterion import Criterion
from ofasys.errors import PluginError
from ofasys.packages import told
from ofasys.types import LossOutput


def check_tokens(record: Criterion, found: Any, n: int) -> tuple[Tensor, Tensor]:
    """(the sum (), the loss of each token (n,), detached) as a criterion over tokens gave them.

    Errors: PluginError for anything else.
    """
    if isinstance(found, tuple) and len(found) >= 2 and all(isinstance(one, Tensor) for one in found[:2]):
        loss, each = found[:2]
        if _is_number(loss) and each.shape == (n,):
            return loss, each.detach()
    given = ", ".join(map(_kind, found)) if isinstance(found, tuple) else _kind(found)
    raise _broken(
        record, f"gave {given} for {n} tokens", f"the weighted sum () with its gradient, the loss of each token ({n},)"
    )


def check_output(record: Criterion, found: Any) -> LossOutput:
    """What the module of a criterion gave. Errors: PluginError for what is no LossOutput of single numbers by name."""
    if not isinstance(found, LossOutput):
        raise _broken(record, f"gave {_kind(found)}", "a LossOutput(sum, figures, left_out)")
    if not _is_number(found.sum):
        raise _broken(record, f"gave sum={_kind(found.sum)}", "the loss summed over its units, a float tensor ()")
    for what, numbers in (("figures", found.figures), ("left_out", found.left_out)):
        if not isinstance(numbers, Mapping) or not all(isinstance(name, str) for name in numbers):
            raise _broken(record, f"gave {what}={_kind(numbers)}", f"{what} by name, a dict")
        for name, one in numbers.items():
            if not isinstance(one, Tensor) or one.ndim or one.requires_grad:
                kind = _kind(one) + (" with a gradient" if isinstance(one, Tensor) and one.requires_grad else "")
                raise _broken(record, f"gave {what}[{name!r}]={kind}", "a detached tensor () of each name")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point()


def _broken(record: Criterion, what: str, expected: str) -> PluginError:
    return PluginError(f"{told('criterion', record.name, record.load)} {what}; give {expected}")


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
