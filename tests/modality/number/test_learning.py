"""A tiny model learns numbers, in any unit, with the spread of their error; and what may stand beside them."""

from __future__ import annotations

import json

import commands
import numpy as np
import pytest
import torch

from ofasys import ConfigError, DataError, GeneralistModel, OFASys, Task, Trainer, plan
from ofasys.errors import InstructionError, PlanError
from ofasys.metric import calibration, r2, rmse
from ofasys.model.sizes import ModelConfig

CONFIG = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, dropout=0.0, max_positions=64)
LINE = "[NUMBER:x] -> [NUMBER:y]"


def rows(n=500, unit=1.0, noise=1.0, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(100, 5, n)
    y = 3 * x + noise * random.normal(size=n)
    kinds = random.integers(0, 2, n)
    return [
        {
            "x": float(a),
            "y": float(b * unit),
            "z": float((b + 40 * k) * unit),
            "kind": ("flat", "house")[k],
            "t": f"no {k}",
        }
        for a, b, k in zip(x, y, kinds, strict=True)
    ]


def trained(line, data, steps, lr=5e-3, model=None, **options):
    torch.set_num_threads(1)
    model = model or GeneralistModel(config=CONFIG, text_pieces=280)
    task = line if isinstance(line, Task) else Task("t", line, train=data[:400], micro_batch_size=50)
    Trainer(max_steps=steps, lr=lr, warmup=10, live=False, **options).fit(model=model, tasks=task)
    return model


def answers(model, line, data, column):
    return [out[column] for out in OFASys(model.eval()).inference(line, data=data)]


@pytest.mark.slow
@pytest.mark.parametrize("unit", [1e-6, 1e9])
def test_a_line_with_noise(unit):
    data = rows(unit=unit)
    said = answers(trained(LINE, data, 200), LINE, data[400:], "y")
    true = [row["y"] for row in data[400:]]
    assert r2(said, true)["r2"] > 0.98  # the noise leaves 0.9956
    assert np.mean([one.spread for one in said]) == pytest.approx(unit, rel=0.25)  # as is the noise
    found = calibration(said, true)
    assert 0.75 < found["within_90"] <= 1
    assert found["calibration_error"] < 0.12


@pytest.mark.slow
def test_a_number_a_label_and_a_text_tell_a_number():
    line = "what does a [CATEGORY:kind] of [NUMBER:x] cost? [TEXT:t] -> [NUMBER:z]"
    data = rows()
    task = Task("t", line, train=data[:400], micro_batch_size=50, closed_set={"kind": ["flat", "house"]})
    model = trained(task, data, 100, lr=1e-2, optimizer="muon")
    said = [out.number for out in OFASys(model.eval()).inference(line, data=data[400:], closed_set=["flat", "house"])]
    assert r2(said, [row["z"] for row in data[400:]])["r2"] > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["mse", "huber,delta=0.5", "gaussian,beta=0"])
def test_other_criteria_learn_too(criterion):
    line = f"[NUMBER:x] -> [NUMBER:y,criterion={criterion}]"
    data = rows(seed=1)
    said = answers(trained(line, data, 200), line, data[400:], "y")
    assert r2(said, [row["y"] for row in data[400:]])["r2"] > 0.98
    assert all(one.spread > 0 for one in said)


@pytest.mark.slow
def test_what_comes_after_sees_the_number():
    """The sign of a number that is drawn from the source is told after it, from what was answered."""
    line = "[TEXT:t] -> [NUMBER:n] is [TEXT:sign,closed_set]"
    data = [{"t": f"row {i}", "n": float(i - 3.5), "sign": "above" if i > 3 else "below"} for i in range(8)] * 10
    task = Task("t", line, train=data, micro_batch_size=40)
    model = trained(task, data, 150)
    for out, row in zip(
        OFASys(model.eval(), []).inference(line, data=data[:8], closed_set=["above", "below"]), data, strict=False
    ):
        assert out["sign"] == row["sign"]
        assert out["n"] == pytest.approx(row["n"], abs=1.0)


def grown(*lines, labels=None):
    data = [
        {"x": float(i), "y": i * 1e6, "t": f"no {i}", "u": "a", "xs": [1.0, float(i)], "k": "ab"[i % 2]}
        for i in range(6)
    ]
    tasks = [Task(f"t{i}", line, train=data) for i, line in enumerate(lines)]
    model = GeneralistModel(config=CONFIG, text_pieces=280)
    model.grow([(t.plan, t.labels) for t in tasks], lambda: [w for t in tasks for w in t.texts()], tasks[0].examples)
    return OFASys(model.eval()), data


