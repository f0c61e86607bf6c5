"""What a row may lack, with every kind of value it may be: read, learned, answered, scored."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from ofasys import ConfigError, DataError, GeneralistModel, OFASys, Task, flow
from ofasys.generator.options import SearchOptions
from ofasys.modality import BUILT_IN
from ofasys.train.best import choose
from ofasys.train.evaluate import answer_rows, figures_of
from tests.train import tiny

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
from patterns import CHOICE, MAYBE

REGISTRY = BUILT_IN.with_(CHOICE, MAYBE)
PICTURE = np.zeros((16, 24, 3), np.uint8)


def task(line, rows, **changes):
    settings = {name: value for name, value in tiny.SMALL.items() if f"[{name.split('.')[0]}" in line}
    given = {"train": rows, "valid": rows, "metrics": [], "micro_batch_size": 4, "settings": settings}
    return Task("t", line, modalities=REGISTRY, **(given | changes))


def grown(*tasks):
    """A model that has grown for them and has seen no data; the program of the first."""
    model = GeneralistModel(config=tiny.CONFIG, modalities=REGISTRY, text_pieces=300)
    plans = [(one.plan, one.labels) for one in tasks]
    model.grow(plans, lambda: [text for one in tasks for text in one.texts()], tasks[0].examples)
    return model.eval(), flow.bind(model, tasks[0].plan, tasks[0].labels)


def answers(model, program, rows, **options):
    """The values of each row's answer, of rows that hold their answers too."""
    samples = [flow.preprocess(program, row) for row in rows]
    made = flow.generate(model, program, samples, SearchOptions(max_length=8, **options))
    return [flow.postprocess(program, sample, ways[0]) for sample, ways in zip(samples, made, strict=True)]


BOX = [0.0, 0.0, 8.0, 8.0]
BOXES = [{"q": "a", "img": PICTURE, "box": BOX}, {"q": "b", "img": PICTURE}, {"q": "c"}]


def test_a_box_in_a_picture_that_a_row_lacks_is_none():
    """Whatever is generated for it: nothing says how large its picture is. With a picture it is a box, also where the
    row's own is not there."""
    line = "[IMAGE:img]? [TEXT:q] -> [TEXT:t,max_length=2] [BOX:box]"
    rows = [row | {"t": "so", "box": BOX} for row in BOXES[:2]]
    model, program = grown(task(line, rows))
    asked = [flow.preprocess(program, row, target=False) for row in (rows[0], {"q": "c"})]
    made = flow.generate(model, program, asked, SearchOptions(max_length=8))
    there, lost = (flow.postprocess(program, sample, ways[0]) for sample, ways in zip(asked, made, strict=True))
    assert len(there["box"]) == 4
    assert lost["box"] is None


def test_a_box_that_is_answered_where_the_row_has_none_lies_in_its_picture():
    """As in evaluation: the row holds its answer, which leaves the box out; the model's does not."""
    model, program = grown(task("[IMAGE:img] [TEXT:q] -> [BOX:box]?", BOXES[:2]))
    sample = flow.preprocess(program, BOXES[1])
    low = program.symbols.vocabulary.span("ways.2")[0]
    for ways in flow.generate(model, program, [sample], SearchOptions(beam_size=2, n_best=2)):
        there = [one for one in ways if one.only.tokens[0] == low + 1]
        assert there
        assert len(flow.postprocess(program, sample, there[0])["box"]) == 4


@pytest.mark.parametrize("line", ["[IMAGE:img]? [TEXT:q] -> [BOX:box]?", "[IMAGE:img]? [BOX:box] -> [TEXT:q]"])
def test_a_box_without_its_picture_is_a_bad_row(line):
    _, program = grown(task(line, BOXES[:1]))
    assert flow.preprocess(program, BOXES[0])
    with pytest.raises(DataError, match=r"lacks IMAGE:img, which it lies in \(slot 'BOX:box'.* 'img' too"):
        flow.preprocess(program, {"q": "a", "box": BOX})


def test_the_value_alone_of_a_line_that_takes_no_other():
    """Whether a row may lack it or not; with two that it may have, a value alone says too little."""
    one, two = "[TEXT:a]? -> [CATEGORY:c]", "{[TEXT:a]|[NUMBER:n]} -> [CATEGORY:c]"
    rows = [{"a": "so", "c": "x"}, {"n": 2.0, "c": "y"}]
    model, _ = grown(task(two, rows), task(one, rows[:1]))
    asking = OFASys(model)
    labels = {"closed_set": {"c": ["x", "y"]}}
    assert asking.inference(one, "so", **labels) == asking.inference(one, {"a": "so"}, **labels)
    assert asking.inference(two, {"n": 2.0}, **labels)["c"] in ("x", "y")
    for value in ("so", 2.0):
        with pytest.raises(DataError, match=r"expected a dict with columns of \{\[TEXT:a\]\|\[NUMBER:n\]\}, or a list"):
            asking.inference(two, value, **labels)


