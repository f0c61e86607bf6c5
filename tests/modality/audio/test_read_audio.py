"""Everything that holds sound is read alike; everything else is a DataError that says what was expected."""

import base64
import io
import struct
import sys
import tracemalloc
import types

import numpy as np
import pytest
import torch

from ofasys.errors import ConfigError, DataError
from ofasys.modality.audio import read_audio as reading
from ofasys.modality.audio.read_audio import read_audio
from ofasys.modality.audio.waveform import Audio
from tests.modality.audio.sounds import DIGITS, encoded, pitch, through_av, tone

TONE = tone()
WAV = encoded(TONE)


@pytest.mark.parametrize(
    ("format", "subtype", "within"),
    [
        ("WAV", None, 1e-4),
        ("WAV", "FLOAT", 0),
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "ULAW", 2e-2),
        ("FLAC", None, 1e-4),
        ("OGG", "VORBIS", 5e-2),
        ("MP3", None, 5e-2),
        ("AIFF", None, 1e-4),
    ],
)
def test_formats_of_libsndfile(format, subtype, within):
    audio = read_audio(encoded(TONE, 16000, format, subtype), 16000)
    assert (audio.rate, audio.samples.dtype, audio.samples.shape) == (16000, np.float32, TONE.shape)
    assert np.abs(audio.samples - TONE).max() <= within


@pytest.mark.parametrize(
    ("format", "codec", "rate"),
    [("mp4", "aac", 16000), ("adts", "aac", 16000), ("matroska", "pcm_s16le", 16000), ("webm", "libopus", 48000)],
)
def test_formats_of_ffmpeg(format, codec, rate):
    audio = read_audio(through_av(tone(0.5, rate=rate), rate, format, codec), 16000)
    assert audio.seconds == pytest.approx(0.5, abs=0.1)
    assert pitch(audio) == pytest.approx(440, abs=5)


def test_g722_says_nothing_of_itself_but_by_its_name(tmp_path):
    data = through_av(TONE, 16000, "g722", "g722")
    assert len(data) == 4000
    (tmp_path / "a.g722").write_bytes(data)
    for value in (tmp_path / "a.g722", {"bytes": data, "path": "a.g722"}):
        audio = read_audio(value, 16000)
        assert len(audio) == pytest.approx(8000, abs=100)
        assert pitch(audio) == pytest.approx(440, abs=2)
    with (tmp_path / "a.g722").open("rb") as file:
        assert len(read_audio(file, 16000)) == len(audio)


def test_forms_of_a_file(tmp_path):
    expected = read_audio(WAV, 16000)
    (tmp_path / "a.wav").write_bytes(WAV)
    url = "data:audio/wav;base64," + base64.b64encode(WAV).decode()
    opened = io.BytesIO(b"junk" + WAV)
    opened.seek(4)
    for value in (
        tmp_path / "a.wav",
        str(tmp_path / "a.wav"),
        bytearray(WAV),
        memoryview(WAV),
        io.BytesIO(WAV),
        opened,
        url,
        {"path": str(tmp_path / "a.wav"), "bytes": None},
        {"path": "elsewhere.wav", "bytes": WAV},
        expected,
    ):
        assert read_audio(value, 16000) == expected
    assert read_audio("a.wav", 16000, root=tmp_path) == expected
    assert opened.tell() == 4
    assert (tmp_path / "a.wav").read_bytes() == WAV


@pytest.mark.parametrize(
    "head", ["audio/wav", "audio/x-wav;charset=utf-8", 'audio/webm;codecs="vp9,opus"', "video/mp4;a=b;c=d"]
)
@pytest.mark.parametrize("rest", range(3))
def test_data_urls(head, rest):
    """Parameters, both alphabets, with and without padding, blanks and escapes, and any number of bytes."""
    data = encoded(np.random.default_rng(0).uniform(-0.9, 0.9, 300 + rest), subtype="FLOAT")
    expected = read_audio(data, 16000)
    text, safe = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    assert text != safe
    for code in (text, safe, text.rstrip("="), text.replace("+", "%2B"), text[:100] + "\r\n " + text[100:]):
        assert read_audio(f"data:{head};base64,{code}", 16000) == expected
    for code in ("AAA*" + text, "A" + text):
        with pytest.raises(DataError, match=r"not base64|no sound"):
            read_audio(f"data:{head};base64,{code}", 16000)


