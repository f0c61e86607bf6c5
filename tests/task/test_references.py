"""Several right answers to a row: evaluation scores against all, training learns one where the row names none."""

import numpy as np
import pytest

from ofasys import ConfigError, DataError, Task
from ofasys.task.loader import Assembler, read
from ofasys.task.ticket import Ticket
from ofasys.train.evaluate import evaluate_task, predict_task
from tests.train import tiny

SAY = "say [TEXT:text] -> [TEXT:cap]"
DETECT = "[IMAGE:img] -> ([BOX:b] [CATEGORY:c])*"
WAYS = {"references": {"cap": "captions"}, "micro_batch_size": 2}
BOTH = [{"text": "a", "cap": "one", "captions": ["one", "uno"]}, {"text": "b", "cap": "two", "captions": ["due"]}]
ALONE = [{"text": row["text"], "captions": row["captions"]} for row in BOTH]


def assembled(task, seed=0):
    model = tiny.model()
    model.grow([(p, task.labels) for p in task.plans], lambda: iter(task.texts()))
    return Assembler([task], {task.name: [model.bind(p, task.labels) for p in task.plans]}, seed)


def program_of(task):
    return assembled(task).programs[task.name][0]


def random(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ({"cpa": "captions"}, "references names 'cpa', which is no target; did you mean cap"),
        ({"text": "captions"}, "references names 'text', which is no target; .*targets that may have several .*: cap"),
        ({"cap": "cap"}, "references of 'cap' are 'cap'; give the name of a column .* is no slot of its own"),
        ({"cap": "text"}, "references of 'cap' are 'text'"),
        ({"cap": ""}, "references of 'cap' are ''"),
        ({"cap": ["one", "uno"]}, r"references of 'cap' are \['one', 'uno'\]; give the name of a column"),
        (["captions"], r"references=\['captions'\]; it is a mapping or None"),
    ],
)
def test_references_that_cannot_be(references, message):
    with pytest.raises(ConfigError, match=message):
        Task("t", SAY, references=references)


def test_references_of_targets():
    assert Task("t", SAY).references == {}
    assert Task("t", SAY, references={"cap": "captions"}).references == {"cap": "captions"}
    assert Task("t", [SAY, "[TEXT:cap] -> [TEXT:text]"], references={"text": "texts"}).references == {"text": "texts"}
    with pytest.raises(ConfigError, match=r"references names 'c', which is no target; .*several answers: none"):
        Task("t", DETECT, references={"c": "cs"})
    with pytest.raises(ConfigError, match=r"references names 'a', which is no target; .*several answers: b"):
        Task("t", "-> [TEXT:a,no_loss] [TEXT:b]", references={"a": "others"})


def test_a_row_is_learned_with_its_own_value_or_one_of_its_references():
    task = Task("t", SAY, BOTH, **WAYS)
    assert task.learned(BOTH[1], random()) == BOTH[1]
    assert {task.learned(ALONE[0], random(seed))["cap"] for seed in range(20)} == {"one", "uno"}
    assert task.learned(ALONE[0], random(3)) == task.learned(ALONE[0], random(3))
    assert ALONE[0].keys() == {"text", "captions"}
    assert task.learned(ALONE[0] | {"cap": None}, random())["cap"] in ("one", "uno")
    assert task.learned({"text": "a"}, random()) == {"text": "a"}
    untouched = random()
    task.learned(BOTH[0], untouched)
    assert untouched.random() == random().random()  # a mask of a row with a value is the same as without references


@pytest.mark.parametrize("ways", ["uno", [], [None], ["one", " "], {"one": 1}, 3])
def test_references_that_are_no_list_of_answers(ways):
    with pytest.raises(DataError, match=r"the references are .*expected a list of answers, at least one") as caught:
        Task("t", SAY, references={"cap": "captions"}).learned({"text": "a", "captions": ways}, random())
    assert caught.value.column == "captions"


def test_the_tokenizer_labels_and_lengths_know_what_is_learned():
    task = Task("t", SAY, [BOTH[0], ALONE[1] | {"cap": None}], **WAYS)
    assert {"one", "due"} <= set(task.texts())
    assert "uno" not in set(task.texts())
    assert task.lengths().tolist() == [4, 4]
    alone = Task("t", SAY, ALONE, **WAYS)
    assert {"one", "uno", "due"} <= set(alone.texts())
    long = Task("t", SAY, [{"text": "a", "captions": ["b", "long"]}, BOTH[0]], **WAYS)
    assert long.lengths().tolist() == [5, 4]
    closed = SAY.replace("cap]", "cap,closed_set]")
    assert Task("t", closed, ALONE, **WAYS).labels == {"cap": ("due", "one", "uno")}
    assert Task("t", closed, BOTH, **WAYS).labels == {"cap": ("one", "two")}
    plain = [{name: value for name, value in row.items() if name != "captions"} for row in BOTH]
    assert Task("t", closed, plain, **WAYS).labels == {"cap": ("one", "two")}
    with pytest.raises(DataError, match=r"has no column 'captions'.*task 't', slot 'TEXT:cap'"):
        _ = Task("t", closed, [{"text": "a"}], **WAYS).labels


