"""A run over a stream that is stopped and gone on with draws the samples of the run that is not stopped.

The stream of `datasets` alone does not: after `load_state_dict` each later epoch starts at the saved place again, and
its shuffle loses the rows that lay in its buffer.
"""

import itertools

import pytest
from torch.utils.data import IterableDataset

from ofasys import Task, Trainer
from ofasys.task.loader import deliveries
from tests.task.test_loader import assembler, tickets
from tests.train import tiny

datasets = pytest.importorskip("datasets")

ROWS = [{"id": str(i), "text": f"word {i % 7}", "label": f"k{i % 3}"} for i in range(100)]
SIZE, BATCHES = 7, 43  # 301 rows: three epochs and the first row of the fourth
LINE = "[TEXT:text] -> [CATEGORY:label]"


class Plain(IterableDataset):
    def __iter__(self):
        return iter(ROWS)


def shuffled():
    table = datasets.Dataset.from_list(ROWS).to_iterable_dataset(num_shards=4)
    return table.shuffle(seed=3, buffer_size=20).map(lambda row: {"twice": row["text"] * 2})


def used():
    """A stream that is half read, and has the state of it."""
    stream = shuffled()
    list(itertools.islice(iter(stream), 37))
    stream.load_state_dict(stream.state_dict())
    return stream


def of_another_epoch():
    stream = shuffled()
    stream.set_epoch(5)
    return stream


def drawn(stream, batches, workers=0):
    """The ids of the rows of each of these batches."""
    task = Task("one", LINE, stream, micro_batch_size=SIZE)
    source = task.source("train")
    wanted = tickets(task, BATCHES)[batches]
    return [[(e, source[row]["id"]) for e, row in d.rows] for d in deliveries(assembler(task), wanted, workers)]


@pytest.mark.parametrize("stream", [Plain, shuffled, used, of_another_epoch])
@pytest.mark.parametrize("stop", [1, 22])
def test_samples_over_three_epochs_with_a_stop_are_those_without(stream, stop):
    whole = drawn(stream(), slice(None))
    assert drawn(stream(), slice(stop)) + drawn(stream(), slice(stop, None)) == whole
    ids = [one for batch in whole for one in batch]
    for epoch in range(3):
        assert sorted(i for e, i in ids if e == epoch) == sorted(row["id"] for row in ROWS), "each once"
    assert len({tuple(i for e, i in ids if e == epoch) for epoch in range(3)}) == 3, "each epoch has its own order"


def test_what_was_done_to_a_stream_before_changes_nothing():
    assert drawn(shuffled(), slice(5)) == drawn(used(), slice(5)) == drawn(of_another_epoch(), slice(5))


def test_workers_draw_the_same():
    assert drawn(shuffled(), slice(20), workers=2) == drawn(shuffled(), slice(20))


@pytest.mark.slow
def test_the_weights_of_a_run_that_was_stopped_are_those_of_one_that_was_not(tmp_path):
    def fit(steps, out):
        model = tiny.model()
        task = Task("one", LINE, shuffled(), micro_batch_size=SIZE)
        Trainer(max_steps=steps, out=out, warmup=0, decay="constant", precision="float32").fit(
            model=model, tasks=[task]
        )
        return tiny.weights(model)

    whole = fit(24, tmp_path / "whole")
    fit(13, tmp_path / "parts")
    assert tiny.same_weights(fit(24, tmp_path / "parts"), whole)
