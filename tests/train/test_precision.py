"""What a run computes in: measured where it is not known, kept from then on, and the same for training and
answering.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ofasys import ConfigError, GeneralistModel, OFASys, Task, Trainer
from ofasys.flow import collate, preprocess
from ofasys.model.sizes import SIZES
from ofasys.train import precision
from ofasys.train.evaluate import Judged
from tests.laws.test_accumulate import CONFIG, LINES, ROWS

CPU = torch.device("cpu")


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine whose products and steps take as long as is said: (float32, bfloat16); and how many steps were
    tried.
    """
    monkeypatch.delenv(precision.VARIABLE, raising=False)
    said: dict[str, Any] = {"product": (1.0, 1.0), "step": (1.0, 1.0), "steps": 0, "products": 0, "now": 0.0}

    def takes(kind: str, name: str) -> None:
        said["now"] += said[kind][precision.PRECISIONS.index(name)]
        said[f"{kind}s"] += 1

    trial = precision.measured

    def measured(config: Any, make: Any) -> precision.Precision:
        def made() -> Any:
            step = make()

            def run(name: str) -> None:
                step(name)
                takes("step", name)

            return None if step is None else run

        return trial(config, made)

    monkeypatch.setattr(precision, "clock", lambda: said["now"])
    monkeypatch.setattr(precision, "_product", lambda config, name: takes("product", name))
    monkeypatch.setattr(precision, "measured", measured)
    return said


def run(folder: Path | None, steps: int = 2, **settings: Any) -> tuple[Trainer, GeneralistModel]:
    trainer = Trainer(max_steps=steps, out=folder, live=False, decay="constant", **settings)
    model = GeneralistModel(config=CONFIG, text_pieces=300)
    trainer.fit(model=model, tasks=Task("t", LINES["two slots"], train=ROWS, micro_batch_size=2))
    return trainer, model


@pytest.mark.parametrize(
    ("product", "step", "chosen", "steps"),
    [
        ((4.0, 1.0), (2.0, 1.0), "bfloat16", 6),
        ((4.0, 1.0), (1.1, 1.0), "float32", 6),
        ((1.0, 1.0), (2.0, 1.0), "float32", 0),
        ((1.0, 100.0), (1.0, 100.0), "float32", 0),
        ((4.0, 1.0), (1.0, 9.0), "float32", 3),
    ],
)
def test_it_is_what_is_clearly_faster(
    product: tuple[float, float], step: tuple[float, float], chosen: str, steps: int, speeds: dict[str, Any]
) -> None:
    speeds |= {"product": product, "step": step}
    _, model = run(None)
    assert model.precision == chosen
    assert speeds["steps"] == steps
    assert speeds["products"] <= (3 if product[1] > 9 else 12)  # a machine that emulates it is asked thrice at most


def test_to_measure_changes_nothing(speeds: dict[str, Any]) -> None:
    speeds |= {"product": (4.0, 1.0), "step": (1.0, 1.0)}
    one, measured = run(None)
    assert speeds["steps"]
    other, told = run(None, precision="float32")
    assert one.history[0]["loss"] == other.history[0]["loss"]
    assert all(torch.equal(p, q) for p, q in zip(measured.parameters(), told.parameters(), strict=True))


def test_a_run_keeps_what_it_chose(tmp_path: Path, speeds: dict[str, Any]) -> None:
    speeds |= {"product": (4.0, 1.0), "step": (2.0, 1.0)}
    run(tmp_path / "a")
    told = json.loads((tmp_path / "a" / "run.json").read_text())["precision"]
    assert told == {
        "name": "bfloat16",
        "why": "a step runs 2.00 times as fast in bfloat16, products of this width 4.00 times as fast",
    }
    speeds |= {"step": (1.0, 1.0), "steps": 0}
    _, model = run(tmp_path / "a", steps=4)
    assert (model.precision, speeds["steps"]) == ("bfloat16", 0)
    _, model = run(tmp_path / "a", steps=6, precision="float32")
    assert model.precision == "float32"
    assert OFASys.from_pretrained(tmp_path / "a").model.precision == "float32"


