"""A picture as tokens in a grid, hidden ones, and back; what is fitted before training."""

import pickle

import numpy as np
import pytest
import shapes
from PIL import Image

from ofasys.errors import ConfigError, DataError, PlanError
from ofasys.modality import Context
from ofasys.modality.image.codes import Codes
from ofasys.modality.shared.image_tokenizer import ImageTokenizer
from ofasys.modality.symbols import Symbols, train_tokenizer
from ofasys.modality.vocabulary import MASK, Vocabulary
from ofasys.planner import plan

pytestmark = pytest.mark.slow

OPTIONS = {"size": 16, "patch": 4, "codes": 64, "tokenizer": None, "fit_steps": 2, "mask_ratio": 0.0}


@pytest.fixture(scope="session")
def symbols():
    text = train_tokenizer(["red"])
    return Symbols(text, Vocabulary.assemble({"text": text.get_vocab_size(), "codes.64.4": 64, "other": 5}))


@pytest.fixture(scope="session")
def part(tokenizer, symbols):
    fitted = tokenizer.arrays()
    return lambda **options: Codes(OPTIONS | {"fitted": fitted} | options, symbols)


def random(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def test_a_picture_is_a_token_a_code(part, tokenizer, symbols):
    image = shapes.shape("red", "circle", 32)
    piece = part().preprocess(image, Context())
    square = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR, reducing_gap=2.0))
    start, end = symbols.vocabulary.span("codes.64.4")
    np.testing.assert_array_equal(piece.tensors["tokens"] - start, tokenizer.encode(square).reshape(-1))
    assert (piece.tensors["tokens"] < end).all()
    assert piece.grid.tolist() == [[y, x] for y in range(4) for x in range(4)]
    assert (piece.length, piece.orders) == (16, 1)
    assert piece.info == {"width": 32, "height": 32, "read": (16, 16)}


def test_a_picture_comes_back(part):
    codes = part()
    for row in shapes.rows():
        piece = codes.preprocess(row["img"], Context())
        made = codes.postprocess(piece.tensors["tokens"], Context())
        assert made.mode == "RGB"
        assert made.size == (16, 16)
        assert shapes.psnr(made, row["img"]) > shapes.psnr(shapes.pixels().mean(0), row["img"])


def test_a_true_picture_as_an_answer_would_be(part, tmp_path):
    shapes.shape("red", "bar", 32).save(tmp_path / "a.png")
    for value in (shapes.shape("red", "bar", 32), str(tmp_path / "a.png"), {"image": shapes.shape("red", "bar", 32)}):
        true = part().canonical(value)
        assert true.size == (16, 16)
    assert part().canonical("nowhere.png") == "nowhere.png"
    assert part().canonical("a.png", Context(root=tmp_path)).size == (16, 16)


def test_it_travels_to_a_data_worker(part):
    one = part()
    tokens = one.preprocess(shapes.shape("blue", "cross"), Context()).tensors["tokens"]
    other = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(other.preprocess(shapes.shape("blue", "cross"), Context()).tensors["tokens"], tokens)


def test_a_picture_met_again_is_not_encoded_again(part, tokenizer, monkeypatch):
    """Whatever it is given as; another is, and so is any once as many codes are kept as may be."""
    encoded = []
    monkeypatch.setattr(ImageTokenizer, "encode", lambda self, pixels, was=ImageTokenizer.encode: (
        encoded.append(pixels) or was(self, pixels)
    ))  # fmt: skip
    monkeypatch.setattr("ofasys.modality.shared.coded.MOST_KEPT", 2 * 16 * 4)
    one, pictures = part(), [shapes.shape(colour, "circle") for colour in ("red", "green", "blue")]
    first = [one.preprocess(picture, Context()).tensors["tokens"] for picture in pictures]
    first[0][:] += 1  # what is done to tokens is not done to what is kept
    assert len(encoded) == 3
    again = [one.preprocess(np.array(picture), Context()).tensors["tokens"] for picture in pictures]
    assert len(encoded) == 4
    assert all(tokens.dtype == np.int64 for tokens in again)
    np.testing.assert_array_equal(again[0], first[0] - 1)
    np.testing.assert_array_equal(again[1:], first[1:])
    assert pickle.loads(pickle.dumps(one)).kept == {}


@pytest.mark.parametrize(("ratio", "hidden"), [(0.5, 8), (0.01, 1), (1.0, 16), (0.3, 5)])
def test_codes_are_hidden_in_place(part, ratio, hidden):
    image = shapes.shape("green", "square")
    whole = part().preprocess(image, Context(random=random())).tensors["tokens"]
    piece = part(mask_ratio=ratio).preprocess(image, Context(random=random()))
    masked = piece.tensors["tokens"] == MASK
    assert masked.sum() == hidden
    np.testing.assert_array_equal(piece.tensors["tokens"][~masked], whole[~masked])
    assert len(piece.grid) == len(masked) == 16
    again = part(mask_ratio=ratio).preprocess(image, Context(random=random())).tensors["tokens"]
    np.testing.assert_array_equal(piece.tensors["tokens"], again)
    np.testing.assert_array_equal(part(mask_ratio=ratio).preprocess(image, Context()).tensors["tokens"], whole)


