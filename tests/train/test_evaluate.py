import numpy as np
import pytest

from ofasys import ConfigError, DataError, OFASys, Task, Trainer
from ofasys.metric import Confusion, Metric
from ofasys.modality.symbols import Symbols, train_tokenizer
from ofasys.modality.vocabulary import Vocabulary
from ofasys.planner import plan
from ofasys.program.program import bind
from ofasys.train import card_of
from ofasys.train.evaluate import answer_rows, evaluate_task, predict_task, spread_rows, true_values
from tests.train import tiny


@pytest.fixture(scope="module")
def trained():
    """(model, tasks, history) of a run with valid sets of three kinds."""
    tasks = [
        tiny.label_task(valid=tiny.label_rows(9)),
        tiny.fill_task(valid=tiny.label_rows(5), metrics=["bleu", "exact_match"]),
        tiny.box_task(valid=tiny.box_rows(5), test=tiny.box_rows(3)),
    ]
    trainer = Trainer(max_steps=12, lr=1e-2, warmup=2, eval_batch_size=4)
    model = trainer.fit(model=tiny.model(), tasks=tasks)
    return model, tasks, trainer.history


def close(one, other):
    assert one.keys() == other.keys()
    assert all(one[name] == pytest.approx(other[name], rel=1e-5) for name in one)


def test_evaluate_gives_the_figures_of_training(trained):
    model, tasks, history = trained
    logged = {
        line["task"]: {k: v for k, v in line.items() if k not in ("kind", "step", "task")}
        for line in history
        if line["kind"] == "valid"
    }
    assert logged["label"].keys() == {"loss", "samples", "accuracy"}
    for size in (4, 32):
        found = Trainer(eval_batch_size=size).evaluate(model=model, tasks=tasks, split="valid")
        for name in logged:
            close(found[name], logged[name])


def test_a_score_in_training_is_the_score_in_serving(trained):
    model, tasks, _ = trained
    serving = OFASys(model, [card_of(task) for task in tasks])
    for task in (tasks[0], tasks[2]):
        program = model.bind(task.plan, task.labels)
        predictions, _, _ = predict_task(model, task, "valid", program)
        rows = [task.source("valid")[i] for i in range(len(task.source("valid")))]
        answers = serving.inference(task.instructions[0], data=rows, batch_size=3)
        assert [answer.values for answer in answers] == predictions


def test_the_default_split_is_test_then_valid(trained):
    model, tasks, _ = trained
    found = Trainer().evaluate(model=model, tasks=tasks, limit=4)
    assert {name: figures["samples"] for name, figures in found.items()} == {"label": 4, "fill": 4, "box": 3}
    with pytest.raises(ConfigError, match=r"task 'label' has no test rows \(it has: train, valid\)"):
        Trainer().evaluate(model=model, tasks=tasks[:1], split="test")
    with pytest.raises(ConfigError, match="has no valid rows"):
        Trainer().evaluate(model=model, tasks=[tiny.fill_task()])


def test_a_model_that_learned_nothing_is_not_evaluated():
    model = tiny.model()
    with pytest.raises(ConfigError, match="train it first"):
        Trainer().evaluate(model=model, tasks=[tiny.label_task()])
    assert model.symbols is None


def test_a_task_the_model_was_not_trained_on(trained):
    model, _, _ = trained
    new = Task(
        "new",
        "is [TEXT:text] good? -> [TEXT:label,closed_set]",
        test=tiny.label_rows(3),
        closed_set=tiny.COLOURS,
        metrics=["accuracy"],
    )
    assert Trainer().evaluate(model=model, tasks=[new])["new"]["samples"] == 3
    head = Task("head", "[TEXT:text] -> [CATEGORY:label,adaptor=head]", test=tiny.label_rows(3), closed_set=["x", "y"])
    with pytest.raises(ConfigError, match=r"no tokens for the labels x, y of 'label' .*train it so first"):
        Trainer().evaluate(model=model, tasks=[head])


