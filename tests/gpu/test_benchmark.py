"""The benchmark of a GPU runs, at its smallest, on a CPU."""

from __future__ import annotations

import pytest
import torch

from benchmarks import gpu
from ofasys import GeneralistModel
from ofasys.flow import collate, preprocess
from ofasys.task.task import Task


def test_it_runs_and_prints_a_table(device: torch.device, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = gpu.main(["--device", device.type, "--tiny", "--precision", "float32"])
    assert all(value > 0 for name, value in found.items() if name != "overhead")
    assert found["bare_tokens_per_second"] / found["tokens_per_second"] == pytest.approx(1 + found["overhead"])
    about, head, rule, row = capsys.readouterr().out.splitlines()
    assert "float32" in about
    assert head.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| tiny | ")


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="torch finds no GPU here; --device cpu --tiny"):
        gpu.main([])


def test_its_work_is_what_torch_counts() -> None:
    """But for attention that does not look ahead, which torch counts as a whole square."""
    from torch.utils.flop_counter import FlopCounterMode

    rows = [{"t": f"some words of one length {i}"} for i in range(4)]
    task = Task("t", "[TEXT:t] -> [TEXT:t]", train=rows, micro_batch_size=4)
    model = GeneralistModel("tiny", text_pieces=300)
    model.grow([(task.plan, task.labels)], task.texts, task.examples)
    program = model.bind(task.plan, task.labels)
    batch = collate(program, [preprocess(program, row) for row in rows])
    with FlopCounterMode(display=False) as counter:
        model(program, batch).total.backward()
    assert gpu.work(model, program, batch) == pytest.approx(counter.get_total_flops(), rel=0.05)
