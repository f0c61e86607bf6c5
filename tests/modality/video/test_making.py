"""A tiny model makes clips: what moves where, exactly so many codes, the same after saving, alone or in a batch."""

import numpy as np
import pytest
import torch

from ofasys import GeneralistModel, OFASys, Task, Trainer, flow
from ofasys.generator.options import SearchOptions
from ofasys.modality.video.moving import Video
from ofasys.model.sizes import ModelConfig
from ofasys.planner import plan

CONFIG = ModelConfig(
    width=64, heads=2, ffn=128, encoder_layers=1, decoder_layers=2, dropout=0.0, max_positions=64, max_grid=16
)
FILM = "[TEXT:t] what does it look like? -> [VIDEO:v]"
SETTINGS = {"VIDEO.size": 16, "VIDEO.patch": 8, "VIDEO.frames": 3, "VIDEO.codes": 64, "VIDEO.fit_steps": 120}
WAYS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
COLOURS = {"red": (220, 30, 30), "blue": (30, 40, 220)}


def moving(colour, way, frames=3):
    """A square of 8 pixels on white, 16 x 16, that moves by 4 a frame from the middle on."""
    found = np.full((frames, 16, 16, 3), 255, np.uint8)
    for number, frame in enumerate(found):
        top, left = (4 + 4 * step * (number - 1) for step in WAYS[way])
        frame[top : top + 8, left : left + 8] = COLOURS[colour]
    return found


def rows():
    return [{"t": f"{colour} {way}", "v": moving(colour, way)} for colour in COLOURS for way in WAYS]


def task(**more):
    settings = SETTINGS | more
    return Task("film", FILM, train=rows(), valid=rows(), metrics=["video_psnr"], micro_batch_size=8, settings=settings)


def model():
    return GeneralistModel(config=CONFIG, seed=0, text_pieces=280)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A model with room for the task; and its program."""
    made = task(**{"VIDEO.fit_steps": 2})
    learner = Trainer(max_steps=1, out=tmp_path_factory.mktemp("run") / "out", live=False).fit(
        model=model(), tasks=[made]
    )
    return learner.eval(), flow.bind(learner, made.plan)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    trainer = Trainer(max_steps=120, lr=5e-3, warmup=10, out=out, live=False)
    one = task()
    return trainer, trainer.fit(model=model(), tasks=[one]), one


def test_time_row_and_column_of_a_target(untrained):
    """Each code has its place in the sentence, frame after frame; y and x begin anew with each frame."""
    _, program = untrained
    batch = flow.collate(program, [flow.preprocess(program, row) for row in rows()[:2]])
    places = batch.target.layout.positions[: batch.target.layout.lengths[0]].tolist()
    assert places[0] == [0, -1, -1]  # what the sentence begins with
    assert places[1:] == [[1 + 4 * t + 2 * y + x, y, x] for t in range(3) for y in range(2) for x in range(2)][:-1]


def test_time_row_and_column_of_a_source(untrained):
    learner, _ = untrained
    line = "[VIDEO:v,preprocess=codes] what is it? -> [TEXT:t]"
    program = flow.bind(learner, plan(line, settings=SETTINGS))
    batch = flow.collate(program, [flow.preprocess(program, rows()[0])])
    places = batch.source.layout.positions[:12].tolist()
    assert places == [[t, y, x] for t in range(3) for y in range(2) for x in range(2)]


@pytest.mark.parametrize("search", [SearchOptions(), SearchOptions(beam_size=3), SearchOptions(sampling=True, top_k=5)])
def test_always_so_many_codes(untrained, search):
    learner, program = untrained
    samples = [flow.preprocess(program, row, target=False) for row in rows()[:3]]
    lo, hi = program.span(program.plan.slots[1])
    for sample, answers in zip(samples, flow.generate(learner, program, samples, search), strict=True):
        tokens = answers[0].tokens
        assert len(tokens) == 12
        assert ((tokens >= lo) & (tokens < hi)).all()
        clip = flow.postprocess(program, sample, answers[0])["v"]
        assert isinstance(clip, Video)
        assert clip.frames.shape == (3, 16, 16, 3)


def test_the_cache_is_the_full_pass(untrained):
    """The score of what was written step by step is that of a pass over all of it."""
    learner, program = untrained
    samples = [flow.preprocess(program, row, target=False) for row in rows()]
    answers = flow.generate(learner, program, samples, SearchOptions(length_penalty=0.0))
    whole = []
    for row, (answer, *_) in zip(rows(), answers, strict=True):
        sample = flow.preprocess(program, {"t": row["t"], "v": row["v"]})
        (span,) = sample.target
        tokens = answer.tokens
        stage = program.stages[0]
        span = type(span)(span.stage, span.prefix, tokens, stage.constraint.walk(tokens))
        whole.append(type(sample)(sample.source, (span,)))
    batch = flow.collate(program, whole)
    with torch.no_grad():
        states = flow.compute(learner, flow.adapt(learner, batch))
        predictions = flow.emit(learner, program, states, batch)
        loss = flow.criterion(learner, program, predictions, batch)
    scores = sum(answer[0].only.logprob for answer in answers)
    assert float(loss.sums.sum()) == pytest.approx(-scores, rel=1e-4)


@pytest.mark.slow
def test_it_makes_what_is_named(made):
    trainer, learner, one = made
    found = trainer.evaluate(model=learner, tasks=[one])["film"]
    mean = np.mean([row["v"] for row in rows()], axis=0)
    trivial = np.mean(
        [10 * np.log10(255**2 / np.square(mean[i] - row["v"][i]).mean()) for row in rows() for i in range(3)]
    )
    assert found["video_psnr"] > trivial + 4
    assert found["video_psnr_last"] > trivial


@pytest.mark.slow
def test_it_makes_the_same_after_it_was_saved(made, tmp_path):
    trainer, *_ = made
    loaded = OFASys.from_pretrained(trainer.out)
    together = loaded.inference(FILM, data=rows(), batch_size=3)
    for row, out in zip(rows(), together, strict=True):
        alone = loaded.inference(FILM, data={"t": row["t"]})
        assert alone.video == out.video == out["v"]
    wrote = together[0].save(tmp_path / "a.gif")
    assert wrote.stat().st_size > 100


def test_the_mean_clip_is_an_answer_without_looking():
    from random import Random

    from ofasys.report.trivial import trivial_answers

    seen = [{"v": Video(row["v"], 5.0)} for row in rows()]
    (first, second) = trivial_answers(seen, ["v"], 2, Random(0))["mean"]
    assert first["v"] == second["v"]
    assert first["v"].rate == 5.0
    np.testing.assert_array_equal(first["v"].frames, np.mean([row["v"] for row in rows()], axis=0).round())
    seen.append({"v": Video(rows()[0]["v"][:2], 5.0)})
    assert set(trivial_answers(seen, ["v"], 2, Random(0))) == {"random"}
