"""Laws of the data order: a bijection; each row once an epoch; the same for any workers; seeking equals going there."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import ConfigError
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


# --- batches of as many tokens ----------------------------------------------------------------------------------------


@given(
    costs=st.lists(st.integers(1, 500), min_size=1, max_size=300),
    size=st.integers(1, 9),
    seed=st.integers(0, 3),
    sort=st.booleans(),
    shuffle=st.booleans(),
)
def test_batches_by_cost_draw_each_row_once_an_epoch(costs, size, seed, sort, shuffle):
    """Over as many batches as there would be of as many rows; at once, however far, and however they are asked for."""
    n = len(costs)
    given_lengths = costs if sort and shuffle else None

    def order():
        return Order(n, size, seed, "t", shuffle, given_lengths, window=4, costs=costs)

    count = -(-3 * n // size)
    made = list(map(order().batch, range(count)))
    drawn = [(e, row) for epochs, rows in made for e, row in zip(epochs.tolist(), rows.tolist(), strict=True)]
    for epoch in range(3):
        assert sorted(row for e, row in drawn if e == epoch) == list(range(n))
    assert all(len(rows) >= 1 for _, rows in made)
    for k in reversed(range(0, count, 5)):
        epochs, rows = order().batch(k)
        assert (epochs.tolist(), rows.tolist()) == (made[k][0].tolist(), made[k][1].tolist())


@given(costs=st.lists(st.integers(1, 500), min_size=40, max_size=300), size=st.integers(1, 9))
def test_a_batch_by_cost_holds_its_share_but_for_a_row(costs, size):
    costs = costs[: len(costs) // size * size]
    order = Order(len(costs), size, 0, "t", lengths=costs, window=10**6, costs=costs)
    count = len(costs) // size
    share = sum(costs) / count
    for k in range(count):
        held = [costs[row] for row in order.batch(k)[1]]
        assert len(held) == 1 or sum(held) <= share + max(held)
    if max(costs) <= share:  # else a row that is a batch of its own leaves others less
        assert all(sum(costs[r] for r in order.batch(k)[1]) >= share - max(costs) for k in range(count))


def test_rows_that_cost_the_same_are_cut_as_without_costs():
    plain = Order(100, 8, 0, "t", lengths=[5] * 100)
    counted = Order(100, 8, 0, "t", lengths=[5] * 100, costs=[7] * 100)
    assert all(plain.batch(k)[1].tolist() == counted.batch(k)[1].tolist() for k in range(40))


def test_without_shuffling_the_order_is_kept():
    costs = [1 + i % 7 for i in range(60)]
    order = Order(60, 5, 0, "t", shuffle=False, costs=costs)
    batches = [order.batch(k)[1].tolist() for k in range(12)]
    assert [row for batch in batches for row in batch] == list(range(60))
    assert len({len(batch) for batch in batches}) > 1
    with pytest.raises(ConfigError, match="60 rows and costs of shape"):
        Order(60, 5, 0, "t", costs=costs[1:])
