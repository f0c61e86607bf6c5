"""The instruction language: text <-> tree.

Takes for granted: a Lexicon, made from the modalities at hand. Gives: Instruction, a value that prints, compares,
hashes and takes data. Imports nothing but the standard library and `ofasys.errors`, so that it loads in milliseconds.
"""

from .column import Group, Parts, Place
from .instruction import Filled, Instruction
from .lexicon import Lexicon, Word, default_lexicon, provide
from .option import Option, Side, SlotOptions, Value, option, options_of
from .parse import parse
from .pattern import Grammar, Pattern
from .tree import Alternatives, Contrast, Repetition, Segment, Sentence, Slot, Text

__all__ = [
    "Alternatives",
    "Contrast",
    "Filled",
    "Grammar",
    "Group",
    "Instruction",
    "Lexicon",
    "Option",
    "Parts",
    "Pattern",
    "Place",
    "Repetition",
    "Segment",
    "Sentence",
    "Side",
    "Slot",
    "SlotOptions",
    "Text",
    "Value",
    "Word",
    "default_lexicon",
    "option",
    "options_of",
    "parse",
    "provide",
]
