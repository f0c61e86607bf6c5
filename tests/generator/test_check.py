"""What a generator gives is looked at where it comes in: what is promised passes, each wrong twin is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ofasys import GeneralistModel, Task
from ofasys.errors import PluginError
from ofasys.flow import generate, preprocess
from ofasys.generator import GENERATORS, Generator
from ofasys.generator.check import check_hypotheses, check_labels, check_scores, check_values
from ofasys.generator.hypothesis import Hypothesis
from ofasys.generator.options import SearchOptions
from ofasys.generator.rank import rank
from ofasys.modality import BUILT_IN
from tests.laws.test_accumulate import CONFIG, ROWS

MINE = Generator(name="mine", about="mine", load=f"{__name__}:turned", ranks=True)
IDS = np.array([4, 5])


def hypothesis(**wrong):
    return Hypothesis(**{"tokens": IDS, "states": IDS, "logprob": -1.0, "score": -1.0, "finished": True, **wrong})


def turned(*arguments, **options):
    """The least likely label first."""
    return -rank(*arguments, **options)


def few(*arguments, **options):
    return rank(*arguments, **options)[:, :1]


def nothing(*arguments, **options):
    return None


def test_what_is_promised_passes():
    assert check_hypotheses(MINE, [[hypothesis()]], 1)[0][0].tokens is IDS
    assert check_scores(MINE, np.zeros((2, 3)), 2, 3).shape == (2, 3)
    assert len(check_values(MINE, [np.zeros((1, 2), np.float32)] * 3, 3)) == 3
    assert check_labels(MINE, [(IDS, -0.5), (np.zeros(0), -1.0)], 2, 6)[0][1] == -0.5


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "gave None for 1 sources; give for each of 1 sources its hypotheses, best first"),
        ([], "gave a list of 0 for 1 sources"),
        ([[]], "gave a list of 0 for a source"),
        ([hypothesis()], "gave a Hypothesis for a source"),
        ([[IDS]], "gave a list of 1 for a source"),
        ([[hypothesis(tokens=[4, 5])]], r"tokens a list of 2 and states int64 \(2,\); give whole numbers"),
        ([[hypothesis(tokens=np.zeros(2))]], r"tokens float64 \(2,\)"),
        ([[hypothesis(states=np.zeros(1, int))]], r"tokens int64 \(2,\) and states int64 \(1,\); give"),
    ],
)
def test_wrong_hypotheses(found, said):
    with pytest.raises(PluginError, match=rf"generator 'mine' \({__name__}:turned, module tests\) .*{said}"):
        check_hypotheses(MINE, found, 1)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (np.zeros((2, 2)), r"gave float64 \(2, 2\) for 3 labels; give an array of log-probabilities \(2, 3\)"),
        (np.zeros((2, 3), int), r"gave int64 \(2, 3\)"),
        ([[0.0] * 3] * 2, "gave a list of 2 for 3 labels"),
    ],
)
def test_wrong_scores(found, said):
    with pytest.raises(PluginError, match=said):
        check_scores(MINE, found, 2, 3)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (np.zeros((2, 1, 2), np.float32), r"gave float32 \(2, 1, 2\) for 2 rows; give for each of 2 rows its frames"),
        ([np.zeros((1, 2), np.float32)], "gave a list of 1 for 2 rows"),
        ([np.zeros((1, 2))] * 2, r"gave float64 \(1, 2\) for a row"),
        ([np.zeros(2, np.float32)] * 2, r"gave float32 \(2,\) for a row"),
        ([np.zeros((0, 2), np.float32)] * 2, r"gave float32 \(0, 2\) for a row"),
    ],
)
def test_wrong_values(found, said):
    with pytest.raises(PluginError, match=said):
        check_values(MINE, found, 2)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([(IDS, -1.0)] * 2, "gave a list of 2 for 1 values"),
        ([IDS], r"gave int64 \(2,\) for a value; give for each of 1 values \(its labels"),
        ([(IDS, None)], "gave a tuple of 2 for a value"),
        ([(IDS[None], -1.0)], r"gave labels int64 \(1, 2\) for a value"),
        ([(IDS * 0.5, -1.0)], r"gave labels float64 \(2,\)"),
        ([(IDS + 1, -1.0)], "gave labels from 5 to 6 for a value; .* below 6"),
    ],
)
def test_wrong_labels(found, said):
    with pytest.raises(PluginError, match=said):
        check_labels(MINE, found, 1, 6)


def ranked(registry, name):
    line = f"[TEXT:q] -> [CATEGORY:kind,generator={name}]"
    task = Task("t", line, train=ROWS, modalities=registry)
    model = GeneralistModel(config=CONFIG, text_pieces=300, modalities=registry)
    model.grow([(task.plan, task.labels)], task.texts, task.examples)
    program = model.bind(task.plan, task.labels)
    return [
        [part.tokens.tolist() for answer in answers for part in answer.parts]
        for answers in generate(model, program, [preprocess(program, row) for row in ROWS], SearchOptions())
    ]


def test_a_ranking_of_ones_own_is_the_one_that_ranks():
    registry = BUILT_IN.with_(MINE)
    assert ranked(registry, "mine") == [answers[::-1] for answers in ranked(registry, "rank")]


@pytest.mark.parametrize(("load", "ranks"), [("few", True), ("nothing", True), ("nothing", False)])
def test_one_from_outside_is_looked_at_in_a_run(load, ranks):
    wrong = replace(MINE, load=f"{__name__}:{load}", ranks=ranks, searches=not ranks)
    with pytest.raises(PluginError, match=rf"generator 'mine' \({__name__}:{load}, module tests\) gave"):
        ranked(BUILT_IN.with_(wrong), "mine")
    assert GENERATORS["rank"].ranks