def test_evaluation_leaves_the_model_in_the_mode_it_was_in(trained):
    model, tasks, _ = trained
    for mode in (True, False):
        model.train(mode)
        evaluate_task(model, tasks[0], "valid")
        assert model.training is mode
    bad = tiny.label_task(valid=tiny.label_rows(3, bad=(1,)))
    model.train()
    with pytest.raises(DataError, match="valid row 1"):
        evaluate_task(model, bad, "valid")
    assert model.training
    model.eval()


def test_another_instruction_of_a_task(trained):
    model, _, _ = trained
    task = tiny.label_task(instruction=[tiny.LABEL, "colour of [TEXT:text]? -> [TEXT:label,closed_set]"])
    assert evaluate_task(model, task, "valid")["loss"] != evaluate_task(model, task, "valid", instruction=1)["loss"]


def test_rows_are_spread_over_a_split():
    assert spread_rows(10, None).tolist() == list(range(10))
    assert spread_rows(3, 5).tolist() == [0, 1, 2]
    assert spread_rows(10, 4).tolist() == [0, 2, 5, 7]


def test_true_values_are_as_an_answer_would_hold_them():
    labels = {"category": ["3", "Dog"], "c": ["Dog", "3"]}
    symbols = Symbols(train_tokenizer(["dog 3 x y cat"], 300), Vocabulary.assemble({"text": 256, "bins": 1000}))

    def true(text, row):
        return true_values(bind(plan(text), symbols, labels), row)

    row = {"box_category": [([0, 0, 1, 1], 3), ([1, 1, 2, 2], "Dog")], "img": "a.png"}
    detect = "[IMAGE:img] -> ([BOX] [CATEGORY])*"
    assert true(detect, row) == {"box": [[0, 0, 1, 1], [1, 1, 2, 2]], "category": ["3", "Dog"]}
    assert true("[TEXT:a] -> [CATEGORY:c,uncased]", {"a": "x", "c": "Dog"}) == {"c": "dog"}
    assert true("[TEXT:a] -> [TEXT:b,no_loss] [TEXT:c,uncased]", {"a": "x", "b": "y", "c": "Cat"}) == {"c": "cat"}
    assert true("[TEXT:a] -> [CATEGORY:c]", {"a": "x", "c": np.int64(3)}) == {"c": "3"}


def test_figures_of_several_metrics_do_not_cover_each_other(trained):
    model, _, _ = trained

    def figures(name, main, **own):
        return Metric(name, "", ("any",), lambda predictions, references: own, main)

    a, b = figures("a", "x", x=1, y=2, z=3, loss=4), figures("b", "y", y=5, z=6, w=7)
    found = evaluate_task(model, tiny.label_task(metrics=["accuracy", a, b]), "valid")
    alone = evaluate_task(model, tiny.label_task(metrics=["accuracy"]), "valid")
    assert found == alone | {"x": 1, "a/y": 2, "a/z": 3, "a/loss": 4, "y": 5, "b/z": 6, "w": 7}
    speech = evaluate_task(model, tiny.label_task(metrics=["wer", "cer"]), "valid")
    assert {"wer", "cer", "wer/substitutions", "cer/substitutions"} <= speech.keys()
    assert "substitutions" in evaluate_task(model, tiny.label_task(metrics=["wer"]), "valid")


def test_case_does_not_count_against_an_uncased_slot():
    rows = [{"text": "red fish", "label": "Red"}]
    task = Task(
        "t",
        "[TEXT:text] -> [TEXT:label,closed_set,uncased]",
        rows * 4,
        rows,
        closed_set=["Red", "blue"],
        metrics=["accuracy"],
        micro_batch_size=4,
    )
    trainer = Trainer(max_steps=20, lr=1e-2)
    trainer.fit(model=tiny.model(), tasks=[task])
    assert trainer.history[-1]["accuracy"] == 1.0


