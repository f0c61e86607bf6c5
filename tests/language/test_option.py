"""Options: declared as dataclass fields, read from text."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ofasys.language import Option, SlotOptions, option, options_of


@dataclass(frozen=True, kw_only=True)
class Options:
    ratio: float = option(0.0, low=0, high=1, side="source", about="a share")
    size: int | None = option(None, low=1)
    patch: int = option(16, choices=(8, 16))
    shape: str = option("square", choices=("square", "aspect"))
    flag: bool = option(False)
    plain: str = "x"


def test_options_of_a_dataclass():
    found = options_of(Options)
    assert list(found) == ["ratio", "size", "patch", "shape", "flag", "plain"]
    assert found["ratio"] == Option("ratio", float, 0.0, 0, 1, (), "source", "a share")
    assert [entry.type for entry in found.values()] == [float, int, int, str, bool, str]
    assert Options().ratio == 0.0
    assert Options(ratio=0.5).ratio == 0.5


def test_attributes_every_slot_has():
    found = options_of(SlotOptions)
    sides = {name: entry.side for name, entry in found.items() if entry.side}
    assert sides == {"no_loss": "target", "closed_set": "target", "is_label": "target"}
    assert set(found) - set(sides) == {"preprocess", "adaptor", "criterion", "generator", "weight", "max_length"}
    assert (found["weight"].default, found["weight"].low, found["max_length"].low) == (1.0, 0, 1)
    assert all(entry.about for entry in found.values())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ratio", "0", 0.0),
        ("ratio", ".5", 0.5),
        ("ratio", "1e-3", 0.001),
        ("ratio", "+1.", 1.0),
        ("size", "007", 7),
        ("patch", "8", 8),
        ("shape", "aspect", "aspect"),
        ("flag", None, True),
        ("flag", "True", True),
        ("flag", "yes", True),
        ("flag", "1", True),
        ("flag", "false", False),
        ("flag", "no", False),
        ("flag", "0", False),
        ("plain", "", ""),
    ],
)
def test_read(name, text, value):
    result = options_of(Options)[name].read(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ratio", "1.01", "ratio is a number from 0 to 1, not '1.01'"),
        ("ratio", "-0.1", "ratio is a number from 0 to 1, not '-0.1'"),
        ("ratio", "nan", "ratio is a number from 0 to 1, not 'nan'"),
        ("ratio", "inf", "ratio is a number from 0 to 1, not 'inf'"),
        ("ratio", "1_0", "ratio is a number from 0 to 1, not '1_0'"),
        ("ratio", "", "ratio is a number from 0 to 1, not ''"),
        ("ratio", None, "ratio needs a value: ratio=0.3"),
        ("size", "0", "size is a whole number of at least 1, not '0'"),
        ("size", "1.0", "size is a whole number of at least 1, not '1.0'"),
        ("size", "٣", "size is a whole number of at least 1, not '٣'"),
        ("size", None, "size needs a value: size=1"),
        ("patch", "9", "patch is one of 8, 16, not '9'"),
        ("patch", None, "patch needs a value: patch=8"),
        ("shape", "round", "shape is one of square, aspect, not 'round'"),
        ("shape", None, "shape needs a value: shape=square"),
        ("flag", "maybe", "flag is true or false, not 'maybe'"),
        ("plain", None, "plain needs a value: plain=word"),
    ],
)
def test_refused(name, text, message):
    with pytest.raises(ValueError) as caught:
        options_of(Options)[name].read(text)
    assert str(caught.value) == message


def test_unbounded_floats_are_finite():
    entry = Option("x", float)
    assert entry.read("-1e300") == -1e300
    assert str(entry.read("-0.0")) == "0.0"
    with pytest.raises(ValueError, match="x is a number, not '1e999'"):
        entry.read("1e999")
    assert Option("x", int, high=5).expects == "a whole number of at most 5"


def test_what_is_no_option():
    @dataclass(frozen=True)
    class OfList:
        names: list | None = None

    @dataclass(frozen=True)
    class NoDefault:
        size: int

    with pytest.raises(TypeError, match="an option is bool, int, float or str"):
        options_of(OfList)
    with pytest.raises(TypeError, match="has no default"):
        options_of(NoDefault)
