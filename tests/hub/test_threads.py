"""One model, many threads: the answers of each are those it would get alone; and nobody asks while the model learns."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from threading import Barrier, Event, Thread
from typing import Any

import pytest
import torch

from ofasys import GeneralistModel, OFASys, Task, Trainer
from ofasys.errors import ConfigError
from ofasys.flow import parse, plan

KINDS = ["[TEXT:a] -> [CATEGORY:c]", "[TEXT:a] -> [CATEGORY:c,generator=rank]", "[TEXT:a] -> [TEXT:b]"]
LABELS = {"c": ["one", "two", "three hundred", "three thousand"]}
ROWS = [{"a": f"number {i}", "b": str(i % 3)} for i in range(8)]


@pytest.fixture
def model(tiny):
    made = GeneralistModel(config=tiny.CONFIG, text_pieces=260)
    made.grow([(plan(parse(line)), LABELS) for line in KINDS], lambda: ["a cat"])
    return made


def together(work: Callable[[int], Any], count: int) -> list[Any]:
    """What `work` gives in each of `count` threads that begin at once; an error is raised here."""
    gate, found = Barrier(count), [None] * count

    def run(number: int) -> None:
        gate.wait()
        try:
            found[number] = work(number)
        except BaseException as error:
            found[number] = error

    threads = [Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors := [one for one in found if isinstance(one, BaseException)]:
        raise errors[0]
    return found


@pytest.mark.parametrize(("threads", "count"), [(3, 70), pytest.param(8, 80, marks=pytest.mark.slow)])
def test_answers_of_many_threads_are_those_of_one(model, threads, count):
    model.train()
    lines = [f"{i} {KINDS[i % 3]}" for i in range(count)]  # more than are kept

    def ask(served: OFASys, number: int) -> Any:
        given = {"closed_set": LABELS} if number % 3 < 2 else {"max_length": 3}
        out = served.inference(lines[number], data={"a": f"row {number % 7}"}, **given)
        return str(out), round(out.score, 4), len(out.nbest)

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone, shared = OFASys(model), OFASys(model)
        want = [ask(alone, i) for i in range(count)]
        found = together(lambda number: [ask(shared, (i + 10 * number) % count) for i in range(count)], threads)
    finally:
        torch.set_num_threads(before)
    for number, answers in enumerate(found):
        assert answers == [want[(i + 10 * number) % count] for i in range(count)]
    assert model.training  # as it was


def test_the_mode_comes_back_when_the_last_answer_is_done(model):
    model.train()
    inside, leave = Barrier(2), Event()

    def first() -> None:
        with model.answering():
            inside.wait()
            leave.wait()

    thread = Thread(target=first)
    thread.start()
    inside.wait()
    with model.answering():
        assert not model.training
    assert not model.training  # the other is in its midst
    leave.set()
    thread.join()
    assert model.training


def test_nobody_asks_while_another_thread_trains(model):
    served = OFASys(model)
    with model.being_trained():
        with pytest.raises(ConfigError, match="is being trained by thread 'MainThread'"):
            together(lambda _: served.inference(KINDS[0], data={"a": "x"}, closed_set=LABELS), 1)
        with pytest.raises(ConfigError, match="is being trained already, by thread 'MainThread'"):
            together(lambda _: Trainer(max_steps=1, live=False).fit(model=model, tasks=task()), 1)
        assert served.inference(KINDS[0], data={"a": "x"}, closed_set=LABELS)  # the thread that trains may
        with pytest.raises(ConfigError, match="trained already"), model.being_trained():
            pass
    assert served.inference(KINDS[0], data={"a": "x"}, closed_set=LABELS)
    with model.answering(), pytest.raises(ConfigError, match="in the midst of an answer"), model.being_trained():
        pass


def test_training_waits_for_answers_that_are_running(model):
    inside, leave, order = Barrier(2), Event(), []

    def answer() -> None:
        with model.answering():
            inside.wait()
            leave.wait()
            order.append("answered")

    def train() -> None:
        with model.being_trained():
            order.append("trained")

    threads = [Thread(target=answer), Thread(target=train)]
    threads[0].start()
    inside.wait()
    threads[1].start()
    while model._turns._trainer is None:  # until the other waits for its turn
        pass
    with pytest.raises(ConfigError, match="is being trained by"), model.answering():
        pass
    leave.set()
    for thread in threads:
        thread.join()
    assert order == ["answered", "trained"]


def task() -> Task:
    return Task("t", KINDS[2], train=ROWS, valid=ROWS[:2], micro_batch_size=4)


@pytest.mark.slow
def test_a_run_is_as_if_nobody_had_asked(tiny):
    """Threads that keep asking are refused; the weights are those of a run without them."""
    weights = []
    for asking in (0, 3):
        made = GeneralistModel(config=tiny.CONFIG, text_pieces=260)
        trainer = Trainer(max_steps=1, warmup=1, live=False)
        trainer.fit(model=made, tasks=task())
        served, stop, refused = OFASys(made), Event(), []

        def ask(served=served, stop=stop, refused=refused) -> None:
            while not stop.is_set():
                try:
                    served.inference(KINDS[2], data={"a": "x"}, max_length=2)
                except ConfigError as error:
                    refused.append(error)

        threads = [Thread(target=ask) for _ in range(asking)]
        for thread in threads:
            thread.start()
        Trainer(max_steps=4, warmup=1, live=False).fit(model=made, tasks=task())
        stop.set()
        for thread in threads:
            thread.join()
        weights.append({name: value.clone() for name, value in made.state_dict().items()})
        assert not made.training
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_copy_of_a_model_in_use_has_turns_of_its_own(model):
    with model.answering():
        twin, turns = copy.deepcopy(model), pickle.loads(pickle.dumps(model._turns))
        with twin.being_trained(), turns.training():
            pass
