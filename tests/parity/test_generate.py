"""The same answers as `generate`: the search runs the very model of transformers, so only the search is compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ofasys.generator import SearchOptions, bind
from ofasys.generator.search import Hypothesis, search
from ofasys.types import Free, OneOf

pytestmark = pytest.mark.slow

transformers = pytest.importorskip("transformers")

V, EOS, PAD, BOS = 120, 2, 1, 0


class Wrapped:
    """A transformers BART as a decoder: no cache of its own, whole rows each step."""

    def __init__(self, model: Any, source: Tensor) -> None:
        self.model, self.source = model, source
        self.sources = len(source)
        self.encoded = model.get_encoder()(source).last_hidden_state
        self.table = model.lm_head.weight.detach()
        self.output = None
        self.steps = 0

    def start(self, group: int, max_length: int) -> None:
        self.rows = torch.zeros(self.sources * group, 0, dtype=torch.long)
        self.memory = self.encoded.repeat_interleave(group, 0)

    def step(self, tokens: Tensor, parents: Tensor | None) -> Tensor:
        rows = self.rows if parents is None else self.rows[parents]
        self.rows = torch.cat([rows, tokens], 1)
        self.steps += 1
        return self._states(self.rows, self.memory)[:, -1]

    def full(self, tokens: Tensor) -> Tensor:
        B, L, T = tokens.shape
        return self._states(tokens.view(B * L, T), self.encoded.repeat_interleave(L, 0)).view(B, L, T, -1)

    def _states(self, rows: Tensor, memory: Tensor) -> Tensor:
        out = self.model.get_decoder()(input_ids=rows, encoder_hidden_states=memory, use_cache=False)
        return out.last_hidden_state


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tensors this small are slower on two threads, far slower where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(seed: int) -> Any:
    torch.manual_seed(seed)
    config = transformers.BartConfig(
        vocab_size=V,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=64,
        init_std=0.6,
        forced_eos_token_id=None,
        decoder_start_token_id=BOS,
    )
    return transformers.BartForConditionalGeneration(config).eval()


@pytest.fixture(scope="module", params=[0, 1])
def pair(request: pytest.FixtureRequest, one_thread: None) -> tuple[Any, Tensor]:
    model = make(request.param)
    return model, torch.randint(4, V, (4, 9), generator=torch.Generator().manual_seed(request.param))


FREE = bind([Free(0, "all")], encode=lambda text: [], ranges={"all": (3, V)}, end=EOS)


def ours(model: Any, source: Tensor, constraint: Any = FREE, **options: Any) -> list[list[Hypothesis]]:
    decoder = Wrapped(model, source)
    prefixes = [np.array([BOS])] * len(source)
    options.setdefault("normalise", "vocabulary")
    return search(decoder, constraint, prefixes, SearchOptions(**options))


def theirs(model: Any, source: Tensor, **options: Any) -> Any:
    banned = options.pop("suppress", [PAD, BOS])
    return model.generate(
        source,
        attention_mask=torch.ones_like(source),
        do_sample=False,
        suppress_tokens=banned or None,
        return_dict_in_generate=True,
        output_scores=True,
        **options,
    )


def cut(row: Sequence[int], first: int = 1) -> list[int]:
    """Up to the end mark; an end mark put where the budget ran out is not one of theirs."""
    row = list(row)[first:]
    return row[: row.index(EOS)] if EOS in row else [token for token in row if token != PAD]


CASES: list[dict[str, Any]] = [
    {},
    {"length_penalty": 0.0},
    {"length_penalty": 2.0},
    {"length_penalty": -1.0},
    {"early_stopping": True},
    {"early_stopping": "never"},
    {"early_stopping": "never", "length_penalty": 0.0},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3, "early_stopping": True},
    {"min_length": 6},
    {"min_length": 20},
    {"min_length": 5, "no_repeat_ngram_size": 2, "length_penalty": 0.6},
]


BEAMS_ONLY = {"early_stopping", "length_penalty"}
RUNS = [(beams, case) for case in CASES for beams in (1, 2, 5) if beams > 1 or not BEAMS_ONLY & set(case)]


@pytest.mark.parametrize(("beams", "case"), RUNS, ids=str)
def test_same_answers(pair: tuple[Any, Tensor], beams: int, case: dict[str, Any]) -> None:
    model, source = pair
    given = dict(case)
    minimum = given.pop("min_length", 0)
    mine = ours(model, source, beam_size=beams, max_length=20, min_length=minimum, **given)
    asked = dict(given, num_beams=beams, max_new_tokens=20)
    if minimum:
        asked["min_new_tokens"] = minimum
    other = theirs(model, source, **asked)
    assert [cut(answers[0].tokens, 0) for answers in mine] == [cut(row) for row in other.sequences.tolist()]
    if beams > 1:
        scores = [answers[0].score for answers in mine]
        torch.testing.assert_close(torch.tensor(scores), other.sequences_scores, rtol=1e-3, atol=1e-4)


def test_n_best(pair: tuple[Any, Tensor]) -> None:
    model, source = pair
    mine = ours(model, source, beam_size=4, n_best=3, max_length=12)
    other = theirs(model, source, num_beams=4, num_return_sequences=3, max_new_tokens=12)
    flat = [cut(answer.tokens, 0) for answers in mine for answer in answers]
    assert flat == [cut(row) for row in other.sequences.tolist()]


@pytest.mark.parametrize("beams", [1, 3])
def test_prefix_trie(pair: tuple[Any, Tensor], beams: int) -> None:
    model, source = pair
    rng = np.random.default_rng(0)
    labels = [rng.integers(4, V, rng.integers(2, 5)).tolist() for _ in range(60)]
    trie: dict[int, Any] = {}
    for label in labels:
        node = trie
        for token in [*label, EOS]:
            node = node.setdefault(token, {})

    def fits(batch: int, row: Tensor) -> list[int]:
        node = trie
        for token in row.tolist()[1:]:
            node = node.get(token, {})
        return list(node) or [PAD]

    constraint = bind([OneOf(0)], encode=lambda text: [], ranges={}, end=EOS, closed={0: labels})
    mine = ours(model, source, constraint, beam_size=beams, max_length=10)
    other = theirs(model, source, suppress=None, num_beams=beams, max_new_tokens=10, prefix_allowed_tokens_fn=fits)
    assert [cut(answers[0].tokens, 0) for answers in mine] == [cut(row) for row in other.sequences.tolist()]
    assert all(cut(answers[0].tokens, 0) in labels for answers in mine)
