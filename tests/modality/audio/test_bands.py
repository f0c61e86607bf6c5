"""AUDIO as frames that others made: read from anything that holds them, and seen as those made of sound."""

import io

import numpy as np
import pytest
import torch
from numpy.lib.format import write_array_header_1_0

from ofasys import DataError, GeneralistModel, OFASys, Task, Trainer
from ofasys.modality import Context
from ofasys.modality.audio.bands import Bands
from ofasys.modality.audio.mel import MelSpec, log_mel
from ofasys.modality.audio.preprocess import DEVIATION, MEAN, Fbank
from ofasys.modality.audio.show import show
from ofasys.modality.modality import View
from ofasys.planner import plan
from tests.modality.audio.sounds import tone

MASKS = {"time_masks": 2, "time_mask": 40, "time_share": 0.1, "band_masks": 2, "band_mask": 16}
OPTIONS = {"mels": 8, "max_length": None, "normalise": "fixed", **MASKS}
FRAMES = np.random.default_rng(0).normal(size=(13, 8)).astype(np.float32)
LINE = "[AUDIO:fb,preprocess=bands,mels=8,normalise=fixed,band_masks=0] which one? -> [TEXT:name,closed_set]"


def says_it_holds(*shape):
    """The beginning of a `.npy` file, and nothing more."""
    file = io.BytesIO()
    write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


def seen(value, root=None, **options):
    return Bands(OPTIONS | options, None).preprocess(value, Context(root=root))


def test_whatever_holds_frames_is_read(tmp_path):
    np.save(tmp_path / "a.npy", FRAMES)
    for value in (
        FRAMES,
        FRAMES.tolist(),
        torch.from_numpy(FRAMES),
        FRAMES.astype(np.float64),
        "a.npy",
        (tmp_path / "a.npy").read_bytes(),
    ):
        made = seen(value, tmp_path)
        np.testing.assert_array_equal(made.tensors["frames"], FRAMES)
        assert (made.length, made.tensors["counts"].tolist()) == (4, [13])
    assert seen(FRAMES, max_length=2).tensors["frames"].shape == (8, 8)
    whole = seen(FRAMES * 100 + 7, normalise="utterance").tensors["frames"]
    assert (whole.mean(), whole.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (FRAMES[:, :7], r"an array of shape \(13, 7\); expected frames \(T, 8\): .*; mels=7 takes it"),
        (FRAMES[:0], r"an array of shape \(0, 8\)"),
        (FRAMES[0], r"an array of shape \(8,\)"),
        (np.where(FRAMES > 1, np.inf, FRAMES), "a number is NaN or infinite"),
        (FRAMES.astype(np.float64) * 1e39, "a number is NaN or infinite in float32"),
        (FRAMES.astype(str), "an array of <U"),
        (FRAMES > 0, "an array of bool"),
        ("nowhere.npy", "'nowhere.npy' is not read"),
        (b"no array", "'8 bytes' is not read"),
        (says_it_holds(2**42, 8), "is not read"),
        ({"frames": FRAMES}, "got dict"),
        (None, "got NoneType 'None'; expected frames"),
        (7, "got int '7'; expected frames"),
    ],
)
def test_what_are_no_frames_is_said(value, sentence):
    with pytest.raises(DataError, match=sentence):
        seen(value)


def test_a_file_that_holds_code_is_not_run(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[print]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", a=FRAMES, b=FRAMES)
    with pytest.raises(DataError, match=r"'a\.npy' is not read: Object arrays cannot be loaded"):
        seen("a.npy", tmp_path)
    with pytest.raises(DataError, match=r"'b\.npz' is not read: the magic string is not correct"):
        seen("b.npz", tmp_path)


def test_they_are_seen_as_those_made_of_sound():
    mel = {"rate": 16000, "window": 25.0, "hop": 10.0, "fmin": 0.0, "fmax": None, "seconds": 60.0, "mels": 40}
    options = OPTIONS | mel | {"normalise": "utterance"}
    frames = (log_mel(tone(0.5), MelSpec.of(options)) - MEAN) / DEVIATION
    random = [np.random.default_rng(3), np.random.default_rng(3)]
    one = Fbank(options, None).preprocess((tone(0.5), 16000), Context(random=random[0], training=True))
    other = Bands(options, None).preprocess(frames, Context(random=random[1], training=True))
    np.testing.assert_array_equal(one.tensors["frames"], other.tensors["frames"])
    assert one.length == other.length


def test_they_have_weights_of_their_own():
    line = "[AUDIO:fb,preprocess=bands,mels=80] [AUDIO:wav] -> [TEXT:t]"
    assert [slot.key for slot in plan(line).slots[:2]] == ["audio_conv_80", "audio_conv_16000_80"]


def test_a_report_shows_them_as_a_picture(tmp_path):
    np.save(tmp_path / "a.npy", FRAMES)
    page = show([FRAMES, "a.npy"], View(options=OPTIONS, root=tmp_path))
    assert page.count("<img") == 2
    assert "13 frames" in page


def test_they_are_learned_evaluated_saved_and_loaded(tmp_path):
    random = np.random.default_rng(1)
    rows = [
        {"fb": (random.normal(size=(9 + i, 8)) * 0.1 + np.eye(8)[k]).astype(np.float32), "name": "abc"[k]}
        for i in range(6)
        for k in range(3)
    ]
    task = Task("which", LINE, train=rows, valid=rows, metrics=["accuracy"], micro_batch_size=9)
    trainer = Trainer(max_steps=60, lr=2e-3, warmup=6, out=tmp_path, live=False, precision="float32", eval_every=60)
    trainer.fit(model=GeneralistModel(size="tiny"), tasks=task)
    assert [line["accuracy"] for line in trainer.history if line["kind"] == "valid"] == [1.0]
    model = OFASys.from_pretrained(tmp_path)
    assert [str(out) for out in model.inference(LINE, data=[{"fb": row["fb"]} for row in rows[:3]])] == ["a", "b", "c"]
