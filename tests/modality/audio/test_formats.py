"""What FFmpeg hears of a file is what is read: containers x codecs x rates x channels, in count and in values.

Where the count differs from FFmpeg's, the stream itself says how long it is: the last frame of an mp4, the end of an
edit list.
"""

import io
import struct
from functools import cache

import av
import numpy as np
import pytest

from ofasys.errors import DataError
from ofasys.modality.audio.read_audio import read_audio
from tests.modality.audio.sounds import encoded

RATES = (8000, 16000, 22050, 44100, 48000)
EXACT = {  # container, codec: how near the values come to what went in
    ("wav", "pcm_s16le"): 4e-5,
    ("wav", "pcm_s24le"): 1e-6,
    ("wav", "pcm_s32le"): 1e-6,
    ("wav", "pcm_f32le"): 0,
    ("wav", "pcm_f64le"): 1e-7,
    ("wav", "pcm_u8"): 1e-2,
    ("wav", "pcm_alaw"): 2e-2,
    ("wav", "pcm_mulaw"): 2e-2,
    ("rf64", "pcm_s16le"): 4e-5,
    ("aiff", "pcm_s16be"): 4e-5,
    ("aiff", "pcm_s24be"): 1e-6,
    ("au", "pcm_s16be"): 4e-5,
    ("caf", "pcm_s16be"): 4e-5,
    ("caf", "alac"): 4e-5,
    ("flac", "flac"): 4e-5,
    ("ogg", "flac"): 4e-5,
    ("matroska", "flac"): 4e-5,
    ("mp4", "flac"): 4e-5,
    ("ipod", "alac"): 4e-5,
    ("mov", "alac"): 4e-5,
    ("mov", "pcm_s16le"): 4e-5,
    ("mov", "pcm_s24be"): 1e-6,
    ("matroska", "pcm_s16le"): 4e-5,
    ("matroska", "pcm_f32le"): 0,
    ("avi", "pcm_s16le"): 4e-5,
    ("nut", "pcm_s16le"): 4e-5,
    ("tta", "tta"): 4e-3,
    ("wv", "wavpack"): 4e-3,
    ("sox", "pcm_s32le"): 1e-6,
}
PADDED = {  # the codec adds to the end, or to both ends, what the container does not take off
    ("wav", "adpcm_ima_wav"),
    ("wav", "adpcm_ms"),
    ("caf", "adpcm_ima_qt"),
    ("mp3", "libmp3lame"),
    ("mp2", "mp2"),
    ("adts", "aac"),
    ("matroska", "aac"),
    ("mpegts", "aac"),
    ("mpegts", "mp2"),
    ("flv", "aac"),
    ("avi", "libmp3lame"),
    ("matroska", "libmp3lame"),
    ("ac3", "ac3"),
    ("mp4", "ac3"),
    ("asf", "wmav2"),
    ("wav", "libmp3lame"),
}
CUT = {("mp4", "aac"), ("ipod", "aac"), ("mov", "aac"), ("mp4", "libmp3lame")}  # at what the container says
OPUS = {("ogg", "libopus"), ("webm", "libopus"), ("matroska", "libopus"), ("mp4", "libopus")}
PIPED = {("wav", "pcm_s16le"), ("wav", "pcm_s24le"), ("flac", "flac"), ("mp3", "libmp3lame"), ("aiff", "pcm_s16be"),
         ("au", "pcm_s16be"), ("caf", "pcm_s16be"), ("ogg", "libopus"), ("ogg", "flac"), ("matroska", "pcm_s16le"),
         ("webm", "libopus"), ("adts", "aac"), ("mpegts", "aac"), ("flv", "aac"), ("avi", "pcm_s16le"),
         ("wv", "wavpack")}  # fmt: skip
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 56, 1, 0xA0000000) + bytes(8)
APE += struct.pack("<II", 16, 0) + b"Title\0" + b"a" * 16 + b"\0\0"
APE += b"APETAGEX" + struct.pack("<IIII", 2000, 56, 1, 0x80000000) + bytes(8)