def test_the_log_says_what_labels_are_taken_for(tmp_path):
    tasks = [tiny.label_task(valid=tiny.label_rows(9)), tiny.fill_task(valid=tiny.label_rows(3))]
    trainer = Trainer(max_steps=4, warmup=1, eval_every=2, out=tmp_path, live=False)
    model = trainer.fit(model=tiny.model(), tasks=tasks)
    lines = [line for line in tiny.lines(tmp_path / "metrics.jsonl") if line["kind"] == "classes"]
    assert [(line["step"], line["task"], line["column"]) for line in lines] == [(s, "label", "label") for s in (2, 4)]
    classes: dict[str, Confusion] = {}
    figures = evaluate_task(model, tasks[0], "valid", classes=classes)
    assert {**classes["label"].line()} == {
        k: v for k, v in lines[-1].items() if k not in ("kind", "step", "task", "column")
    }
    assert classes["label"].hits.total() / 9 == pytest.approx(figures["accuracy"])
    assert all("label" not in line or isinstance(line["label"], str) for line in trainer.history)


def test_answers_that_nothing_reads_are_not_made(trained, monkeypatch):
    """Where a task has no metric, and nobody asks for the classes of its closed set: its loss is the same."""
    from ofasys.train import evaluate as room

    model, (label, fill, _), _ = trained
    told = {task.name: evaluate_task(model, task, "valid") for task in (label, fill)}
    plain = [
        tiny.label_task(valid=tiny.label_rows(9), metrics=[]),
        tiny.fill_task(valid=tiny.label_rows(5), metrics=[]),
    ]
    made, generate = [], room.flow.generate
    monkeypatch.setattr(room.flow, "generate", lambda *given: made.append(given) or generate(*given))
    for task in plain:
        found = evaluate_task(model, task, "valid")
        assert found == {name: told[task.name][name] for name in ("loss", "samples")}
    assert not made
    classes: dict[str, Confusion] = {}
    evaluate_task(model, plain[0], "valid", classes=classes)
    assert len(made) == 1
    assert classes["label"].hits.total() / 9 == pytest.approx(told["label"]["accuracy"])
    evaluate_task(model, plain[1], "valid", classes={})
    assert len(made) == 1


def test_labels_with_several_right_answers_have_no_confusion(tmp_path):
    rows = [{**row, "ways": [row["label"], "red"]} for row in tiny.label_rows(8)]
    task = tiny.label_task(train=rows, valid=rows, references={"label": "ways"}, metrics=["accuracy"])
    model = Trainer(max_steps=2, warmup=1, live=False).fit(model=tiny.model(), tasks=[task])
    classes: dict[str, Confusion] = {}
    evaluate_task(model, task, "valid", classes=classes)
    assert classes == {}


def test_rows_that_cannot_be_read_are_counted_where_asked_for(trained):
    model, _, _ = trained
    task = tiny.label_task(valid=tiny.label_rows(6, bad=(2, 5)), closed_set=list(tiny.COLOURS))
    program = bind(task.plan, model.symbols, task.labels)
    found = answer_rows(model, task, "valid", program, batch_size=2, stop=False)
    assert found.rows == [0, 1, 3, 4]
    assert [row for row, _ in found.bad] == [2, 5]
    assert len(found.predictions) == len(found.references) == len(found.answers) == 4
    with pytest.raises(DataError, match="valid row 2"):
        answer_rows(model, task, "valid", program)


def test_rows_are_read_as_they_are_whatever_is_computed_in():
    """A sound is made frames in float32, in the midst of an evaluation in bfloat16 too."""
    wave = (np.sin(np.arange(800) / 9).astype(np.float32), 8000)
    rows = [{"t": "hum", "wav": wave}]
    task = Task("say", "[TEXT:t] -> [AUDIO:wav,rate=8000,mels=16]", train=rows, valid=rows, generate={"max_length": 2})
    model = tiny.model()
    Trainer(max_steps=1, precision="bfloat16", live=False).fit(model=model, tasks=task)
    assert model.precision == "bfloat16"
    assert np.isfinite(evaluate_task(model, task, "valid")["loss"])