def test_forms_of_an_array():
    whole = (TONE * 32767).astype(np.int16)
    decoded = types.SimpleNamespace(
        get_all_samples=lambda: types.SimpleNamespace(data=torch.from_numpy(TONE)[None], sample_rate=16000)
    )
    for value in (
        (TONE, 16000),
        [TONE, 16000.0],
        (torch.from_numpy(TONE), np.int64(16000)),
        (TONE.tolist(), 16000),
        (TONE.astype(np.float64), 16000),
        (np.stack([TONE, TONE], 1), 16000),
        (np.stack([TONE, TONE]), 16000),
        {"array": TONE, "sampling_rate": 16000, "path": "a.wav"},
        decoded,
    ):
        np.testing.assert_allclose(read_audio(value, 16000).samples, TONE, atol=1e-6)
    np.testing.assert_allclose(read_audio((whole, 16000), 16000).samples, TONE, atol=1e-4)
    np.testing.assert_allclose(read_audio((whole.astype(np.int32) * 2**16, 16000), 16000).samples, TONE, atol=1e-4)
    np.testing.assert_allclose(read_audio(((TONE * 127 + 128).astype(np.uint8), 16000), 16000).samples, TONE, atol=2e-2)


def test_channels_are_averaged():
    left, right = tone(hz=300), tone(hz=900)
    audio = read_audio(encoded(np.stack([left, right], 1), subtype="FLOAT"), 16000)
    np.testing.assert_allclose(audio.samples, (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 192000])
def test_any_rate_becomes_the_slot_s(rate):
    audio = read_audio((tone(rate=rate), rate), 16000)
    assert len(audio) == pytest.approx(8000, abs=1)
    inside = slice(400, -400)
    np.testing.assert_allclose(audio.samples[: len(TONE)][inside], TONE[: len(audio)][inside], atol=5e-3)


def test_what_the_new_rate_cannot_hold_is_gone():
    audio = read_audio((tone(hz=6000, rate=48000), 48000), 8000)
    assert np.abs(audio.samples[100:-100]).max() < 1e-2


