"""Everything that holds a clip gives its frames by number; everything else is a DataError that says what was
expected.
"""

import builtins
import contextlib
import io
import resource

import clips
import numpy as np
import pytest
import torch
from PIL import Image

from ofasys.errors import ConfigError, DataError
from ofasys.modality.video import film, read
from ofasys.modality.video.read import opened

CONTAINERS = {
    "mp4, B-frames": ("a.mp4", "libx264"),
    "mp4": ("b.mp4", "mpeg4"),
    "mov": ("a.mov", "libx264"),
    "mkv": ("a.mkv", "libx264"),
    "webm, VP8": ("a.webm", "libvpx"),
    "webm, VP9": ("b.webm", "libvpx-vp9"),
    "avi": ("a.avi", "mpeg4"),
    "avi, B-frames": ("b.avi", "libx264"),
    "transport stream": ("a.ts", "mpeg2video"),
    "program stream": ("a.mpg", "mpeg2video"),
    "flv": ("a.flv", "libx264"),
}
SOME = [0, 5, 6, 12, 14, 25, 29]


def frames(value, chosen, **more):
    with opened(value, **more) as clip:
        return clips.numbers(clip.pick(chosen))


@pytest.mark.parametrize("kind", CONTAINERS)
def test_frames_of_a_film(kind, tmp_path):
    name, codec = CONTAINERS[kind]
    path = clips.film(tmp_path / name, codec=codec, size=(64, 48))
    for value in (path, str(path), path.read_bytes()):
        with opened(value) as clip:
            assert len(clip.times) == 30
            assert clip.duration == pytest.approx(3, abs=0.01)
            np.testing.assert_allclose(clip.times, np.arange(30) / 10, atol=2e-3)
            assert clips.shades(clip.pick(SOME)) == pytest.approx(SOME, abs=0.7)
            assert clips.shades(clip.pick([14])) == pytest.approx([14], abs=0.7)  # again, and backwards


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_frames_of_an_animated_picture(kind, tmp_path):
    data = clips.animation(kind)
    (tmp_path / "moving").write_bytes(data)
    for value in (data, bytearray(data), memoryview(data), tmp_path / "moving", Image.open(io.BytesIO(data))):
        assert frames(value, [0, 3, 4, 9]) == [1, 4, 5, 10]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_how_long_each_frame_of_an_animated_picture_stands(kind):
    data = clips.animation(kind, 4, [100, 300, 200, 400])
    with opened(data, timed=True) as clip:
        np.testing.assert_allclose(clip.times, [0, 0.1, 0.4, 0.6])
        assert clip.duration == pytest.approx(1)
        assert clips.numbers(clip.pick([0, 3])) == [1, 4]
    with opened(data) as clip:  # not asked for: all alike, and nothing is decoded for it
        assert clip.times.tolist() == [0, 1, 2, 3]


def test_frames_that_do_not_say_how_long_they_stand():
    with opened(clips.animation("GIF", 3, 0), timed=True) as clip:
        np.testing.assert_allclose(clip.times, [0, 0.1, 0.2])


def stacks(folder):
    array = np.stack([clips.grey(i) for i in range(6)])
    for i, frame in enumerate(array):
        Image.fromarray(frame).save(folder / f"{i}.png")
    return {
        "array": array,
        "tensor": torch.from_numpy(array.copy()),
        "floats": (array / 255).astype(np.float32),
        "grey array": array[..., 0],
        "grey array, one channel": array[..., :1],
        "with alpha": np.concatenate([array, np.full_like(array[..., :1], 255)], -1),
        "list of arrays": list(array),
        "list of pictures": [Image.fromarray(frame) for frame in array],
        "tuple of paths": tuple(f"{i}.png" for i in range(6)),
        "with a rate": {"frames": array, "rate": 5},
    }


STACKS = ("array", "tensor", "floats", "grey array", "grey array, one channel", "with alpha", "list of arrays",
          "list of pictures", "tuple of paths", "with a rate")  # fmt: skip


@pytest.mark.parametrize("form", STACKS)
def test_frames_at_hand(form, tmp_path):
    forms = stacks(tmp_path)
    assert set(forms) == set(STACKS)
    assert frames(forms[form], [0, 2, 5], root=tmp_path) == [0, 2, 5]


def test_frames_with_a_rate_have_seconds():
    array = np.zeros((6, 4, 4, 3), np.uint8)
    with opened({"frames": array, "rate": 5}, timed=True) as clip:
        assert clip.duration == pytest.approx(1.2)
    with pytest.raises(DataError, match="frames without a rate"):
        opened(array, timed=True)


