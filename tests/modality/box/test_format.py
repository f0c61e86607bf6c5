"""However a box is written, it is the same box: in rows, answers and metrics. Another format by the look is said."""

import json
import logging
import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from ofasys import GeneralistModel, InstructionError, OFASys, Task, Trainer, flow, plan
from ofasys.errors import DataError
from ofasys.metric.metric import METRICS
from ofasys.modality import Context
from ofasys.modality.box.box import FORMATS, Box
from ofasys.modality.box.draw import save
from ofasys.modality.box.preprocess import Bins
from ofasys.modality.symbols import Symbols
from ofasys.modality.vocabulary import Vocabulary
from ofasys.train.evaluate import true_values

WAYS = [(name, normalised) for name in FORMATS for normalised in (False, True)]


@pytest.fixture(scope="module")
def symbols(tiny):
    return Symbols(tiny.tokenizer(), Vocabulary.assemble({"text": tiny.tokenizer().get_vocab_size(), "bins": 1000}))


def frame(width, height, **more):
    return Context(referred={"width": width, "height": height}, **more)


def written(corners, width, height, way):
    return list(Box.of_pixels(corners, width, height, *way))


def reader(symbols, way=("xyxy", False), bins=1000, **more):
    return Bins({"bins": bins, "format": way[0], "normalised": way[1], **more}, symbols)


def test_the_ways_to_write_a_box():
    """By hand: left 10, top 20, right 50, bottom 40 of 100 x 80 pixels."""
    expected = {
        ("xyxy", False): [10, 20, 50, 40],
        ("xywh", False): [10, 20, 40, 20],
        ("cxcywh", False): [30, 30, 40, 20],
        ("xyxy", True): [0.1, 0.25, 0.5, 0.5],
        ("xywh", True): [0.1, 0.25, 0.4, 0.25],
        ("cxcywh", True): [0.3, 0.375, 0.4, 0.25],
    }
    for way, numbers in expected.items():
        box = Box.of_pixels((10, 20, 50, 40), 100, 80, *way)
        assert box == pytest.approx(numbers)
        assert box.pixels(100, 80) == pytest.approx((10, 20, 50, 40))
        assert pickle.loads(pickle.dumps(box)).pixels(100, 80) == pytest.approx((10, 20, 50, 40))
        assert json.loads(json.dumps(box)) == list(box)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_format_has_the_same_bins_and_comes_back_in_its_own(symbols, data):
    width, height = data.draw(st.integers(8, 3000)), data.draw(st.integers(8, 3000))
    places = [
        data.draw(st.lists(st.integers(0, 8 * side), min_size=2, max_size=2, unique=True)) for side in (width, height)
    ]
    (x1, x2), (y1, y2) = (sorted(place / 8 for place in pair) for pair in places)
    found = []
    for way in WAYS:
        made = reader(symbols, way, bins=16)
        tokens = made.preprocess(written((x1, y1, x2, y2), width, height, way), frame(width, height)).tensors["tokens"]
        back = made.postprocess(tokens, frame(width, height))
        assert (back.format, back.normalised) == way
        found.append((tokens - made.start, back.pixels(width, height)))
    for tokens, corners in found[1:]:
        assert np.abs(tokens - found[0][0]).max() <= 1  # on the border between two bins the last digit decides
        if (tokens == found[0][0]).all():
            assert corners == pytest.approx(found[0][1])


