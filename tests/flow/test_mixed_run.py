"""Tasks of every kind of target in one run: they train, evaluate and answer together, and a run that stops goes on the
same.
"""

import numpy as np
import pytest
import torch

from ofasys import GeneralistModel, OFASys, Task, Trainer
from ofasys.model.sizes import ModelConfig

CONFIG = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=2, decoder_layers=2, max_positions=256, max_grid=16)
WORDS = ("one", "two", "three", "four")


def sound(i):
    t = np.arange(4000) / 16000
    return (0.3 * np.sin(2 * np.pi * (200 + 150 * i) * t)).astype(np.float32), 16000


def motion(i):
    t = np.arange(12)[:, None, None] / 4
    rest = np.array([[0, 0, 0], [0, 1, 0], [0, 2, 0.5]], dtype=np.float64)
    return rest[None] + 0.3 * np.sin(t * (i + 1) + np.arange(3)[None, :, None])


def picture(i):
    return np.full((16, 16, 3), 60 * i, dtype=np.uint8)


ROWS = [
    {
        "w": w,
        "wav": sound(i),
        "m": motion(i),
        "img": picture(i),
        "v": [picture(i), picture(i + 1)],
        "kind": "ab"[i % 2],
        "g": [[i, 1], [2, 3]],
    }
    for i, w in enumerate(WORDS)
]
LINES = {
    "motion": "[TEXT:w] -> [MOTION:m,fps=10,frames=12]",
    "plan_motion": "[TEXT:kind] -> [TEXT:w] [MOTION:m,fps=10,frames=12]",
    "speech": "[TEXT:w] -> [AUDIO:wav,mels=16,reduction=4]",
    "spoken": "[AUDIO:wav,mels=16,criterion=ctc,ctc_target=w] ->",
    "both": "[AUDIO:wav,mels=16,criterion=ctc,ctc_target=w,weight=0.5] -> [TEXT:w]",
    "match": "[IMAGE:img,size=16|TEXT:w] ->",
    "kind": "[TEXT:w,criterion=classify,classify_target=kind] ->",
    "draw": "[TEXT:w] -> [IMAGE:img,size=16,patch=4,codes=64,fit_steps=2]",
    "paint": "-> [IMAGE:img,size=16,patch=4,codes=64,fit_steps=2]",
    "film": "[TEXT:w] -> [VIDEO:v,size=16,patch=8,frames=2,codes=64,fit_steps=2]",
    "grid": "[STRUCT:g,preprocess=grid,rows=2,columns=2] -> [STRUCT:g,preprocess=grid,rows=2,columns=2]",
    "text": "-> [TEXT:w]",
    "after": "[TEXT:w] -> [AUDIO:wav,mels=16,reduction=4,max_length=8] [TEXT:kind]",
}


def tasks():
    return [Task(name, line, train=ROWS, valid=ROWS[:2], micro_batch_size=2) for name, line in LINES.items()]


def run(out, *stops):
    for stop in stops:
        model = GeneralistModel(config=CONFIG, text_pieces=300)
        trainer = Trainer(max_steps=stop, out=out, live=False, log_every=1, warmup=1, decay="constant", eval_every=100)
        trainer.fit(model=model, tasks=tasks())
    return model, trainer


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return out, *run(out, 2 * len(LINES))


@pytest.mark.slow
def test_every_kind_trains_in_one_run_and_answers(whole):
    out, model, trainer = whole
    told = {line["task"]: line for line in trainer.history if line["kind"] == "train"}
    assert set(told) == set(LINES)
    assert all(np.isfinite(line["loss"]) for line in trainer.history if "loss" in line)
    both = told["both"]
    assert both["loss"] == pytest.approx(0.5 * both["loss/wav"] + both["loss/w"], rel=1e-4)
    found = trainer.evaluate(model=model, tasks=tasks(), split="valid")
    assert all(np.isfinite(figures["loss"]) for figures in found.values())
    served = OFASys.from_pretrained(out, which="last")
    row = ROWS[1]
    assert served.inference(LINES["plan_motion"], data=row, max_length=4).motion is not None
    after = served.inference(LINES["after"], data=row, max_length=4)
    assert after.audio.rate == 16000
    assert isinstance(after["kind"], str)
    assert served.inference(LINES["draw"], data=row).image.size == (16, 16)
    assert served.inference(LINES["paint"]).image.size == (16, 16)
    assert served.inference(LINES["film"], data=row).video.frames.shape == (2, 16, 16, 3)
    assert np.shape(served.inference(LINES["grid"], data=row).struct) == (2, 2)
    assert served.inference(LINES["spoken"], data=row).text is not None


@pytest.mark.slow
def test_a_run_of_every_kind_resumes_to_the_same_weights(whole, tmp_path):
    _, model, _ = whole
    again, _ = run(tmp_path / "parts", 7, 2 * len(LINES))
    mine, theirs = again.state_dict(), model.state_dict()
    assert mine.keys() == theirs.keys()
    wrong = [name for name in mine if not torch.equal(mine[name], theirs[name])]
    assert not wrong
    assert {k: sorted(v) for k, v in again.fitted.items()} == {k: sorted(v) for k, v in model.fitted.items()}


@pytest.mark.slow
def test_answers_do_not_depend_on_neighbours(whole):
    out, _, _ = whole
    served = OFASys.from_pretrained(out, which="last")
    for name, column in (
        ("motion", "m"),
        ("speech", "wav"),
        ("draw", "img"),
        ("film", "v"),
        ("plan_motion", "m"),
        ("after", "kind"),
    ):
        options = {"steps": 4} if "motion" in name else {}
        together = served.inference(LINES[name], data=ROWS, max_length=6, **options)
        alone = served.inference(LINES[name], data=ROWS[:1], max_length=6, **options)
        one, other = together[0][column], alone[0][column]
        if column == "m":
            np.testing.assert_allclose(one.positions, other.positions, atol=1e-3)
        elif column == "wav":
            assert len(one.samples) == len(other.samples)
        elif column == "img":
            assert one.tobytes() == other.tobytes()
        else:
            assert one == other
