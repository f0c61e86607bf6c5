"""docs/language.md says what is true.

A fence marked `error` holds a whole message; its second line is the instruction that gives it. A fence marked
`instruction` holds instructions that are well-formed; `python` fences run.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from ofasys.errors import DataError, InstructionError
from ofasys.language import Instruction, Lexicon, SlotOptions, Word, lexicon, option, options_of

PAGE = Path(__file__).parents[2] / "docs" / "language.md"
FENCE = re.compile(r"^```(error|instruction|python)\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
FENCES = FENCE.findall(PAGE.read_text(encoding="utf-8"))
ERRORS = [body for kind, body in FENCES if kind == "error"]
LINES = [line for kind, body in FENCES if kind == "instruction" for line in body.splitlines()]


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    mask_ratio: float = option(0.0, low=0, high=1, side="source", about="share of tokens hidden, in spans (BART)")
    noise_ratio: float = option(0.0, low=0, high=1, side="source", about="share of tokens replaced by random ones")
    uncased: bool = option(False, about="lower-case the text")


WORDS = [Word("BOX", aliases=("BOUNDING_BOX",)), Word("CATEGORY"), Word("IMAGE"), Word("TEXT", options_of(TextOptions))]
LEXICON = Lexicon(WORDS)
MORE = Lexicon([*WORDS, Word("AUDIO"), Word("MOTION"), Word("NUMBER")])


@pytest.mark.parametrize("body", ERRORS, ids=[body.split("\n")[0] for body in ERRORS])
def test_error(body):
    with pytest.raises(InstructionError) as caught:
        Instruction(body.split("\n")[1].removeprefix("  "), LEXICON)
    assert str(caught.value) == body


@pytest.mark.parametrize("line", LINES)
def test_instruction(line):
    assert Instruction(line, MORE).slots


def test_python(monkeypatch):
    monkeypatch.setattr(lexicon, "_factory", lambda: LEXICON)
    names = {"Instruction": Instruction, "DataError": DataError}
    for kind, body in FENCES:
        if kind == "python":
            exec(compile(body.replace("from ofasys import", "from ofasys.language import"), str(PAGE), "exec"), names)


def test_every_attribute_of_every_slot_is_in_the_table():
    page = PAGE.read_text(encoding="utf-8")
    for name, entry in options_of(SlotOptions).items():
        assert f"| `{entry.example if entry.type is not str else name + '=NAME'}` |" in page