@pytest.mark.parametrize("way", WAYS)
def test_what_lies_outside_by_rounding_is_cut_off(symbols, way):
    made, low = reader(symbols, way), reader(symbols).start
    for corners in ((-0.6, -0.4, 640.6, 480.4), (-1e-4, 0, 101, 97), (-0.64, -0.48, 640.64, 480.48)):
        tokens = made.preprocess(written(corners, 640, 480, way), frame(640, 480)).tensors["tokens"] - low
        assert tokens[:2].tolist() == [0, 0]
        assert tokens.max() <= 999
    for corners in ((-0.7, 0, 10, 10), (0, -0.5, 10, 10), (0, 0, 640.7, 10), (0, 0, 10, 480.6), (-50, -50, 900, 900)):
        numbers = written(corners, 640, 480, way)
        with pytest.raises(DataError, match=r"reaches outside its image of 640 x 480 pixels"):
            made.preprocess(numbers, frame(640, 480))
        cut = reader(symbols, way, clip=True).preprocess(numbers, frame(640, 480)).tensors["tokens"] - low
        whole = made.preprocess(written(np.clip(corners, 0, (640, 480) * 2), 640, 480, way), frame(640, 480))
        assert np.abs(cut - (whole.tensors["tokens"] - low)).max() <= 1
    for corners in ((-60, 0, -50, 10), (700, 0, 800, 10)):
        with pytest.raises(DataError, match="lies outside its image"):
            reader(symbols, way, clip=True).preprocess(written(corners, 640, 480, way), frame(640, 480))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_never_cut_off(symbols, way, clip, odd):
    for place in range(4):
        numbers = [0.1, 0.1, 0.3, 0.3]
        numbers[place] = odd
        with pytest.raises(DataError, match="NaN or infinity"):
            reader(symbols, way, clip=clip).preprocess(numbers, frame(1, 1))


@pytest.mark.parametrize(
    ("way", "numbers", "says"),
    [
        (
            ("xyxy", False),
            [40, 30, 20, 10],
            r"has no area; as \[x, y, width, height\] in pixels .* write format=xywh in the slot",
        ),
        (("xyxy", False), [60, 10, 30, 20], "write format=xywh in the slot"),
        (("xyxy", False), [90, 40, 20, 20], "write format=cxcywh in the slot"),
        (("xyxy", False), [0.5, 0.5, 0.4, 0.4], "write format=xywh and normalised in the slot"),
        (("xyxy", False), [-300, 0, 20, 20], "reaches outside .*; clip cuts off"),
        (("xywh", False), [50, 30, 90, 70], "write format=xyxy in the slot"),
        (("xyxy", True), [50, 30, 90, 70], "write normalised=false in the slot"),
        (("xyxy", True), [50, 30, 20, 10], "write format=xywh and normalised=false in the slot"),
        (("cxcywh", True), [0.1, 0.2, 0.9, 0.7], "write format=xyxy in the slot"),
    ],
)
def test_an_error_names_the_format_in_which_the_box_would_lie_inside(symbols, way, numbers, says):
    with pytest.raises(DataError, match=says):
        reader(symbols, way).preprocess(numbers, frame(100, 80))


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ([1, 2, 3], "got 3 numbers"),
        ([3, 4, 0, 5], "has no area"),
        ([3, 4, 5, -5], "has no area"),
        ("3 4 5 6", "got str"),
        ([1, 2, 3, 10**400], r"got list '\[1, 2, 3, 10000"),
        ([1, 2, 3, 10**5000], "got list; expected"),
    ],
)
def test_what_is_no_box_in_any_format(symbols, numbers, says):
    for way in WAYS[2:]:
        with pytest.raises(DataError, match=says) as error:
            reader(symbols, way).preprocess(numbers, frame(10, 10))
        assert "width, height] " + ("as shares" if way[1] else "in pixels") in str(error.value)


def test_an_unknown_format_is_an_error_of_the_instruction():
    with pytest.raises(InstructionError, match="format is one of xyxy, xywh, cxcywh, not 'xyhw'"):
        flow.plan("[IMAGE:img] -> [BOX:box,format=xyhw]")


