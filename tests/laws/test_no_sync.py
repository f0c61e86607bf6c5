"""Between two reports a training step asks the device for nothing: each such question makes it finish its queue.

Counted on a CPU, where a question costs nothing but is asked all the same.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ofasys import GeneralistModel, Task, Trainer
from ofasys.train import steps as room
from tests.laws.test_accumulate import CONFIG, LINES, ROWS

# What brings a number to Python, or gives a tensor whose shape depends on numbers. `numpy` is not among them: of a
# tensor on a GPU it is an error.
ASKS = {"item", "tolist", "cpu", "__bool__", "__int__", "__float__", "__index__", "__len__ of values"}
SHAPED = {"aten::_local_scalar_dense", "aten::nonzero", "aten::_unique2", "aten::unique_dim", "aten::bincount"}
SHAPED |= {"aten::masked_select", "aten::equal", "aten::is_nonzero", "aten::unique_consecutive"}


class Functions(TorchFunctionMode):
    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name in ASKS:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


class Operations(TorchDispatchMode):
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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What the steps of a run ask for, but for reading their rows."""
    found: Counter[str] = Counter()
    for name in ("backward", "descend"):
        step = getattr(room.Steps, name)

        def counted(*args: Any, _step: Any = step, **given: Any) -> Any:
            with Functions(found), Operations(found):
                return _step(*args, **given)

        monkeypatch.setattr(room.Steps, name, counted)
    return found


OWN = LINES | {
    "contrast": "[IMAGE:img|TEXT:q] ->",
    "pictures": "[IMAGE:img,size=16,patch=8,adaptor=resnet] [NUMBER:n] -> [CATEGORY:kind] [CATEGORY:q,adaptor=head] [TEXT:b]",
    "smoothed": "[TEXT:q] -> [TEXT:a]",
    "negative": "[TEXT:q] -> [MOTION:m,fps=10,frames=12,drop=0.5]",
}


@pytest.mark.parametrize("name", OWN)
def test_a_step_asks_for_nothing(name: str, asked: Counter[str]) -> None:
    smoothing = 0.1 if name == "smoothed" else 0.0
    task = Task("t", OWN[name], train=ROWS, micro_batch_size=2, smoothing=smoothing)
    trainer = Trainer(max_steps=3, accumulate=2, log_every=100, live=False, precision="float32")
    trainer.fit(model=GeneralistModel(config=CONFIG, text_pieces=300), tasks=task)
    assert not asked
    assert np.isfinite(trainer.history[0]["loss"])


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "float16"},
        {"recompute": True},
        {"groups": [{"match": "engine.*", "lora": 2, "dora": True}, {"match": "*.bias", "freeze": 1}]},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_however_it_is_computed(settings: dict[str, Any], asked: Counter[str]) -> None:
    task = Task("t", OWN["pictures"], train=ROWS, micro_batch_size=2)
    trainer = Trainer(**({"max_steps": 3, "log_every": 100, "live": False, "precision": "float32"} | settings))
    trainer.fit(model=GeneralistModel(config=CONFIG, text_pieces=300), tasks=task)
    assert not asked


def test_what_is_asked_is_counted(asked: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    forward = GeneralistModel.forward

    def asking(self: GeneralistModel, *args: Any) -> Any:
        loss = forward(self, *args)
        float(loss.total.detach())
        bool(torch.isfinite(loss.sums).all())
        loss.sums[loss.sums > 0].tolist()
        return loss

    monkeypatch.setattr(GeneralistModel, "forward", asking)
    task = Task("t", LINES["cross_entropy"], train=ROWS, micro_batch_size=4)
    Trainer(max_steps=1, live=False).fit(model=GeneralistModel(config=CONFIG, text_pieces=300), tasks=task)
    assert {"__float__", "__bool__", "tolist", "aten::index"} <= set(asked)