def test_a_mask_says_which_are_hidden(part):
    mask = np.zeros((16, 16), bool)
    mask[8:, :4] = True  # the lower left quarter's left half
    value = {"image": shapes.shape("green", "square"), "mask": mask}
    for given in (mask, Image.fromarray(mask), (mask * 255).astype(np.uint8)):
        piece = part(mask_ratio=0.5).preprocess(value | {"mask": given}, Context(random=random()))
        assert piece.grid[piece.tensors["tokens"] == MASK].tolist() == [[2, 0], [3, 0]]
    assert MASK not in part().preprocess(value, Context()).tensors["tokens"]  # the target sees it whole


@pytest.mark.parametrize("value", [None, 7, b"", "nowhere.png", np.zeros((0, 4, 3)), {"mask": 1}])
def test_what_is_no_picture(part, value):
    with pytest.raises(DataError, match="expected"):
        part().preprocess(value, Context())


def test_a_tokenizer_is_trained_on_what_can_be_read(tmp_path):
    shapes.shape("red", "bar").save(tmp_path / "a.png")
    values = [("a.png", Context(root=tmp_path)), ("nowhere.png", Context()), (shapes.shape("red", "cross"), Context())]
    one, other = Codes.fit(values, OPTIONS, 0), Codes.fit(iter(values), OPTIONS, 0)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert ImageTokenizer.from_arrays(one).codes == 64
    another = Codes.fit(values, OPTIONS, 1)
    assert any(not np.array_equal(one[name], another[name]) for name in one)
    with pytest.raises(DataError, match="no picture to train the image tokenizer on"):
        Codes.fit([("nowhere.png", Context())], OPTIONS, 0)


def test_few_pictures_are_held(monkeypatch):
    from ofasys.modality.shared import coded as codes

    drawn = []
    monkeypatch.setattr(codes, "MOST_BYTES", 3 * 16 * 16 * 3)
    Codes.fit(((shapes.shape("red", "bar"), drawn.append(i) or Context()) for i in range(100)), OPTIONS, 0)
    assert len(drawn) == 3


def test_a_named_tokenizer_is_taken_as_it_is(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "made")
    options = OPTIONS | {"tokenizer": str(tmp_path / "made")}
    arrays = Codes.fit(iter(()), options, 0)
    assert all(np.array_equal(arrays[name], array) for name, array in tokenizer.arrays().items())
    with pytest.raises(ConfigError, match="has codes=64 and patch=4; the slot says codes=1000 and patch=4"):
        Codes.fit(iter(()), options | {"codes": 1000}, 0)
    with pytest.raises(ConfigError, match="holds no image tokenizer"):
        Codes.fit(iter(()), options | {"tokenizer": "nowhere"}, 0)


def test_not_fitted_yet(part):
    with pytest.raises(ConfigError, match="is not trained yet"):
        part(fitted=None)


# --- the spec ---------------------------------------------------------------------------------------------------------


def test_what_a_slot_of_codes_is():
    found = plan("[TEXT:name] -> [IMAGE:img,size=32,patch=4]")
    slot = found.slots[1]
    assert slot.ranges == (("codes.1000.4", 1000),)
    assert slot.expected == 64
    (item,) = found.automaton
    assert (item.count, item.width, item.range, item.size) == (64, 8, "codes.1000.4", None)
    assert slot.key == "tokens"


def test_a_source_of_codes_has_the_adaptor_of_tokens():
    slot = plan("[IMAGE:img,preprocess=codes,mask_ratio=0.5] -> [IMAGE:img]").slots[0]
    assert (slot.adaptor.name, slot.key) == ("tokens", "tokens")
    assert slot.ranges == (("codes.1000.8", 1000),)


def test_a_source_is_pixels_as_ever():
    slot = plan("[IMAGE:img] -> [TEXT:t]").slots[0]
    assert (slot.key, slot.ranges, slot.values["size"], slot.expected) == ("image_patch_16", (), 128, 64)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-> [IMAGE:i,size=20]", "size=20 is not a multiple of patch=8"),
        ("-> [IMAGE:i,codes=500]", "no tokenizer of codes=500 to train; there are 64, 240, 512, 1000"),
        ("-> [IMAGE:i,preprocess=pixels]", "its criterion learns tokens, which its value is not"),
        ("[IMAGE:i,preprocess=codes,adaptor=resnet] -> [TEXT:t]", "preprocess=codes and adaptor=tokens go together"),
        ("[IMAGE:i,preprocess=pixels,adaptor=tokens] -> [TEXT:t]", "preprocess=codes and adaptor=tokens go together"),
        ("[IMAGE:i,mask_ratio=0.5] -> [TEXT:t]", "mask_ratio does not reach this slot"),
        ("-> [IMAGE:i,keep_aspect]", "keep_aspect does not reach this slot"),
    ],
)
def test_what_cannot_be(text, says):
    with pytest.raises(PlanError, match=says):
        plan(text)


def test_any_number_of_codes_of_a_named_tokenizer():
    assert plan("-> [IMAGE:i,codes=500,tokenizer=vq]").slots[0].ranges == (("codes.500.8", 500),)
