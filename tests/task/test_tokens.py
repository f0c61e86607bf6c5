"""Micro-batches of as many tokens: what rows cost, what a task draws, how it goes on, and what cannot be."""

from fractions import Fraction

import numpy as np
import pytest

from ofasys import CheckpointError, ConfigError, Task, Trainer
from ofasys.task.cost import line
from ofasys.task.order import UNITS
from tests.task.test_loader import assembler, tickets
from tests.train import tiny

WORDS = "a bird sees the old stone house by a round tree".split()  # noqa: SIM905
ROWS = [{"text": " ".join((WORDS * 4)[: 1 + i * i % 37]), "label": tiny.COLOURS[i % 4]} for i in range(96)]


def task(**changes):
    return tiny.label_task(**{"train": ROWS, "valid": None, "metrics": (), "micro_batch_size": 6} | changes)


def positions(made, count=None):
    return [made[ticket].batch.positions for ticket in tickets(task(), count or len(ROWS) // 6)]


def test_the_line_through_what_was_measured():
    assert line([(0, 3), (10, 8), (20, 13)]) == (3, Fraction(1, 2))
    assert line([(5, 9), (5, 11)]) == (10, 0)
    assert line([(0, 9), (10, 1)]) == (5, 0), "it does not fall"
    assert line([(10, 1), (20, 11)]) == (1, 1), "and is 1 at least"


def test_what_rows_cost_is_near_what_they_are():
    made = assembler(task(batch_by="tokens"))
    costs = made.orders["label"].costs / UNITS
    real = [made._tokens(made.tasks["label"], row) for row in range(len(ROWS))]
    assert np.abs(costs - real).mean() < 0.15 * np.mean(real)
    assert costs.sum() == pytest.approx(sum(real), rel=0.05)


def test_micro_batches_are_more_alike_in_tokens_and_as_many():
    rows, tokens = (positions(assembler(task(batch_by=by))) for by in ("rows", "tokens"))
    assert len(rows) == len(tokens)
    assert sum(rows) == sum(tokens), "an epoch is the same rows"
    assert np.std(tokens) < 0.25 * np.std(rows)


@pytest.mark.parametrize("changes", [{"buckets": False}, {"shuffle": False}])
def test_without_buckets_too(changes):
    rows, tokens = (positions(assembler(task(batch_by=by, **changes))) for by in ("rows", "tokens"))
    assert sum(rows) == sum(tokens)
    assert np.std(tokens) < 0.6 * np.std(rows)


def test_bad_rows_are_measured_by_the_others():
    rows = [{**row, "label": None} if i % 3 == 0 else row for i, row in enumerate(ROWS)]
    made = assembler(task(train=rows, batch_by="tokens"))
    assert len({len(made[ticket].rows) for ticket in tickets(task(), 16)}) > 1
    assert sum(len(made[ticket].bad) for ticket in tickets(task(), 16)) == 32


def fit(steps, out, **changes):
    model = tiny.model()
    given = {"max_steps": steps, "out": out, "warmup": 0, "decay": "constant", "precision": "float32"}
    Trainer(**given).fit(model=model, tasks=[task(**{"batch_by": "tokens"} | changes)])
    return tiny.weights(model)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    whole = fit(20, tmp_path / "whole")
    fit(9, tmp_path / "parts")
    with pytest.raises(CheckpointError, match=r"had 96 rows in micro-batches of 6 by tokens, not 96 in 6: its place"):
        fit(20, tmp_path / "parts", batch_by="rows")
    assert tiny.same_weights(fit(20, tmp_path / "parts"), whole)


def test_what_cannot_be():
    with pytest.raises(ConfigError, match=r"batch_by='token'; did you mean tokens\? it is 'rows' or 'tokens'"):
        task(batch_by="token")
    with pytest.raises(ConfigError, match="batch_by='tokens', and a contrast"):
        Task("c", "[TEXT:text|TEXT:label] ->", ROWS, batch_by="tokens")
    with pytest.raises(ConfigError, match="batch_by='tokens', and no text whose length is known before it is read"):
        assembler(Task("b", "[IMAGE:img] -> [BOX:box]", tiny.box_rows(), settings=tiny.SMALL, batch_by="tokens"))
