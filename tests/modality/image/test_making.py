"""A tiny model learns to draw and to fill in, and draws the same after it was saved."""

import numpy as np
import pytest
import shapes
from PIL import Image

from ofasys import GeneralistModel, OFASys, Task, Trainer
from ofasys.model.sizes import ModelConfig
from ofasys.train.record import card_of

CONFIG = ModelConfig(width=64, heads=2, ffn=128, encoder_layers=1, decoder_layers=2, max_positions=128, max_grid=16)
SETTINGS = {"IMAGE.size": 16, "IMAGE.patch": 4, "IMAGE.codes": 64}
DRAW = "draw [TEXT:name] -> [IMAGE:img]"
FILL = "complete [IMAGE:img,preprocess=codes,mask_ratio=0.5] -> [IMAGE:img]"


def model():
    return GeneralistModel(config=CONFIG, seed=0, text_pieces=280)


@pytest.fixture(scope="module")
def made(tokenizer, tmp_path_factory):
    """A run that learnt to draw the shapes by their names, and to complete them; the tokenizer is one that is there."""
    folder = tmp_path_factory.mktemp("run")
    tokenizer.save(folder / "tokenizer")
    settings = SETTINGS | {"IMAGE.tokenizer": str(folder / "tokenizer")}
    rows = shapes.rows()
    tasks = [
        Task("draw", DRAW, train=rows, valid=rows, metrics=["psnr"], micro_batch_size=16, settings=settings),
        Task("fill", FILL, train=rows, valid=rows, metrics=["psnr"], micro_batch_size=16, settings=settings),
    ]
    trainer = Trainer(max_steps=100, lr=6e-3, warmup=10, out=folder / "out", schedule="round_robin")
    learner = trainer.fit(model=model(), tasks=tasks)
    return trainer, learner, tasks, folder


def baseline():
    """PSNR of the mean picture."""
    return np.mean([shapes.psnr(shapes.pixels().mean(0), picture) for picture in shapes.pixels()])


def ceiling(tokenizer):
    """PSNR of what comes back of the pictures' own codes."""
    return np.mean([shapes.psnr(tokenizer.decode(tokenizer.encode(p)), p) for p in shapes.pixels()])


@pytest.mark.slow
def test_it_draws_what_is_named_and_completes_what_is_hidden(made, tokenizer):
    trainer, learner, tasks, _ = made
    found = trainer.evaluate(model=learner, tasks=tasks)
    assert found["draw"]["psnr"] > baseline() + 5
    assert found["draw"]["psnr"] > ceiling(tokenizer) - 2
    assert found["fill"]["psnr"] > baseline() + 4


@pytest.mark.slow
def test_it_draws_the_same_after_it_was_saved(made, tmp_path):
    _, learner, tasks, folder = made
    (folder / "tokenizer").rename(folder / "elsewhere")  # all it needs is in the checkpoint
    here, loaded = OFASys(learner, [card_of(task) for task in tasks]), OFASys.from_pretrained(folder / "out")
    for name in ("red circle", "blue bar"):
        one, other = (answerer.inference(DRAW, data={"name": name}) for answerer in (here, loaded))
        assert (one.image.mode, one.image.size) == ("RGB", (16, 16))
        np.testing.assert_array_equal(np.asarray(one.image), np.asarray(other.image))
    np.testing.assert_array_equal(np.asarray(Image.open(one.save(tmp_path / "blue.png"))), np.asarray(one.image))


@pytest.mark.slow
def test_it_completes_what_a_mask_hides(made):
    _, _, _, folder = made
    loaded = OFASys.from_pretrained(folder / "out")
    hidden = np.zeros((16, 16), bool)
    hidden[:, 8:] = True
    gained = []
    for row in shapes.rows():
        half = np.asarray(row["img"]).copy()
        half[:, 8:] = 255
        out = loaded.inference(FILL, data={"img": {"image": half, "mask": hidden}})
        gained.append(shapes.psnr(out.image, row["img"]) - shapes.psnr(half, row["img"]))
    assert np.mean(gained) > 1


def test_a_tokenizer_is_trained_at_first_fit(tmp_path):
    rows = shapes.rows()[:4]
    settings = SETTINGS | {"IMAGE.fit_steps": 2}

    def fitted(seed, out):
        task = Task("draw", DRAW, train=rows, micro_batch_size=4, settings=settings)
        learner = GeneralistModel(config=CONFIG, seed=seed, text_pieces=280)
        return Trainer(max_steps=1, out=tmp_path / out).fit(model=learner, tasks=[task]).fitted

    one = fitted(0, "one")
    assert set(one) == {"image_codes_64_4"}
    assert all(np.array_equal(one["image_codes_64_4"][n], a) for n, a in fitted(0, "two")["image_codes_64_4"].items())
    again = OFASys.from_pretrained(tmp_path / "one").model.fitted["image_codes_64_4"]
    assert all(np.array_equal(one["image_codes_64_4"][n], a) for n, a in again.items())
