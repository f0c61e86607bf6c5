from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from ofasys.errors import ConfigError
from ofasys.generator import GENERATORS, SearchOptions, bind
from ofasys.generator.choose import top
from ofasys.generator.ngram import repeats
from ofasys.generator.sample import draw
from ofasys.generator.search import Hypothesis, search
from ofasys.types import Fixed, Forced, Free, Item, Loop, OneOf
from tests.generator.toy import Toy

END, V = 3, 60
RANGES = {"text": (4, 50), "bins": (50, 60)}
BEGIN = np.array([1])


def run(items: list[Item], sources: int = 1, prefixes: Any = None, **options: Any) -> list[list[Hypothesis]]:
    closed = {2: [[5], [6, 7], [6, 8, 9]]}
    constraint = bind(items, encode=lambda text: [ord(c) % 40 + 4 for c in text], ranges=RANGES, end=END, closed=closed)
    toy = Toy(V, list(range(sources)))
    return search(toy, constraint, prefixes or [BEGIN] * sources, SearchOptions(**options))


def test_boxes_hold_only_bins() -> None:
    for found in run([Fixed(0, "bins", 4)], sources=5, beam_size=3, n_best=3):
        for answer in found:
            assert len(answer.tokens) == 4
            assert ((answer.tokens >= 50) & (answer.tokens < 60)).all()


def test_closed_set_answers_are_labels() -> None:
    for found in run([OneOf(2)], sources=8, beam_size=4, n_best=3):
        assert {tuple(answer.tokens) for answer in found} == {(5, END), (6, 7, END), (6, 8, 9, END)}
        assert abs(sum(np.exp(answer.logprob) for answer in found) - 1) < 1e-5


@pytest.mark.parametrize("beams", [1, 3])
def test_max_length_counts_no_prefix(beams: int) -> None:
    for length in (1, 13):
        ((answer, *_),) = run(
            [Free(0, "text")], prefixes=[np.arange(1, length + 1)], beam_size=beams, max_length=5, min_length=5
        )
        assert len(answer.tokens) == 6  # five and the end mark
        assert answer.tokens[-1] == END
        assert not answer.finished


def test_max_length_keeps_room_for_what_must_come() -> None:
    ((answer,),) = run([Free(0, "text"), Fixed(1, "bins", 4)], max_length=8, min_length=8)
    assert len(answer.tokens) == 8
    assert (answer.tokens[-4:] >= 50).all()


def test_what_must_come_comes_even_if_it_is_too_long() -> None:
    ((answer,),) = run([Fixed(1, "bins", 4), Forced("abc"), Fixed(1, "bins", 4)], max_length=2)
    assert len(answer.tokens) == 11


def test_loops_stop_in_time() -> None:
    ((answer,),) = run([Loop((Fixed(0, "bins", 4), Free(1, "text")))], max_length=20)
    assert len(answer.tokens) <= 21


def test_a_text_keeps_to_its_own_max_length() -> None:
    ((answer,),) = run([Free(0, "text", 3), Fixed(1, "bins", 1)], min_length=10, max_length=30)
    assert len(answer.tokens) == 5
    assert answer.tokens[3] == END
    ((answer,),) = run([Loop((Free(0, "text", 2),))], min_length=9, max_length=9)
    words = "".join("." if token == END else "x" for token in answer.tokens).split(".")
    assert max(map(len, words)) == 2


def test_min_length() -> None:
    constraint = bind([Free(0, "t")], encode=list, ranges={"t": (4, 7)}, end=END)

    def lengths(least: int) -> list[int]:
        options = SearchOptions(sampling=True, max_length=30, min_length=least)
        found = search(Toy(V, list(range(20))), constraint, [BEGIN] * 20, options)
        return [len(answers[0].tokens) - 1 for answers in found]

    assert min(lengths(0)) < 4
    assert min(lengths(4)) == 4


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_ngram_twice(beams: int, size: int) -> None:
    plain = run([Free(0, "text")], sources=6, max_length=40, min_length=40, beam_size=beams)
    found = run([Free(0, "text")], sources=6, max_length=40, min_length=40, beam_size=beams, no_repeat_ngram_size=size)

    def grams(answer: Hypothesis) -> list[tuple[int, ...]]:
        tokens = answer.tokens[:-1].tolist()
        return [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]

    assert all(len(set(grams(answers[0]))) == len(grams(answers[0])) for answers in found)
    assert not all(len(set(grams(answers[0]))) == len(grams(answers[0])) for answers in plain)


def test_barring_everything_closes_the_text() -> None:
    constraint = bind([Free(0, "t")], encode=list, ranges={"t": (4, 6)}, end=END)
    for beams in (1, 2):
        options = SearchOptions(no_repeat_ngram_size=1, min_length=9, max_length=9, beam_size=beams)
        ((answer, *_),) = search(Toy(V, [0]), constraint, [BEGIN], options)
        assert sorted(answer.tokens.tolist()) == [END, 4, 5]


def test_repeats() -> None:
    rows, tokens = repeats(np.array([[1, 2, 3, 1, 2], [1, 2, 3, 4, 5]]), 3)
    assert (rows.tolist(), tokens.tolist()) == ([0], [3])
    assert repeats(np.array([[1, 2]]), 3)[0].size == 0
    assert sorted(repeats(np.array([[7, 8]]), 1)[1].tolist()) == [7, 8]