@cache
def sound(rate, channels, count=None):
    """(channels, n): two tones a channel under a slow swell, loud enough to be heard by any codec."""
    t = np.arange(count or rate + rate // 3 + 7) / rate
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)
    tones = [np.sin(2 * np.pi * (330 + 70 * c) * t) + 0.5 * np.sin(2 * np.pi * (1000 + 90 * c) * t) for c in range(2)]
    return np.stack([0.3 * swell * tones[c] for c in range(channels)]).astype(np.float32)


class Pipe(io.RawIOBase):
    """What cannot be sought in, so that no header can be put right afterwards."""

    data = b""

    def write(self, data):
        self.data += bytes(data)
        return len(data)

    def writable(self):
        return True


def written(samples, rate, kind, codec, to=None, codec_options=None, **options):
    """Samples (channels, n) as FFmpeg writes them; skipped where the codec or container does not take the rate."""
    file = io.BytesIO() if to is None else to
    layout = ("mono", "stereo")[len(samples) - 1]
    try:
        with av.open(file, "w", format=kind, container_options=options) as container:
            stream = container.add_stream(codec, rate=rate, layout=layout)
            stream.codec_context.options = codec_options or {}
            stream.codec_context.open()
            size = stream.codec_context.frame_size or 1024
            fitting = av.AudioResampler(format=stream.codec_context.format.name, layout=layout, rate=rate)
            for place in range(0, samples.shape[1], size):
                part = np.ascontiguousarray(samples[:, place : place + size])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
                frame.sample_rate, frame.pts = rate, place
                for fit in fitting.resample(frame):
                    fit.pts = place
                    container.mux(stream.encode(fit))
            container.mux(stream.encode(None))
    except av.ArgumentError:
        pytest.skip(f"no {codec} in {kind} at {rate} Hz")
    return file.getvalue() if to is None else to.data


def played(data, kind=None):
    """Samples (n,) and their rate, as FFmpeg decodes them, channels averaged."""
    with av.open(io.BytesIO(data), format=kind) as container:
        frames = list(container.decode(audio=0))
    rate = frames[0].sample_rate
    planes = av.AudioResampler(format="fltp", layout=frames[0].layout.name, rate=rate)
    parts = [part.to_ndarray() for frame in (*frames, None) for part in planes.resample(frame)]
    return np.concatenate(parts, 1).mean(0), rate


def unlike(samples, expected):
    """The energy of the difference, as a share of what is expected."""
    shorter = min(len(samples), len(expected))
    return np.square(samples[:shorter] - expected[:shorter]).mean() / np.square(expected).mean()


def tagged(data, size=100):
    """With another ID3v2 tag of that size before it."""
    return b"ID3\3\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(size) + data


def covered(data):
    """With a picture in its tag, whose bytes look like frames."""
    frame = b"\0image/jpeg\0\3\0" + b"\xff\xfb\x90\x64" * 500
    frame = b"APIC" + struct.pack(">I", len(frame)) + b"\0\0" + frame
    return b"ID3\3\0\0" + bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0)) + frame + data


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("kind", "codec"), EXACT)
def test_containers_that_keep_every_sample(kind, codec, rate, channels):
    given = sound(rate, channels)
    more = {"rf64": "always"} if kind == "rf64" else {}
    data = written(given, rate, "wav" if kind == "rf64" else kind, codec, **more)
    samples = read_audio(data, rate).samples
    assert len(samples) == given.shape[1]
    np.testing.assert_allclose(samples, given.mean(0), atol=EXACT[kind, codec] + 1e-7)
    if (kind, codec) != ("caf", "alac"):  # FFmpeg 8 takes the end off twice
        np.testing.assert_allclose(samples, played(data)[0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("kind", "codec"), sorted(PADDED))
def test_codecs_that_add_to_the_ends(kind, codec, rate, channels):
    """`seconds` may be what went in: what an encoder added is not counted against a sound."""
    given = sound(rate, channels)
    data = written(given, rate, kind, codec)
    expected, heard = played(data)
    audio = read_audio(data, rate)
    assert heard == rate
    assert len(audio.samples) == len(expected) >= given.shape[1]
    assert unlike(audio.samples, expected) < 1e-9
    if not codec.startswith("adpcm"):
        assert read_audio(data, rate, seconds=given.shape[1] / rate) == audio


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("kind", "codec"), sorted(CUT))
def test_padding_that_an_mp4_takes_off(kind, codec, rate, channels, whole):
    """A track of aac says how long its last frame is; one of mp3 has an edit list, in thousandths of a second."""
    if codec == "libmp3lame" and rate < 44100:
        pytest.skip("FFmpeg writes an edit list that takes nothing off")
    count = rate if whole else rate + rate // 3 + 7
    given = sound(rate, channels, count)
    data = written(given, rate, kind, codec)
    samples = read_audio(data, rate, seconds=1 if whole else 2).samples
    expected = played(data)[0]
    assert len(samples) == pytest.approx(count, abs=0 if codec == "aac" or whole else 0.0006 * rate)
    assert len(samples) <= len(expected)
    assert unlike(samples, expected) < 1e-9
    assert unlike(samples, given.mean(0)) < 0.05


