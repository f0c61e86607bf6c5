"""A clip as tokens, frame after frame, and back; what it shares with IMAGE; the clip that is made, in a file."""

import pickle

import numpy as np
import pytest
from PIL import Image

from ofasys import GeneralistModel
from ofasys.errors import ConfigError, DataError, PlanError
from ofasys.modality import Context
from ofasys.modality.image.codes import Codes
from ofasys.modality.shared.image_tokenizer import TokenizerOptions, train_tokenizer
from ofasys.modality.symbols import Symbols
from ofasys.modality.symbols import train_tokenizer as train_text
from ofasys.modality.video.choose import exactly
from ofasys.modality.video.codes import CodedFrames
from ofasys.modality.video.moving import Video
from ofasys.modality.video.read import opened
from ofasys.modality.video.save import save
from ofasys.modality.vocabulary import Vocabulary
from ofasys.planner import plan

OPTIONS = {"size": 16, "patch": 8, "codes": 64, "tokenizer": None, "fit_steps": 2, "frames": 4, "rate": None}
NOISE = np.random.default_rng(0).integers(0, 256, (7, 24, 20, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def fitted():
    pictures = np.stack([np.asarray(Image.fromarray(frame).resize((16, 16))) for frame in NOISE])
    return train_tokenizer(pictures, TokenizerOptions(codes=64, patch=8, steps=5, width=8, batch=4)).arrays()


@pytest.fixture(scope="module")
def symbols():
    text = train_text(["red"])
    return Symbols(text, Vocabulary.assemble({"text": text.get_vocab_size(), "codes.64.8": 64, "other": 5}))


@pytest.fixture(scope="module")
def part(fitted, symbols):
    return lambda **options: CodedFrames(OPTIONS | {"fitted": fitted} | options, symbols)


def test_a_frames_codes_are_those_of_the_picture(part, fitted, symbols):
    image = Codes(OPTIONS | {"fitted": fitted, "mask_ratio": 0.0}, symbols)
    one = part(frames=1).preprocess(NOISE[:1], Context())
    np.testing.assert_array_equal(one.tensors["tokens"], image.preprocess(NOISE[0], Context()).tensors["tokens"])
    whole = part(frames=7).preprocess(NOISE, Context())
    each = [image.preprocess(frame, Context()).tensors["tokens"] for frame in NOISE]
    np.testing.assert_array_equal(whole.tensors["tokens"], np.concatenate(each))
    assert (whole.length, whole.orders) == (28, 7)
    assert whole.grid.tolist() == 7 * [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert whole.info == {"width": 20, "height": 24, "duration": 7.0, "frames": 7}
    back = part(frames=7).postprocess(whole.tensors["tokens"], Context())
    for made, tokens in zip(back.frames, each, strict=True):
        np.testing.assert_array_equal(made, np.asarray(image.postprocess(tokens, Context())))


def test_it_travels_to_a_data_worker(part):
    one = part()
    tokens = one.preprocess(NOISE, Context()).tensors["tokens"]
    again = pickle.loads(pickle.dumps(one)).preprocess(NOISE, Context())
    np.testing.assert_array_equal(again.tensors["tokens"], tokens)


def test_a_true_clip_as_an_answer_would_be(part):
    true = part().canonical(NOISE)
    assert true.frames.shape == (4, 16, 16, 3)
    assert true.rate is None
    assert part().canonical("nowhere.mp4") == "nowhere.mp4"
    slow = part(rate=2.0).canonical({"frames": NOISE, "rate": 3.5})
    assert (slow.rate, len(slow)) == (2.0, 4)
    assert part(rate=2.0).canonical(slow) == slow  # an answer is a clip too


@pytest.mark.parametrize(
    ("count", "frames", "expected"),
    [(7, 7, [0, 1, 2, 3, 4, 5, 6]), (7, 3, [1, 3, 5]), (1, 3, [0, 0, 0]), (2, 4, [0, 0, 1, 1]), (3, 2, [0, 2])],
)
def test_so_many_frames_evenly_spread(count, frames, expected):
    times = np.arange(count) / 25
    assert exactly(times, count / 25, frames, None).tolist() == expected


def test_so_many_frames_a_second():
    times = np.arange(10) / 10
    assert exactly(times, 1.0, 5, 5.0).tolist() == [1, 3, 5, 7, 9]
    assert exactly(times, 1.0, 2, 5.0).tolist() == [4, 6]  # of its middle
    assert exactly(times, 1.0, 10, 10.0).tolist() == list(range(10))
    with pytest.raises(DataError, match=r"lasts 1\.00 s; expected at least 1\.20 s, which frames=6 at rate=5 take"):
        exactly(times, 1.0, 6, 5.0)


@pytest.mark.parametrize("value", [None, 7, b"", "nowhere.mp4", np.zeros((0, 4, 4, 3)), []])
def test_what_is_no_clip(part, value):
    with pytest.raises(DataError, match="expected"):
        part().preprocess(value, Context())


def test_a_clip_that_is_too_short_for_its_rate(part):
    with pytest.raises(DataError, match=r"the clip lasts 0\.70 s; expected at least 2\.00 s"):
        part(rate=2.0).preprocess({"frames": NOISE, "rate": 10}, Context())
    with pytest.raises(DataError, match="without a rate"):
        part(rate=2.0).preprocess(NOISE, Context())


def test_not_fitted_yet(part):
    with pytest.raises(ConfigError, match="is not trained yet"):
        part(fitted=None)


# --- the clip that is made --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".webp", ".png", ".apng"])
@pytest.mark.parametrize("rate", [None, 8.0])
def test_what_is_written_is_read_again(tmp_path, suffix, rate):
    path = Video(NOISE, rate).save(tmp_path / f"clips/a{suffix}")
    with opened(str(path), timed=True) as clip:
        assert clip.duration == pytest.approx(7 / (rate or 4), abs=0.01)
        np.testing.assert_array_equal(np.stack([np.asarray(frame) for frame in clip.pick(range(7))]), NOISE)


def test_a_gif_has_256_colours_a_frame(tmp_path):
    path = Video(NOISE, 10.0).save(tmp_path / "a.gif")
    with opened(str(path), timed=True) as clip:
        assert clip.duration == pytest.approx(0.7)
        back = np.stack([np.asarray(frame) for frame in clip.pick(range(7))]).astype(int)
    assert back.shape == NOISE.shape
    assert abs(back - NOISE).mean() < 25


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_of_equal_frames_one_is_kept_that_stands_as_long(tmp_path, suffix):
    path = Video(NOISE[[0, 0, 0, 1]], 4.0).save(tmp_path / f"a{suffix}")
    with opened(str(path), timed=True) as clip:
        assert clip.duration == pytest.approx(1.0)
        assert clip.times.tolist() in ([0.0, 0.75], [0.0, 0.25, 0.5, 0.75])


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_a_still_clip(tmp_path, suffix):
    path = Video(NOISE[[0, 0, 0]], 4.0).save(tmp_path / f"a{suffix}")
    with opened(str(path), timed=True) as clip:
        (only,) = clip.pick([0])
    assert only.size == (20, 24)


def test_png_keeps_each_of_equal_frames(tmp_path):
    frames = NOISE[[0, 0, 1, 1, 1, 0, 0]]
    with opened(str(Video(frames, 4.0).save(tmp_path / "a.png")), timed=True) as clip:
        assert clip.times.tolist() == [number / 4 for number in range(7)]
        np.testing.assert_array_equal(np.stack([np.asarray(frame) for frame in clip.pick(range(7))]), frames)


def test_several_beside_each_other_and_a_strip(tmp_path):
    save(tmp_path / "b.png", [Video(NOISE, 5.0), Video(NOISE[::-1], 5.0)], None, [])
    with opened(str(tmp_path / "b.png"), timed=True) as clip:
        (first,) = clip.pick([0])
    assert first.size == (42, 24)
    np.testing.assert_array_equal(np.asarray(first)[:, 22:], NOISE[6])
    assert Video(NOISE).strip().size == (7 * 22 - 2, 24)
    with pytest.raises(ConfigError, match="holds no clip"):
        save(tmp_path / "c.png", [], None, [])
    with pytest.raises(ConfigError, match=r"cannot write a clip as 'a\.mp4'; use \.gif"):
        Video(NOISE).save(tmp_path / "a.mp4")


def test_a_clip_is_its_frames():
    one = Video(NOISE, 4.0)
    np.testing.assert_array_equal(np.asarray(one), NOISE)
    np.testing.assert_array_equal(one[2], NOISE[2])
    assert one == Video(NOISE.copy(), 4.0)
    assert hash(one) == hash(Video(NOISE.copy(), 4.0))
    assert one != Video(NOISE, 5.0)
    assert repr(one) == "Video(7 frames of 20 x 24 at 4 a second)"
    assert repr(Video(NOISE)) == "Video(7 frames of 20 x 24)"
    assert one.seconds == 1.75


# --- the spec ---------------------------------------------------------------------------------------------------------


def test_what_a_slot_of_codes_is():
    found = plan("[TEXT:t] -> [VIDEO:v,frames=3,size=32,patch=4]")
    slot = found.slots[1]
    assert (slot.ranges, slot.expected, slot.key) == ((("codes.1000.4", 1000),), 192, "tokens")
    (item,) = found.automaton
    assert (item.count, item.width, item.height, item.range) == (192, 8, 8, "codes.1000.4")
    assert "v: 192 of codes.1000.4 in rows of 8, 8 a frame" in str(found)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-> [VIDEO:v,size=20]", "size=20 is not a multiple of patch=8"),
        ("-> [VIDEO:v,codes=500]", "no tokenizer of codes=500 to train; there are 64, 240, 512, 1000"),
        ("-> [VIDEO:v,preprocess=frames]", "its criterion learns tokens, which its value is not"),
        ("[VIDEO:v,preprocess=codes,adaptor=patch] -> [TEXT:t]", "preprocess=codes and adaptor=tokens go together"),
        ("[VIDEO:v,preprocess=frames,adaptor=tokens] -> [TEXT:t]", "preprocess=codes and adaptor=tokens go together"),
        ("-> [VIDEO:v,keep_aspect]", "keep_aspect does not reach this slot"),
        ("-> [VIDEO:v,frames=0]", "frames"),
    ],
)
def test_what_cannot_be(text, says):
    with pytest.raises(PlanError if "frames=0" not in text else ValueError, match=says):
        plan(text)


def test_one_tokenizer_for_image_and_video():
    """They have one range of codes, so one tokenizer: fitted on pictures and on frames."""
    rows = [{"n": "a", "img": NOISE[0], "v": NOISE}, {"n": "b", "img": "nowhere.png", "v": "nowhere.mp4"}]
    settings = {"size": 16, "codes": 64, "fit_steps": 2}
    lines = {"draw": "[TEXT:n] -> [IMAGE:img]", "film": "[TEXT:n] -> [VIDEO:v,frames=4]"}
    found = [
        plan(line, settings={f"{tag}.{k}": v for k, v in settings.items()})
        for line, tag in zip(lines.values(), ("IMAGE", "VIDEO"), strict=True)
    ]
    model = GeneralistModel(size="tiny", seed=0, text_pieces=280)
    told = []

    def examples(p, slot):
        told.append(slot.name)
        return ((row[slot.column], Context()) for row in rows)

    model.grow([(p, {}) for p in found], lambda: ["a b"], examples)
    assert set(model.fitted) == {"image_codes_64_8"}
    assert told == ["IMAGE:img", "VIDEO:v"]
    assert {model.fit_key(p.slots[1]) for p in found} == {"image_codes_64_8"}
    pieces = [piece for piece, _ in model.lessons(found[1].slots[1], examples(found[1], found[1].slots[1]))]
    assert [piece.size for piece in pieces] == 4 * [(16, 16)]
