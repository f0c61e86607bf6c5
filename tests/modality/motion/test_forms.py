"""MOTION in every kind of sentence: a loss, a gradient, an answer."""

import numpy as np
import pytest
import torch

from ofasys import OFASys, Trainer, flow, plan
from ofasys.errors import ConfigError, DataError, PlanError
from ofasys.generalist import GeneralistModel
from ofasys.modality.motion.motion import Motion
from ofasys.model.sizes import ModelConfig
from ofasys.task.task import Task
from tests.modality.motion import bodies

CONFIG = ModelConfig(width=16, heads=2, ffn=32, encoder_layers=1, decoder_layers=1, dropout=0.0, max_positions=160)
ROWS = [
    {
        "t": "go",
        "x": "it went",
        "m": bodies.walker(k, frames=7 + k),
        "n": bodies.walker(k).positions,
        "label": ("a", "b", "a")[k],
    }
    for k in range(3)
]
FORMS = [
    "do [TEXT:t] -> [MOTION:m]",
    "do [TEXT:t] -> [MOTION:m,stride=3,predict=noise,frames=9]",
    "do [TEXT:t] -> [TEXT:x] [MOTION:m]",
    "do [TEXT:t] -> [MOTION:m] [TEXT:x]",
    "do [TEXT:t] -> it [TEXT:x] so [MOTION:m] and [MOTION:n,skeleton=other] then [TEXT:t]",
    "-> [MOTION:m]",
    "-> [MOTION:m,features=positions,start=world]",
    "[MOTION:m] -> [MOTION:m,frames=5]",
    "[MOTION:m] -> [MOTION:n,skeleton=other]",
    "[MOTION:m] what is it? -> [TEXT:x]",
    "([MOTION:m])* what are they? -> [TEXT:x]",
    "do [TEXT:t] -> [MOTION:m,no_loss] [TEXT:x]",
    "do [TEXT:t] -> [MOTION:m,no_loss] [MOTION:m]",
    "[MOTION:m,criterion=classify,classify_target=label] ->",
    "[MOTION:m|TEXT:t] ->",
]


def grown(text):
    rows = [row | ({"m": [row["m"]] * 2} if ")*" in text else {}) for row in ROWS]
    labels = {"label": ("a", "b")} if "label" in text else None
    task = Task("task", text, train=rows, closed_set=labels)
    torch.manual_seed(0)
    model = GeneralistModel(config=CONFIG, text_pieces=280)
    model.grow([(task.plan, task.labels)], lambda: iter(task.texts()), task.examples)
    return model, task, rows


@pytest.mark.parametrize("text", FORMS)
def test_forms(text):
    model, task, rows = grown(text)
    program = flow.bind(model, task.plan, task.labels)
    random = np.random.default_rng(0)
    batch = flow.collate(program, [flow.preprocess(program, row, training=True, random=random) for row in rows])
    loss = model(program, batch)
    assert torch.isfinite(loss.total)
    loss.total.backward()
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    closed = {"label": ["a", "b"]} if "label" in text else None
    out = OFASys(model.eval()).inference(
        text,
        data=rows,
        closed_set=closed,
        max_length=4,
        **({"steps": 3} if any(slot.kind == "noise" for slot in task.plan.slots) else {}),
    )[1]
    for slot in task.plan.on("target"):
        if slot.kind == "noise":
            assert isinstance(out[slot.column], Motion)
            assert len(out[slot.column]) == slot.values["frames"]


def test_a_value_too_long_for_the_model_is_an_error():
    model, task, _ = grown("do [TEXT:t] -> [MOTION:m,frames=150]")
    assert flow.preprocess(flow.bind(model, task.plan, task.labels), ROWS[0])
    long = plan(str(task.plan.instruction).replace("frames=150", "frames=200"))
    with pytest.raises(PlanError, match="MOTION:m takes 200 positions, the model has 160; make it shorter"):
        flow.bind(model, long, task.labels)


def test_bad_rows_end_no_run(tmp_path):
    (tmp_path / "broken.bvh").write_text("HIERARCHY\nROOT Hips")
    bad = [None, float("nan"), str(tmp_path / "nowhere.bvh"), str(tmp_path / "broken.bvh"), np.zeros((4, 3, 3))]
    rows = [{"t": "go", "m": value} for value in bad] + ROWS
    task = Task("move", "do [TEXT:t] -> [MOTION:m,frames=6]", train=rows, micro_batch_size=4)
    trainer = Trainer(max_steps=4, warmup=1, out=tmp_path / "run", live=False)
    model = trainer.fit(model=GeneralistModel(config=CONFIG, text_pieces=280), tasks=task)
    assert len((tmp_path / "run" / "quarantine.jsonl").read_text().splitlines()) == len(bad)
    assert len(OFASys(model).inference(str(task.instructions[0]), data={"t": "go"}, steps=2).motion) == 6


def test_guidance_reaches_only_what_is_made_from_noise():
    model, _, rows = grown("do [TEXT:t] -> [MOTION:m]")
    asked = OFASys(model.eval())
    assert asked.inference("do [TEXT:t] -> [MOTION:m]", data=rows[0], steps=2, guidance_weight=3).motion
    with pytest.raises(ConfigError, match="step"):
        asked.inference("do [TEXT:t] -> [MOTION:m]", data=rows[0], stepz=2)
    with pytest.raises(DataError, match="a sentence takes 60001 places, the model has 160"):
        asked.inference("do [TEXT:t] -> [MOTION:m]", data=rows[0], length=60_000)
    with pytest.raises(ConfigError, match="length is a whole number from 1 to 65536"):
        asked.inference("do [TEXT:t] -> [MOTION:m]", data=rows[0], length=10**9)
    with pytest.raises(ConfigError, match="guidance_weight"):
        asked.inference("do [TEXT:t] -> [MOTION:m]", data=rows[0], guidance_weight=-1)
