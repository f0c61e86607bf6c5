"""Every metric keeps its contract: the built-in ones and the docs' own. One that breaks a promise is found out."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from ofasys.errors import ConfigError
from ofasys.metric import METRICS, Metric
from ofasys.modality.number.number import Number
from ofasys.testing import check_metric

TEXTS = (["a cat sat on the mat", "a dog", "two birds fly"], ["a cat sat on the mat", "one dog ran off", "two birds"])
LABELS = (["yes", "no", "no", "yes"], ["yes", "yes", "no", "no"])
BOXES = [[0, 0, 10, 10], [5, 5, 9, 9], [1, 2, 30, 40]]
NUMBERS = ([1.0, 2.5, 4.0, 7.0], [1.5, 2.5, 3.0, 8.0])


def waves(*hertz):
    return [np.sin(np.arange(40 * 60).reshape(60, 40) * one / 500) for one in hertz]


def pictures(*shades):
    return [np.tile(np.arange(16, dtype=np.uint8) * shade, (16, 1)) for shade in shades]


def motions(*paces):
    rest = np.array([[0, 0, 0], [0, 1, 0], [0, 2, 0.5]])
    turns = np.arange(3)[None, :, None]
    return [rest + pace * np.sin(np.arange(20)[:, None, None] / 4 + turns) for pace in paces]


def spread(*pairs):
    return [Number(value, spread) for value, spread in pairs]


def vectors(*angles):
    return [np.array([np.cos(angle), np.sin(angle)]) for angle in angles]


GIVEN = {
    "detection": (
        [([box], [name]) for box, name in zip([*BOXES[:2], [0, 0, 3, 3]], "abc", strict=True)],
        [([box], [name]) for box, name in zip(BOXES, "abc", strict=True)],
    ),
    "iou_accuracy": ([BOXES[0], BOXES[0], BOXES[2]], BOXES),
    "vqa_score": (["red", "blue", "two"], [["red"] * 10, ["green"] * 10, ["two"] * 3 + ["three"] * 7]),
    "per": (["K AE T", "D AO G", "HH AH"], ["K AE T", "D AA G", "HH AH L OW"]),
    "mcd": (waves(1, 2, 3), waves(1, 3, 3)),
    "psnr": (pictures(1, 2, 3), pictures(2, 2, 4)),
    "ssim": (pictures(1, 2, 3), pictures(9, 2, 4)),
    "video_psnr": (
        [np.stack(pictures(1, 2, 3)), np.stack(pictures(2, 4)), np.stack(pictures(3))],
        [np.stack(pictures(2, 2, 4)), np.stack(pictures(2, 5)), np.stack(pictures(1))],
    ),
    "mpjpe": (motions(0.1, 0.2, 0.3), motions(0.2, 0.2, 0.4)),
    "motion_frechet": (motions(0.1, 0.2, 0.3, 0.5), motions(0.2, 0.2, 0.4, 0.6)),
    "motion_diversity": (motions(0.1, 0.2, 0.3), motions(0.2, 0.2, 0.4)),
    "retrieval": (list(zip(vectors(0, 1, 2), vectors(0.2, 1.8, 1.2), strict=True)), [None] * 3),
    "execution_accuracy": (["select 1", "select 2", "no query"], [("select 1", "d.db")] * 3),
    "calibration": (spread((1, 0.1), (2, 0.1), (3, 0.1)), [1.5, 2.5, 2.0]),
}
TABLES = ([[{"a": 1}], [{"a": 2}], [{"a": 3}]], [[{"a": 1}], [{"a": 1}], [{"a": 3}]])
GRIDS = ([[[1, 2]], [[3, 4]], [[5, 6]]], [[[1, 2]], [[3, 5]], [[5, 6]]])
TRIPLES = ([[("a", "is", "b")], [("c", "is", "d")], []], [[("a", "is", "b")], [("c", "is", "e")], [("f", "is", "g")]])
STRUCTS = dict.fromkeys(("table_exact", "table_exact_any_order"), TABLES) | {
    "grid_exact": GRIDS,
    "triples_f1": TRIPLES,
}
PERFECT = {
    "vqa_score": ["red", "green", "three"],
    "retrieval": list(zip(vectors(0, 1, 2), vectors(0, 1, 2), strict=True)),
    "execution_accuracy": ["select 1"] * 3,
}


def given(metric):
    if metric.name in GIVEN:
        return GIVEN[metric.name]
    by_kind = {("text",): TEXTS, ("any",): LABELS, ("number",): NUMBERS}
    return STRUCTS.get(metric.name) or by_kind[metric.takes]


@pytest.mark.parametrize("name", METRICS)
def test_the_built_in_ones_keep_it(name, tmp_path):
    with sqlite3.connect(tmp_path / "d.db") as database:
        database.execute("create table t (a)")
    database.close()
    if name == "calibration":
        perfect = [Number(float(one), 1.0) for one in GIVEN[name][0]]
    else:
        perfect = PERFECT.get(name)
    report = check_metric(name, *given(METRICS[name]), perfect=perfect, root=tmp_path)
    assert {"record", "figures", "order", "repeated"} <= {what for what, _ in report.checked}
    assert bool(report.left_out) == (METRICS[name].directions[METRICS[name].main] is None)


def shared(predictions, references):
    """The mean share of words that are shared."""
    both = [(set(one.split()), set(other.split())) for one, other in zip(predictions, references, strict=True)]
    return {"shared": sum(len(one & other) / len(one | other) for one, other in both) / len(both)}


MINE = Metric("mine", "the mean share of words that are shared, 0..1", ("text",), shared, "shared")


def test_the_twin_of_all_that_break_it_keeps_it():
    assert str(check_metric(MINE, *TEXTS)) == (
        "metric mine keeps its contract\n"
        "  record      the mean share of words that are shared, 0..1; of text\n"
        "  figures     shared 0.6222\n"
        "  direction   shared 1 at best\n"
        "  order       3 rows in any order\n"
        "  repeated    the same again"
    )
    assert check_metric(shared, *TEXTS).left_out == (("direction", "neither larger nor smaller is better"),)


def nan(predictions, references):
    return float("nan")


def of_the_first(predictions, references):
    return float(predictions[0] == references[0])


def drawn(predictions, references):
    return shared(predictions, references)["shared"] + random.random() * 1e-3 * (predictions != references)


def sorting(predictions, references):
    score = float(predictions == references)
    for one in predictions:
        one.sort()
    return score


def worded(predictions, references):
    return "good"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "my metric"}, "my metric, record: its name is 'my metric'; it is one word"),
        ({"about": ""}, "mine, record: about is ''; it is one line"),
        ({"takes": ()}, "mine, record: it takes no kind of value"),
        ({"takes": ("txet",)}, "mine, record: it takes 'txet'; there are any, .*text"),
        ({"main": "share"}, "mine, figures: ConfigError: metric 'mine' gives shared; its headline figure 'share'"),
        ({"figures": {"more": True}}, "mine, figures: it names a figure 'more' and gives shared"),
        ({"function": nan, "main": "x"}, "mine, figures: figure 'x' is nan"),
        ({"function": worded, "main": "x"}, "mine, figures: ConfigError: metric 'mine' returned 'good'"),
        ({"higher_is_better": False}, "mine, direction: figure 'shared' is 1 of perfect answers and 0.622222 of the"),
        ({"function": of_the_first, "main": "x"}, "mine, direction: figure 'x' is 1 of perfect answers and 1 of the"),
        ({"function": drawn, "main": "x"}, "mine, order: figure 'x' is .*, and .* with the rows in another order"),
    ],
)
def test_a_broken_metric(change, said):
    with pytest.raises(AssertionError, match=said):
        check_metric(replace(MINE, **change), *TEXTS)


def test_what_is_drawn_or_changed_is_found_out():
    lists = ([["b", "a"], ["c"], ["d"]], [["a", "b"], ["c"], ["e"]])
    perfect = [["a", "b"], ["c"], ["e"]]
    takes = {"takes": ("any",), "main": "x"}
    with pytest.raises(AssertionError, match="mine, order: "):
        check_metric(replace(MINE, function=of_the_first, **takes), ["n", "b", "c"], ["a", "b", "c"])
    with pytest.raises(AssertionError, match="mine, repeated: it changes the predictions it is given"):
        check_metric(replace(MINE, function=sorting, **takes), *lists, perfect=perfect)
    with pytest.raises(AssertionError, match=r"mine, repeated: of the same answers it gives {'x': .*}, then {'x': "):
        check_metric(replace(MINE, function=tossed, **takes), *TEXTS)


def tossed(predictions, references):
    """By lot, but for the order of the rows within one seed."""
    state = random.getstate()
    toss = random.random()
    random.setstate(state)
    return 1.0 if predictions == references else toss / 2


def test_what_is_given_is_looked_at():
    with pytest.raises(AssertionError, match="figures: give three predictions or more"):
        check_metric(MINE, *[one[:2] for one in TEXTS])
    with pytest.raises(AssertionError, match="figures: 3 predictions and 2 references; give as many"):
        check_metric(MINE, TEXTS[0], TEXTS[1][:2])
    with pytest.raises(ConfigError, match="unknown metric 'acuracy'; did you mean accuracy"):
        check_metric("acuracy", *TEXTS)