def test_rows_that_must_be_read_are_gathered_from_too():
    class Costly:
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return (ALONE[0], BOTH[1])[i]

    task = Task("t", SAY.replace("cap]", "cap,closed_set]"), Costly(), **WAYS)
    assert task.labels == {"cap": ("one", "two", "uno")}


def grown(task):
    """A model that has the task's vocabulary, untrained, and the task's program."""
    model = tiny.model()
    model.grow([(task.plan, task.labels)], task.texts)
    return model, model.bind(task.plan, task.labels)


def test_evaluation_scores_against_all():
    rows = [*BOTH, {"text": "c", "cap": "Tre"}]
    line = SAY.replace("cap]", "cap,uncased]")
    task = Task("t", line, rows, rows, metrics=["bleu", "rouge_l", "cider", "exact_match"], **WAYS)
    model, program = grown(task)
    assert predict_task(model, task, "valid", program)[1] == [{"cap": ["one", "uno"]}, {"cap": ["due"]}, {"cap": "tre"}]
    figures = evaluate_task(model, task, "valid", program=program)
    assert figures.keys() == {"loss", "samples", "bleu", "rouge_l", "cider", "exact_match"}
    plain = Task("t", line, rows, rows)
    assert predict_task(model, plain, "valid", program)[1] == [{"cap": "one"}, {"cap": "two"}, {"cap": "tre"}]


def test_an_alternative_that_is_answered_is_right():
    line = "say [TEXT:text] -> [TEXT:cap,closed_set]"
    rows = [{"text": "a", "cap": "one", "captions": ["uno", "one"]}]
    scores = []
    for ways in (["uno", "one"], ["due"]):
        valid = [{"text": "a", "cap": "one", "captions": ways}]
        task = Task("t", line, rows, valid, closed_set=["one"], metrics=["accuracy"], references={"cap": "captions"})
        scores.append(evaluate_task(grown(task)[0], task, "valid")["accuracy"])
    assert scores == [1.0, 0.0]


# --- as the loader reads it -------------------------------------------------------------------------------------------


def learned(made, task, k):
    """The text of the target of each row of micro-batch k."""
    delivery = made[Ticket(0, task.name, k)]
    assert not delivery.bad
    symbols = made.programs[task.name][0].symbols
    (tokens,) = (entry.tensors["tokens"].tolist() for entry in delivery.batch.target.inputs)
    return [symbols.decode(np.array([t])) for t in tokens]


def test_each_epoch_draws_its_reference_anew_and_the_same_for_the_same_seed():
    ways = [f"way{i}" for i in range(8)]
    task = Task("t", SAY, [{"text": "a", "captions": ways}], references={"cap": "captions"}, micro_batch_size=1)
    one, two, other = assembled(task), assembled(task), assembled(task, seed=1)
    forward = [str(learned(one, task, k)) for k in range(20)]
    assert forward == [str(learned(two, task, k)) for k in reversed(range(20))][::-1]
    assert len(set(forward)) > 3
    assert forward != [str(learned(other, task, k)) for k in range(20)]


def test_a_row_whose_references_are_no_list_is_a_bad_row():
    task = Task("t", SAY, [BOTH[0], {"text": "b", "captions": "due"}], shuffle=False, buckets=False, **WAYS)
    (bad,) = assembled(task)[Ticket(0, "t", 0)].bad
    assert (bad.error.task, bad.error.column, bad.error.sample) == ("t", "captions", "train row 1")
    assert "the references are 'due'" in str(bad.error)


def test_a_row_is_read_as_it_stands_and_learned_with_an_answer():
    task = Task("t", SAY, ALONE, ALONE, metrics=["exact_match"], **WAYS)
    model, program = grown(task)
    assert read(task, program, "valid", 0, random())[0] == ALONE[0]
    _, references, judged = predict_task(model, task, "valid", program)
    assert references == [{"cap": ["one", "uno"]}, {"cap": ["due"]}]
    assert judged.loss(program) > 0


def test_a_references_column_that_no_row_has_is_told(caplog):
    """Answers are then scored against the target's own value, which nobody asked for."""
    rows = [{"text": "a", "cap": "one", "captions": ["one", "uno"]}, {"text": "b", "cap": "two", "captions": ["due"]}]
    task = Task("t", SAY, rows, rows, metrics=["exact_match"], references={"cap": "caption"})
    model, program = grown(task)
    predict_task(model, task, "valid", program)
    (told,) = [record.getMessage() for record in caplog.records]
    assert "no valid row has the column 'caption' that references names" in told
    assert "did you mean captions?" in told
    caplog.clear()
    right = Task("t", SAY, rows, rows, metrics=["exact_match"], references={"cap": "captions"})
    predict_task(model, right, "valid", program)
    assert not caplog.records
