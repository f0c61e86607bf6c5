"""An update whose loss or gradients are not finite is left out, named, and not without end."""

import json
from dataclasses import replace

import pytest

from ofasys import ConfigError, Trainer
from ofasys.train import steps as room
from tests.train import tiny


def fit(out=None, tasks=None, **changes):
    settings = {"max_steps": 8, "warmup": 1, "log_every": 3, "lr": 5e-3, "live": False, "save_every": 2 if out else 0}
    model = tiny.model()
    trainer = Trainer(out=out, **(settings | changes))
    trainer.fit(model=model, tasks=tasks or [tiny.label_task(), tiny.fill_task()])
    return tiny.weights(model)


def broken_at(monkeypatch, *at, loss=False):
    """The gradient, or the loss, of the first micro-batch of these steps is none."""
    backward = room.Steps.backward

    def broken(run, part, *rest):
        hit = part.delivery.ticket.step + 1 in at
        with pytest.MonkeyPatch.context() as patched:
            if hit and loss:
                forward = run.model.forward
                patched.setattr(run.model, "forward", lambda *given: nan(forward(*given)))
            learned = backward(run, part, *rest)
        if hit and not loss:
            run.model.table.grad[5, 5] = float("nan")
        return learned

    def nan(found):
        return replace(found, total=found.total * float("nan"))

    monkeypatch.setattr(room.Steps, "backward", broken)


@pytest.mark.parametrize("loss", [False, True])
def test_an_update_that_is_not_finite_is_as_if_it_were_not(tmp_path, monkeypatch, caplog, loss):
    with monkeypatch.context() as patched:
        descend = room.Steps.descend
        patched.setattr(room.Steps, "descend", lambda self, step: None if step + 1 in (4, 5) else descend(self, step))
        without = fit()
    plain = fit()
    broken_at(monkeypatch, 4, 5, loss=loss)
    weights = fit(tmp_path)
    assert tiny.same_weights(weights, without)
    assert not tiny.same_weights(weights, plain)
    told = [line for line in tiny.lines(tmp_path / "metrics.jsonl") if line["kind"] == "skipped"]
    assert [(line["step"], line["task"]) for line in told] == [(4, "fill"), (5, "label")]
    assert all(line["gradient"] is None and len(line["rows"]) in (3, 4) for line in told)
    assert [line["loss"] is None for line in told] == [loss, loss]
    rows = ", ".join(map(str, told[1]["rows"]))
    assert f"the gradient is nan at step 5, which is left out (task 'label', rows {rows})" in caplog.text


def test_too_many_in_a_row_end_the_run_and_the_weights_are_those_of_before(tmp_path, monkeypatch):
    before = fit(max_steps=3, decay="constant")
    broken_at(monkeypatch, 4, 5, 6)
    with pytest.raises(ConfigError, match=r"nan at step 6, as of 2 updates before it \(task 'fill'.*lower lr") as error:
        fit(tmp_path, skip_limit=2, decay="constant")
    assert "the next fit goes on from the checkpoint of step 4" in str(error.value)
    model = tiny.model()
    with pytest.raises(ConfigError):
        Trainer(max_steps=8, warmup=1, lr=5e-3, decay="constant", skip_limit=2, live=False).fit(
            model=model, tasks=[tiny.label_task(), tiny.fill_task()]
        )
    assert tiny.same_weights(tiny.weights(model), before)


def test_what_is_left_out_now_and_then_does_not_end_the_run(monkeypatch, caplog):
    broken_at(monkeypatch, 2, 4, 6)
    fit(skip_limit=1)
    assert caplog.text.count("which is left out") == 3


@pytest.mark.parametrize("limit", [1, 3])
def test_the_count_goes_on_over_a_resume(tmp_path, monkeypatch, limit):
    """Two are left out before the run is stopped, two after: three in a row at most would do, one would not."""
    broken_at(monkeypatch, 3, 4, 5)
    kept = {"skip_limit": 2, "decay": "constant"}
    fit(tmp_path, max_steps=4, **kept)
    state = json.loads((tmp_path / "checkpoints/step-00000004/state.json").read_text())
    assert (state["skipped"], state["skipped_in_row"]) == (2, 2)
    if limit == 1:
        with pytest.raises(ConfigError, match="at step 5, as of 1 updates before it"):
            fit(tmp_path, **(kept | {"skip_limit": 1}))
        return
    weights = fit(tmp_path, **(kept | {"skip_limit": 3}))
    assert tiny.same_weights(weights, fit(tmp_path / "whole", **(kept | {"skip_limit": 3})))