def test_a_file_of_192_khz_and_8_channels_is_read_in_little_memory(tmp_path):
    sound = np.stack([tone(8, hz=440 + i, rate=192000) for i in range(8)], 1)
    (tmp_path / "a.wav").write_bytes(encoded(sound, 192000, subtype="PCM_16"))
    size = sound.nbytes
    del sound
    tracemalloc.start()
    audio = read_audio(tmp_path / "a.wav", 16000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert audio.seconds == pytest.approx(8, abs=0.01)
    assert pitch(audio) == pytest.approx(443.5, abs=4)
    assert peak < size / 5


@pytest.mark.parametrize("digit", range(10))
def test_real_speech(digit):
    audio = read_audio(DIGITS / f"{digit}.wav", 16000)
    assert 0.2 < audio.seconds < 0.4
    assert 0.05 < audio.samples.std() < 0.3


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (TONE, "without its rate"),
        (TONE.tolist(), "without its rate"),
        (None, "got NoneType"),
        (7, "got int '7'"),
        ("nowhere.wav", "no file 'nowhere.wav'"),
        ("x" * 10000, "no file 'xxx"),
        ("a\0b", "no file"),
        (b"", "is empty"),
        (b"no sound at all, but a text", "no sound that can be read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "no sound"),
        ("data:audio/wav;base64,AAAA", "no sound that can be read"),
        (io.StringIO("text"), "got a file of str"),
        ({}, "got a mapping with nothing"),
        ({"array": TONE}, "got a mapping with array"),
        ({"bytes": None, "path": None}, "got a mapping with bytes, path"),
        ((TONE, 0), "a rate of 0"),
        ((TONE, -16000), "a rate of -16000"),
        ((TONE, 16000.5), "a rate of 16000.5"),
        ((TONE, 10**9), "a rate of 1"),
        ((TONE, float("nan")), "a rate of nan"),
        ((np.zeros(0, np.float32), 16000), "holds no samples"),
        ((np.zeros((2, 2, 2)), 16000), r"shape \(2, 2, 2\)"),
        ((np.array(["a", "b"]), 16000), "an array of <U1"),
        ((np.ones(9, complex), 16000), "an array of complex"),
        (([[1.0], [1.0, 2.0]], 16000), "lists that differ in length"),
        ((np.array([0, np.nan, 0]), 16000), "NaN or infinite"),
        ((np.array([0, np.inf, 0]), 16000), "NaN or infinite"),
        ((np.array([0, 32767.0]), 16000), "samples reach 32767"),
        (encoded(np.array([0, np.nan, 0.5], np.float32), subtype="FLOAT"), "NaN or infinite"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,  # a file holds the time of its writing
)
def test_what_is_no_sound(value, says):
    with pytest.raises(DataError, match=says) as error:
        read_audio(value, 16000)
    assert error.value.expected


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "RIFX"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_file_that_is_cut_short(format, share):
    data = encoded(tone(2), format="WAV" if format == "RIFX" else format)
    if format == "RIFX":
        import soundfile

        file = io.BytesIO()
        soundfile.write(file, tone(2), 16000, format="WAV", endian="BIG")
        data = file.getvalue()
        assert data[:4] == b"RIFX"
    read_audio(data, 16000)
    with pytest.raises(DataError, match=r"cut short|damaged|no sound"):
        read_audio(data[: int(share * len(data))], 16000)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "RF64", "CAF", "mp4", "adts"])
def test_damaged_bytes_are_sound_or_a_data_error(format):
    whole = through_av(TONE, 16000, format, "aac") if format.islower() else encoded(TONE, format=format)
    random = np.random.default_rng(0)
    for _ in range(40):
        data = np.frombuffer(whole, np.uint8).copy()
        places = np.minimum(random.exponential(60, 3).astype(int), len(data) - 1)
        data[places] = random.choice([0, 127, 128, 255, 7], 3)
        try:
            assert len(read_audio(data[: random.integers(1, len(data) + 1)].tobytes(), 16000))
        except DataError:
            continue


