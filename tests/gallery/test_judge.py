"""The judge of the gallery: a figure of the model beside that of the best answer given without looking."""

from random import Random

import pytest

from ofasys import GeneralistModel, Task
from ofasys.errors import ConfigError, DataError
from ofasys.gallery.pages.judge import judge
from ofasys.gallery.pages.page import Judging
from ofasys.language import Pattern
from ofasys.modality import BUILT_IN
from ofasys.train import Trainer, evaluate_task
from tests.train import tiny


def fitted(task):
    model = tiny.model()
    Trainer(max_steps=2, warmup=1, live=False).fit(model=model, tasks=task)
    return model


@pytest.fixture(scope="module")
def boxes():
    """(model, task) of boxes: 8 rows of training, 6 of the test."""
    task = tiny.box_task(valid=None, test=tiny.box_rows(6))
    return fitted(task), task


def test_it_gives_the_figures_of_an_evaluation(boxes):
    model, task = boxes
    found = judge(model, task, 0)
    own = evaluate_task(model, task, "test")
    assert found.metric == task.metrics[0].main
    assert found.value == own[found.metric]
    assert found.figures.items() <= own.items()
    assert len(found.rows) == len(found.predictions) == len(found.references) == 6
    assert [row["box"] for row in found.rows] == [row["box"] for row in tiny.box_rows(6)]
    assert [list(row["box"]) for row in found.references] == [row["box"] for row in tiny.box_rows(6)]


def test_rows_are_spread_where_there_is_a_limit(boxes):
    found = judge(*boxes, 0, limit=2)
    rows = tiny.box_rows(6)
    assert [row["box"] for row in found.rows] == [rows[0]["box"], rows[3]["box"]]
    assert len(found.predictions) == len(found.references) == 2


def test_trivial_answers_are_made_of_as_many_training_rows_as_the_settings_say():
    red, green = tiny.label_rows(2)
    train = [green] * 12
    train[Random(0).randrange(12)] = red  # the one that is drawn first
    task = tiny.label_task(train=train, valid=None, test=[red] * 4)
    model = fitted(task)
    one = judge(model, task, 0, Judging(looked_at=1))
    assert (one.baseline, one.baseline_kind) == (1.0, "most frequent")
    assert judge(model, task, 0).baseline < 1


def test_a_metric_that_reads_no_trivial_answer_is_said(boxes):
    def strict(predictions, references):
        raise ValueError("these are none of mine")

    model, task = boxes
    task = tiny.box_task(valid=None, test=tiny.box_rows(6), metrics=[strict])
    with pytest.raises(ConfigError, match="task 'box': metric strict can score none of the answers given without"):
        judge(model, task, 0)


def test_rows_that_lack_an_optional_value_are_judged_by_nothing():
    """The rows that have it count, for the model and for the trivial answers alike; and they keep their numbers."""

    def picky(predictions, references):
        raise DataError("no", sample=1)

    maybe = Pattern("maybe", "there where a row has it", lambda parts: [(), (0,)], closes="?")
    rows = tiny.label_rows(8)
    given = {
        "train": [rows[0]] * 4,
        "test": [{"text": row["text"]} if i % 2 else row for i, row in enumerate(rows)],
        "closed_set": {"label": tiny.COLOURS},
        "modalities": BUILT_IN.with_(maybe),
        "micro_batch_size": 4,
    }
    line = "[TEXT:text] -> [TEXT:label,closed_set]?"
    task = Task("maybe", line, metrics=["accuracy"], **given)
    model = GeneralistModel(config=tiny.CONFIG, modalities=task.modalities, text_pieces=300)
    Trainer(max_steps=2, warmup=1, live=False).fit(model=model, tasks=task)
    found = judge(model, task, 0)
    assert found.value == evaluate_task(model, task, "test")["accuracy"]
    assert (found.baseline, found.baseline_kind) == (2 / 4, "most frequent")  # of red, blue, red, blue: always red
    assert len(found.rows) == 8
    with pytest.raises(DataError, match=r"no \(task 'maybe', sample 'test row 2'\)"):
        evaluate_task(model, Task("maybe", line, metrics=[picky], **given), "test")
