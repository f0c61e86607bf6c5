"""Laws of the data order: a bijection; each row once an epoch; the same for any workers; seeking equals going there."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.task.order import Order, permute


@st.composite
def orders(draw):
    n = draw(st.integers(1, 120))
    lengths = draw(st.none() | st.lists(st.integers(0, 9), min_size=n, max_size=n))
    return Order(
        n,
        draw(st.integers(1, 40)),
        draw(st.integers(-3, 2**70)),
        draw(st.text(max_size=5)),
        shuffle=draw(st.booleans()),
        lengths=lengths,
        window=draw(st.integers(1, 6)),
    )


def pairs(order, numbers):
    return [pair for k in numbers for pair in zip(*(part.tolist() for part in order.batch(k)), strict=True)]


def fresh(order):
    return Order(order.n, order.batch_size, order.seed, order.task, order.shuffle, order.lengths, order.window)


@given(st.integers(1, 5000), st.integers(0, 2**64 - 1))
def test_permute_is_a_bijection_and_pointwise(n, key):
    whole = permute(np.arange(n), n, key)
    assert np.array_equal(np.sort(whole), np.arange(n))
    some = np.arange(0, n, 1 + n // 7)
    assert np.array_equal(permute(some[::-1], n, key), whole[some[::-1]])


@given(st.integers(20, 5000), st.integers(0, 2**64 - 2))
def test_permutations_differ_by_key(n, key):
    assert not np.array_equal(permute(np.arange(n), n, key), permute(np.arange(n), n, key + 1))


@given(orders(), st.integers(1, 3))
@settings(deadline=None)
def test_each_epoch_draws_each_row_exactly_once(order, epochs):
    batches = -(-epochs * order.n // order.batch_size)
    drawn = pairs(order, range(batches))
    assert len(drawn) == batches * order.batch_size
    for epoch in range(epochs):
        assert sorted(row for e, row in drawn if e == epoch) == list(range(order.n))
    assert len(set(drawn)) == len(drawn)


@pytest.mark.slow
@given(orders(), st.sampled_from([1, 2, 4]))
@settings(deadline=None)
def test_any_number_of_workers_draws_the_same(order, workers):
    # The earlier system drew half of the rows, each twice, with two workers.
    alone = [pairs(order, [k]) for k in range(24)]
    shared: dict[int, list[tuple[int, int]]] = {}
    for worker in range(workers):
        own = pickle.loads(pickle.dumps(order))
        shared.update({k: pairs(own, [k]) for k in range(worker, 24, workers)})
    assert [shared[k] for k in range(24)] == alone


@given(orders(), st.integers(0, 10**9))
@settings(deadline=None)
def test_seeking_equals_going_there(order, far):
    on_the_way = [pairs(order, [k]) for k in range(12)]
    for k in (11, 3, 7, 0):
        assert pairs(fresh(order), [k]) == on_the_way[k]
    assert pairs(order, [far]) == pairs(fresh(order), [far])


def test_each_epoch_is_shuffled_anew_and_tasks_differ():
    for lengths in (None, np.arange(64) % 7):
        order = Order(64, 8, 0, "a", lengths=lengths)
        epochs = [tuple(row for _, row in pairs(order, range(8 * e, 8 * e + 8))) for e in range(5)]
        assert len(set(epochs)) == 5
        assert pairs(order, range(8)) != pairs(Order(64, 8, 0, "b", lengths=lengths), range(8))
        assert pairs(order, range(8)) != pairs(Order(64, 8, 1, "a", lengths=lengths), range(8))
