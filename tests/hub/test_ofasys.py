"""Which labels, settings and search a request gets, and what is said of rows that are none."""

import math

import pytest

from ofasys.errors import ConfigError, DataError
from ofasys.hub import OFASys
from ofasys.types import TaskCard


def card(tiny, line, **more):
    settings = tiny.SETTINGS if "IMAGE" in tiny.INSTRUCTIONS[line] else {}
    plan = tiny.plans()[line]
    return TaskCard(**{"name": line, "instructions": (str(plan.instruction),), "settings": settings} | more)


@pytest.fixture
def entail(tiny):
    """(the line, a row, a model that knows the task)."""
    known = OFASys(tiny.model(), [card(tiny, "entail", labels=tiny.LABELS)])
    return tiny.INSTRUCTIONS["entail"], tiny.ROWS["entail"][0], known


def test_tasks_that_disagree_on_a_closed_set_are_not_guessed_between(tiny, entail):
    line, row, _ = entail
    other = card(
        tiny, "entail", name="other", instructions=("[TEXT:a] -> [TEXT:label,closed_set]",), labels={"label": ["x"]}
    )
    model = OFASys(tiny.model(), [card(tiny, "entail", labels=tiny.LABELS), other])
    asked = line.replace("closed_set", "closed_set,generator=rank")
    with pytest.raises(ConfigError, match="tasks entail, other have different closed sets for 'label'"):
        model.inference(asked, data=row)
    assert model.inference(asked, data=row, closed_set=["yes", "no"]).label in ("yes", "no")
    assert model.inference(line, data=row).label in tiny.LABELS["label"]  # a task's own line is no guess


def test_tasks_that_share_a_line_agree_on_what_goes_with_it(tiny, entail):
    line, row, _ = entail
    twice = [card(tiny, "entail", labels=tiny.LABELS), card(tiny, "entail", name="b", labels={"label": ["x", "y"]})]
    with pytest.raises(ConfigError, match="tasks entail, b share this line"):
        OFASys(tiny.model(), twice).inference(line, data=row)


def test_a_ranking_holds_every_label_once_and_sums_to_one(tiny, entail):
    line, row, model = entail
    asked = line.replace("closed_set", "closed_set,generator=rank")
    every = model.inference(asked, data=row).nbest
    assert {out.label for out in every} == set(tiny.LABELS["label"])
    assert sum(math.exp(out.score) for out in every) == pytest.approx(1, abs=1e-5)
    assert [out.score for out in every] == sorted((out.score for out in every), reverse=True)
    assert len(model.inference(asked, data=row, n_best=2).nbest) == 2
    with pytest.raises(ConfigError, match="sampling goes with generator=search"):
        model.inference(asked, data=row, sampling=True)


def test_what_is_asked_of_the_search_goes_before_what_the_task_has(tiny, entail):
    line, row, _ = entail
    model = OFASys(tiny.model(), [card(tiny, "entail", labels=tiny.LABELS, generate={"beam_size": 2, "n_best": 2})])
    assert len(model.inference(line, data=row).nbest) == 2
    assert len(model.inference(line, data=row, sampling=True).nbest) == 1
    assert len(model.inference(line, data=row, n_best=3).nbest) == 3


@pytest.mark.parametrize("data", ["cat.png", 3, ["cat.png"], [["a", "b"]]])
def test_rows_that_are_none(entail, data):
    line, row, model = entail
    with pytest.raises(DataError, match="expected a dict with"):
        model.inference(line, data=data)
    assert model.inference(line, data=[row])[0].label