@pytest.mark.parametrize("codec", ["aac", "alac"])
@pytest.mark.parametrize("ticks", [600, 1000, 44100])
@pytest.mark.parametrize("seconds", [0.5, 0.75, 1.0, 1.3])
def test_an_edit_list_that_ends_early(codec, ticks, seconds):
    """As where a phone cuts a memo: all is in the file, and the list says where it ends."""
    data = written(sound(44100, 1), 44100, "ipod", codec, movie_timescale=str(ticks))
    at = data.index(b"elst") + 12
    cut = data[:at] + struct.pack(">I", round(seconds * ticks)) + data[at + 4 :]
    samples = read_audio(cut, 44100, seconds=seconds).samples
    assert len(samples) == pytest.approx(round(seconds * 44100), abs=44100 / ticks)  # a tick
    np.testing.assert_array_equal(samples, read_audio(data, 44100).samples[: len(samples)])


@pytest.mark.parametrize(
    ("kind", "codec"), [("ipod", "aac"), ("ipod", "alac"), ("mov", "pcm_s16le"), ("mp4", "libopus")]
)
def test_an_edit_list_that_begins_late(kind, codec):
    """As `ffmpeg -ss 0.3 -c copy` writes it."""
    given = sound(48000, 1)
    file = io.BytesIO()
    with av.open(io.BytesIO(written(given, 48000, kind, codec))) as source, av.open(file, "w", format=kind) as target:
        stream = source.streams.audio[0]
        copied = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                late = int(0.3 / stream.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - late, packet.dts - late, copied
                target.mux(packet)
    samples = read_audio(file.getvalue(), 48000).samples
    expected = played(file.getvalue())[0]
    assert len(samples) == given.shape[1] - 14400
    assert unlike(samples, expected) < 1e-9
    assert unlike(samples[4800:], given[0, 14400 + 4800 :]) < 0.2


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize(("kind", "codec"), sorted(OPUS))
def test_opus(kind, codec, rate, channels):
    """It is decoded at 48 kHz, or at a divisor of it; what precedes and follows the sound is cut to the sample."""
    given = sound(rate, channels)
    data = written(given, rate, kind, codec)
    audio = read_audio(data, 48000)
    expected, heard = played(data)
    assert heard == 48000
    early = 300 if kind == "mp4" and rate < 48000 else 6  # FFmpeg 8 skips by the track's clock there
    assert len(audio.samples) == pytest.approx(given.shape[1] * 48000 / rate, abs=early)
    if kind != "mp4" or rate == 48000:
        assert unlike(audio.samples, expected) < 0.01
        assert unlike(read_audio(data, rate).samples, given.mean(0)) < 0.1


@pytest.mark.parametrize("quality", [{"b": "64k"}, {"b": "128k"}, {"global_quality": "236", "flags": "+qscale"}])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("xing", ["0", "1"])
def test_mp3(rate, xing, quality):
    """Silence, then sound: a length guessed from the first frames is wrong by far where the bit rate varies."""
    given = np.concatenate([np.zeros((1, 2 * rate), np.float32), sound(rate, 1)], 1)
    data = written(given, rate, "mp3", "libmp3lame", codec_options=quality, write_xing=xing)
    expected = played(data)[0]
    for value in (data, tagged(data), data + b"TAG" + b"x" * 125, tagged(data, 200_000), covered(data), data + APE):
        samples = read_audio(value, rate).samples
        assert len(samples) == len(expected)
        assert unlike(samples, expected) < 1e-9
    assert given.shape[1] <= len(expected) <= given.shape[1] + 2600
    with pytest.raises(DataError, match="longer than 3 s"):
        read_audio(data, rate, seconds=3)


def test_mp3s_end_to_end_are_read_to_the_end():
    given = sound(16000, 1)
    one = written(given, 16000, "mp3", "libmp3lame")
    assert len(read_audio(one + one, 16000)) >= 2 * given.shape[1]


@pytest.mark.parametrize("xing", ["0", "1"])
def test_an_mp3_that_is_cut_within_a_frame(xing):
    data = written(sound(16000, 1), 16000, "mp3", "libmp3lame", write_xing=xing)
    for missing in (1, 20, 70, 1000, 2500):
        with pytest.raises(DataError, match=r"cut short: \d+ of 108 bytes of its last frame are there"):
            read_audio(data[:-missing], 16000)


@pytest.mark.parametrize(("place", "gap"), [(2500, 1000), (20_000, 30_000), (30_000, 100_000)])
def test_an_mp3_with_a_hole(place, gap):
    """In its middle, or where a download that broke off left zeros."""
    data = bytearray(written(sound(48000, 1, 200_000), 48000, "mp3", "libmp3lame"))
    data[place : place + gap] = bytes(gap)
    with pytest.raises(DataError, match=r"damaged|cut short"):
        read_audio(bytes(data), 48000)


def test_an_mp3_with_some_bytes_at_its_end():
    data = written(sound(48000, 1), 48000, "mp3", "libmp3lame", write_xing="0")
    for rest in (bytes(3), bytes(1000), b"LYRICSBEGIN" + b"x" * 9000 + b"009011LYRICS200", b"ID3" + bytes(9000)):
        assert len(read_audio(data + rest, 48000)) == len(read_audio(data, 48000))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize(("kind", "codec"), sorted(PIPED))
def test_what_was_written_to_a_pipe(kind, codec, rate, channels):
    """No header says how long the sound is, or all of them are wrong."""
    given = sound(rate, channels)
    data = written(given, rate, kind, codec, to=Pipe())
    samples = read_audio(data, rate).samples
    if codec in ("aac", "libmp3lame", "libopus"):
        assert given.shape[1] - 6 <= len(samples) <= given.shape[1] + 3000
    else:
        np.testing.assert_allclose(samples, given.mean(0), atol=4e-3 if codec == "wavpack" else 4e-5)


@pytest.mark.parametrize(
    ("kind", "codec", "options"),
    [
        ("mp4", "aac", {}),
        ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "300000"}),
        ("adts", "aac", {}),
        ("webm", "libopus", {}),
        ("ogg", "libopus", {}),
        ("ogg", "flac", {}),
        ("flac", "flac", {}),
        ("matroska", "pcm_s16le", {}),
        ("flv", "aac", {}),
        ("caf", "pcm_s16be", {}),
        ("au", "pcm_s16be", {}),
        ("aiff", "pcm_s16be", {}),
        ("avi", "pcm_s16le", {}),
        ("tta", "tta", {}),
        ("wv", "wavpack", {}),
        ("ipod", "alac", {}),
    ],
)
def test_what_is_truly_cut(kind, codec, options):
    data = written(sound(48000, 1), 48000, kind, codec, **options)
    assert len(read_audio(data, 48000)) >= 64000
    for share in (0.5, 0.85):
        with pytest.raises(DataError, match=r"cut short|damaged|can be read|no samples"):
            read_audio(data[: int(share * len(data))], 48000)