def test_forced_tokens_cost_no_step_of_the_model() -> None:
    constraint = bind(
        [Forced("abcdefgh"), Fixed(0, "bins", 1), Forced("xyz")],
        encode=lambda text: [ord(c) % 40 + 4 for c in text],
        ranges=RANGES,
        end=END,
    )
    toy = Toy(V, [0, 1])
    search(toy, constraint, [np.arange(1, 5), np.arange(1, 4)], SearchOptions(beam_size=3))
    # the shorter row reaches its one choice first, the longer one a token later; all else is fed along
    assert toy.steps == 2


def test_prompts_of_different_length_in_a_batch() -> None:
    prefixes = [np.array([1]), np.array([1, 9, 8, 7]), np.array([1, 5])]
    together = run([Free(0, "text")], sources=3, prefixes=prefixes, max_length=9)
    constraint = bind([Free(0, "text")], encode=list, ranges=RANGES, end=END)
    for source, prefix in enumerate(prefixes):
        (alone,) = search(Toy(V, [source]), constraint, [prefix], SearchOptions(max_length=9))
        assert alone[0].tokens.tolist() == together[source][0].tokens.tolist()


def test_length_penalty_zero_is_honoured() -> None:
    ((answer, *_),) = run([Free(0, "text")], beam_size=3, length_penalty=0.0)
    assert answer.score == answer.logprob


def test_sampling_is_a_function_of_seed_source_and_step() -> None:
    asked: dict[str, Any] = {"sampling": True, "n_best": 3, "max_length": 12}

    def tokens(seed: int) -> list[list[int]]:
        return [a.tokens.tolist() for found in run([Free(0, "text")], sources=4, seed=seed, **asked) for a in found]

    assert tokens(1) == tokens(1)
    assert tokens(1) != tokens(2)
    assert len({tuple(row) for row in tokens(1)}) > 4


def test_sampling_the_best_alone_is_greedy() -> None:
    greedy = run([Free(0, "text")], sources=4, max_length=12)
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        drawn = run([Free(0, "text")], sources=4, max_length=12, sampling=True, **narrow)
        assert [a[0].tokens.tolist() for a in drawn] == [a[0].tokens.tolist() for a in greedy]


def test_draws_follow_the_probabilities() -> None:
    values = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(4000, -1)
    chance = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000

    def shares(**options: Any) -> list[float]:
        drawn = draw(values, chance, SearchOptions(sampling=True, **options))
        return (torch.bincount(drawn, minlength=4) / 4000).tolist()

    assert shares() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=1e-3)
    assert shares(top_k=2) == pytest.approx([0.625, 0.375, 0, 0], abs=1e-3)
    assert shares(top_p=0.9) == pytest.approx([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0], abs=1e-3)
    assert shares(temperature=0.5) == pytest.approx(np.array([0.25, 0.09, 0.0225, 0.0025]) / 0.365, abs=1e-3)


@pytest.mark.parametrize("count", [3, 100, 1000, 5000, 50_262])
def test_top_is_topk(count: int) -> None:
    values = torch.randn(7, count)
    for k in (1, 2, 10):
        best, columns = top(values, k)
        torch.testing.assert_close(best, torch.topk(values, min(k, count))[0])
        torch.testing.assert_close(values.gather(1, columns), best)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beam_size": 0}, "beam_size is 0; expected a whole number, 1 or more"),
        ({"max_length": True}, "max_length is True"),
        ({"temperature": 0.0}, "temperature is 0.0; expected more than 0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"min_length": 9, "max_length": 8}, "min_length is 9, more than max_length 8"),
        ({"sampling": True, "beam_size": 2}, "does not go with beam_size=2"),
        ({"n_best": 2}, "n_best is 2, more than beam_size 1"),
        ({"early_stopping": "sometimes"}, "early_stopping is 'sometimes'"),
        ({"length_penalty": "long"}, "length_penalty is 'long'; expected a number"),
    ],
)
def test_options_refuse(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SearchOptions(**given)


def test_options_by_name() -> None:
    falsy = {"length_penalty": 0.0, "sampling": False, "no_repeat_ngram_size": 0, "min_length": 0, "top_k": 0}
    assert SearchOptions.from_dict(falsy).length_penalty == 0.0
    with pytest.raises(ConfigError, match="no option 'beam_sise'; did you mean beam_size"):
        SearchOptions.from_dict({"beam_sise": 3})


def test_prefixes_are_checked() -> None:
    with pytest.raises(ValueError, match="2 prefixes for 1 sources"):
        run([Free(0, "text")], prefixes=[BEGIN, BEGIN])
    with pytest.raises(ValueError, match="a prefix is empty"):
        run([Free(0, "text")], prefixes=[np.zeros(0, dtype=np.int64)])


def test_the_room_loads_without_torch() -> None:
    code = "import sys, ofasys.generator as g; assert 'torch' not in sys.modules; print(sorted(g.GENERATORS))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['classify', 'ctc', 'denoise', 'fairseq', 'frames', 'rank', 'regress', 'search']"
    assert GENERATORS["search"].resolve() is search
