import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ofasys.errors import ConfigError, DataError
from ofasys.metric import METRICS, Metric, find, larger_is_better

ELSEWHERE = {"execution_accuracy"}  # it needs a database: tests/metric/test_sql.py


def test_every_metric_is_found_and_gives_its_headline():
    picture, motion = np.zeros((12, 12, 3), np.uint8), np.zeros((4, 2, 3))
    samples = {
        ("any",): (["yes", "b"], ["yes", "c"]),
        ("text",): (["a b c d", "e f g h"], ["a b c d", ["e f g h"]]),
        ("phone",): (["HH AH", "L OW"], ["HH AA", ["L OW", "L"]]),
        ("audio",): ([np.zeros((4, 20))], [np.ones((3, 20))]),
        ("image",): ([picture], [picture]),
        ("motion",): ([motion, motion], [motion, motion]),
        ("view", "view"): ([([1.0, 0.0], [1.0, 0.5]), ([0.0, 1.0], [0.5, 1.0])], [None, None]),
        ("box",): ([(0, 0, 1, 1)], [(0, 0, 1, 1)]),
        ("box", "text"): ([([(0, 0, 1, 1)], ["a"])], [([(0, 0, 1, 1)], ["a"])]),
    }
    known = {name: metric for name, metric in METRICS.items() if metric.takes in samples and name not in ELSEWHERE}
    assert len(known) >= 23
    for name, metric in known.items():
        assert find(name) is metric
        scores = metric(*samples[metric.takes])
        assert metric.main in scores
        assert set(scores) == set(metric.directions), name
        assert all(type(value) is float for value in scores.values())


@pytest.mark.parametrize("name", sorted(METRICS))
def test_no_metric_has_a_figure_of_nothing(name):
    with pytest.raises(DataError, match="there is nothing to score"):
        METRICS[name]([], [])


@pytest.mark.parametrize("name", ["accuracy", "exact_match", "f1", "mean_class_accuracy", "vqa_score", "iou_accuracy"])
def test_no_answer_is_wrong(name):
    metric = METRICS[name]
    true: list = [(0, 0, 1, 1), (0, 0, 2, 2)] if name == "iou_accuracy" else ["a", "b"]
    assert metric([None, None], true)[metric.main] == 0


def test_the_page_of_metrics_has_them_all():
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf8")
    said = re.findall(
        r"^\| `(\w+)` \| ([a-z, ]+) \| `(\S+)` \| [^|]+ \| (higher|lower) \| [^|]+ \|$", page, re.MULTILINE
    )
    better = {True: "higher", False: "lower"}
    assert said == [(m.name, ", ".join(m.takes), m.main, better[m.higher_is_better]) for m in METRICS.values()]


def test_metrics_read_what_there_is():
    """What a metric takes is what some modality answers, a label, or the view of a contrast."""
    from ofasys.modality import BUILT_IN

    answers = {modality.value for modality in BUILT_IN.modalities}
    assert {kind for metric in METRICS.values() for kind in metric.takes} <= answers | {"any", "label", "view"}
    assert {"phone", "audio", "image", "motion"} <= answers


def test_a_misspelt_metric_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown metric 'blue'; did you mean bleu\? known here: accuracy, bleu"):
        find("blue")


def test_ones_own_metric():
    def shortness(predictions, references):
        """How short the answers are."""
        return -sum(map(len, predictions))

    metric = find(shortness)
    assert (metric.name, metric.about, metric.takes) == ("shortness", "How short the answers are.", ("any",))
    assert metric(["ab"], ["a"]) == {"shortness": -2.0}
    two = find(lambda predictions, references: {"x": 1, "y": 2})
    assert two(["a"], ["a"]) == {"<lambda>": 1.0, "x": 1.0, "y": 2.0}
    own = Metric("edits", "fewer is better", ("text",), lambda p, r: {"edits": 3}, "edits", higher_is_better=False)
    assert find(own) is own
    assert own(["a"], ["b"]) == {"edits": 3.0}
    assert own.better(1, 2)
    assert METRICS["bleu"].better(2, 1)


@pytest.mark.parametrize(
    ("figure", "larger"),
    [
        ("accuracy", True),
        ("iou_accuracy", True),
        ("iou_accuracy@0.5", True),
        ("detection", True),
        ("map@0.5", True),
        ("wer", False),
        ("per/substitutions", False),
        ("substitutions", False),
        ("per/phone_accuracy", True),
        ("mpjpe", False),
        ("median_rank", False),
        ("left_median_rank", False),
        ("right_recall@10", True),
        ("motion_frechet", False),
        ("motion_diversity", None),
        ("mcd_length", None),
        ("loss", False),
        ("loss/label", False),
        ("perplexity", False),
        ("samples", None),
        ("wer/nothing", None),
        ("", None),
    ],
)
def test_which_direction_is_better(figure, larger):
    assert larger_is_better(figure) is larger


def test_which_direction_is_better_of_ones_own():
    def mine(predictions, references):
        return 1.0

    own = Metric(
        "edits", "", ("any",), lambda p, r: {"edits": 1.0, "depth": 1.0}, "edits", False, figures={"depth": True}
    )
    assert larger_is_better("mine", [find(mine), own]) is None
    assert larger_is_better("edits", [find(mine), own]) is False
    assert larger_is_better("edits/depth", [own]) is True
    assert larger_is_better("edits") is None
    other = Metric("d", "", ("any",), lambda p, r: {"d": 1.0, "depth": 1.0}, "d", figures={"depth": False})
    assert larger_is_better("depth", [own, other]) is None
    assert len({own, other}) == 2


def test_a_metric_that_does_not_keep_its_word():
    with pytest.raises(ConfigError, match="its headline figure 'x' is not among them"):
        Metric("m", "", ("any",), lambda p, r: {"y": 1.0}, "x")([1], [1])
    with pytest.raises(ConfigError, match="return a number or a dict of numbers"):
        Metric("m", "", ("any",), lambda p, r: "good", "x")([1], [1])
    with pytest.raises(ConfigError, match="not a metric: 3"):
        find(3)


def test_the_registry_loads_no_heavy_library():
    heavy = "{'torch', 'numpy', 'PIL', 'sacrebleu', 'rapidfuzz', 'jiwer', 'faster_coco_eval'}"
    code = f"import sys, ofasys.metric; print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
