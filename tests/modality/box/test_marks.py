"""Boxes as OFA has them: the nearest of marks on the picture as it is read. Numbers are those of the original."""

import numpy as np
import pytest

from ofasys import GeneralistModel, flow
from ofasys.errors import DataError
from ofasys.modality import Context
from ofasys.modality.box.preprocess import Bins, Marks
from ofasys.modality.symbols import Symbols
from ofasys.modality.vocabulary import Vocabulary
from ofasys.planner import plan

WIDE = ([10.0, 12.0, 50.5, 40.0], (96, 64), [3, 6, 16, 19], [9.290323, 12.387096, 49.548386, 39.225807])
HIGH = ([3.0, 20.0, 60.0, 90.0], (64, 96), [1, 6, 29, 29], [2.064516, 18.580645, 59.870968, 89.806450])


@pytest.fixture(scope="module")
def symbols(tiny):
    return Symbols(tiny.tokenizer(), Vocabulary.assemble({"text": tiny.tokenizer().get_vocab_size(), "bins": 1000}))


def frame(size, read=(64, 64)):
    return Context(referred={"width": size[0], "height": size[1], "read": read})


@pytest.mark.parametrize(("box", "size", "marks", "decoded"), [WIDE, HIGH], ids=["wide", "high"])
def test_marks_and_boxes_are_the_original_s(symbols, box, size, marks, decoded):
    made, (low, _) = Marks({"bins": 32, "extent": 64}, symbols), symbols.vocabulary.span("bins")
    tokens = made.preprocess(box, frame(size)).tensors["tokens"]
    assert (tokens - low).tolist() == marks
    assert made.postprocess(tokens, frame(size)) == pytest.approx(decoded, abs=1e-4)
    assert Bins({"bins": 32}, symbols).postprocess(tokens, frame(size)) != pytest.approx(decoded, abs=0.5)


def test_marks_lie_on_the_picture_as_it_is_read(symbols):
    """The same answer in a picture of 480 pixels whose marks go up to 512, as pictures of OFA's pre-training had."""
    made, (low, _) = Marks({"bins": 1000, "extent": 512}, symbols), symbols.vocabulary.span("bins")
    tokens = np.array([0, 0, 999, 500]) + low
    at_512, at_480 = (made.postprocess(tokens, frame((1000, 1000), (side, side))) for side in (512, 480))
    assert at_512 == pytest.approx([0, 0, 1000, 500 / 999 * 1000])
    assert at_480 == pytest.approx([0, 0, 512 / 480 * 1000, 500 / 999 * 512 / 480 * 1000])


def test_what_lies_behind_the_last_mark(symbols):
    made = Marks({"bins": 1000, "extent": 512}, symbols)
    with pytest.raises(DataError, match=r"640.0 of the 640 pixels its image is read in, and the last mark is at 512"):
        made.preprocess([0, 0, 100, 100], frame((100, 100), (640, 640)))


def test_an_image_that_does_not_say_how_it_is_read(symbols):
    with pytest.raises(DataError, match="to how many pixels it is resized"):
        Marks({"bins": 1000, "extent": 512}, symbols).preprocess(
            [0, 0, 1, 1], Context(referred={"width": 4, "height": 4})
        )


def test_a_row_says_how_its_picture_is_read(tiny):
    line = "[IMAGE:img,size=64,patch=16] -> [BOX:box,preprocess=marks,extent=64,bins=32]"
    model, planned = GeneralistModel(**tiny.MODEL), plan(line)
    model.tokenizer = tiny.tokenizer()
    model.grow([(planned, {})], lambda: ["a"])
    program = model.bind(planned)
    box, _, marks, _ = WIDE
    sample = flow.preprocess(program, {"img": np.zeros((64, 96, 3), np.uint8), "box": box})
    assert (sample.run.tokens[:4] - model.symbols.vocabulary.span("bins")[0]).tolist() == marks
