"""A micro-batch that the memory does not hold is halved, told, and remembered; what cannot be halved is an error."""

import json

import pytest
import torch

from ofasys import ConfigError, GeneralistModel, Trainer
from ofasys.train.memory import is_out_of_memory
from tests.train import tiny


def fit(out=None, tasks=None, **changes):
    settings = {"max_steps": 6, "warmup": 1, "log_every": 2, "lr": 5e-3, "live": False} | changes
    model = tiny.model(dropout=0.0)
    trainer = Trainer(out=out, **settings)
    trainer.fit(model=model, tasks=tasks or tiny.label_task())
    return tiny.weights(model), trainer.history


@pytest.fixture
def memory(monkeypatch):
    """memory(rows): from then on batches of more rows do not fit. Gives the sizes that were tried in training."""
    forward = GeneralistModel.forward

    def of(rows, error=torch.OutOfMemoryError):
        tried = []

        def limited(self, program, batch, *rest):
            if self.training:
                tried.append(batch.size)
                if batch.size > rows:
                    raise error("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory")
            return forward(self, program, batch, *rest)

        monkeypatch.setattr(GeneralistModel, "forward", limited)
        return tried

    return of


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_it_is_halved_once_and_told(memory, caplog, error):
    whole, history = fit(lr=1e-3)
    tried = memory(2, error)
    weights, again = fit(lr=1e-3)
    assert tried == [4] + [2, 2] * 6
    assert "task 'label': a micro-batch of 4 rows does not fit the memory at step 1; from now on it is taken in 2" in (
        caplog.text
    )
    assert all(torch.allclose(weights[name], whole[name], atol=1e-3) for name in whole)
    for one, other in zip(history, again, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert one["samples"] == other["samples"]


def test_a_run_that_goes_on_takes_the_pieces_at_once(memory, tmp_path):
    memory(2)
    whole = fit(tmp_path / "whole", decay="constant")[0]
    fit(tmp_path / "cut", max_steps=3, decay="constant", log_every=1)
    state = json.loads((tmp_path / "cut/checkpoints/step-00000003/state.json").read_text())
    assert state["pieces"] == {"label": 2}
    tried = memory(2)
    assert tiny.same_weights(fit(tmp_path / "cut", decay="constant")[0], whole)
    assert tried == [2, 2] * 3


def test_bad_rows_are_in_no_piece(memory):
    def tasks():
        return [tiny.label_task(train=tiny.label_rows(8, bad=(1, 2, 5)), bad_limit=5, buckets=False, shuffle=False)]

    whole = fit(tasks=tasks(), max_steps=2)[1]
    tried = memory(1)
    pieces = fit(tasks=tasks(), max_steps=2)[1]
    assert tried == [2, 1, 1, 2, 1, 1, 1]
    assert [line["loss"] for line in pieces] == [pytest.approx(line["loss"], rel=1e-3) for line in whole]


@pytest.mark.parametrize(
    ("task", "rows", "said"),
    [
        (lambda: tiny.label_task(), 0, "not even row by row"),
        (
            lambda: tiny.label_task(instruction="[TEXT:text|TEXT:label] ->", metrics=[]),
            2,
            "its views are told from each other; give the task a smaller micro_batch_size",
        ),
    ],
)
def test_what_cannot_be_halved(memory, task, rows, said):
    memory(rows)
    with pytest.raises(ConfigError, match=f"task 'label': a micro-batch of 4 rows does not fit.*{said}"):
        fit(tasks=task())


def test_other_errors_are_what_they_are(monkeypatch):
    def broken(self, *given):
        raise RuntimeError("shapes do not fit")

    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    monkeypatch.setattr(GeneralistModel, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        fit()
