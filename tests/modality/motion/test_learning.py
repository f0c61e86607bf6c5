"""A tiny model makes motions from their names, and names from motions; better than chance, and the same when loaded."""

import numpy as np
import pytest
import torch

from ofasys import GeneralistModel, OFASys, Task, Trainer
from ofasys.modality.motion.read_motion import read_motion
from ofasys.model.sizes import ModelConfig
from tests.modality.motion import bodies

NAMES = ("waves", "nods", "strides")
FRAMES = 12
CONFIG = ModelConfig(width=48, heads=4, ffn=96, encoder_layers=1, decoder_layers=2, dropout=0.0, max_positions=64)
MAKE = f"a body that [TEXT:name] -> [MOTION:m,frames={FRAMES}]"
TELL = f"what does the body do? [MOTION:m,frames={FRAMES}] -> [TEXT:name,closed_set]"
SHIFTS = np.linspace(0, 1, 4)


def rows(shifts):
    return [{"name": name, "m": bodies.walker(k, s, FRAMES)} for k, name in enumerate(NAMES) for s in shifts]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run, and its model."""
    torch.set_num_threads(1)
    given = rows(SHIFTS)
    tasks = [
        Task("make", MAKE, train=given, valid=given[::4], metrics=["mpjpe"], micro_batch_size=12),
        Task("tell", TELL, train=given, valid=rows(SHIFTS + 0.1), metrics=["accuracy"], micro_batch_size=12),
    ]
    folder = tmp_path_factory.mktemp("run")
    model = GeneralistModel(config=CONFIG, text_pieces=300)
    trainer = Trainer(max_steps=160, lr=3e-3, warmup=10, out=folder)
    trainer.fit(model=model, tasks=tasks)
    return folder, OFASys(model), trainer.evaluate(model=model, tasks=tasks)


def near(motion, kind):
    """The mean distance of a joint from the nearest true motion of a kind."""
    truths = [bodies.walker(kind, shift, FRAMES).positions for shift in SHIFTS]
    return min(np.linalg.norm(motion.positions - (t - t[0, 0] * (1, 0, 1)), axis=-1).mean() for t in truths)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"guidance_weight": 2.0}, {"method": "ancestral"}, {"steps": 10}])
def test_motions_are_of_the_kind_that_was_asked(trained, more):
    _, model, _ = trained
    outs = model.inference(MAKE, data=[{"name": name} for name in NAMES * 3], **more)
    found = np.array([[near(out.motion, kind) for kind in range(3)] for out in outs])
    asked = np.arange(9) % 3
    own = found[np.arange(9), asked]
    assert (found.argmin(1) == asked).all()
    assert own.mean() < 0.5 * found.mean()  # chance: the truth of any kind


@pytest.mark.slow
def test_motions_are_told_apart(trained):
    folder, _, scores = trained
    model = OFASys.from_pretrained(folder)  # it knows the closed set
    assert scores["tell"]["accuracy"] == 1.0
    assert scores["make"]["mpjpe"] < 3
    assert str(model.inference(TELL, data={"m": bodies.walker(1, 0.55, FRAMES)})) == "nods"
    assert str(model.inference(TELL, data={"m": bodies.walker(2, 0.55, FRAMES)})) == "strides"


@pytest.mark.slow
def test_what_was_saved_answers_the_same_and_writes_files(trained, tmp_path):
    folder, model, _ = trained
    loaded = OFASys.from_pretrained(folder)
    data = [{"name": name} for name in NAMES]
    for one, other in zip(model.inference(MAKE, data=data), loaded.inference(MAKE, data=data), strict=True):
        assert one.motion == other.motion
    out = loaded.inference(MAKE, data=data[0])
    assert out.motion.skeleton == bodies.walker(0).skeleton
    assert (len(out.motion), out.motion.fps) == (FRAMES, 20)
    out.save(tmp_path / "m.bvh")
    assert read_motion(tmp_path / "m.bvh") == out.motion
    assert out.save(tmp_path / "m.gif").stat().st_size > 1000


@pytest.mark.slow
def test_an_answer_is_a_function_of_seed_and_row(trained):
    _, model, _ = trained
    data = [{"name": name} for name in NAMES]
    first = model.inference(MAKE, data=data, steps=5)
    alone = model.inference(MAKE, data=data[0], steps=5)
    np.testing.assert_allclose(alone.motion.positions, first[0].motion.positions, atol=1e-3)
    other = model.inference(MAKE, data=data[0], steps=5, seed=1)
    assert np.abs(other.motion.positions - alone.motion.positions).max() > 1e-3
    assert len(model.inference(MAKE, data=data[0], steps=5, length=5).motion) == 5
    led = [
        model.inference(MAKE, data=data[0], steps=5, guidance_weight=2.0, negative_prompt=p) for p in ("nods", "waves")
    ]
    assert np.abs(led[0].motion.positions - led[1].motion.positions).max() > 1e-3
    np.testing.assert_allclose(led[1].motion.positions, alone.motion.positions, atol=1e-3)