def test_so_does_one_that_ended_before_its_first_checkpoint(tmp_path: Path, speeds: dict[str, Any]) -> None:
    speeds |= {"product": (4.0, 1.0), "step": (1.0, 1.0)}
    (tmp_path / "run.json").write_text(json.dumps({"precision": {"name": "bfloat16", "why": "it was so"}}))
    _, model = run(tmp_path)
    assert (model.precision, speeds["steps"]) == ("bfloat16", 0)


@pytest.mark.parametrize("odd", ["", "[]", "{}", '{"precision": "half"}', '{"precision": {"name": "half"}}'])
def test_an_odd_record_is_no_choice(odd: str, tmp_path: Path, speeds: dict[str, Any]) -> None:
    speeds |= {"product": (4.0, 1.0), "step": (2.0, 1.0)}
    (tmp_path / "run.json").write_text(odd)
    assert run(tmp_path)[1].precision == "bfloat16"


def test_what_needs_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision.asked("bfloat16", CPU) == precision.Precision("bfloat16", "asked for")
    monkeypatch.setenv(precision.VARIABLE, "bfloat16")
    assert precision.asked("auto", CPU) == precision.Precision("bfloat16", "OFASYS_PRECISION=bfloat16")
    monkeypatch.setenv(precision.VARIABLE, "half")
    with pytest.raises(
        ConfigError, match="OFASYS_PRECISION is 'half'; it is 'float32', 'bfloat16' or 'float16', or not"
    ):
        precision.asked("auto", CPU)
    monkeypatch.delenv(precision.VARIABLE)
    assert precision.asked("auto", CPU) is None
    assert precision.measured(SIZES["tiny"].width, lambda: None).name == "float32"  # nothing to try it with


@pytest.mark.parametrize("name", ["cross_entropy", "repetition", "frames", "gaussian", "ctc", "classify"])
def test_training_and_evaluation_are_one_computation(name: str) -> None:
    """Under bfloat16 the loss of a batch is the same, bit for bit, and another than in float32."""
    task = Task("t", LINES[name], train=ROWS)
    model = GeneralistModel(config=CONFIG, text_pieces=300)
    model.grow([(p, task.labels) for p in task.plans], task.texts, task.examples)
    model.eval()  # the prenet of frames has dropout
    program = model.bind(task.plan, task.labels)
    samples = [preprocess(program, row) for row in ROWS]
    losses = {}
    for model.precision in precision.PRECISIONS:
        batch = collate(program, samples)
        trained, judged = model(program, batch), Judged()
        assert trained.total.requires_grad
        with torch.no_grad(), model.answering(), model.computing():
            judged.add(model, program, samples)
        losses[model.precision] = trained.sums.tolist()
        assert {slot: value for slot, (value, _) in judged.slots.items()} == {
            slot: value for slot, value in enumerate(losses[model.precision]) if batch.counts[slot]
        }
    assert losses["float32"] != losses["bfloat16"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)


def test_a_saved_model_answers_in_what_it_learned_in(tmp_path: Path) -> None:
    _, model = run(tmp_path / "run", precision="bfloat16")
    loaded = OFASys.from_pretrained(tmp_path / "run")
    assert loaded.model.precision == "bfloat16"
    asked = {"data": ROWS, "max_length": 6}
    answers = [out.values for out in loaded.inference(LINES["two slots"], **asked)]
    assert answers == [out.values for out in OFASys(model).inference(LINES["two slots"], **asked)]
    exact = OFASys.from_pretrained(tmp_path / "run", precision="float32")
    assert exact.model.precision == "float32"
    with pytest.raises(ConfigError, match="precision is 'half'; it is 'float32', 'bfloat16' or 'float16', 'int8' or"):
        OFASys.from_pretrained(tmp_path / "run", precision="half")
