"""preprocess=characters: each character by itself, whatever the tokenizer has learned."""

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys import GeneralistModel, OFASys, Task, Trainer, plan
from ofasys.errors import ConfigError, DataError, PlanError
from ofasys.modality import Context
from ofasys.modality.symbols import Symbols
from ofasys.modality.text.preprocess import Characters, Pieces
from ofasys.modality.vocabulary import Vocabulary

PLAIN = {"mask_ratio": 0.0, "noise_ratio": 0.0, "uncased": False, "max_length": None, "closed_set": False}


@pytest.fixture(scope="module")
def symbols():
    return Symbols(tiny.tokenizer(), Vocabulary.assemble({"text": tiny.tokenizer().get_vocab_size()}))


def tokens(symbols, value, **options):
    return Characters(PLAIN | options, symbols).preprocess(value, Context()).tensors["tokens"]


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_any_text_comes_back_and_no_piece_holds_two_characters(symbols, text):
    found = tokens(symbols, text)
    assert symbols.decode(found) == text
    assert len(found) >= len(text)
    if text.isascii():
        assert len(found) == len(text)


def test_pieces_that_were_learned_are_not_used(symbols):
    assert len(Pieces(PLAIN, symbols).preprocess("a red cat", Context()).tensors["tokens"]) < len("a red cat")
    assert len(tokens(symbols, "a red cat")) == len("a red cat")


def test_masks_case_and_length(symbols):
    found = tokens(symbols, "ab<mask>C", mask_ratio=0.5, uncased=True)
    np.testing.assert_array_equal(found, [*tokens(symbols, "ab"), symbols.mask, *tokens(symbols, "c")])
    assert symbols.decode(tokens(symbols, "station", max_length=3)) == "sta"


def test_a_lone_surrogate_is_refused(symbols):
    with pytest.raises(DataError):
        tokens(symbols, "a\ud800b")


def test_the_tokenizer_learns_nothing_of_it():
    assert Characters.texts("a red cat", PLAIN) == []
    assert Pieces.texts("a red cat", PLAIN) == ["a red cat"]


def test_a_closed_set_is_refused():
    with pytest.raises(PlanError, match="closed_set for one of some"):
        plan("[TEXT:a] -> [TEXT:b,preprocess=characters,closed_set]")


def test_pieces_that_begin_words_are_refused(symbols, monkeypatch):
    monkeypatch.setattr(Symbols, "decode", lambda self, ids: "an  8")
    with pytest.raises(ConfigError, match="pieces say where words begin; leave it out"):
        Characters(PLAIN, symbols)


def test_it_learns_to_spell():
    rows = [{"a": word, "b": word[::-1]} for word in ("station", "naïve", "日本", "cat")] * 4
    line = "[TEXT:a,preprocess=characters] backwards -> [TEXT:b,preprocess=characters]"
    model = GeneralistModel(config=tiny.CONFIG)
    task = Task("backwards", line, train=rows, micro_batch_size=8)
    Trainer(max_steps=80, warmup=5, lr=3e-3, live=False).fit(model=model, tasks=[task])
    asked = OFASys(model)
    assert [str(asked.inference(line, data=row)) for row in rows[:4]] == [row["b"] for row in rows[:4]]
