import io
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ofasys import DataError, Task
from ofasys.task.loader import Assembler, deliveries
from ofasys.task.ticket import Ticket
from tests.train import tiny


def assembler(*tasks, seed=0):
    model = tiny.model()
    model.grow([(p, t.labels) for t in tasks for p in t.plans], lambda: (x for t in tasks for x in t.texts()))
    return Assembler(tasks, {t.name: [model.bind(p, t.labels) for p in t.plans] for t in tasks}, seed)


def tickets(task, n):
    return [Ticket(step, task.name, step) for step in range(n)]


def origins(found):
    return [(d.ticket, d.instruction, d.rows, None if d.batch is None else d.batch.origins) for d in found]


def tokens(delivery):
    return [
        entry.tensors["tokens"].tolist()
        for side in (delivery.batch.source, delivery.batch.target)
        for entry in side.inputs
    ]


def test_a_delivery_is_a_function_of_seed_and_ticket():
    task = tiny.fill_task()
    one, two, other = assembler(task), assembler(task), assembler(task, seed=1)
    forward = [one[ticket] for ticket in tickets(task, 6)]
    backward = [two[ticket] for ticket in reversed(tickets(task, 6))][::-1]
    assert origins(forward) == origins(backward)
    assert list(map(tokens, forward)) == list(map(tokens, backward))
    assert origins(forward) != origins([other[ticket] for ticket in tickets(task, 6)])


def test_masking_is_new_each_epoch():
    task = tiny.fill_task(train=tiny.label_rows(8)[-1:], micro_batch_size=1)
    made = assembler(task)
    assert len({str(tokens(made[Ticket(k, "fill", k)])[0]) for k in range(8)}) > 1


def test_the_instructions_of_a_task_are_all_sampled():
    task = tiny.label_task(
        instruction=[tiny.LABEL, "[CATEGORY:label] -> [TEXT:text]", "colour of [TEXT:text]? -> [TEXT:label,closed_set]"]
    )
    found = list(deliveries(assembler(task), tickets(task, 40), 0))
    counts = np.bincount([d.instruction for d in found], minlength=3)
    assert counts.min() >= 5
    assert all(d.batch.size == 4 for d in found)


def test_tickets_are_not_taken_all_at_once():
    taken = []

    def endless():
        k = 0
        while True:
            taken.append(k)
            yield Ticket(k, "fill", k)
            k += 1

    for workers in (0, 2):
        taken.clear()
        stream = deliveries(assembler(tiny.fill_task()), endless(), workers)
        assert [next(stream).ticket.k for _ in range(3)] == [0, 1, 2]
        stream.close()
        assert len(taken) <= 3 + 4 * max(1, workers)


def test_workers_keep_the_order_and_are_gone_afterwards():
    task = tiny.label_task(train=tiny.label_rows(9, bad=(2,)))
    alone = list(deliveries(assembler(task), tickets(task, 9), 0))
    stream = deliveries(assembler(task), tickets(task, 9), 2)
    found = list(stream)
    assert origins(found) == origins(alone)
    assert [[(b.row, str(b.error)) for b in d.bad] for d in found] == [
        [(b.row, str(b.error)) for b in d.bad] for d in alone
    ]
    assert all(
        torch.equal(a.batch.target.layout.padded_index, b.batch.target.layout.padded_index)
        for a, b in zip(alone, found, strict=True)
    )


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc for the workers")
def test_ctrl_c_is_not_for_workers():
    task = tiny.label_task()
    stream = deliveries(assembler(task), tickets(task, 40), 1)
    next(stream)
    children = [int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]
    for child in children:
        if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(child, signal.SIGINT)
    assert len(list(stream)) == 39


def test_data_shorter_than_a_batch_fills_it():
    task = tiny.label_task(train=tiny.label_rows(3), micro_batch_size=8)
    delivery = assembler(task)[Ticket(0, "label", 0)]
    assert delivery.batch.size == 8
    assert [epoch for epoch, _ in delivery.rows] == [0, 0, 0, 1, 1, 1, 2, 2]


def test_buckets_put_like_lengths_together():
    rows = [{"text": " ".join(["word"] * (1 + i % 20)), "label": "a" if i % 2 else "b"} for i in range(160)]

    def share(buckets):
        task = Task("t", tiny.LABEL, rows, micro_batch_size=8, buckets=buckets)
        found = list(deliveries(assembler(task), tickets(task, 20), 0))
        assert sorted(row for d in found for _, row in d.rows) == list(range(160))
        return sum(d.batch.positions for d in found) / sum(d.batch.padded for d in found)

    assert share(True) > 0.85 > share(False)


