"""Boxes: pixels of the raw image to bins and back within a bin; what is no box is an error that says so."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ofasys import flow
from ofasys.errors import DataError
from ofasys.modality import Context
from ofasys.modality.box.draw import draw, save
from ofasys.modality.box.preprocess import Bins
from ofasys.modality.symbols import Symbols
from ofasys.modality.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def symbols(tiny):
    return Symbols(tiny.tokenizer(), Vocabulary.assemble({"text": tiny.tokenizer().get_vocab_size(), "bins": 1000}))


def frame(width, height):
    return Context(referred={"width": width, "height": height})


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_box_comes_back_within_a_bin(symbols, data):
    width, height = data.draw(st.integers(1, 5000)), data.draw(st.integers(1, 5000))
    number = st.integers(2, 1000)
    bins = data.draw(number)

    def side(size):
        coordinate = st.floats(0, size, allow_subnormal=False)
        return sorted(data.draw(st.tuples(coordinate, coordinate).filter(lambda pair: pair[0] != pair[1])))

    (x1, x2), (y1, y2) = side(width), side(height)
    made = Bins({"bins": bins}, symbols)
    piece = made.preprocess([x1, y1, x2, y2], frame(width, height))
    low, _ = symbols.vocabulary.span("bins")
    assert ((piece.tensors["tokens"] >= low) & (piece.tensors["tokens"] < low + bins)).all()
    back = made.postprocess(piece.tensors["tokens"], frame(width, height))
    step = np.array([width, height, width, height]) / bins
    assert (np.abs(np.array(back) - [x1, y1, x2, y2]) <= step * (1 + 1e-9)).all()


def test_bins_are_counted_from_the_upper_left(symbols):
    made = Bins({"bins": 10}, symbols)
    low, _ = symbols.vocabulary.span("bins")
    assert (made.preprocess([0, 10, 50, 20], frame(100, 20)).tensors["tokens"] - low).tolist() == [0, 5, 5, 9]
    assert made.postprocess(np.array([0, 5, 5, 9]) + low, frame(100, 20)) == pytest.approx([5, 11, 55, 19])


def test_any_tokens_are_a_box_inside_its_image(symbols):
    made = Bins({"bins": 1000}, symbols)
    low, _ = symbols.vocabulary.span("bins")
    random = np.random.default_rng(0)
    for _ in range(100):
        x1, y1, x2, y2 = made.postprocess(random.integers(low, low + 1000, 4), frame(33, 7))
        assert 0 <= x1 <= x2 <= 33
        assert 0 <= y1 <= y2 <= 7


@pytest.mark.parametrize(
    "value",
    [
        (1, 2, 3, 4),
        [1.0, 2, 3, 4],
        np.array([1, 2, 3, 4], np.float32),
        np.array([1, 2, 3, 4], ">i2"),
        list(np.array([1, 2, 3, 4], np.uint8)),
        torch.tensor([1, 2, 3, 4]),
        torch.tensor([1.0, 2, 3, 4], requires_grad=True),
        torch.tensor([1.0, 2, 3, 4]).bfloat16(),
        list(torch.tensor([1.0, 2, 3, 4], requires_grad=True)),
        pa.scalar([1, 2, 3, 4]),
        [Decimal(1), Fraction(2), "3", np.float16(4)],
    ],
)
def test_forms_of_a_box(symbols, value):
    made = Bins({"bins": 1000}, symbols)
    expected = made.preprocess([1, 2, 3, 4], frame(10, 10)).tensors["tokens"]
    np.testing.assert_array_equal(made.preprocess(value, frame(10, 10)).tensors["tokens"], expected)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([3, 2, 3, 4], "has no area"),
        ([1, 4, 3, 4], "has no area"),
        ([5, 2, 3, 4], "has no area"),
        ([-0.5, 2, 3, 4], "reaches outside its image of 10 x 8 pixels"),
        ([1, 2, 10.5, 4], "reaches outside its image"),
        ([1, 2, 3, 9], "reaches outside its image"),
        ([1, 2, 3], "got 3 numbers"),
        ([1, 2, 3, 4, 5], "got 5 numbers"),
        ([], "got 0 numbers"),
        ([1, 2, math.nan, 4], "NaN or infinity"),
        ([1, 2, math.inf, 4], "NaN or infinity"),
        ("1234", "got str '1234'"),
        (b"\x01\x02\x03\x04", "got bytes"),
        ({1: 0, 2: 0, 3: 0, 4: 0}, "got dict"),
        ([[1, 2, 3, 4]], "got list"),
        (7, "got int '7'"),
        ([True, False, True, True], "got list"),
        ([0, 0, True, 1], "got list"),
        (np.array([True, False, True, True]), "an array of bool"),
        ([1, [2], 3, 4], "got list"),
        ([1, np.bool_(True), 3, 4], "got list"),
        ({1, 2, 3, 4}, "got set"),
        ({"x": 1, "y": 2, "w": 3, "h": 4}, "got dict"),
        (np.array([[1, 2, 3, 4]]), r"shape \(1, 4\)"),
        (np.zeros(4, complex), "an array of complex128"),
        (torch.zeros(4, device="meta"), "'meta'"),
        ([1, "two", 3, 4], "got list"),
        ([1, None, 3, 4], "got list"),
    ],
)
def test_what_is_no_box(symbols, value, says):
    with pytest.raises(DataError, match=says) as error:
        Bins({"bins": 1000}, symbols).preprocess(value, frame(10, 8))
    assert "0 <= x1 < x2 <= width" in str(error.value)


def test_without_an_image_there_is_no_box(symbols):
    with pytest.raises(DataError, match="the image this box lies in is missing"):
        Bins({"bins": 1000}, symbols).preprocess([1, 2, 3, 4], Context())


def test_a_box_follows_the_resize_of_its_image(tiny):
    """The same place of a picture has the same bins, whatever its size, and whatever size it is resized to."""
    tokens = []
    for scale, size in ((1, 32), (3, 32), (1, 64)):
        made = flow.bind(tiny.model(), flow.plan(tiny.INSTRUCTIONS["ground"], settings={"IMAGE.size": size}), {})
        row = {"img": tiny.picture(20 * scale, 30 * scale), "phrase": "cat", "box": [c * scale for c in (2, 3, 10, 15)]}
        tokens.append(flow.preprocess(made, row).run.tokens.tolist())
    assert tokens[0] == tokens[1] == tokens[2]


def test_a_box_follows_the_exif_rotation_of_its_image(tiny, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(tiny.picture(40, 30)).save(tmp_path / "turned.png", exif=exif)
    made = tiny.program("ground")
    row = {
        "img": str(tmp_path / "turned.png"),
        "phrase": "cat",
        "box": [0, 0, 30, 40],
    }  # upright it is 30 wide, 40 high
    assert flow.preprocess(made, row).referred[2] == {"width": 30, "height": 40, "read": (32, 32)}
    with pytest.raises(DataError, match="outside its image of 30 x 40"):
        flow.preprocess(made, row | {"box": [0, 0, 40, 30]})


def test_of_names_the_image(tiny):
    text = "[IMAGE:a] [IMAGE:b] which? -> [BOX:box,of=b]"
    made = flow.bind(tiny.model(), flow.plan(text, settings=tiny.SETTINGS), {})
    row = {"a": tiny.picture(10, 10), "b": tiny.picture(100, 50), "box": [50, 25, 100, 50]}
    sample = flow.preprocess(made, row)
    assert sample.referred[2] == {"width": 100, "height": 50, "read": (32, 32)}
    low, _ = made.symbols.vocabulary.span("bins")
    assert (sample.run.tokens - low).tolist() == [500, 500, 999, 999]


def test_in_a_repetition_each_box_lies_in_the_image_of_its_turn(tiny):
    made = flow.bind(tiny.model(), flow.plan("([IMAGE:i] [BOX:b])* -> [TEXT:t]", settings=tiny.SETTINGS), {})
    row = {"i": [tiny.picture(10, 10), tiny.picture(100, 50)], "b": [[0, 0, 5, 5], [0, 0, 50, 25]], "t": "cat"}
    pieces = [piece.tensors["tokens"].tolist() for key, piece in flow.preprocess(made, row).source if key == "tokens"]
    assert pieces[0] == pieces[1]
    with pytest.raises(DataError, match=r"outside its image of 10 x 10.*BOX:b"):
        flow.preprocess(made, row | {"b": [[0, 0, 50, 25], [0, 0, 5, 5]]})


def test_boxes_are_drawn_where_they_are(tmp_path):
    white = Image.new("RGB", (40, 30), "white")
    drawn = np.asarray(draw(white, [[5, 6, 20, 25]], scale=2))
    assert drawn.shape == (60, 80, 3)
    dark = np.argwhere((drawn != 255).any(2))
    assert dark.min(0).tolist() == [12, 10]
    assert dark.max(0).tolist() == [50, 40]
    save(tmp_path / "x.png", [[5, 6, 20, 25], [0, 0, 40, 30]], white, ["cat", "狗 🐶"])
    assert Image.open(tmp_path / "x.png").size == (240, 180)
