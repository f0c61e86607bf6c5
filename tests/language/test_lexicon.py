"""The words of the language, and where the default ones come from."""

import pickle
import subprocess
import sys

import pytest

from ofasys.language import Instruction, Lexicon, Option, SlotOptions, Word, default_lexicon, options_of, provide
from ofasys.language import lexicon as room


def test_words_are_found_by_tag_and_alias(lexicon):
    assert lexicon.tags == ("AUDIO", "BOX", "CATEGORY", "IMAGE", "TEXT")
    assert lexicon.word("BOUNDING_BOX") is lexicon.word("BOX")
    assert lexicon.word("text") is None
    assert repr(lexicon) == "Lexicon(AUDIO, BOX, CATEGORY, IMAGE, TEXT)"


def test_every_word_has_the_attributes_of_every_slot():
    assert set(Word("X").options) == set(options_of(SlotOptions))
    own = Option("max_length", int, 7, low=7)
    assert Word("X", {"max_length": own}).options["max_length"] is own
    assert pickle.loads(pickle.dumps(Word("X"))) == Word("X")


def test_one_tag_is_one_word():
    with pytest.raises(ValueError, match="two modalities are called 'B': A and B"):
        Lexicon([Word("A", aliases=("B",)), Word("B")])
    with pytest.raises(ValueError, match="made of word characters, not 'A B'"):
        Word("A B")


def test_the_default_is_asked_for_each_time(monkeypatch):
    monkeypatch.setattr(room, "_factory", None)
    with pytest.raises(RuntimeError, match="import ofasys"):
        default_lexicon()
    words = [Word("A")]
    provide(lambda: Lexicon(words))
    assert Instruction("-> [A]").columns == ("a",)
    words.append(Word("B"))
    assert Instruction("-> [A] [B]").columns == ("a", "b")


def test_only_the_standard_library_is_loaded():
    code = "import sys, ofasys.language; print([m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
