"""What code asks of its device: each such question makes the device finish all that is queued first.

Counted on a CPU, where a question costs nothing but is asked all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# What brings a number to Python, or gives a tensor whose shape depends on numbers. `numpy` is not among them: of a
# tensor on a GPU it is an error.
ASKS = {"item", "tolist", "cpu", "__bool__", "__int__", "__float__", "__index__", "__len__ of values"}
SHAPED = {"aten::_local_scalar_dense", "aten::nonzero", "aten::_unique2", "aten::unique_dim", "aten::bincount"}
SHAPED |= {"aten::masked_select", "aten::equal", "aten::is_nonzero", "aten::unique_consecutive"}


@contextmanager
def questions(found: Counter[str] | None = None) -> Iterator[Counter[str]]:
    """Counts within it what is asked: name of the function or operation -> how often. found: what to add to."""
    found = Counter() if found is None else found
    with _Functions(found), _Operations(found):
        yield found


class _Functions(TorchFunctionMode):
    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name in ASKS:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name
        masks = (
            [index for index in args[1] if index is not None]
            if name.startswith("aten::index") and len(args) > 1 and isinstance(args[1], (list, tuple))
            else []
        )
        unsized = name == "aten::repeat_interleave" and not (kwargs or {}).get("output_size")
        if name in SHAPED or unsized or any(getattr(mask, "dtype", None) == torch.bool for mask in masks):
            self.found[name] += 1
        return function(*args, **(kwargs or {}))