@pytest.mark.parametrize("way", WAYS)
def test_metrics_measure_the_box_however_it_is_written(symbols, way):
    """IoU by hand: 1/3 of two boxes that overlap by half."""
    made = reader(symbols, way)
    true, found = written((10, 10, 50, 40), 100, 80, way), Box.of_pixels((30, 10, 70, 40), 100, 80, *way)
    assert METRICS["iou_accuracy"]([found], [made.canonical(true)])["mean_iou"] == pytest.approx(1 / 3)
    assert METRICS["iou_accuracy"]([found], [[made.canonical(true), made.canonical(list(found))]])["mean_iou"] == 1
    detected = METRICS["detection"]([([found], ["cat"])], [([made.canonical(list(found))], ["cat"])])
    assert detected == pytest.approx({"f1@0.5": 1, "map": 1, "map@0.5": 1})
    assert METRICS["detection"]([([found], ["cat"])], [([made.canonical(true)], ["cat"])])["f1@0.5"] == 0
    assert made.canonical("no box") == "no box"
    assert made.canonical(None) is None


@pytest.mark.parametrize("option", ["", ",format=xywh", ",format=cxcywh,normalised"])
def test_the_same_loss_and_figures_in_every_format(tiny, option):
    """As a source and as a target; the figures of perfect answers are those of perfect answers."""
    way = ("xyxy", False) if not option else (option.split("=")[1].split(",")[0], "normalised" in option)
    corners = (4.01, 3.02, 12.01, 15.02)  # in no picture's bins a border
    rows = [
        {
            "img": tiny.picture(20, 30),
            "box": written(corners, 20, 30, way),
            "boxes": [written(corners, 20, 30, way)] * 2,
        }
    ]
    made = flow.bind(
        tiny.model(), flow.plan(f"[IMAGE:img] -> ([BOX:boxes{option}])* [BOX:box{option}]", settings=tiny.SETTINGS), {}
    )
    plain = flow.bind(tiny.model(), flow.plan("[IMAGE:img] -> ([BOX:boxes])* [BOX:box]", settings=tiny.SETTINGS), {})
    expected = flow.preprocess(plain, rows[0] | {"box": corners, "boxes": [corners] * 2}).run.tokens
    assert flow.preprocess(made, rows[0]).run.tokens.tolist() == expected.tolist()
    truth = true_values(made, rows[0])
    assert [type(one) for one in (truth["box"], *truth["boxes"])] == [Box] * 3
    assert truth["box"].pixels(20, 30) == pytest.approx(corners)


def test_drawn_where_it_is(tmp_path):
    white = Image.new("RGB", (300, 200), "white")
    pictures = []
    for i, way in enumerate(WAYS):
        save(tmp_path / f"{i}.png", [Box.of_pixels((30.4, 20.4, 150.4, 100.4), 300, 200, *way)], white)
        pictures.append(np.asarray(Image.open(tmp_path / f"{i}.png")))
    for picture in pictures[1:]:
        np.testing.assert_array_equal(picture, pictures[0])


def shapes(count, seed, way):
    """Squares in the upper left of 64 x 64 pixels, or anywhere, as rows."""
    rows = []
    for i in range(count):
        draw = random.Random(1000 * seed + i)
        x, y, w, h = draw.randint(0, 8), draw.randint(0, 8), draw.randint(18, 32), draw.randint(18, 32)
        picture = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(picture).rectangle((x, y, x + w, y + h), fill="red")
        rows.append({"img": picture, "box": written((x, y, x + w, y + h), 64, 64, way)})
    return rows


def looked_at(symbols, boxes, size=(64, 64), caplog=None, **more):
    """What is logged when these boxes are read in training."""
    caplog.clear()
    made = reader(symbols, **more)
    with caplog.at_level(logging.WARNING, logger="ofasys"):
        for box in boxes:
            try:
                made.preprocess(box, frame(*size, training=True))
            except DataError:
                continue
    return [record.getMessage() for record in caplog.records]