# --- bad input -------------------------------------------------------------------------------------------------------


def png(width=8, height=8):
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()


GOOD = {"img": png(), "label": "red", "box": [0, 0, 4, 4]}
BAD = [
    ({"img": png()[:40]}, "IMAGE:img", "img"),
    ({"img": b"no picture at all"}, "IMAGE:img", "img"),
    ({"img": "absent.png"}, "IMAGE:img", "img"),
    ({"img": np.zeros((0, 8, 3), np.uint8)}, "IMAGE:img", "img"),
    ({"img": png()[:16] + (100_000).to_bytes(4, "big") * 2 + png()[24:]}, "IMAGE:img", "img"),
    ({"img": 3.5}, "IMAGE:img", "img"),
    ({"img": None}, "IMAGE:img", "img"),
    ({"label": ""}, "TEXT:label", "label"),
    ({"label": "  "}, "TEXT:label", "label"),
    ({"label": [7]}, "TEXT:label", "label"),
    ({"label": ...}, "TEXT:label", "label"),
    ({"box": [0, 0, float("nan"), 4]}, "BOX:box", "box"),
    ({"box": [0, 0, 4]}, "BOX:box", "box"),
    ({"box": [4, 4, 0, 0]}, "BOX:box", "box"),
    ({"box": [0, 0, 40, 4]}, "BOX:box", "box"),
    ({"box": "0 0 4 4"}, "BOX:box", "box"),
    ({"box": ...}, "BOX:box", "box"),
]


PLACES = ("task", "slot", "column", "sample", "expected")


def changed(row, changes):
    """The row with changes; a value of `...` takes the column away."""
    return {name: value for name, value in {**row, **changes}.items() if value is not ...}


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_bad_row_is_named_in_full(number):
    changes, slot, column = BAD[number]
    rows = [GOOD, GOOD, changed(GOOD, changes)]
    task = tiny.box_task(train=rows, micro_batch_size=3, buckets=False)
    delivery = assembler(task)[Ticket(0, "box", 0)]
    assert delivery.batch.size == 2
    (bad,) = delivery.bad
    assert (bad.epoch, bad.row) == (0, 2)
    assert (bad.error.task, bad.error.slot, bad.error.column, bad.error.sample) == ("box", slot, column, "train row 2")
    assert bad.error.expected

    strict = assembler(tiny.box_task(train=rows, micro_batch_size=3, buckets=False, on_bad="stop"))
    for workers in (0, 1) if number in (0, 11) else (0,):
        with pytest.raises(DataError) as caught:
            list(deliveries(strict, tickets(task, 1), workers))
        assert [vars(caught.value)[name] for name in PLACES] == [vars(bad.error)[name] for name in PLACES]


def test_a_label_outside_its_closed_set():
    task = tiny.label_task(
        train=[*tiny.label_rows(2), {"text": "a", "label": "gren"}], closed_set=["red", "green"], micro_batch_size=3
    )
    (bad,) = assembler(task)[Ticket(0, "label", 0)].bad
    assert bad.error.message == "label 'gren' is not in the closed set of 2"
    assert "did you mean green?" in bad.error.expected


def test_whatever_a_row_raises_is_an_error_of_that_row():
    class Wild:
        root = None

        def __len__(self):
            return 2

        def __getitem__(self, i):
            return {"text": "a", "label": "red"} if i == 0 else {}[i]

        def describe(self):
            return "wild"

        def column(self, name):
            return None

    task = tiny.label_task(train=Wild(), closed_set=["red"], micro_batch_size=2)
    (bad,) = assembler(task)[Ticket(0, "label", 0)].bad
    assert "reading it raised KeyError: 1" in str(bad.error)
    assert (bad.row, bad.error.task, bad.error.sample) == (1, "label", "train row 1")


def test_a_batch_of_bad_rows_alone_is_none():
    task = tiny.label_task(train=tiny.label_rows(4, bad=(0, 1)), micro_batch_size=2, shuffle=False, buckets=False)
    delivery = assembler(task)[Ticket(0, "label", 0)]
    assert delivery.batch is None
    assert [bad.row for bad in delivery.bad] == [0, 1]


def test_a_signal_that_ends_the_run_is_no_bad_row():
    from ofasys.task.loader import of_row
    from ofasys.train import Terminated

    with pytest.raises(Terminated), of_row(tiny.label_task(), "train row 0"):
        raise Terminated(15)
    with pytest.raises(DataError, match="SystemExit"), of_row(tiny.label_task(), "train row 0"):
        raise SystemExit(1)
