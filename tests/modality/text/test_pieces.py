"""Text: any Unicode comes back; masks and noise as asked; what is no text is an error."""

import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import ConfigError, DataError
from ofasys.modality import Context
from ofasys.modality.symbols import Symbols, load_tokenizer, train_tokenizer
from ofasys.modality.text.preprocess import Pieces, mask_spans
from ofasys.modality.vocabulary import END, MASK, Vocabulary

PLAIN = {"mask_ratio": 0.0, "noise_ratio": 0.0, "uncased": False, "max_length": None}
LONG = "a red cat and a blue dog on the green hill see what is big or small " * 8


@pytest.fixture(scope="module")
def symbols(tiny):
    return Symbols(tiny.tokenizer(), Vocabulary.assemble({"text": tiny.tokenizer().get_vocab_size(), "bins": 1000}))


@pytest.fixture(scope="module")
def read(symbols):
    """read(value, seed, **options) -> tokens; without a seed there is no randomness."""

    def read(value, seed=None, labels=None, **options):
        random = None if seed is None else np.random.default_rng(seed)
        return (
            Pieces(PLAIN | options, symbols).preprocess(value, Context(random=random, labels=labels)).tensors["tokens"]
        )

    return read


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_any_text_comes_back(symbols, text):
    made = Pieces(PLAIN, symbols)
    piece = made.preprocess(text, Context())
    assert made.postprocess(piece.tensors["tokens"], Context()) == text
    assert piece.length == len(piece.tensors["tokens"])


@pytest.mark.parametrize(
    "text",
    [
        " two  blanks ",
        "a\nb\tc\r\nd\x00\x1b[0m",
        "👩‍👩‍👧‍👦🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "e\u0301 vs é",
        "\u202eright to left",
        "<end><pad><mask><bos>",
        "\ufeffBOM",
        "𝕏 \U0010ffff",
    ],
)
def test_awkward_text_comes_back(symbols, text, read):
    made = Pieces(PLAIN, symbols)
    tokens = read(text)
    assert made.postprocess(tokens, Context()) == text
    low, high = symbols.vocabulary.span("text")
    assert ((tokens >= low) & (tokens < high)).all()  # marks cannot be written


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "the text is empty; expected text with at least one visible character"),
        (" \n\t", "the text is empty"),
        pytest.param(10**5000, "got int of too many digits; expected a str, or a number", id="of too many digits"),
        (None, "got NoneType None"),
        (b"bytes", "got bytes b'bytes'"),
        (["a"], "got list"),
        (float("nan"), r"the value is missing \(NaN\); expected a str, or a number"),
        (np.float32("nan"), r"the value is missing \(NaN\)"),
        (Decimal("sNaN"), r"the value is missing \(NaN\)"),
        (2j, "got complex 2j"),
        (np.array([1, 2]), "got ndarray"),
        ("a\ud800b", "without lone surrogates"),
        ("\udfff", "without lone surrogates"),
        ({"a": "x" * 99}, r"got dict .*\.\.\."),
    ],
)
def test_what_is_no_text(read, value, says):
    with pytest.raises(DataError, match=says):
        read(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (-0, "0"),
        (2**70, "1180591620717411303424"),
        (2.50, "2.5"),
        (2.0, "2.0"),
        (1e300, "1e+300"),
        (float("inf"), "inf"),
        (True, "True"),
        (np.bool_(False), "False"),
        (np.int8(-7), "-7"),
        (np.float32(0.1), "0.1"),
        (np.float64(0.1), "0.1"),
        (np.array(2.5), "2.5"),
        (torch.tensor(0.1), "0.1"),
        (torch.tensor(4), "4"),
        (Decimal("1.10"), "1.10"),
        (Fraction(1, 3), "1/3"),
    ],
)
def test_a_number_is_its_text(symbols, read, value, text):
    made = Pieces(PLAIN | {"closed_set": False}, symbols)
    assert made.postprocess(read(value), Context()) == text
    assert made.canonical(value) == text
    assert Pieces.texts(value, PLAIN) == [text]


def test_what_is_no_number_stays_itself(symbols):
    for value in (None, float("nan"), ["a"], 2j):
        assert Pieces(PLAIN | {"closed_set": False}, symbols).canonical(value) is value
        assert Pieces.texts(value, PLAIN) == []


def test_a_lone_surrogate_in_a_masked_text(read):
    with pytest.raises(DataError, match="lone surrogates"):
        read("a <mask> \ud800", mask_ratio=0.3)


def test_uncased(read):
    np.testing.assert_array_equal(read("Ein ROTES Ämtchen", uncased=True), read("ein rotes ämtchen"))
    assert read("A").tolist() != read("a").tolist()


def test_max_length_cuts_but_never_a_label(read):
    whole = read(LONG)
    np.testing.assert_array_equal(read(LONG, max_length=5), whole[:5])
    assert len(read("cat", max_length=500)) == len(read("cat"))
    assert len(read(LONG + "<mask> cat", max_length=5, mask_ratio=0.3)) == 5
    np.testing.assert_array_equal(read(LONG, max_length=5, labels=(LONG, "cat")), whole)