def test_boxes_that_are_corners_by_chance_are_doubted(symbols, caplog):
    """Of boxes written x, y, width, height in the upper left none is refused: the user is told nevertheless, once."""
    boxes = [row["box"] for row in shapes(100, 0, ("xywh", False))]
    for box in boxes:
        reader(symbols).preprocess(box, frame(64, 64))
    (said,) = looked_at(symbols, boxes, caplog=caplog)
    assert "the first 32 boxes of training" in said
    assert "if they are [x, y, width, height], write format=xywh in the slot" in said
    assert not looked_at(symbols, boxes, caplog=caplog, way=("xywh", False))
    assert not looked_at(symbols, boxes[:1] * 100, caplog=caplog)  # one box is no sample
    corner = [[0, 0, 2 + i % 30, 2 + i % 28] for i in range(100)]
    assert not looked_at(symbols, corner, caplog=caplog)  # the same boxes in either format
    somewhere = [(x, y, x + 15, y + 12) for x, y in np.random.default_rng(0).integers(0, 49, (100, 2)).tolist()]
    assert not looked_at(symbols, somewhere, caplog=caplog)
    partly = [(x, y, 15, 12) for x, y, _, _ in somewhere]
    (said,) = looked_at(symbols, partly, caplog=caplog)
    assert "format=xywh" in said


def test_boxes_that_may_be_shares_are_doubted(symbols, caplog):
    shares = [
        [x / 100, y / 100, x / 100 + 0.3, y / 100 + 0.3]
        for x, y in np.random.default_rng(0).integers(0, 70, (99, 2)).tolist()
    ]
    for format in ("xyxy", "xywh", "cxcywh"):
        (said,) = looked_at(symbols, shares[:4], caplog=caplog, way=(format, False))
        assert "shares of the sides, write normalised" in said
        assert not looked_at(symbols, shares[:3], caplog=caplog, way=(format, False))
    assert not looked_at(symbols, shares, caplog=caplog, way=("xyxy", True))
    assert not looked_at(symbols, shares, size=(1, 1), caplog=caplog)


@pytest.mark.slow
def test_answers_come_in_the_format_of_the_rows(tiny, tmp_path):
    """Trained and judged in the format of the slot, by overlap."""
    way = ("cxcywh", True)
    rows = shapes(4, 1, way)
    line = "[IMAGE:img,size=32,patch=16] where? -> [BOX:box,bins=16,format=cxcywh,normalised]"
    task = Task("where", line, train=rows, valid=rows, metrics=["iou_accuracy"], micro_batch_size=4)
    model = GeneralistModel(size="tiny", text_pieces=300)
    trainer = Trainer(max_steps=80, lr=3e-3, warmup=5, out=tmp_path / "run", live=False)
    trainer.fit(model=model, tasks=task)
    assert trainer.evaluate(model=model, tasks=[task])["where"]["mean_iou"] > 0.7
    out = OFASys.from_pretrained(tmp_path / "run").inference(line, data={"img": rows[0]["img"]})
    assert out.box == pytest.approx(rows[0]["box"], abs=0.15)
    assert json.loads(out.save(tmp_path / "box.json").read_text())["box"] == out.box
    assert "0." in str(out)
    assert out.save(tmp_path / "box.png").exists()


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("", "[x1, y1, x2, y2] in pixels of an image"),
        (",format=xywh", "[x, y, width, height] in pixels of an image"),
        (",format=cxcywh,normalised", "[cx, cy, width, height] in shares of the sides of an image"),
    ],
)
def test_the_plan_says_how_a_box_is_written(option, says):
    lines = str(plan(f"[IMAGE:img] -> [BOX:box{option}]")).splitlines()
    assert f"      a rectangle {says}, from column 'box', lies in IMAGE:img" in lines
    assert f"      answer      bins back to a rectangle {says}; out['box'], out.box" in lines


def test_what_is_expected_of_shares_is_no_pixels(symbols):
    with pytest.raises(
        DataError, match=r"as shares of the image's sides with 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1$"
    ):
        Bins({"bins": 10, "normalised": True}, symbols).preprocess(
            "no box", Context(referred={"width": 8, "height": 8})
        )
