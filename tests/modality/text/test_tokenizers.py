"""A tokenizer of one's own: what it loses is told, what cannot work is refused; a closed set keeps its own spelling."""

import json
import math
import warnings

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from ofasys import GeneralistModel, OFASys
from ofasys.errors import ConfigError, DataError, PlanError
from ofasys.flow import parse, plan
from ofasys.modality import Context
from ofasys.modality.symbols import Symbols, load_tokenizer, text_ids
from ofasys.modality.text.preprocess import Pieces
from ofasys.modality.vocabulary import Vocabulary
from ofasys.model.sizes import ModelConfig

TEXTS = ["a red cat and a blue dog on the green hill", "Yes no Yes No maybe Maybe. Hello World"] * 5
SMALL = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, max_positions=64)
PLAIN = {"mask_ratio": 0.0, "noise_ratio": 0.0, "uncased": False, "max_length": None}


def word_pieces(decoder=True):
    """As BERT has it: lower case, marks around each text, cut and filled up."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    if decoder:
        made.decoder = decoders.WordPiece()
    specials = ["[UNK]", "[CLS]", "[SEP]", "[PAD]"]
    made.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=150, special_tokens=specials, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made.enable_padding(length=16)
    made.enable_truncation(3)
    return made


def unigram():
    """As T5 has it: compatibility forms, blanks as pieces, a piece for what is unknown."""
    made = Tokenizer(models.Unigram())
    made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(vocab_size=90, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False),
    )
    return made


def byte_fallback(prefix="never"):
    """As Llama has it: what has no piece is bytes."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prefix)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        + ([decoders.Strip(" ", 1, 0)] if prefix != "never" else [])
    )
    specials = ["<unk>", *(f"<0x{i:02X}>" for i in range(256))]
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=400, special_tokens=specials, show_progress=False))
    return made


def words(unknown="[UNK]"):
    made = Tokenizer(models.WordLevel(unk_token=unknown))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(TEXTS, trainers.WordLevelTrainer(special_tokens=["[UNK]"], show_progress=False))
    return made


def plain_pieces(decoder=None, dropout=None):
    made = Tokenizer(models.BPE(dropout=dropout))
    if decoder is not None:
        made.decoder = decoder
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=60, show_progress=False))
    return made


@pytest.fixture
def saved(tmp_path):
    def saved(tokenizer):
        (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf8")
        return tmp_path / "tokenizer.json"

    return saved


def pieces(path):
    with warnings.catch_warnings(action="ignore"):
        tokenizer = load_tokenizer(path)
    return Pieces(PLAIN, Symbols(tokenizer, Vocabulary.assemble({"text": text_ids(tokenizer)})))


def back(part, text):
    return part.postprocess(part.preprocess(text, Context()).tensors["tokens"], Context())


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (word_pieces, ["capitals ('Hello World' becomes 'hello world')", "blanks in a row ('a  b' becomes 'a b')"]),
        (unigram, ["blanks at the ends (' a ' becomes 'a ')", "line ends and tabs (", "emoji ('😀' becomes '<unk>')"]),
        (lambda: byte_fallback("always"), ["blanks at the ends (' a ' becomes"]),
        (words, ["capitals", "emoji ('😀' becomes '[UNK]')"][1:]),
        (lambda: words("[NONE]"), ["emoji ('😀' is an error)"]),
        (
            lambda: plain_pieces(decoders.Fuse()),
            ["emoji ('😀' becomes '')", "other scripts ('日本語 кот' becomes ' ')"],
        ),
    ],
)
def test_what_is_lost_is_told_once_with_examples(saved, made, told):
    path = saved(made())
    with pytest.warns(UserWarning, match=r"tokenizer\.json does not give every text back") as found:
        GeneralistModel(config=SMALL, tokenizer=path)
    assert len(found) == 1
    for part in told:
        assert part in str(found[0].message)


def test_nothing_is_told_where_nothing_is_lost(saved, tiny):
    for tokenizer in (byte_fallback(), tiny.tokenizer()):
        path = saved(tokenizer)
        with warnings.catch_warnings(action="error"):
            load_tokenizer(path)
        for text in ("Hello  World\n", " a\tb ", "😀 日本語", "ﬁ e\u0301"):
            assert back(pieces(path), text) == text


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (plain_pieces, "has no decoder, so an answer would be pieces with blanks between them"),
        (lambda: word_pieces(decoder=False), "has no decoder"),
        (
            lambda: plain_pieces(decoders.Fuse(), dropout=0.5),
            r"draws its pieces by chance \(dropout=0.5\); set it to null",
        ),
    ],
)
def test_what_is_refused(saved, made, says):
    with pytest.raises(ConfigError, match=says):
        load_tokenizer(saved(made()))


def test_marks_filling_and_cutting_of_the_file_are_not_used(saved):
    part = pieces(saved(word_pieces()))
    assert back(part, "a red cat and a blue dog") == "a red cat and a blue dog"
    assert part.preprocess("cat", Context()).length == 1


