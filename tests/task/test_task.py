import json

import numpy as np
import pytest

from ofasys import ConfigError, DataError, InstructionError, PlanError, Task, Trainer
from ofasys.metric import METRICS, Metric
from ofasys.planner import plan
from ofasys.task.task import metric_columns
from tests.train import tiny

ROWS = tiny.label_rows(6)
DETECT = "[IMAGE:img] detect the objects in the image. -> ([BOX] [TEXT])*"


class Costly:
    """A data set whose columns are not at hand: rows only, one of which cannot be read."""

    def __init__(self, rows, broken=()):
        self.rows, self.broken = rows, broken

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        if i in self.broken:
            raise OSError("a disk")
        return self.rows[i]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "a task is named ''"),
        ({"name": "a/b"}, "a name is letters"),
        ({"instruction": []}, "has no instruction"),
        ({"instruction": [3]}, "an instruction of int"),
        ({"on_bad": "skp"}, "on_bad='skp'; it is 'skip' or 'stop'"),
        ({"bad_limit": -1}, "bad_limit=-1"),
        ({"bad_limit": 3, "on_bad": "stop"}, "bad_limit=3; on_bad='stop' stops at the first"),
        ({"micro_batch_size": 2.5}, "micro_batch_size=2.5; it is a whole number"),
        ({"smoothing": 1.0}, "smoothing=1.0"),
        (
            {"smoothing": 0.1, "instruction": "[TEXT:a] -> [MOTION:m,fps=10,frames=12]"},
            "smoothing=0.1, and no slot that is learned as tokens",
        ),
        ({"weight": 0}, "weight 0"),
        ({"micro_batch_size": 0}, "micro_batch_size 0"),
        ({"join": 4, "leave": 4}, "it leaves after it joins"),
        ({"metrics": ["acuracy"]}, "did you mean accuracy"),
        ({"metrics": ["iou_accuracy"]}, "metric 'iou_accuracy' reads box; the target of .* has text"),
        ({"metrics": ["detection"]}, "reads box and text"),
        ({"settings": {"IMAGE.size": 32}}, "IMAGE.size"),
        ({"settings": {"TEXT.mask_ration": 0.3}}, "mask_ratio"),
        ({"generate": {"beam_sise": 2}}, "did you mean beam_size"),
        ({"closed_set": {"lable": ["a"]}}, "did you mean label"),
        ({"closed_set": {"label": []}}, "give a list of labels"),
        ({"closed_set": {"label": "red"}}, "give a list of labels"),
        ({"instruction": "-> [TEXT:t]", "closed_set": ["a"]}, r"closed_set=\{column: labels\} is needed"),
        ({"train": {"text": "one row"}}, "give a list of rows"),
    ],
)
def test_what_cannot_be_a_task(changes, message):
    with pytest.raises(ConfigError, match=message):
        Task(**({"name": "label", "instruction": tiny.LABEL, "train": ROWS} | changes))


def test_an_instruction_is_checked_at_once():
    with pytest.raises(InstructionError, match="did you mean TEXT"):
        Task("t", "[TXT:a] -> [TEXT:b]")
    with pytest.raises(PlanError):
        Task("t", "[TEXT:a] -> what then?  [TEXT:b,no_loss]")


def test_an_empty_split_is_refused_by_name():
    with pytest.raises(DataError, match="the data set is empty") as caught:
        Task("label", tiny.LABEL, train=[])
    assert caught.value.task == "label"
    assert "at least one row" in str(caught.value)


def test_datasets_are_added_by_split(tmp_path):
    task = Task("label", tiny.LABEL)
    assert "no data" in repr(task)
    with pytest.raises(ConfigError, match=r"no train rows \(it has: none\); give train= or add_dataset"):
        task.source("train")
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)))
    assert task.add_dataset(file) is task
    task.add_dataset(ROWS[:2], "test")
    assert {split: len(source) for split, source in task.sources.items()} == {"train": 6, "test": 2}
    assert task.entry().size == 6
    with pytest.raises(ConfigError, match=r"no split 'vaild'; did you mean valid\? there are train, valid, test"):
        task.add_dataset(ROWS, "vaild")


def test_labels_are_given_or_gathered():
    assert tiny.label_task().labels == {"label": ("blue", "green", "red", "white")}
    assert tiny.label_task(closed_set=["white", "red", "white"]).labels == {"label": ("white", "red")}
    assert tiny.label_task(closed_set={"label": ("b", 1)}).labels == {"label": ("b", "1")}
    bare = Task("label", tiny.LABEL, valid=ROWS)
    for _ in range(2):  # a failure leaves nothing half done
        with pytest.raises(ConfigError, match=r"closed set of TEXT:label is not known; give closed_set=\{'label'"):
            _ = bare.labels
    bare.add_dataset(ROWS[:2])
    assert bare.labels == {"label": ("green", "red")}
    bare.add_dataset(ROWS[:1])
    assert bare.labels == {"label": ("red",)}
    bare.restore_labels({"label": ["a", "b"]})
    assert bare.labels == {"label": ("a", "b")}


