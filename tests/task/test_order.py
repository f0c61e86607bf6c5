import subprocess
import sys

import numpy as np
import pytest

from ofasys.errors import ConfigError
from ofasys.modality.shared.tokens import TokenAdaptor
from ofasys.modality.vocabulary import Vocabulary
from ofasys.program.program import label_range
from ofasys.seeds import key_of
from ofasys.task.order import Order, permute, sample_seed, sequential


@pytest.mark.slow
def test_permutations_are_well_mixed():
    for n in (2, 3, 5, 12):
        table = np.array([permute(np.arange(n), n, key) for key in range(1500)])
        for place in range(n):
            share = np.bincount(table[:, place], minlength=n) / len(table)
            assert abs(share - 1 / n).max() < 0.05
    long = permute(np.arange(10_000), 10_000, 7)
    assert abs(np.corrcoef(long, np.arange(10_000))[0, 1]) < 0.03
    assert abs(np.corrcoef(long[1:], long[:-1])[0, 1]) < 0.03
    assert (np.abs(np.diff(long)) == 1).sum() < 10


def test_every_small_permutation_comes():
    assert {tuple(permute(np.arange(4), 4, key)) for key in range(2000)} == {
        (a, b, c, d) for a in range(4) for b in range(4) for c in range(4) for d in range(4) if len({a, b, c, d}) == 4
    }


def test_permute_of_very_many():
    n = 10**15 + 37
    out = permute(np.array([0, 1, n - 1]), n, 3)
    assert len(set(out.tolist())) == 3
    assert ((out >= 0) & (out < n)).all()
    assert permute([], 5, 1).shape == (0,)


def test_permute_refuses_what_is_outside():
    with pytest.raises(ConfigError, match=r"outside 0\.\.4"):
        permute([5], 5, 1)
    with pytest.raises(ConfigError, match="n is at least 1"):
        permute([0], 0, 1)


def test_numbers_do_not_change_between_versions():
    # Saved runs rely on these: a change here changes the order of every run that is resumed.
    assert key_of("order", 0, "caption", 1) == 18445239893907749660
    assert sample_seed(0, "caption", 1, 2) == 17032206287199139761
    assert permute(np.arange(10), 10, 42).tolist() == [8, 2, 0, 1, 6, 4, 7, 3, 5, 9]
    assert Order(10, 4, 0, "caption").batch(2)[1].tolist() == [1, 9, 2, 7]


def test_numbers_are_the_same_in_another_process():
    code = (
        "from ofasys.task.order import *; print(sample_seed(3, 'ü', 1, 2), Order(99, 8, 1, 'a').batch(30)[1].tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split(" ", 1) == [
        str(sample_seed(3, "ü", 1, 2)),
        f"{Order(99, 8, 1, 'a').batch(30)[1].tolist()}\n",
    ]


def test_sample_seeds_differ_by_each_of_their_parts():
    seeds = {sample_seed(s, t, e, i) for s in (0, 1) for t in ("a", "b") for e in range(5) for i in range(50)}
    assert len(seeds) == 2 * 2 * 5 * 50
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert key_of("a", "bc") != key_of("ab", "c")
    assert key_of(1, 23) != key_of(12, 3)
    assert key_of("1") != key_of(1)


def test_distinct_names_have_distinct_seeds():
    """Ranges and adaptors start from (seed, their name): ten thousand of them, and ten seeds, all differ."""
    names = [label_range([f"label {i}"]) for i in range(5_000)] + [
        f"image_patch_{i}_{j}" for i in range(50) for j in range(100)
    ]
    assert len({key_of("first values", seed, name) for name in names for seed in range(10)}) == 10 * len(set(names))


def test_no_two_heads_start_equal():
    ranges = [(label_range([f"a{i}", f"b{i}"]), 4 + 2 * i, 2) for i in range(200)]
    tokens = TokenAdaptor({}, 8)
    tokens.grow(Vocabulary((("text", 0, 4), *ranges)), seed=0)
    heads = tokens.weight.detach()[4:].view(200, 16)
    assert len({tuple(head.tolist()) for head in heads}) == 200


def test_buckets_make_batches_of_like_length():
    lengths = np.random.default_rng(0).integers(1, 200, size=1000)
    plain, bucketed = Order(1000, 10, 0, "a"), Order(1000, 10, 0, "a", lengths=lengths, window=50)

    def waste(order):
        batches = [lengths[order.batch(k)[1]] for k in range(300)]
        return 1 - sum(batch.sum() for batch in batches) / sum(batch.max() * len(batch) for batch in batches)

    assert waste(plain) > 0.4
    assert waste(bucketed) < 0.03
    firsts = [lengths[bucketed.batch(k)[1]].mean() for k in range(50)]
    assert abs(np.corrcoef(firsts, np.arange(50))[0, 1]) < 0.4  # short and long batches are shuffled


def test_without_shuffling_rows_come_in_order():
    order = Order(5, 2, 0, "a", shuffle=False)
    assert [order.batch(k)[1].tolist() for k in range(4)] == [[0, 1], [2, 3], [4, 0], [1, 2]]
    assert order.batch(2)[0].tolist() == [0, 1]


def test_sequential():
    assert [batch.tolist() for batch in sequential(5, 2)] == [[0, 1], [2, 3], [4]]
    assert sequential(0, 2) == []
    with pytest.raises(ConfigError, match="batch_size is 0"):
        sequential(5, 0)


def test_an_order_that_cannot_be():
    with pytest.raises(ConfigError, match="order of task 'a' has n=0"):
        Order(0, 1, 0, "a")
    with pytest.raises(ConfigError, match="batch_size=0"):
        Order(1, 0, 0, "a")
    with pytest.raises(ConfigError, match=r"has 3 rows and lengths of shape \(2,\); give one a row"):
        Order(3, 1, 0, "a", lengths=[1, 2])
    with pytest.raises(ConfigError, match="numbers begin at 0"):
        Order(3, 1, 0, "a").batch(-1)