def test_each_column_has_a_scale_and_weights_of_its_own():
    model, _ = grown("[NUMBER:x] and [NUMBER:y] -> [TEXT:u]")
    assert set(model.model.fitted) == {"number_scaled_x_linear", "number_scaled_y_linear"}
    unit = [float(model.model.fitted[f"number_scaled_{name}_linear"]["unit"][0]) for name in "xy"]
    assert unit[1] == pytest.approx(unit[0] * 1e6)
    keys = {key for key in model.model.adaptors if key.startswith("number")}
    assert keys == {"number_waves_x_linear", "number_waves_y_linear"}
    assert "number_waves_x_linear_1%2E5_0%2E5" in grown("[NUMBER:x,mean=1.5,std=0.5] -> [TEXT:u]")[0].model.adaptors


def test_columns_of_any_name(tmp_path):
    names = ("a.b", "a%2Eb", "a/b", "preis in €", "a b")
    data = [{name: float(i * 10**k) for k, name in enumerate(names)} | {"t": f"no {i}"} for i in range(6)]
    line = "[TEXT:t] -> " + " ".join(f'[NUMBER:"{name}"]' for name in names)
    model = trained(Task("t", line, train=data), data, 1, out=tmp_path)
    before, after = (
        one.inference(line, data=data[1]) for one in (OFASys(model.eval()), OFASys.from_pretrained(tmp_path))
    )
    assert before.values == after.values
    assert before.spreads == after.spreads
    assert len({key for key in model.fitted if key.startswith("number")}) == len(names)


def test_a_series_and_where_it_ends_are_learned(tmp_path):
    """Each number is made after those before it, and whether another comes after it."""
    line = "from [NUMBER:start] count -> ([NUMBER:next])*"
    data = [{"start": float(s), "next": [float(k) for k in range(s + 1, 5)]} for s in range(5)]
    task = Task("count", line, train=data * 4, valid=data, metrics=["exact_match"], micro_batch_size=20)
    model = GeneralistModel(config=CONFIG, seed=0)
    trainer = Trainer(max_steps=100, lr=6e-3, warmup=10, out=tmp_path)
    trainer.fit(model=model, tasks=[task])
    assert trainer.evaluate(model=model, tasks=[task])["count"]["loss"] < 1.0  # with one guess for all it is above 1.5
    outs = OFASys.from_pretrained(tmp_path).inference(line, data=[{"start": row["start"]} for row in data])
    for out, row in zip(outs, data, strict=True):
        assert out["next"] == pytest.approx(row["next"], abs=0.3)
    assert str(outs[4]) == "(none)"
    made = commands.run(["infer", str(tmp_path), line, "start=2", "--json"])
    (answer,) = map(json.loads, made.stdout.splitlines())
    assert answer["next"] == pytest.approx(outs[2]["next"], rel=1e-5)
    assert answer["next_spread"] == pytest.approx(outs[2].spreads["next"], rel=1e-5)


def test_where_it_may_stand():
    lines = (
        "([NUMBER:xs])* add -> [TEXT:u]",
        "-> [TEXT:t] costs [NUMBER:x] or [NUMBER:y] [TEXT:u]",
        "-> [TEXT:t,no_loss] of [NUMBER:y,no_loss] is [NUMBER:x]",
        "[NUMBER:x,criterion=classify,classify_target=k] ->",
    )
    for line in lines:
        model, data = grown(line)
        closed = {"closed_set": {"k": ["a", "b"]}} if "classify" in line else {}
        out = model.inference(line, data=data[0], **closed, **({"max_length": 4} if "TEXT:u" in line else {}))
        for column in {"x", "y"} & set(out.values):
            assert type(out[column]).__name__ == "Number"
            assert out[column].spread > 0
        if "costs" in line:
            assert out.number == out["x"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[TEXT:t] -> ([NUMBER:x,no_loss])* [TEXT:u]", "no_loss inside a repetition of the target is not there yet"),
        ("-> [NUMBER:x,closed_set]", "NUMBER does not take closed_set; leave it out"),
        ("-> [NUMBER:x,max_length=3]", "NUMBER does not take max_length; leave it out"),
        ("-> [NUMBER:x,mean=3]", "mean=3 without std; give both, or neither"),
        ("-> [NUMBER:x,std=3]", "std=3 without mean; give both, or neither"),
        ("-> [NUMBER:x,mean=3,std=0]", "std=0; give what the numbers deviate by, above 0"),
        ("-> [NUMBER:x,lo=3,hi=3]", "lo=3 is not below hi=3; give the least number as lo"),
        ("-> [NUMBER:x,scale=log,hi=-1]", "scale=log reads numbers above 0, and hi=-1 leaves none"),
        (
            "-> [NUMBER:x,criterion=cross_entropy]",
            "no criterion 'cross_entropy' for NUMBER as a target; .*gaussian, huber, mse",
        ),
        ("-> [NUMBER:x,generator=search]", "no generator 'search' for NUMBER; there are regress"),
        ("[NUMBER:x,beta=0.5] -> [TEXT:t]", "beta"),
        ("-> [NUMBER:x,beta=2]", "beta is a number from 0 to 1, not '2'"),
        ("-> [NUMBER:x,scale=cubic]", "scale"),
    ],
)
def test_what_cannot_be_planned(line, says):
    with pytest.raises((PlanError, InstructionError), match=says):
        plan(line)


