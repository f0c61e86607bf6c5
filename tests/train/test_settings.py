import inspect
from dataclasses import fields, replace

import pytest

from ofasys import ConfigError, GeneralistModel, Task, Trainer
from ofasys.arguments import TRAINER_CALLED
from tests.train import tiny


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rate": 1e-3}, "trainer has no 'learning_rate'; here it is called lr"),
        ({"num_train_epochs": 3}, "here it is called epochs"),
        ({"batch_size": 8}, r"give Task\(..., micro_batch_size=...\): it is a task's"),
        ({"bf16": True}, "give precision='bfloat16'"),
        ({"warmpu": 3}, "did you mean warmup"),
        ({"max_steps": "10"}, "trainer has max_steps='10'; it is a whole number"),
        ({"max_steps": True}, "trainer has max_steps=True"),
        ({"lr": "1e-3"}, "trainer has lr='1e-3'; it is a number"),
        ({"betas": 0.9}, "trainer has betas=0.9; it is 2 numbers"),
        ({"schedule": 3}, "not a schedule: 3"),
        ({"epochs": 0}, "trainer.epochs is 0; it is more than 0"),
        ({"epochs": 2, "max_steps": 7}, "both say how long the run is"),
        ({"epochs": 3, "max_steps": 1000}, "both say how long the run is"),
        ({"lr": float("inf")}, "trainer.lr is inf"),
        ({"betas": (1, 2)}, r"trainer.betas is \(1, 2\)"),
        ({"out": ""}, "trainer.out is empty"),
        ({"device": "cuda:x"}, "trainer.device is 'cuda:x'"),
        ({"device": "cpu:7"}, "trainer.device is 'cpu:7'"),
        ({"patience": 2}, "trainer.patience is 2, and eval_every 0"),
        ({"save_minutes": -1}, "trainer.save_minutes"),
    ],
)
def test_what_cannot_be_is_answered(given, message):
    with pytest.raises(ConfigError, match=message):
        Trainer(**given)


def test_a_setting_without_its_name_is_answered():
    with pytest.raises(ConfigError, match=r"by name, as max_steps=10"):
        Trainer(10)


def test_every_name_answered_is_one_that_there_is_and_is_no_setting_itself():
    known = {field.name for field in fields(Trainer) if field.init}
    assert {there for there in TRAINER_CALLED.values() if there.isidentifier()} <= known
    assert not known & TRAINER_CALLED.keys()
    assert list(inspect.signature(Trainer).parameters) == [field.name for field in fields(Trainer) if field.init]


def test_a_trainer_with_epochs_can_be_replaced():
    assert replace(Trainer(epochs=2), out="x").epochs == 2
    assert replace(Trainer(), epochs=2).epochs == 2
    assert Trainer().steps([]) == 1000


@pytest.mark.parametrize("limit", [0, -1, 1.5, "x", True])
def test_a_limit_that_is_no_number_of_rows_is_answered(limit):
    with pytest.raises(ConfigError, match=r"limit is .*1 or more"):
        Trainer().evaluate(model=tiny.model(), tasks=tiny.label_task(), limit=limit)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (None, "tasks holds a NoneType; give a Task"),
        ("x", "holds a str"),
        ([1], "holds a int"),
        ([], "there is no task"),
    ],
)
def test_what_is_no_task_is_answered(tasks, message):
    with pytest.raises(ConfigError, match=message):
        Trainer(live=False).fit(model=tiny.model(), tasks=tasks)


def test_model_and_tasks_may_be_given_by_position():
    trainer = Trainer(max_steps=1, live=False)
    assert trainer.check("tiny", tiny.label_task())
    model = trainer.fit(tiny.model(), tiny.label_task())
    assert trainer.evaluate(model, tiny.label_task(), split="valid", limit=1)["label"]
    with pytest.raises(ConfigError, match="model is list; give GeneralistModel"):
        trainer.fit([tiny.label_task()], model)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"settings": 5}, "task 't' has settings=5; it is a mapping"),
        ({"generate": [1]}, r"task 't' has generate=\[1\]; it is a mapping"),
        ({"instruction": None}, "an instruction of NoneType"),
        ({"instruction": 3}, "an instruction of int"),
        ({"loss_weight": float("inf")}, "loss_weight=inf; it is more than 0, and at most"),
    ],
)
def test_a_task_answers_values_of_another_kind(given, message):
    with pytest.raises(ConfigError, match=message):
        Task("t", **({"instruction": tiny.LABEL} | given))


@pytest.mark.parametrize("given", [{"seed": 10**30}, {"text_pieces": 255}])
def test_a_model_answers_numbers_that_cannot_be(given):
    with pytest.raises(ConfigError, match=f"model has {next(iter(given))} "):
        GeneralistModel(**given)


@pytest.mark.parametrize(
    ("sizes", "epochs", "accumulate", "steps"),
    [
        ([(12, 4)], 1, 1, 3),
        ([(13, 4)], 1, 1, 4),
        ([(13, 4)], 3, 1, 10),
        ([(12, 4)], 2, 4, 2),
        ([(12, 4), (4, 4)], 1, 1, 0),
    ],
)
def test_epochs_are_steps(sizes, epochs, accumulate, steps):
    """Several tasks: the fewest steps in which each has been drawn as often as its rows ask."""
    tasks = [
        tiny.label_task(f"t{i}", train=tiny.label_rows(n), micro_batch_size=size) for i, (n, size) in enumerate(sizes)
    ]
    trainer = Trainer(epochs=epochs, accumulate=accumulate)
    found = trainer.steps(tasks)
    if len(tasks) == 1:
        assert found == steps
    else:
        ledger = settings_ledger(tasks)
        assert all(ledger.positions(found)[f"t{i}"] >= n / size for i, (n, size) in enumerate(sizes))
        assert any(ledger.positions(found - 1)[f"t{i}"] < n / size for i, (n, size) in enumerate(sizes))


def settings_ledger(tasks):
    from ofasys.task.schedule import Ledger

    return Ledger("round_robin", [task.entry() for task in tasks])


def test_a_run_of_epochs_has_so_many_steps(tmp_path):
    trainer = Trainer(epochs=2, out=tmp_path, live=False)
    trainer.fit(model=tiny.model(), tasks=tiny.label_task(valid=None))
    assert trainer.history[-1]["step"] == 6
    assert trainer.history[-1]["samples"] == 24


@pytest.mark.parametrize(
    "settings", [{}, {"accumulate": 2, "precision": "bfloat16"}, {"groups": [{"match": "engine.*", "lora": 2}]}]
)
def test_a_run_that_recomputes_its_blocks_learns_the_same(settings):
    weights = []
    for recompute in (False, True):
        trainer = Trainer(
            **({"max_steps": 4, "live": False, "precision": "float32", "recompute": recompute} | settings)
        )
        model = trainer.fit(model=tiny.model(dropout=0.2), tasks=[tiny.label_task(), tiny.box_task()])
        assert not model.engine.recompute
        weights.append(tiny.weights(model))
    assert tiny.same_weights(*weights)


def test_an_engine_that_cannot_recompute_is_refused(monkeypatch):
    monkeypatch.delattr("ofasys.model.universal.UniversalModel.recompute")
    with pytest.raises(
        ConfigError, match=r"trainer\.recompute is True, and engine 'transformer' does not have an attribute"
    ):
        Trainer(max_steps=1, recompute=True, live=False).fit(model=tiny.model(), tasks=tiny.label_task())
