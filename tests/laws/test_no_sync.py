"""Between two reports a training step asks the device for nothing: each such question makes it finish its queue.

Counted on a CPU, where a question costs nothing but is asked all the same.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from ofasys import GeneralistModel, Task, Trainer
from ofasys.testing.questions import questions
from ofasys.train import steps as room
from tests.laws.test_accumulate import CONFIG, LINES, ROWS


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What the steps of a run ask for, but for reading their rows."""
    found: Counter[str] = Counter()
    for name in ("backward", "descend"):
        step = getattr(room.Steps, name)

        def counted(*args: Any, _step: Any = step, **given: Any) -> Any:
            with questions(found):
                return _step(*args, **given)

        monkeypatch.setattr(room.Steps, name, counted)
    return found


OWN = LINES | {
    "contrast": "[IMAGE:img|TEXT:q] ->",
    "pictures": "[IMAGE:img,size=16,patch=8,adaptor=resnet] [NUMBER:n] -> [CATEGORY:kind] [CATEGORY:q,adaptor=head] "
    "[TEXT:b]",
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