@pytest.mark.parametrize(
    ("slot", "value", "metric", "figure"),
    [
        ("[TEXT:v]?", "so", "bleu", 0.0),
        ("[TEXT:v]?", "so", "wer", 1.0),
        ("[TEXT:v]?", "so", "exact_match", 0.0),
        ("[TEXT:v,closed_set]?", "so", "accuracy", 0.0),
        ("[CATEGORY:v]?", "so", "f1", 0.0),
        ("[BOX:v]?", BOX, "iou_accuracy", 0.0),
        ("[PHONE:v]?", "AH K", "per", 1.0),
        ("[STRUCT:v,preprocess=table]?", [["a", "b"], ["c", "d"]], "table_exact", 0.0),
        ("[STRUCT:v,preprocess=triples]?", [["a", "b", "c"]], "triples_f1", 0.0),
        ("[STRUCT:v,preprocess=grid]?", [[0, 1], [1, 0]], "grid_exact", 0.0),
    ],
)
def test_an_answer_that_leaves_out_what_the_row_has_is_wrong_and_scored(slot, value, metric, figure):
    """By every kind of metric, over the rows that have it; of rows none of which has it there is no figure."""
    line, rows = f"[IMAGE:img] [TEXT:q] -> {slot}", [BOXES[1] | {"v": value}, BOXES[1], BOXES[1] | {"v": value}]
    made = task(line, rows, metrics=[metric])
    model, program = grown(made)
    answered = answer_rows(model, made, "train", program)
    answered.predictions = [{"v": None}] * 3
    found = figures_of(made, "train", program, answered)
    assert (found[made.metrics[0].main], found["maybe"]) == (figure, pytest.approx(1 / 3))
    answered.predictions = [{"v": true} for true in ("of", None, "another")]
    answered.references = [{"v": None}] * 3
    assert math.isnan(figures_of(made, "train", program, answered)[made.metrics[0].main])


def test_the_share_of_right_ways_is_a_figure_like_others():
    """Each pattern of the target has a name for it, by which a best checkpoint is chosen, and tasks join and leave."""
    line = "[TEXT:q]? -> [TEXT:t]? [CATEGORY:c]? {[TEXT:a]|[PHONE:p]}"
    rows = [{"q": "a", "t": "so", "c": "x", "a": "b"}, {"q": "b", "p": "AH"}]
    made = task(line, rows, metrics=["accuracy"], leave="choice >= 0.9")
    assert list(made.plan.ways) == ["maybe/t", "maybe/c", "choice"]
    found = choose("t.maybe/c", [made], "trainer.best")
    assert (found.figure, found.larger) == ("maybe/c", True)
    told = {name: made.larger_is_better(name) for name in ("choice", "accuracy", "loss", "other")}
    assert told == {"choice": True, "accuracy": True, "loss": False, "other": None}
    with pytest.raises(ConfigError, match=r"no figure 'maybe'; did you mean maybe/.\? there are accuracy, choice,"):
        choose("t.maybe", [made], "trainer.best")
    model, program = grown(made)
    answered = answer_rows(model, made, "train", program)
    answered.predictions = [{"t": "no", "c": None, "a": "b", "p": None}] * 2
    figures = figures_of(made, "train", program, answered)
    assert {name: figures[name] for name in made.plan.ways} == {"maybe/t": 0.5, "maybe/c": 0.5, "choice": 0.5}


def test_room_is_kept_for_the_longest_way_and_not_for_all():
    """After a value that is no tokens: what comes before it may be as long as the model takes."""
    codes = "[IMAGE:{},size=16,patch=4,codes=64,fit_steps=1]"
    choice = f"{{{'|'.join(codes.format(name) for name in 'abc')}|[TEXT:d]}}"
    row = {"q": "what", "n": 1.0, "a": PICTURE[:, :16], "d": None}
    rows = [row | {"a": None, name: row["a"]} for name in "abc"]
    _, one = grown(task(f"[TEXT:q] -> [NUMBER:n] {codes.format('a')}", rows[:1]))
    _, several = grown(task(f"[TEXT:q] -> [NUMBER:n] {choice}", [*rows, {"q": "what", "n": 1.0, "d": "so"}]))
    assert several.reserved(1) == one.reserved(1) + 1  # the token that says the way
    assert several.reserved(2) == one.reserved(2) == 0