def test_options_of_a_search_are_refused_where_they_do_nothing():
    model, data = grown("[NUMBER:x] -> [NUMBER:y]", "[NUMBER:x] -> [NUMBER:y] [TEXT:u]")
    for option, why in (
        ({"max_length": 9}, "a number takes one position; leave it out"),
        ({"beam_size": 3}, "no slot is answered by a search; leave it out"),
        ({"sampling": True}, "no slot is answered by a search"),
        ({"steps": 3}, "steps reaches no slot"),
    ):
        with pytest.raises(ConfigError, match=why):
            model.inference("[NUMBER:x] -> [NUMBER:y]", data=data[0], **option)
    assert model.inference("[NUMBER:x] -> [NUMBER:y] [TEXT:u]", data=data[0], max_length=3).text is not None


def test_a_bad_row_says_where():
    model, data = grown("[NUMBER:x] -> [NUMBER:y]")
    with pytest.raises(
        DataError, match=r"got str '1,5' \(slot 'NUMBER:x', column 'x', sample 'row 1'\); .*with a point"
    ):
        model.inference("[NUMBER:x] -> [NUMBER:y]", data=[data[0], {"x": "1,5"}])
    with pytest.raises(DataError, match=r"the value is missing \(None\) \(slot 'NUMBER:x'"):
        model.inference("[NUMBER:x] -> [NUMBER:y]", data={"x": None})


@pytest.mark.slow
def test_a_model_without_numbers_is_given_some(tmp_path):
    """It grows; what it had stays as it was until it is trained; saved and loaded it answers the same."""
    data = rows(20)
    model = trained("[TEXT:t] -> [TEXT:kind,closed_set]", data, 2)
    table = model.table.detach().clone()
    both = [
        Task("old", "[TEXT:t] -> [TEXT:kind,closed_set]", train=data),
        Task("new", LINE, train=data, valid=data, metrics=["rmse", "mae", "r2", "calibration"]),
    ]
    model.grow([(t.plan, t.labels) for t in both], list, both[1].examples)
    assert torch.equal(model.table[: len(table)], table)
    trainer = Trainer(max_steps=2, warmup=1, live=False, out=tmp_path)
    trainer.fit(model=model, tasks=both)
    loaded = OFASys.from_pretrained(tmp_path)
    before, after = (one.inference(LINE, data=data[:3]) for one in (OFASys(model.eval()), loaded))
    for one, other in zip(before, after, strict=True):
        assert (one.number, one.number.spread) == (other.number, other.number.spread)
    figures = trainer.evaluate(model=model, tasks=[both[1]], split="valid")["new"]
    assert figures["rmse"] == pytest.approx(
        rmse([o.number for o in loaded.inference(LINE, data=data)], [r["y"] for r in data])["rmse"]
    )
    assert {"mae", "r2", "calibration_error", "within_90", "crps", "nll", "spread"} <= set(figures)


def test_numbers_may_be_written_as_csv_has_them(tmp_path):
    (tmp_path / "rows.csv").write_text("x,y\n1,3e6\n2.5, 4.5\n-3,7\nx,8\n,9\n")
    task = Task("t", LINE, train=tmp_path / "rows.csv")
    model = trained(task, [], 1)
    assert float(model.fitted["number_scaled_x_linear"]["middle"][0]) == 1.0


def test_resumed_it_goes_on_as_if_it_had_never_stopped(tmp_path):
    def run(folder, steps):
        task = Task("t", LINE, train=rows(40), micro_batch_size=8)
        model = GeneralistModel(config=CONFIG, text_pieces=280)
        Trainer(max_steps=steps, lr=1e-3, warmup=1, decay="constant", live=False, out=folder).fit(
            model=model, tasks=task
        )
        return model

    run(tmp_path / "parts", 3)
    parts, whole = run(tmp_path / "parts", 6), run(tmp_path / "whole", 6)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, parts.state_dict()[name]), name
