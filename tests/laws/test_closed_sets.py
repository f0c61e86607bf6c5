"""Whatever line asks for a label of a closed set: the likeliest wins, by any search, and the probabilities are such."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ofasys import GeneralistModel, OFASys, Task
from ofasys.flow import parse, plan
from ofasys.train.evaluate import evaluate_task
from tests.engine.causal import CAUSAL, CausalConfig

SETS = {
    "prefixes": ["cat", "cat dog", "cat dog mouse", "c", "ca", "dog"],
    "short and long": ["bad", "extraordinarily good, and in fact the best there ever was or will be"],
    "scripts": ["猫", "犬", "кот", "café", "cafe\u0301", "😀", " a ", "A", "a"],
    "one": ["only"],
    "numbers": [str(i) for i in range(120)],
}
ENDING = [
    "[TEXT:t] -> [CATEGORY:y]",
    "[TEXT:t] -> [TEXT:y,closed_set]",
    "is [TEXT:t] so? -> it is [CATEGORY:y]",
    "[TEXT:t] -> of [TEXT:u,no_loss] say [TEXT:y,closed_set,max_length=1]",
    "[TEXT:t] -> [CATEGORY:y,adaptor=head]",
    "-> [CATEGORY:y]",
]
GOING_ON = ["[TEXT:t] -> [CATEGORY:y] it is", "[TEXT:t] -> so [TEXT:y,closed_set] !"]
WAYS: list[dict[str, Any]] = [
    {},
    {"beam_size": 2},
    {"beam_size": 5, "length_penalty": 0.0},
    {"beam_size": 3, "length_penalty": -2.0, "early_stopping": True, "max_length": 1},
]


@pytest.fixture(scope="module", params=["transformer", "causal"])
def new(request: pytest.FixtureRequest, tiny: Any) -> Callable[[], GeneralistModel]:
    """Makes a model: with the engine that opens on states of a source, and with one that opens on its stream."""
    causal: dict[str, Any] = {"engine": CAUSAL, "config": CausalConfig(max_positions=256)}
    own = {"transformer": {"config": tiny.CONFIG}, "causal": causal}[request.param]
    return lambda: GeneralistModel(text_pieces=300, **own)


@pytest.fixture(scope="module")
def served(new: Callable[[], GeneralistModel]) -> OFASys:
    model = new()
    plans = [(plan(parse(line)), {"y": labels}) for line in [*ENDING, *GOING_ON] for labels in SETS.values()]
    model.grow(plans, lambda: [*SETS["prefixes"], *SETS["short and long"], "what it is"])
    with torch.no_grad():  # first values say almost the same of all labels
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(2.5)
    return OFASys(model)


def rows(count: int = 3) -> list[dict[str, str]]:
    return [{"t": "it " * (i + 1), "u": "that " * (2 * i + 1)} for i in range(count)]


@pytest.mark.parametrize("labels", SETS.values(), ids=SETS)
@pytest.mark.parametrize("line", ENDING)
def test_search_and_rank_agree_and_probabilities_are_such(served: OFASys, line: str, labels: list[str]) -> None:
    ranked = line[:-1] + ",generator=rank]"
    all_of = [out.nbest for out in served.inference(ranked, data=rows(), closed_set={"y": labels})]
    for every in all_of:
        assert sorted(one.label for one in every) == sorted(labels)
        assert math.fsum(math.exp(one.score) for one in every) == pytest.approx(1, abs=1e-5)
    for way in WAYS:
        most = min(way.get("beam_size", 1), len(labels))
        outs = served.inference(line, data=rows(), closed_set={"y": labels}, n_best=most, **way)
        for every, out in zip(all_of, outs, strict=True):
            assert [one.label for one in out.nbest] == [one.label for one in every[:most]]
            assert [one.score for one in out.nbest] == pytest.approx([one.score for one in every[:most]], abs=1e-4)


@pytest.mark.parametrize("labels", SETS.values(), ids=SETS)
@pytest.mark.parametrize("line", GOING_ON)
def test_what_is_forced_after_a_label_changes_nothing(served: OFASys, line: str, labels: list[str]) -> None:
    ends = line.rpartition("]")[0] + ",generator=rank]"
    best = [out.nbest[0] for out in served.inference(ends, data=rows(), closed_set=labels)]
    for way in WAYS:
        for one, found in zip(best, served.inference(line, data=rows(), closed_set=labels, **way), strict=True):
            assert found.label == one.label
            assert found.score == pytest.approx(one.score, abs=1e-4)


@pytest.mark.parametrize("line", ENDING)
def test_rows_of_a_batch_are_answered_as_alone(served: OFASys, line: str) -> None:
    many, given = rows(5), {"closed_set": {"y": SETS["numbers"]}}
    for asked in (line, line[:-1] + ",generator=rank]"):
        together = served.inference(asked, data=many, **given)
        for row, one in zip(many, together, strict=True):
            alone = served.inference(asked, data=row, **given)
            assert (one.label, one.score) == (alone.label, pytest.approx(alone.score, abs=1e-4))


def test_evaluation_does_not_depend_on_beams(served: OFASys) -> None:
    labels = SETS["prefixes"]
    valid = [{"t": f"it {i}", "y": labels[i % 6]} for i in range(12)]

    def figures(**generate: Any) -> dict[str, float]:
        made = Task(
            "t", ENDING[0], train=valid, valid=valid, closed_set={"y": labels}, metrics=["accuracy"], generate=generate
        )
        return evaluate_task(served.model, made, "valid", batch_size=5)

    assert figures() == figures(beam_size=2) == figures(beam_size=4, length_penalty=0.0)


def test_reading_few_of_many_answers_makes_few(served: OFASys) -> None:
    made = []
    output = served.inference("[TEXT:t] -> [CATEGORY:y,generator=rank]", data=rows()[0], closed_set=SETS["numbers"])
    make = output.nbest._make
    output.nbest._make = lambda place: made.append(place) or make(place)
    assert len(output.nbest) == 120
    assert output.nbest[0] is output
    assert [one.label for one in output.nbest[1:3]] == [output.nbest[1].label, output.nbest[2].label]
    assert made == [1, 2]


@pytest.mark.parametrize(
    "line", ["[TEXT:t] -> [AUDIO:a,no_loss] is [CATEGORY:y]", "-> [AUDIO:a,no_loss] is [TEXT:u,no_loss] [CATEGORY:y]"]
)
def test_after_a_value_that_is_no_tokens(new: Callable[[], GeneralistModel], line: str) -> None:
    """What is given before the label is of another length in each row."""
    model = new()
    model.grow([(plan(parse(line)), {"y": SETS["prefixes"]})], lambda: ["what it is"])
    served = OFASys(model)
    sound = np.random.default_rng(0).normal(size=2400).astype(np.float32) / 10
    many = [{**row, "a": (sound[: 800 * (i + 1)], 16000)} for i, row in enumerate(rows())]
    given = {"closed_set": {"y": SETS["prefixes"]}}
    ranked = served.inference(line[:-1] + ",generator=rank]", data=many, **given)
    for row, every, found in zip(many, ranked, served.inference(line, data=many, **given), strict=True):
        assert math.fsum(math.exp(one.score) for one in every.nbest) == pytest.approx(1, abs=1e-5)
        assert (found.label, found.score) == (every.label, pytest.approx(every.score, abs=1e-4))
        assert served.inference(line, data=row, **given).label == every.label
