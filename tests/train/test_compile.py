"""Blocks that are compiled: a few graphs for a mixed stream, the same numbers, and a word where it cannot be."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters

from ofasys import Callback, ConfigError, Trainer
from ofasys.model.block import Block
from ofasys.train import engine_modes
from tests.train import tiny

GRAPHS = 4  # projections to queries, keys and values, and to queries; what attention ends with; the feed-forward


def fit(max_steps=5, tasks=None, callbacks=(), **settings):
    settings = {"live": False, "decay": "constant", "warmup": 0, "precision": "float32", "compile": True} | settings
    trainer = Trainer(max_steps=max_steps, callbacks=callbacks, **settings)
    model = tiny.model(dropout=0.2, encoder_layers=2, decoder_layers=2)
    trainer.fit(model=model, tasks=tasks or [tiny.label_task(), tiny.box_task()])
    assert all(block.compiled is None for side in (model.engine.encoder, model.engine.decoder) for block in side.blocks)
    return model


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    """Graphs are traced and differentiated as for any backend, and run by torch as they are: no C++ is compiled."""
    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(engine_modes, "BACKEND", "aot_eager")
    yield
    torch._dynamo.reset()


def test_a_mixed_stream_has_a_few_graphs():
    """None is compiled in a step, the first or one after a hundred: lengths, tasks and blocks share what there is."""

    class Counts(Callback):
        def __init__(self):
            self.graphs = []

        def after_step(self, run):
            self.graphs.append(counters["stats"]["unique_graphs"])

        def before_fit(self, run):
            self.after_step(run)

    counts = Counts()
    one = tiny.label_task("one", micro_batch_size=1)
    tasks = [tiny.label_task(), tiny.fill_task(), tiny.box_task(micro_batch_size=3), one]
    fit(120, tasks, [counts])
    assert counts.graphs[0] == counts.graphs[-1] == GRAPHS
    assert not counters["graph_break"]
    assert not counters["recompile_limit"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"precision": "bfloat16"},
        {"groups": [{"match": "engine.*", "lora": 2}], "recompute": True},
    ],
    ids=lambda settings: next(iter(settings), "plain"),
)
def test_it_learns_what_it_learns_without(settings):
    """The same dropout is drawn; the numbers differ by rounding alone."""
    compiled, plain = fit(optimizer="adafactor", **settings), fit(optimizer="adafactor", compile=False, **settings)
    assert counters["stats"]["unique_graphs"] == (2 * GRAPHS if "groups" in settings else GRAPHS)  # of what is frozen
    assert not counters["recompile_limit"]
    near = 2e-2 if settings.get("precision") else 1e-4
    for name, weight in tiny.weights(plain).items():
        torch.testing.assert_close(tiny.weights(compiled)[name], weight, rtol=near, atol=near)


def test_a_run_that_is_gone_on_with_ends_with_the_same_bits(tmp_path):
    once = fit(4, out=tmp_path / "once", save_every=2)
    fit(2, out=tmp_path / "twice", save_every=2)
    assert tiny.same_weights(tiny.weights(once), tiny.weights(fit(4, out=tmp_path / "twice", save_every=2)))


def test_evaluations_and_answers_are_computed_without(monkeypatch):
    """Blocks are in pieces where gradients are wanted, and nowhere else: the run has an evaluation with answers."""
    called, pieced = [], Block.pieced
    monkeypatch.setattr(Block, "pieced", lambda self, *args: called.append(self) or pieced(self, *args))
    fit(2, [tiny.label_task()])
    assert len(called) == 2 + 2 * 4  # one of each side as they are compiled, and two steps of four blocks


def test_where_it_cannot_be_that_is_told_and_nothing_else_changes(monkeypatch, caplog):
    def broken(graph, inputs):
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(engine_modes, "BACKEND", broken)
    compiled = fit()
    assert "the blocks are not compiled (BackendCompilerFailed: backend='broken' raised:" in caplog.text
    assert tiny.same_weights(tiny.weights(compiled), tiny.weights(fit(compile=False)))


def test_an_engine_that_cannot_be_compiled_is_refused(monkeypatch):
    monkeypatch.delattr("ofasys.model.universal.UniversalModel.compile_blocks")
    with pytest.raises(ConfigError, match=r"trainer\.compile is True, and engine 'transformer' does not have a method"):
        Trainer(max_steps=1, compile=True, live=False).fit(model=tiny.model(), tasks=tiny.label_task())


@pytest.mark.slow
def test_compiled_to_machine_code_it_learns_the_same(monkeypatch):
    monkeypatch.setattr(engine_modes, "BACKEND", "inductor")
    monkeypatch.setattr(torch._inductor.config.cpp, "vec_isa_ok", True)  # no program tries what the processor says
    monkeypatch.setenv("SETUPTOOLS_USE_DISTUTILS", "stdlib")  # which other tests may have imported; two are refused
    compiled, plain = fit(optimizer="adafactor"), fit(optimizer="adafactor", compile=False)
    assert counters["stats"]["unique_graphs"] == GRAPHS
    for name, weight in tiny.weights(plain).items():
        torch.testing.assert_close(tiny.weights(compiled)[name], weight, rtol=1e-4, atol=1e-4)
