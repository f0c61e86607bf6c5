import subprocess
import sys

import pytest

from ofasys.errors import ConfigError
from ofasys.metric import METRICS, Metric, find


def test_every_metric_is_found_and_gives_its_headline():
    samples = {
        ("any",): (["a", "b"], ["a", "c"]),
        ("text",): (["a b c d", "e f g h"], ["a b c d", ["e f g h"]]),
        ("box",): ([(0, 0, 1, 1)], [(0, 0, 1, 1)]),
        ("box", "text"): ([([(0, 0, 1, 1)], ["a"])], [([(0, 0, 1, 1)], ["a"])]),
    }
    assert set(METRICS) == {"accuracy", "exact_match", "bleu", "rouge_l", "cider", "iou_accuracy", "detection"}
    for name, metric in METRICS.items():
        assert find(name) is metric
        scores = metric(*samples[metric.takes])
        assert metric.main in scores
        assert all(type(value) is float for value in scores.values())


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


def test_a_metric_that_does_not_keep_its_word():
    with pytest.raises(ConfigError, match="its headline figure 'x' is not among them"):
        Metric("m", "", ("any",), lambda p, r: {"y": 1.0}, "x")([1], [1])
    with pytest.raises(ConfigError, match="return a number or a dict of numbers"):
        Metric("m", "", ("any",), lambda p, r: "good", "x")([1], [1])
    with pytest.raises(ConfigError, match="not a metric: 3"):
        find(3)


def test_the_registry_loads_no_heavy_library():
    code = "import sys, ofasys.metric; print({'torch', 'numpy', 'sacrebleu', 'rapidfuzz', 'faster_coco_eval'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
