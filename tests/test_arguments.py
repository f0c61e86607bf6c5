"""What constructors say of a name or a value that they do not take."""

import numpy as np
import pytest

from ofasys import ConfigError, GeneralistModel, Task

LINE = "[TEXT:a] -> [TEXT:b]"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Task("t", LINE, batch_size=8), "task 't' has no 'batch_size'; here it is called micro_batch_size"),
        (lambda: Task("t", LINE, micro_batchsize=8),
         "task 't' has no 'micro_batchsize'; did you mean micro_batch_size?"),
        (lambda: Task("t", LINE, shuffle="no"), "task 't' has shuffle='no'; it is True or False"),
        (lambda: Task("t", LINE, micro_batch_size=True), "micro_batch_size=True; it is a whole number"),
        (lambda: Task("t", LINE, num_beams=2), "give generate={'beam_size': ...}"),
        (lambda: GeneralistModel(config={"width": 32}), "model has config={'width': 32}; it is a ModelConfig or None"),
        (lambda: GeneralistModel(siez="tiny"), "model has no 'siez'; did you mean size?"),
        (lambda: GeneralistModel("tiny", 0.5), "model has seed=0.5; it is a whole number"),
    ],
)  # fmt: skip
def test_wrong(make, said):
    with pytest.raises(ConfigError) as caught:
        make()
    assert said in str(caught.value)


def test_numbers_of_numpy_are_numbers():
    assert Task("t", LINE, bad_limit=np.int64(3), smoothing=np.float32(0.5)).bad_limit == 3
    assert Task("t", LINE, shuffle=np.bool_(True), weight=2).weight == 2


def test_one_metric_alone():
    def mine(predictions, references):
        return {"mine": 1.0}

    for metrics, names in (("rouge_l", ["rouge_l"]), (mine, ["mine"]), (["rouge_l", mine], ["rouge_l", "mine"])):
        assert [metric.name for metric in Task("t", LINE, metrics=metrics).metrics] == names