def test_a_matroska_file_that_is_cut_short():
    data = through_av(tone(4), 16000, "matroska", "pcm_s16le")
    assert read_audio(data, 16000).seconds == pytest.approx(4, abs=0.1)
    with pytest.raises(DataError, match="cut short"):
        read_audio(data[: len(data) // 2], 16000)


@pytest.mark.parametrize("riff", [None, 0, 77, 0xFFFFFFFF])
@pytest.mark.parametrize("promise", [0, 0x7FFFF000, 0x7FFFEFFC, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF - 36, 0xFFFFFFFF])
def test_a_stream_that_does_not_say_its_length_is_whole(promise, riff):
    at = WAV.index(b"data")
    streamed = WAV[: at + 4] + struct.pack("<I", promise) + WAV[at + 8 :]
    streamed = streamed[:4] + struct.pack("<I", (promise + 36 if riff is None else riff) & 0xFFFFFFFF) + streamed[8:]
    assert read_audio(streamed, 16000) == read_audio(WAV, 16000)
    assert read_audio(streamed, 16000, seconds=0.5) == read_audio(WAV, 16000)
    with pytest.raises(DataError, match=r"longer than 0\.4 s"):
        read_audio(streamed, 16000, seconds=0.4)


@pytest.mark.parametrize("after", [b"", b"LIST\4\0\0\0INFO", b"id3 \3\0\0\0abc\0LIST\0\0\0\0"])
def test_no_sound_at_all_is_no_stream(after):
    at = WAV.index(b"data")
    with pytest.raises(DataError, match="no samples"):
        read_audio(WAV[: at + 4] + b"\0\0\0\0" + after, 16000)


def test_too_long_is_said_before_anything_is_decoded(tmp_path, monkeypatch):
    def never(*arguments):
        raise AssertionError

    monkeypatch.setattr(reading, "_collect", never)
    long = np.zeros(70 * 8000, np.float32)
    with pytest.raises(DataError, match=r"lasts 70.0 s, which is longer than 60 s.*seconds="):
        read_audio(encoded(long, 8000), 16000)
    (tmp_path / "a.mka").write_bytes(through_av(long, 8000, "matroska", "pcm_s16le"))
    with pytest.raises(DataError, match="longer than 60 s"):
        read_audio(tmp_path / "a.mka", 16000)
    with pytest.raises(DataError, match="longer than 1 s"):
        read_audio((np.zeros(16001), 16000), 16000, seconds=1)


def test_a_limit_holds_where_the_header_says_nothing():
    data = through_av(np.zeros(3 * 16000, np.float32), 16000, "g722", "g722")
    value = {"bytes": data, "path": "a.g722"}
    assert read_audio(value, 16000, seconds=4).seconds == pytest.approx(3, abs=0.01)
    with pytest.raises(DataError, match="longer than 2 s"):
        read_audio(value, 16000, seconds=2)


def test_a_playlist_opens_no_other_file(tmp_path):
    (tmp_path / "a.ts").write_bytes(through_av(tone(1), 16000, "mpegts", "mp2"))
    list_ = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/a.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / "a.m3u8").write_text(list_)
    with pytest.raises(DataError):
        read_audio(tmp_path / "a.m3u8", 16000)
    with pytest.raises(DataError):
        read_audio(f"ffconcat version 1.0\nfile '{tmp_path}/a.ts'\n".encode(), 16000)
    assert read_audio(tmp_path / "a.ts", 16000).seconds == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("library", "value"),
    [("soundfile", WAV), ("soxr", (tone(rate=8000), 8000)), ("av", b"not what libsndfile reads, whatever it is")],
)
def test_a_library_that_is_not_installed(monkeypatch, library, value):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=r'pip install "ofasys\[audio\]"'):
        read_audio(value, 16000)
    assert len(read_audio((TONE, 16000), 16000)) == len(TONE)  # an array at the slot's rate needs none of them


@pytest.mark.parametrize("format", ["wav", "flac", "ogg"])
def test_what_is_saved_is_read_again(tmp_path, format):
    audio = Audio(tone(), 16000)
    path = audio.save(tmp_path / "new" / f"a.{format}")
    np.testing.assert_allclose(read_audio(path, 16000).samples, audio.samples, atol=0.06 if format == "ogg" else 1e-4)


def test_saving_wav_needs_no_library(tmp_path, monkeypatch):
    import wave

    monkeypatch.setitem(sys.modules, "soundfile", None)
    loud = Audio(np.array([0, 0.5, -1, 3], np.float32), 8000)
    with wave.open(str(loud.save(tmp_path / "a.wav"))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        assert np.frombuffer(file.readframes(9), "<i2").tolist() == [0, 16384, -32767, 32767]
    with pytest.raises(ConfigError, match=r"cannot write sound as 'a.txt'; use .wav"):
        loud.save(tmp_path / "a.txt")


def test_audio_is_a_value():
    audio = Audio(tone(), 16000)
    assert audio.seconds == 0.5
    assert repr(audio) == "Audio(0.50 s at 16000 Hz)"
    assert audio == Audio(tone(), 16000) != Audio(tone(), 8000)
    assert hash(audio) == hash(Audio(tone(), 16000))
    assert np.asarray(audio).dtype == np.float32
    assert np.array(audio, dtype=np.float64).shape == (8000,)
    with pytest.raises(AttributeError):
        audio.rate = 1