def test_what_is_no_label_is_not_gathered():
    odd = [None, float("nan"), "", " ", ["red"], {"a": 1}, 2.5, "red", 3, np.int64(4)]
    rows = [{"text": "a", "label": value} for value in odd]
    assert Task("t", tiny.LABEL, rows).labels == {"label": ("3", "4", "red")}
    assert Task("t", tiny.LABEL, Costly(rows, broken=(0,))).labels == {"label": ("3", "4", "red")}
    with pytest.raises(DataError, match="no training row holds a label") as caught:
        _ = Task("t", tiny.LABEL, rows[:7]).labels
    assert (caught.value.task, caught.value.slot, caught.value.column) == ("t", "TEXT:label", "label")


def test_a_column_that_no_row_has_is_named():
    task = Task("t", tiny.LABEL, [{"text": "a", "lable": "red"}])
    with pytest.raises(DataError, match=r"no column 'label'; did you mean lable\?") as caught:
        _ = task.labels
    assert (caught.value.task, caught.value.slot, caught.value.column) == ("t", "TEXT:label", "label")
    with pytest.raises(DataError, match="no column 'text'"):
        Task("t", tiny.LABEL, [{"txet": "a", "label": "red"}]).lengths()


@pytest.mark.parametrize("costly", [False, True])
def test_closed_sets_in_a_repetition(costly):
    wrap = Costly if costly else list
    closed = DETECT.replace("[TEXT]", "[TEXT,closed_set]")
    tuples = [
        {"img": "a.png", "box_text": [([0, 0, 1, 1], "cat"), ([0, 0, 1, 1], "dog")]},
        {"img": "a.png", "box_text": []},
    ]
    lists = [{"img": "a.png", "box": [[0, 0, 1, 1]] * 2, "text": ["cat", "dog"]}]
    named = "[IMAGE:img] -> ([BOX:b] [CATEGORY:c,adaptor=head])*"
    assert Task("t", closed, wrap(tuples)).labels == {"text": ("cat", "dog")}
    assert Task("t", closed, wrap(lists)).labels == {"text": ("cat", "dog")}
    assert Task("t", named, wrap([{"img": "a.png", "b": [[0, 0, 1, 1]] * 2, "c": ("dog", "ant")}])).labels == {
        "c": ("ant", "dog")
    }
    assert "cat" in list(Task("t", DETECT, wrap(tuples)).texts())


def test_texts_are_prompts_labels_and_training_text():
    task = Task(
        "t",
        "what [TEXT:text,uncased] -> is it [TEXT:label,closed_set]",
        [{"text": "A Cat", "label": "Yes"}, {"text": None}],
    )
    assert list(dict.fromkeys(text.strip() for text in task.texts())) == ["what", "is it", "Yes", "a cat"]
    assert {text.strip() for text in Task("t", "-> say [TEXT:t]").texts()} == {"say"}
    long = Task("t", "-> [TEXT:t]", [{"t": f"row {i}"} for i in range(50_000)])
    assert 10_000 <= len(list(long.texts())) <= 20_000


def test_lengths_are_of_the_text_columns():
    rows = [{"a": "abc", "b": "x"}, {"a": None, "b": "xy"}]
    assert Task("t", "[TEXT:a] -> [TEXT:b]", rows).lengths().tolist() == [4, 6]
    assert Task("t", "[TEXT:a] -> [TEXT:b]", rows, buckets=False).lengths() is None
    assert Task("t", "[TEXT:a] -> [TEXT:b]", Costly(rows)).lengths() is None
    tuples = [
        {"img": "a.png", "box_text": [([0, 0, 1, 1], "cat"), ([0, 0, 1, 1], "horse")]},
        {"img": "a.png", "box_text": []},
    ]
    assert Task("t", DETECT, tuples).lengths().tolist() == [8, 0]
    assert tiny.box_task().lengths() is not None  # the label it is asked for is text


def test_settings_reach_the_plan():
    assert tiny.box_task().plan.slots[0].values["size"] == 16
    assert Task("t", tiny.LABEL, settings={"text.max_length": 5}).plan.slots[0].values["max_length"] == 5
    assert Task("t", tiny.LABEL, generate={"beam_size": 3}).generate.beam_size == 3


def test_columns_may_clash_between_tasks():
    """`label` is a text here, a category there, a box elsewhere; each task reads its own."""
    tasks = [
        tiny.label_task(valid=None),
        Task("head", "[TEXT:text] -> [CATEGORY:label,adaptor=head]", tiny.label_rows(4), micro_batch_size=4),
        Task(
            "box",
            "[IMAGE:text] -> [BOX:label]",
            [{"text": r["img"], "label": r["box"]} for r in tiny.box_rows(4)],
            settings=tiny.SMALL,
            micro_batch_size=4,
        ),
    ]
    trainer = Trainer(max_steps=3, log_every=1)
    trainer.fit(model=tiny.model(), tasks=tasks)
    assert [line["task"] for line in trainer.history] == ["label", "head", "box"]


def test_metrics_find_their_columns():
    both = plan("[IMAGE:img] -> ([BOX:b] [CATEGORY:c])*")
    assert metric_columns(METRICS["detection"], both) == ("b", "c")
    own = Metric("own", "", ("any",), lambda p, r: 1.0, "own")
    assert metric_columns(own, both) == ("b",)
    marked = plan("-> [TEXT:a] then [TEXT:b,is_label]")
    assert metric_columns(METRICS["accuracy"], marked) == ("b",)
    task = Task("t", tiny.LABEL, metrics=[lambda p, r: 0.5, own, "accuracy"])
    assert [metric.name for metric in task.metrics] == ["<lambda>", "own", "accuracy"]