def test_a_still_picture_is_a_clip_of_one_frame():
    still = Image.fromarray(clips.grey(3))
    file = io.BytesIO()
    still.save(file, "JPEG", quality=95)
    for value in (still, np.asarray(still), file.getvalue(), [still]):
        with opened(value, timed=True) as clip:
            assert (len(clip.times), clips.numbers(clip.pick([0]))) == (1, [3])


def test_as_datasets_gives_it(mp4):
    assert frames({"bytes": mp4.read_bytes(), "path": None}, [7]) == [7]
    assert frames({"bytes": None, "path": str(mp4)}, [7]) == [7]


def test_a_relative_path_starts_at_the_root(mp4):
    assert frames(mp4.name, [7], root=mp4.parent) == [7]
    with pytest.raises(DataError, match=r"no file 'clip\.mp4'"):
        opened(mp4.name)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_rate_that_varies(name, tmp_path):
    shown = [0, 1, 2, 3, 4, 20, 21, 22, 40, 41]
    path = clips.film(tmp_path / name, 10, shown=shown)
    with opened(path) as clip:
        np.testing.assert_allclose(clip.times, np.array(shown) / 10, atol=2e-3)
        assert clips.numbers(clip.pick([0, 4, 5, 8, 9])) == [0, 4, 5, 8, 9]


def test_few_frames_are_decoded(tmp_path, monkeypatch):
    """Of a long film, those from the key frame before each that is asked for."""
    path = clips.film(tmp_path / "long.mp4", 600, group=10)
    decoded = []
    tick = film._tick
    monkeypatch.setattr(film, "_tick", lambda frame: decoded.append(frame.pts) or tick(frame))
    with opened(path) as clip:
        list(clip.pick([5, 300, 595]))
    assert len(set(decoded)) <= 30


def test_the_file_is_closed(mp4, monkeypatch):
    files = []
    path_open = type(mp4).open
    monkeypatch.setattr(type(mp4), "open", lambda self, *a: files.append(path_open(self, *a)) or files[-1])
    frames(mp4, [3])
    with pytest.raises(DataError):
        opened(__file__)
    assert [file.closed for file in files] == [True, True]


def test_no_file_is_changed(mp4):
    before = mp4.read_bytes()
    frames(mp4, [0, 29])
    assert mp4.read_bytes() == before


def test_memory_does_not_grow_with_the_clip():
    """10^8 frames that share their memory: only those asked for are looked at."""
    endless = np.broadcast_to(np.uint8(16), (100_000_000, 4, 4, 3))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(list(read.Stack(endless[:1000], None).pick([0, 999]))) == 2
    with opened(endless[:5_000_000]) as clip:
        assert clips.numbers(clip.pick([4_999_999])) == [2]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


def test_without_pyav(mp4, monkeypatch):
    real = builtins.__import__

    def no_av(name, *more):
        if name == "av":
            raise ModuleNotFoundError("No module named 'av'", name="av")
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", no_av)
    with pytest.raises(ConfigError, match=r'pip install "ofasys\[video\]"'):
        opened(mp4)
    assert frames(clips.animation("GIF"), [3]) == [4]  # needs none


# --- what is no clip --------------------------------------------------------------------------------------------------


def cut_short(path, share, faststart=False):
    return path.read_bytes()[: int(path.stat().st_size * share)]