@pytest.mark.parametrize(
    ("kind", "codec"), [("matroska", "pcm_s16le"), ("webm", "libopus"), ("flac", "flac"), ("mp3", "libmp3lame")]
)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_what_was_cut_on_its_way_through_a_pipe(kind, codec, share):
    data = written(sound(48000, 1), 48000, kind, codec, to=Pipe())
    with pytest.raises(DataError, match=r"cut short|damaged"):
        read_audio(data[: int(share * len(data))], 48000)


def test_an_ogg_cut_between_two_pages():
    data = encoded(np.random.default_rng(0).normal(size=40000) / 9, format="OGG")
    read_audio(data, 16000)
    with pytest.raises(DataError, match="its last page is not the end of a stream"):
        read_audio(data[: data.rindex(b"OggS")], 16000)


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_a_broadcast_in_ogg_is_read_to_its_end(codec):
    """Streams end to end; libsndfile 1.2 stops after the first, and FFmpeg 8 where the second has other channels."""
    parts = [sound(16000, 1), sound(16000, 2, 9000), sound(16000, 1, 5000)]
    files = [encoded(part.T, 16000, "OGG", codec) for part in parts]
    samples = read_audio(b"".join(files), 16000).samples
    np.testing.assert_array_equal(samples, np.concatenate([read_audio(file, 16000).samples for file in files]))
    assert len(samples) == sum(part.shape[1] for part in parts)
    with pytest.raises(DataError, match=r"longer than 1\.5 s"):
        read_audio(b"".join(files), 16000, seconds=1.5)
    with pytest.raises(DataError, match="parts of 8000 and of 16000 Hz"):
        read_audio(files[0] + encoded(parts[0].T, 8000, "OGG", codec), 16000)
    with pytest.raises(DataError, match="cut short"):
        read_audio(b"".join(files)[:-50], 16000)


