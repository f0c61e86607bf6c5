"""A tiny model tells where a square moves; video and image share the weights of their patches."""

import clips
import numpy as np
import pytest

from ofasys import GeneralistModel, OFASys, Task, Trainer, flow
from ofasys.errors import DataError
from ofasys.model.sizes import ModelConfig
from ofasys.planner import plan

CONFIG = ModelConfig(
    width=64, heads=2, ffn=128, encoder_layers=2, decoder_layers=1, dropout=0.0, max_positions=64, max_grid=16
)
WHERE = "where does the square of [VIDEO:clip] go? -> [CATEGORY:way]"
SETTINGS = {"VIDEO.size": 16, "VIDEO.patch": 8, "VIDEO.frames": 4}
WAYS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
BACK = {"left": "right", "right": "left", "up": "down", "down": "up"}


def moving(way, y=5, x=5, frames=4):
    """A 5 x 5 square on black, of 16 x 16 pixels, that moves 2 pixels a frame; (y, x): where it is half-way."""
    found = np.zeros((frames, 16, 16, 3), np.uint8)
    for number in range(frames):
        top, left = (int(c + step * (2 * number - frames + 1)) for c, step in zip((y, x), WAYS[way], strict=True))
        found[number, max(0, top) : top + 5, max(0, left) : left + 5] = 255
    return found


def rows(count, seed):
    """Clips in which the middle frames say nothing of the way."""
    dice = np.random.default_rng(seed)
    made = []
    for number in range(count):
        way = list(WAYS)[number % 4]
        made.append({"clip": moving(way, *dice.integers(2, 10, 2).tolist()), "way": way})
    return made


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    task = Task(
        "where",
        WHERE,
        train=rows(256, 0),
        valid=rows(64, 1),
        metrics=["accuracy"],
        micro_batch_size=32,
        settings=SETTINGS,
    )
    trainer = Trainer(max_steps=160, lr=2e-3, warmup=10, out=tmp_path_factory.mktemp("run") / "out")
    return trainer, trainer.fit(model=GeneralistModel(config=CONFIG, seed=0, text_pieces=280), tasks=[task]), task


@pytest.mark.slow
def test_it_tells_where_a_square_moves(learnt):
    trainer, model, task = learnt
    assert trainer.evaluate(model=model, tasks=[task])["where"]["accuracy"] > 0.8  # by chance 0.25


@pytest.mark.slow
def test_saved_and_loaded_and_backwards(learnt):
    """A clip played backwards goes the other way, so it is the order of the frames that was learnt."""
    loaded = OFASys.from_pretrained(learnt[0].out)
    clips_ = rows(32, 2)
    alone = [loaded.inference(WHERE, data={"clip": row["clip"]}).label for row in clips_]
    assert alone == [out.label for out in loaded.inference(WHERE, data=clips_, batch_size=7)]
    backwards = loaded.inference(WHERE, data=[{"clip": row["clip"][::-1]} for row in clips_])
    assert np.mean([out.label == BACK[row["way"]] for out, row in zip(backwards, clips_, strict=True)]) > 0.8


def test_one_set_of_patches_for_video_and_image():
    text = "[IMAGE:img] then [VIDEO:clip] -> [TEXT:t]"
    found = plan(text, settings={"IMAGE.size": 16, "IMAGE.patch": 8, "VIDEO.size": 16, "VIDEO.patch": 8})
    assert {slot.key for slot in found.on("source")} == {"image_patch_8"}
    assert [slot.positions for slot in found.on("source")] == ["2-D", "3-D"]
    model = GeneralistModel(config=CONFIG, seed=0, text_pieces=280)
    model.grow([(found, {})], lambda: ["then"])
    assert [key for key in model.adaptors if key != "tokens"] == ["image_patch_8"]
    program = flow.bind(model, found)
    value = moving("left", 1, 1)
    rows = [{"img": value[0], "clip": value, "t": "a"}, {"img": value[1], "clip": value[:2], "t": "b"}]
    batch = flow.collate(program, [flow.preprocess(program, row) for row in rows])
    (patches,) = (entry for entry in batch.source.inputs if entry.adaptor == "image_patch_8")
    assert len(patches.tensors["patches"]) == 4 + 16 + 4 + 8
    lead, then = 4, len(program.prompts["then"])
    clip = batch.source.layout.positions[lead + then : lead + then + 16].tolist()
    assert clip == [[1 + then + t, y, x] for t in range(4) for y in range(2) for x in range(2)]


def test_a_batch_of_one_is_that_clip_among_others(tiny):
    import torch

    found = plan("[VIDEO:clip] -> [TEXT:t]", settings={"VIDEO.size": 16, "VIDEO.patch": 8})
    model = GeneralistModel(config=CONFIG, seed=0, text_pieces=280)
    model.grow([(found, {})], lambda: ["then"])
    model.eval()
    program = flow.bind(model, found)
    rows = [{"clip": moving("up", 1, 2, n), "t": "a"} for n in (1, 3, 9)]
    samples = [flow.preprocess(program, row) for row in rows]

    @torch.no_grad()
    def states(chosen):
        batch = flow.collate(program, chosen)
        return flow.compute(model, flow.adapt(model, batch)).source.states

    alone = torch.cat([states([sample]) for sample in samples])
    torch.testing.assert_close(states(samples), alone, atol=1e-5, rtol=1e-4)


def test_a_clip_longer_than_the_model_reads():
    found = plan("[VIDEO:clip] -> [TEXT:t]", settings={"VIDEO.frames": 100, "VIDEO.size": 8, "VIDEO.patch": 8})
    model = GeneralistModel(config=CONFIG, seed=0, text_pieces=280)
    model.grow([(found, {})], lambda: ["then"])
    program = flow.bind(model, found)
    assert flow.preprocess(program, {"clip": np.stack([clips.grey(0)] * 60), "t": "a"}).source[0][1].orders == 60
    with pytest.raises(DataError, match="the source is 70 positions long"):
        flow.preprocess(program, {"clip": np.stack([clips.grey(0)] * 70), "t": "a"})