def index_first(folder):
    """An mp4 whose index stands first, cut off in its middle."""
    import av

    path = folder / "first.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        noise = np.random.default_rng(0)
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (48, 64, 3), dtype=np.uint8), "rgb24")
            frame.pts = number
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path.read_bytes()[: path.stat().st_size // 2]


def sound_only():
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
        frame.rate = 48000
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    return file.getvalue()


def bad(mp4, folder):
    (folder / "empty.mp4").write_bytes(b"")
    clip = clips.film(folder / "here.ts", codec="mpeg2video", size=(64, 48))
    gif = clips.animation("GIF")
    return {
        "no bytes": (b"", "0 bytes hold nothing"),
        "an empty file": (folder / "empty.mp4", "is empty"),
        "text": (b"this is text" * 20, "cannot be read"),
        "a broken index": (cut_short(mp4, 0.6), "cannot be read"),
        "an index, but half the frames": (index_first(folder), "breaks off"),
        "no frame": ([], "the clip has no frame; expected at least one"),
        "an array of no frame": (np.zeros((0, 4, 4, 3), np.uint8), "the clip has no frame"),
        "frames of no pixel": (np.zeros((2, 0, 4, 3), np.uint8), "4 x 0 pixels"),
        "sound only": (sound_only(), "there is no film in it"),
        "half a GIF": (gif[: len(gif) // 2], "cannot be read"),
        "a WebP cut short": (clips.animation("WEBP")[:-40], "cannot be read"),
        "a play list": (f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\n{clip}\n#EXT-X-ENDLIST\n".encode(),
            "cannot be read"),
        "a list of files": (f"ffconcat version 1.0\nfile {clip}\n".encode(), "cannot be read"),
        "an address": ("http://example.invalid/a.mp4", "no file"),
        "a folder": (folder, "no file"),
        "a NUL in the name": ("a\0.mp4", "no file"),
        "a number": (7, "got int '7'"),
        "None": (None, "got NoneType"),
        "frames of numbers": ([1, 2], "got int '1'"),
        "NaN": (np.full((2, 4, 4, 3), np.nan), "NaN"),
        "channels first": (np.zeros((2, 3, 8, 8), np.uint8), "move the channels last"),
        "five axes": (np.zeros((1, 2, 8, 8, 3), np.uint8), r"shape \(1, 2, 8, 8, 3\)"),
        "one axis": (np.zeros(8, np.uint8), r"shape \(8,\)"),
        "huge frames": (np.broadcast_to(np.uint8(0), (2, 100_000, 10_000, 3)), "100,000,000 pixels"),
        "a rate of nothing": ({"frames": np.zeros((2, 4, 4, 3), np.uint8), "rate": 0}, "the clip's rate is 0"),
        "a rate that is no number": ({"frames": np.zeros((2, 4, 4, 3), np.uint8), "rate": "x"}, "rate is 'x'"),
        "a mapping of something else": ({"clip": 1}, "got dict"),
    }  # fmt: skip


BAD = (
    "no bytes", "an empty file", "text", "a broken index", "an index, but half the frames", "no frame",
    "an array of no frame",
    "frames of no pixel", "sound only", "half a GIF", "a WebP cut short", "a play list", "a list of files",
    "an address",
    "a folder", "a NUL in the name", "a number", "None", "frames of numbers", "NaN", "channels first", "five axes",
    "one axis",
    "huge frames", "a rate of nothing", "a rate that is no number", "a mapping of something else",
)  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_clip(kind, mp4, tmp_path):
    known = bad(mp4, tmp_path)
    assert set(known) == set(BAD)
    value, says = known[kind]
    with pytest.raises(DataError, match=says) as error, opened(value) as clip:
        list(clip.pick(range(len(clip.times))))
    assert "expected" in str(error.value)


def test_damage_in_the_middle_is_never_silent(tmp_path):
    """Some frames can still be read, or there is an error; nothing hangs."""
    data = bytearray(clips.film(tmp_path / "a.mp4", size=(64, 48)).read_bytes())
    random = np.random.default_rng(0)
    for _ in range(20):
        torn = bytearray(data)
        for place in random.integers(60, len(data), 40):
            torn[place] = int(random.integers(256))
        with contextlib.suppress(DataError), opened(bytes(torn)) as clip:
            assert all(image.mode == "RGB" for image in clip.pick(range(0, len(clip.times), 7)))


def test_a_bomb(monkeypatch, mp4):
    monkeypatch.setattr(film, "MOST_PIXELS", 32 * 24 - 1)
    with pytest.raises(DataError, match="32 x 24 pixels"):
        opened(mp4)
    from ofasys.modality.video import animation

    monkeypatch.setattr(animation, "MOST_FRAMES", 9)
    with pytest.raises(DataError, match="10 frames of 32 x 24 pixels"):
        opened(clips.animation("GIF"))
    monkeypatch.setattr(animation, "MOST_FRAMES", 10)
    monkeypatch.setattr(animation, "MOST_DECODED", 10 * 32 * 24 - 1)
    with pytest.raises(DataError, match="make it an mp4"):
        opened(clips.animation("GIF"))
    monkeypatch.setattr(animation, "MOST_PIXELS", 32 * 24 - 1)
    with pytest.raises(DataError, match="32 x 24 pixels"):
        opened(clips.animation("GIF"))


def test_too_much_to_decode(monkeypatch, mp4):
    monkeypatch.setattr(film, "MOST_DECODED", 8 * 32 * 24)
    with opened(mp4) as clip:
        keys = np.searchsorted(clip.ticks, clip.keys).tolist()
    assert frames(mp4, [*keys, keys[-1] + 4]) == [*keys, keys[-1] + 4]
    with pytest.raises(DataError, match="9 frames would have to be decoded to reach 1"):
        frames(mp4, [8])
    monkeypatch.setattr(film, "MOST_FRAMES", 29)
    with pytest.raises(DataError, match="over 29 frames"):
        opened(mp4)