def test_sound_that_ends_before_the_film_does():
    """The length of the whole says nothing of the sound."""
    file = io.BytesIO()
    given = sound(16000, 1)
    with av.open(file, "w", format="matroska") as container:
        film = container.add_stream("mpeg4", rate=1)
        film.width = film.height = 32
        heard = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray((given * 32767).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(heard.encode(frame))
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
            frame.pts = number
            container.mux(film.encode(frame))
        for stream in (heard, film):
            container.mux(stream.encode(None))
    assert len(read_audio(file.getvalue(), 16000, seconds=5)) == given.shape[1]


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24le", "pcm_f32le", "pcm_f64le"])
def test_w64(codec):
    """libsndfile 1.2 takes the floats of an extensible one for whole numbers: noise."""
    given = sound(16000, 2)
    data = written(given, 16000, "w64", codec)
    samples = read_audio(data, 16000).samples
    assert len(samples) == given.shape[1]
    assert np.abs(samples - given.mean(0)).max() < 4e-5
    with pytest.raises(DataError, match="cut short"):
        read_audio(data[:-100], 16000)


FREE = bytes.fromhex("fffb0064")  # MPEG 1, layer 3, 44100 Hz, of a bit rate that no table holds


def test_an_mp3_in_free_format():
    """Only libsndfile decodes it, and only where the file counts its frames is its count sure."""
    frame = FREE + bytes(1300)  # silence
    counted = FREE + bytes(32) + b"Info" + struct.pack(">III", 3, 20, 21 * len(frame))
    data = counted.ljust(len(frame), b"\0") + 20 * frame
    samples = read_audio(data, 44100).samples
    assert len(samples) == 20 * 1152 - 529  # the delay of a decoder
    assert not samples.any()
    with pytest.raises(DataError, match=r"that can be read|cannot be decoded"):
        read_audio(20 * frame, 44100)


def test_a_flac_that_was_cut_out_of_another():
    """Its first frame says where it was; libsndfile 1.2 then repeats samples up to the count of the whole."""
    data = written(sound(16000, 1), 16000, "flac", "flac")
    with av.open(io.BytesIO(data)) as container:
        packets = [packet for packet in container.demux() if packet.size]
    place, gone = packets[0].pos, packets[0].duration
    cut = data[:place] + data[packets[1].pos :]
    samples = read_audio(cut, 16000).samples
    assert np.array_equal(samples, read_audio(data, 16000).samples[gone:])
