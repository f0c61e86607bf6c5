"""What a player shows is what is read: trimmed, dropped, turned, mirrored, with pixels that are not square."""

import io
import struct
from fractions import Fraction

import av
import clips
import numpy as np
import pytest
from PIL import Image

from ofasys.errors import DataError
from ofasys.modality.video.read import opened
from ofasys.modality.video.shown import as_shown


def every(value, **more):
    """Times, duration and shades of all frames of a clip."""
    with opened(value, **more) as clip:
        return clip.times, clip.duration, clips.shades(clip.pick(range(len(clip.times))))


def cut(data, seconds, name="cut.mp4"):
    """As `ffmpeg -ss SECONDS -c copy` does: an edit list leaves out what comes before."""
    file = io.BytesIO()
    file.name = name
    with av.open(io.BytesIO(data)) as source, av.open(file, "w", format="mp4") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                late = int(seconds / stream.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - late, packet.dts - late, copied
                target.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize("first", [1, 7, 11, 12, 13, 25, 29])
def test_a_clip_trimmed_by_an_edit_list(mp4, first):
    data = cut(mp4.read_bytes(), Fraction(first, 10))
    times, duration, shades = every(data)
    with av.open(io.BytesIO(data)) as container:
        played = [float(frame.time) for frame in container.decode(video=0)]
    assert shades == pytest.approx(np.arange(first, 30), abs=0.7)
    np.testing.assert_allclose(times, np.array(played) - played[0], atol=1e-6)
    np.testing.assert_allclose(times, np.arange(30 - first) / 10, atol=2e-3)
    assert duration == pytest.approx((30 - first) / 10, abs=2e-3)
    with opened(data) as clip:
        assert clips.numbers(clip.pick([len(played) - 1])) == [29]


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg", "libx264"])
def test_an_avi_counts_frames_that_were_dropped(tmp_path, codec):
    """Its rate is one, and a chunk without bytes stands for the frame before."""
    shown = [0, 1, 2, 5, 6, 9, 10, 20, 21]
    path = clips.film(tmp_path / "a.avi", 9, codec=codec, size=(64, 48), shown=shown, bframes=0)
    times, duration, shades = every(path)
    assert shades == pytest.approx(np.arange(9), abs=0.7)
    np.testing.assert_allclose(times, np.array(shown) / 10, atol=1e-6)
    assert duration == pytest.approx(2.2)
    with opened(path) as clip:
        assert clips.numbers(clip.pick([3, 7])) == [3, 7]


def test_an_avi_whose_frames_refer_forward_and_were_dropped(tmp_path):
    """It says when frames are decoded, not when they are shown, which is later by as much for all."""
    shown = [0, 1, 2, 5, 6, 9, 10, 20, 21]
    times, duration, shades = every(clips.film(tmp_path / "a.avi", 9, size=(64, 48), shown=shown))
    assert shades == pytest.approx(np.arange(9), abs=0.7)
    assert len(set(np.diff(times).round(3).tolist())) > 1  # chunks without bytes count
    assert duration == pytest.approx(times[-1] + 0.1)


def test_a_sequence_of_avif_is_not_its_still():
    data = clips.animation("AVIF", 4, [100, 300, 200, 400])
    times, duration, shades = every(data, timed=True)
    assert shades == pytest.approx([1, 2, 3, 4], abs=0.5)
    np.testing.assert_allclose(times, [0, 0.1, 0.4, 0.6])
    assert duration == pytest.approx(1)
    assert every(clips.animation("AVIF", 1))[2] == pytest.approx([1], abs=0.5)


def test_avif_without_a_pillow_that_reads_it(monkeypatch):
    from ofasys.modality.video import read

    data = clips.animation("AVIF", 4)
    monkeypatch.setattr(read, "_pillow_reads", lambda file: False)
    assert every(data)[2] == pytest.approx([1, 2, 3, 4], abs=0.5)


def test_the_picture_for_those_who_cannot_animate_is_hidden():
    images = [Image.fromarray(clips.grey(number)) for number in (20, 1, 2, 3)]
    file = io.BytesIO()
    images[0].save(file, "PNG", save_all=True, append_images=images[1:], default_image=True, duration=[100, 300, 200])
    times, duration, shades = every(file.getvalue(), timed=True)
    assert shades == pytest.approx([1, 2, 3])
    np.testing.assert_allclose(times, [0, 0.1, 0.4])
    assert duration == pytest.approx(0.6)
    assert every(file.getvalue())[2] == pytest.approx([1, 2, 3])
    file = io.BytesIO()
    images[0].save(file, "PNG", save_all=True, append_images=images[1:2], default_image=True)
    assert every(file.getvalue())[2] == pytest.approx([1])


TURNS = {  # what is shown of a frame (H, W, C)
    (1, 0, 0, 1): lambda x: x,
    (-1, 0, 0, 1): lambda x: x[:, ::-1],
    (1, 0, 0, -1): lambda x: x[::-1],
    (-1, 0, 0, -1): lambda x: x[::-1, ::-1],
    (0, 1, -1, 0): lambda x: np.rot90(x, -1),
    (0, -1, 1, 0): lambda x: np.rot90(x),
    (0, 1, 1, 0): lambda x: x.swapaxes(0, 1),
    (0, -1, -1, 0): lambda x: np.rot90(x, 2).swapaxes(0, 1),
}


def corners():
    """A frame (24, 32, 3) whose corners differ."""
    frame = np.zeros((24, 32, 3), np.uint8)
    frame[:12, :16], frame[:12, 16:], frame[12:, :16] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    return frame


def pictured(pixel=None, matrix=None):
    """An mp4 of two frames, with pixels of that shape, and a matrix in its track's header."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"qp": "4"})
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv444p"
        if pixel:
            stream.codec_context.sample_aspect_ratio = pixel
        for _ in range(2):
            for packet in stream.encode(av.VideoFrame.from_ndarray(corners(), "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    data = file.getvalue()
    if matrix is None:
        return data
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (65536 * number for number in matrix)
    x, y = 32 * (matrix[0] + matrix[2] < 0) << 16, 24 * (matrix[1] + matrix[3] < 0) << 16
    return data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, x, y, 1 << 30) + data[at + 36 :]


@pytest.mark.parametrize("matrix", TURNS)
def test_turned_and_mirrored(matrix):
    with opened(pictured(matrix=matrix)) as clip:
        (image,) = clip.pick([1])
    np.testing.assert_allclose(np.asarray(image, float), TURNS[matrix](corners()), atol=25)


@pytest.mark.parametrize(
    ("pixel", "size"), [("2/1", (64, 24)), ("1/2", (32, 48)), ("4/3", (43, 24)), ("1/1", (32, 24)), ("99/1", (32, 24))]
)
def test_pixels_that_are_not_square(pixel, size):
    with opened(pictured(Fraction(pixel))) as clip:
        (image,) = clip.pick([0])
    assert image.size == size


def test_long_pixels_are_turned_with_the_frame():
    with opened(pictured(Fraction(2), (0, 1, 1, 0))) as clip:
        (image,) = clip.pick([0])
    assert image.size == (24, 64)
    assert image.getpixel((6, 48))[1] > 200


def test_a_small_turn():
    image = Image.fromarray(corners())
    turned = as_shown(image, None, (0.8, 0.6, -0.6, 0.8))
    assert (turned.width, turned.height) == pytest.approx((32 * 0.8 + 24 * 0.6, 32 * 0.6 + 24 * 0.8), abs=2)
    assert np.abs(np.asarray(turned, float) - np.asarray(image.rotate(-36.87, expand=True), float)).mean() < 5
    mirrored = as_shown(image, None, (-0.8, -0.6, -0.6, 0.8))
    assert mirrored.size == turned.size
    np.testing.assert_array_equal(np.asarray(as_shown(image, None, (0, 0, 0, 0))), corners())


def test_a_film_that_lacks_its_end_says_so(tmp_path):
    for name in ("a.mkv", "a.avi"):
        data = clips.film(tmp_path / name, size=(64, 48)).read_bytes()
        with pytest.raises(DataError, match=r"breaks off: \d+ of \d+ bytes are there"):
            opened(data[:-100])
