"""What is looked at before the first step, and what is said of it."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from ofasys import ConfigError, DataError, GeneralistModel, Task, Trainer
from ofasys.modality import BUILT_IN
from ofasys.train.ahead import FEW, MANY
from tests.map_style import MapStyle
from tests.train import tiny

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
from patterns import MAYBE


def check(*tasks, out=None):
    return Trainer(max_steps=2, out=out).check(model=tiny.model(), tasks=list(tasks))


def fit(*tasks, **settings):
    trainer = Trainer(**({"max_steps": 3, "warmup": 1, "log_every": 1} | settings))
    trainer.fit(model=tiny.model(), tasks=list(tasks))
    return trainer


def missing(n=MANY):
    return [{"img": f"no{i}.png", "label": "yz"[i % 2]} for i in range(n)]


PICTURE = "[IMAGE:img,size=16,patch=8] what? -> [TEXT:label,closed_set]"


def test_good_rows_are_counted_and_the_folder_stays_as_it_was(tmp_path):
    train, valid = check(tiny.label_task(valid=tiny.label_rows(3), train=tiny.label_rows(20)), out=tmp_path / "run")
    assert (train.split, train.rows, train.read, train.bad, train.first) == ("train", 20, FEW, 0, "")
    assert (valid.split, valid.rows, valid.read) == ("valid", 3, 3)
    assert "the 4 rows looked at can be used" in str(train)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("begin", [check, fit])
@pytest.mark.parametrize("rows", [3, 90])
def test_rows_none_of_which_can_be_used_stop_the_run_before_it_begins(begin, rows, tmp_path):
    task = Task("t", PICTURE, train=missing(rows))
    with pytest.raises(DataError, match=f"none of {min(rows, MANY)} training rows .*; the first: no file 'no0.png'"):
        begin(task, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_few_bad_rows_are_told_and_cost_nothing():
    bad = tuple(i for i in range(40) if i != 33)  # the first ones looked at are all bad, one of the many is not
    looked = check(tiny.label_task(train=tiny.label_rows(40, bad=bad), bad_limit=40))[0]
    assert looked.bad == looked.read - 1 > FEW
    assert f"{looked.bad} of the {looked.read} rows looked at cannot be used, the first: " in str(looked)
    assert "sample 'train row 0'" in looked.first


def test_a_bad_row_stops_a_task_that_stops_at_bad_rows():
    with pytest.raises(DataError, match="train row 0"):
        check(tiny.label_task(train=tiny.label_rows(9, bad=(0,)), on_bad="stop"))


def test_labels_that_are_spelled_in_several_ways_are_told(caplog):
    rows = [{"text": "a", "label": label} for label in ("yes", "no", "Yes", " no", True, "maybe not", "maybe")]
    with caplog.at_level("WARNING", "ofasys"):
        Trainer(live=False).check(tiny.model(), tiny.label_task(train=rows, valid=rows))
        (told,) = [record.getMessage() for record in caplog.records]
        assert "2 of the labels of 'label' are spelled in several ways" in told
        assert "' no' and 'no'; 'Yes' and 'yes'; where" in told
        caplog.clear()
        named = ["yes", "no", "Yes", " no", "True", "maybe", "maybe not"]
        Trainer(live=False).check(tiny.model(), tiny.label_task(train=rows, valid=rows, closed_set=named))
        assert not caplog.records


def test_a_bad_valid_row_is_an_error_and_a_bad_test_row_a_warning(caplog):
    with pytest.raises(DataError, match="valid row 2"):
        fit(tiny.label_task(valid=tiny.label_rows(3, bad=(2,))))[-1]
    assert not caplog.records
    looked = check(tiny.label_task(test=tiny.label_rows(3, bad=(2,))))[-1]
    assert (looked.split, looked.bad) == ("test", 1)
    assert "cannot be evaluated on its test rows as they are" in caplog.text


@pytest.mark.parametrize("kind", [list, MapStyle, "jsonl"])
def test_every_valid_label_is_looked_up(kind, tmp_path):
    rows = tiny.label_rows(50)
    rows[17]["label"], rows[31]["label"] = "purple", "gren"
    given = rows
    if kind == "jsonl":
        given = tmp_path / "rows.jsonl"
        given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind is MapStyle:
        given = MapStyle(rows)
    with pytest.raises(DataError) as caught:
        check(tiny.label_task(train=tiny.label_rows(20), valid=given))
    assert caught.value.sample == "valid row 17"
    assert "'purple' is not in the closed set of 4; valid rows with such a label: 2 ('purple', 'gren')" in str(
        caught.value
    )
    assert "closed_set={'label': [...]} of the task" in caught.value.expected


def test_labels_are_looked_up_as_their_slot_reads_them():
    train = [{"t": "a", "y": y} for y in ("1", "2", "True", "no")]
    valid = [{"t": "a", "y": y} for y in (1, 2.0, np.int64(2), True, np.bool_(True), "no")]
    _, looked = check(Task("t", "[TEXT:t] -> [CATEGORY:y]", train=train, valid=valid))
    assert looked.bad == 0
    with pytest.raises(DataError, match="valid row 6"):
        check(Task("t", "[TEXT:t] -> [CATEGORY:y]", train=train, valid=[*valid, {"t": "a", "y": False}]))
    with pytest.raises(DataError, match="valid row 6"):
        check(Task("t", "[TEXT:t] -> [CATEGORY:y]", train=train, valid=[*valid, {"t": "a", "y": None}]))


def test_labels_in_loops_and_in_references_are_looked_up():
    loop = "[TEXT:t] -> ([TEXT:part][CATEGORY:y])*"
    rows = [{"t": "a", "part": ["p", "q"], "y": [y, "no"]} for y in ("yes", "no", "yes")]
    check(Task("t", loop, train=rows, valid=rows))
    with pytest.raises(DataError, match=r"valid row 1.*") as caught:
        check(Task("t", loop, train=rows, valid=[rows[0], {"t": "a", "part": ["p"], "y": ["oui"]}]))
    assert "'oui'" in caught.value.message
    line, several = "[TEXT:t] -> [CATEGORY:y]", {"references": {"y": "ways"}}
    train = [{"t": "a", "y": y} for y in ("yes", "no")]
    check(Task("t", line, train=train, valid=[{"t": "a", "ways": ["yes", "no"]}], **several))
    with pytest.raises(DataError, match="'oui'"):
        check(Task("t", line, train=train, valid=[{"t": "a", "ways": ["oui", "oui"]}], **several))


def test_a_missing_library_ends_the_run_before_the_first_step(monkeypatch, tmp_path):
    from ofasys.modality.text import preprocess

    def lacking(self, value, context):
        raise ConfigError('TEXT needs a library that is not installed; pip install "ofasys[words]"')

    monkeypatch.setattr(preprocess.Pieces, "preprocess", lacking)
    with pytest.raises(ConfigError, match=r"task 'label': TEXT needs .*ofasys\[words\]"):
        fit(tiny.label_task(), out=tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_bad_rows_are_told_at_the_end_with_the_first_reason(tmp_path, caplog):
    task = tiny.label_task(train=tiny.label_rows(12, bad=(3, 7)), bad_limit=5)
    fit(task, max_steps=6, save_every=1, out=tmp_path)
    (told,) = [r.getMessage() for r in caplog.records]
    assert "task 'label': 2 of its 12 training rows were left out as bad, the first: " in told
    first = json.loads((tmp_path / "quarantine.jsonl").read_text().splitlines()[0])["problem"]
    assert first in told
    caplog.clear()
    fit(tiny.label_task(train=tiny.label_rows(12, bad=(3, 7)), bad_limit=5), max_steps=9, out=tmp_path)
    assert told in caplog.text, "a run that goes on remembers what was left out before"


def test_bad_rows_are_told_of_a_run_that_is_stopped(tmp_path, caplog, monkeypatch):
    from ofasys.train import steps

    update = steps.Steps.update

    def stopped(self, step, stream):
        update(self, step, stream)
        if step == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(steps.Steps, "update", stopped)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny.label_task(train=tiny.label_rows(12, bad=(3, 7)), bad_limit=5), max_steps=9)
    assert "were left out as bad" in caplog.text


def lacking(kind, tmp_path=None):
    """Rows that have no `note`: in memory, and in files that say so in their own way."""
    rows = [{"text": f"{colour} bird", "hue": colour} for colour in ("red", "blue")] * 3
    if kind == "None":
        return [row | {"note": None} for row in rows]
    if kind == "memory":
        return rows
    path = tmp_path / f"rows.{kind}"
    lines = (
        [json.dumps(row) for row in rows] if kind == "jsonl" else ["text,hue", *(",".join(r.values()) for r in rows)]
    )
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", ["None", "memory", "jsonl", "csv"])
@pytest.mark.parametrize(
    "line",
    [
        "[TEXT:text] [TEXT:note]? -> [TEXT:hue]",
        "[TEXT:text] [NUMBER:note,mean=0,std=1]? -> [TEXT:hue]",
        "[TEXT:text] -> [TEXT:hue] [TEXT:note]?",
        "[TEXT:text] -> [TEXT:hue] [TEXT:note,closed_set]?",
        "[TEXT:text] -> [TEXT:hue] [STRUCT:note]?",
    ],
)
def test_what_a_row_may_lack_may_be_lacking_in_all_of_them_and_is_told(tmp_path, caplog, kind, line):
    rows = lacking(kind, tmp_path)
    closed = {"closed_set": {"note": ["x", "y"]}} if "closed_set" in line else {}
    registry = BUILT_IN.with_(MAYBE)
    task = Task("t", line, train=rows, valid=rows, metrics=[], modalities=registry, **closed)
    model = GeneralistModel(config=tiny.CONFIG, modalities=registry, text_pieces=300)
    Trainer(max_steps=2, live=False).fit(model=model, tasks=task)
    assert re.search("none of the 6 training rows looked at has a value for .*:note, which a row may lack", caplog.text)


def test_what_some_rows_have_is_not_told(caplog):
    rows = [{"text": "a", "hue": "red"}] * 40 + [{"text": "a", "hue": "red", "nota": "b"}] * 20
    for name, told in (("nota", ""), ("note", "did you mean nota? the rows have hue, nota, text")):
        registry = BUILT_IN.with_(MAYBE)
        task = Task("t", f"[TEXT:text] [TEXT:{name}]? -> [TEXT:hue]", train=rows, modalities=registry)
        Trainer(max_steps=2).check(
            model=GeneralistModel(config=tiny.CONFIG, modalities=registry, text_pieces=300), tasks=[task]
        )
        assert told in caplog.text
        assert ("none of the" in caplog.text) == bool(told)


def test_a_closed_set_that_rows_may_lack_and_all_do_is_asked_for():
    task = Task("t", "[TEXT:text] -> [CATEGORY:c]?", train=[{"text": "a"}] * 4, modalities=BUILT_IN.with_(MAYBE))
    with pytest.raises(
        DataError, match=r"no training row holds a label .* or the labels as closed_set=\{'c': \[...\]\}"
    ):
        _ = task.labels


def test_a_number_that_rows_may_lack_and_all_do_needs_its_scale():
    line, registry = "[TEXT:text] [NUMBER:n]? -> [TEXT:hue]", BUILT_IN.with_(MAYBE)
    task = Task("t", line, train=lacking("None"), modalities=registry)
    with pytest.raises(DataError, match=r"scale from \(slot 'NUMBER:n', column 'n'\); expected .* or mean= and std="):
        Trainer(max_steps=2).check(
            model=GeneralistModel(config=tiny.CONFIG, modalities=registry, text_pieces=300), tasks=[task]
        )