def test_text_that_has_no_pieces(saved):
    with pytest.raises(DataError, match="the tokenizer leaves nothing of '😀'"):
        pieces(saved(plain_pieces(decoders.Fuse()))).preprocess("😀", Context())
    with pytest.raises(DataError, match=r"the tokenizer cannot read the text: WordLevel error: Missing \[UNK\]"):
        pieces(saved(words("[NONE]"))).preprocess("unheard", Context())


def test_ids_that_a_file_leaves_out_have_room(saved):
    described = json.loads(words().to_str())
    described["model"]["vocab"]["beyond"] = 1000
    tokenizer = load_tokenizer_quietly(saved(Tokenizer.from_str(json.dumps(described))))
    assert (tokenizer.get_vocab_size(), text_ids(tokenizer)) == (len(described["model"]["vocab"]), 1001)
    symbols = Symbols(tokenizer, Vocabulary.assemble({"text": text_ids(tokenizer), "other": 5}))
    assert symbols.text_start <= symbols.encode("beyond")[0] < symbols.text_end


def load_tokenizer_quietly(path):
    with warnings.catch_warnings(action="ignore"):
        return load_tokenizer(path)


# --- closed sets -----------------------------------------------------------------------------------------------------

LINE = "[TEXT:t] -> [{slot}]"


def answerer(path, labels, slot):
    """A model with this tokenizer that has learned nothing, and the program of a closed set."""
    with warnings.catch_warnings(action="ignore"):
        model = GeneralistModel(config=SMALL, tokenizer=path)
    planned = plan(parse(LINE.format(slot=slot)))
    model.grow([(planned, {"c": labels})], lambda: [])
    return OFASys(model)


@pytest.mark.parametrize("made", [word_pieces, unigram, byte_fallback, words])
@pytest.mark.parametrize("modality", ["TEXT:c,closed_set", "CATEGORY:c"])
def test_a_set_answers_in_its_own_spelling(saved, made, modality):
    labels = ["Yes", "no  No", "Maybe. ", "a Red cat"]
    asked = answerer(saved(made()), labels, f"{modality},generator=rank")
    line = LINE.format(slot=f"{modality},generator=rank")
    found = asked.inference(line, data={"t": "cat"}, closed_set=labels)
    assert sorted(out.label for out in found.nbest) == sorted(labels)
    assert math.fsum(math.exp(out.score) for out in found.nbest) == pytest.approx(1, abs=1e-5)
    searched = asked.inference(line.replace(",generator=rank", ""), data={"t": "cat"}, closed_set=labels, beam_size=4)
    assert searched.label in labels


@pytest.mark.parametrize(
    ("made", "labels", "says"),
    [
        (word_pieces, ["Yes", "no", "yes"], "the labels 'Yes' and 'yes' are one to the tokenizer: both read 'yes'"),
        (word_pieces, ["a  cat", "a cat"], "the labels 'a  cat' and 'a cat' are one"),
        (words, ["猫", "Yes", "狗"], r"the labels '猫' and '狗' are one to the tokenizer: both read '\[UNK\]'"),
        (lambda: plain_pieces(decoders.Fuse()), ["猫", "no"], "the tokenizer leaves nothing of the label '猫'"),
    ],
)
def test_labels_that_are_one_to_the_tokenizer(saved, made, labels, says):
    for slot in ("TEXT:c,closed_set", "CATEGORY:c"):
        asked = answerer(saved(made()), labels, slot)
        with pytest.raises(PlanError, match=says):
            asked.inference(LINE.format(slot=slot), data={"t": "cat"}, closed_set=labels)
        head = answerer(saved(made()), labels, "CATEGORY:c,adaptor=head")
        found = head.inference(LINE.format(slot="CATEGORY:c,adaptor=head"), data={"t": "cat"}, closed_set=labels)
        assert found.label in labels


def test_what_is_no_label_is_text(tiny):
    symbols = Symbols(tiny.tokenizer(), Vocabulary.assemble({"text": text_ids(tiny.tokenizer())}))
    assert symbols.label(np.array(symbols.encode("cat")), ["cat", "dog"]) == "cat"
    assert symbols.label(symbols.encode("hill"), ["cat", "dog"]) == "hill"


def test_an_endless_word_is_learned_from_in_parts():
    from ofasys.modality.symbols import LONGEST_WORD, _parts, train_tokenizer

    for text in ("x" * 1000, " " * 1000 + "x", "ab " * 500, "a" * 300 + " " + "b" * 300, "short", ""):
        assert "".join(_parts(text)) == text
        assert all(len(run) <= LONGEST_WORD for part in _parts(text) for run in part.split())
    assert list(_parts("ab " * 500)) == ["ab " * 500], "ordinary text is one part"
    word = "".join(chr(97 + (i * i * 7 + i) % 26) for i in range(300_000))
    trained = train_tokenizer([word, "abc"] * 4, 1000)
    assert max(map(len, trained.get_vocab())) <= LONGEST_WORD
    assert trained.decode(trained.encode(word).ids) == word