def test_a_label_outside_the_closed_set(read):
    with pytest.raises(
        DataError, match=r"'yess' is not in the closed set of 2; expected one of 'yes', 'no' \(did you mean yes\?\)"
    ):
        read("yess", labels=("yes", "no"))
    assert len(read("yes", labels=("yes", "no")))


# --- infilling -----------------------------------------------------------------------------------------------------


def hidden_share(before, after):
    """Share of `before` that is gone from `after`."""
    return (len(before) - int((after != MASK).sum())) / len(before)


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.7, 1.0])
def test_the_share_that_is_masked(read, ratio):
    whole = read(LONG)
    for seed in range(5):
        masked = read(LONG, seed, mask_ratio=ratio)
        assert hidden_share(whole, masked) == pytest.approx(ratio, abs=0.5 / len(whole))
        kept = masked[masked != MASK]
        rest = iter(whole.tolist())
        assert all(token in rest for token in kept.tolist())  # in their order


def test_spans_become_one_mask_each():
    tokens = np.arange(10, 1010)
    masked = mask_spans(tokens, 0.3, MASK, np.random.default_rng(0))
    masks = int((masked == MASK).sum())
    assert len(masked) == 1000 - 300 + masks
    assert 2 < 300 / masks < 5  # Poisson(3), spans that meet are one
    assert not ((masked[1:] == MASK) & (masked[:-1] == MASK)).any()
    gaps = np.diff(np.concatenate([[9], masked[masked != MASK], [1010]]))
    assert (gaps > 1).sum() == masks


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_short_text_is_masked_too(length):
    for seed in range(20):
        masked = mask_spans(np.arange(10, 10 + length), 0.01, MASK, np.random.default_rng(seed))
        assert (masked == MASK).sum() == 1


def test_masks_depend_on_the_generator_alone(read):
    np.testing.assert_array_equal(read(LONG, 3, mask_ratio=0.3), read(LONG, 3, mask_ratio=0.3))
    assert read(LONG, 3, mask_ratio=0.3).tolist() != read(LONG, 4, mask_ratio=0.3).tolist()


def test_without_a_generator_nothing_is_hidden(read):
    np.testing.assert_array_equal(read(LONG, mask_ratio=0.3, noise_ratio=0.3), read(LONG))


def test_a_written_mask_is_the_mask(read):
    """The user's own text with a hole: no hole is added to it, with a generator or without."""
    for seed in (None, 0):
        tokens = read("a red <mask> and <mask>", seed, mask_ratio=0.3)
        assert tokens.tolist() == [*read("a red "), MASK, *read(" and "), MASK]
    assert MASK not in read("a red <mask> and <mask>")  # no infilling was asked for: it is text


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
def test_the_share_that_is_noise(read, symbols, ratio):
    whole = read(LONG * 10)
    noised = read(LONG * 10, 0, noise_ratio=ratio)
    low, high = symbols.vocabulary.span("text")
    assert len(noised) == len(whole)
    assert ((noised >= low) & (noised < high)).all()
    assert (noised != whole).mean() == pytest.approx(ratio, abs=0.05)


def test_noise_and_masks_together(read):
    masked = read(LONG, 0, noise_ratio=0.2, mask_ratio=0.3)
    assert hidden_share(read(LONG), masked) == pytest.approx(0.3, abs=0.01)


def test_the_target_is_never_noised(tiny):
    random = np.random.default_rng(0)
    sample = tiny.samples("infill", random=random, training=True)[0]
    assert tiny.program("infill").symbols.decode(sample.run.tokens) == tiny.ROWS["infill"][0]["sentence"]
    assert sample.run.tokens[-1] == END
    assert MASK in np.concatenate([piece.tensors["tokens"] for _, piece in sample.source])


# --- tokenizers ------------------------------------------------------------------------------------------------------


def test_a_tokenizer_of_no_text_holds_all_bytes():
    tokenizer = train_tokenizer([], 100)
    assert tokenizer.get_vocab_size() == 256
    symbols = Symbols(tokenizer, Vocabulary.assemble({"text": 256}))
    assert symbols.decode(symbols.encode("Ää 漢字 😀")) == "Ää 漢字 😀"


def test_an_existing_tokenizer_is_loaded(tmp_path, tiny):
    path = tmp_path / "tokenizer.json"
    path.write_text(tiny.tokenizer().to_str(), encoding="utf8")
    assert load_tokenizer(path).encode("a red cat").ids == tiny.tokenizer().encode("a red cat").ids
    path.write_text("{}")
    for bad in (path, tmp_path / "absent.json", tmp_path):
        with pytest.raises(ConfigError, match=r"is not a tokenizer\.json"):
            load_tokenizer(bad)


def test_symbols_cross_to_a_worker(symbols):
    fitted = {"number/linear": {"middle": np.array([2.5]), "unit": np.array([0.1])}}
    again = pickle.loads(pickle.dumps(Symbols(symbols.tokenizer, symbols.vocabulary, fitted)))
    assert again.encode("a red cat") == symbols.encode("a red cat")
    assert again.vocabulary == symbols.vocabulary
    assert again.fitted == fitted
