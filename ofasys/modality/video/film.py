"""Films (mp4, mov, webm, mkv, avi, mpeg ...), through PyAV.

A first pass reads the index of the packets and decodes nothing; it says how many frames there are and when each is
shown, also where the rate varies or the header is wrong. Frames are then decoded from the nearest key frame before
each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ofasys.errors import ConfigError, DataError
from ofasys.modality.shared.read_image import MOST_PIXELS
from ofasys.modality.shared.whole import missing_part
from ofasys.modality.video.shown import as_shown, matrix_of

MOST_FRAMES = 5_000_000
MOST_DECODED = 20_000_000_000  # pixels on the way to the frames asked for
FORMATS = (  # no play lists and no image sequences: those name other files
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,h264,hevc,av1,ivf,m4v,mjpeg,gif,dv,nut"
)
TILE = 1 << 19  # FFmpeg's AV_DISPOSITION_DEPENDENT: shown only together with other streams
EXPECTED = "a film that can be read: mp4, mov, webm, mkv, avi or mpeg"


class Film:
    """The frames of a film's first video stream.

    file: opened for reading; it is closed at the end of the `with`. Errors: ConfigError when PyAV is not installed;
    DataError when the file is no film, has no frame, breaks off, or is too large.
    """

    def __init__(self, file: Any, what: str) -> None:
        self.file, self.what = file, what
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        self.container = self._opened()
        try:
            if (lacks := missing_part(file, size)) is not None:
                raise DataError(f"{what} breaks off: {lacks}", expected=EXPECTED)
            self.stream = self._stream()
            self._check_size(self.stream.codec_context.width, self.stream.codec_context.height)
            self.stream.thread_type, self.stream.codec_context.thread_count = "NONE", 1
            self._index()
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *problem: object) -> None:
        self.container.close()
        self.file.close()

    def pick(self, numbers: Sequence[int] | np.ndarray) -> Iterator[Image.Image]:
        """The frames with these numbers, which increase, upright and RGB."""
        wanted = np.asarray(numbers, dtype=np.int64)
        self._check_work(wanted)
        found = 0
        for frame in self._decoded(wanted):
            found += 1
            yield self._image(frame)
        if found < len(wanted):
            at = float(self.times[wanted[found]])
            raise DataError(
                f"{self.what} breaks off: no frame can be decoded at {at:.2f} of {self.duration:.2f} s",
                expected=EXPECTED,
            )

    def _opened(self) -> Any:
        try:
            import av
        except ImportError as error:
            raise ConfigError(f'{self.what}: films are read by PyAV: pip install "ofasys[video]"') from error
        try:
            return av.open(self.file, options={"format_whitelist": FORMATS})
        except Exception as error:  # PyAV raises many kinds for broken files
            raise DataError(f"{self.what} cannot be read: {error}", expected=EXPECTED) from None

    def _stream(self) -> Any:
        from av.stream import Disposition

        films = [s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic]
        if not films:
            raise DataError(f"{self.what}: there is no film in it", expected=EXPECTED)
        films = [s for s in films if s.duration] or films  # a sequence of pictures may have a still that stands for it
        if int(films[0].disposition) & TILE:
            raise DataError(
                f"{self.what} is a picture laid of tiles",
                expected="a kind of picture that Pillow reads; its plugin pillow-heif knows this one",
            )
        if films[0].codec_context is None:
            raise DataError(f"{self.what} is of a kind that cannot be decoded here", expected=EXPECTED)
        return films[0]

    def _check_size(self, width: int, height: int) -> None:
        if width * height > MOST_PIXELS:
            raise DataError(
                f"{self.what}: {width} x {height} pixels", expected=f"at most {MOST_PIXELS:,} pixels a frame"
            )

    def _index(self) -> None:
        """Places in time of all frames, from the packets: `ticks` (n,) of the stream's clock, or None where there are
        none.

        Where frames refer forward, an avi says when each is decoded, not when it is shown. Its empty packets, and those
        an edit list leaves out, are no frames.
        """
        shown: list[int | None] = []
        decoded: list[int | None] = []
        keys: list[int] = []
        lasts = 0
        avi, mp4 = self.container.format.name == "avi", self.container.format.name.startswith("mov,")
        try:
            for packet in self.container.demux(self.stream):
                if not packet.size or packet.is_discard:
                    continue
                if mp4 and packet.is_corrupt:
                    raise DataError(f"{self.what} breaks off: a piece of it is not whole", expected=EXPECTED)
                shown.append(tick := packet.pts)
                if avi:
                    decoded.append(packet.dts)
                if len(shown) > MOST_FRAMES:
                    raise DataError(f"{self.what}: over {MOST_FRAMES:,} frames", expected=f"at most {MOST_FRAMES:,}")
                lasts = packet.duration or lasts
                if packet.is_keyframe and tick is not None:
                    keys.append(tick)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{self.what} breaks off after {len(shown)} frames: {error}", expected=EXPECTED) from None
        if not shown:
            raise DataError(f"{self.what} has no frame", expected="at least one")
        clocked = None not in shown and bool(self.stream.time_base) and (not avi or shown == decoded)
        self.ticks: np.ndarray | None = np.unique(np.array(shown, dtype=np.int64)) if clocked else None
        self.keys = np.unique(np.array(keys, dtype=np.int64))
        places = self.ticks
        if avi and not clocked and None not in decoded and self.stream.time_base:
            places = np.sort(np.array(decoded, dtype=np.int64))
        if places is None:
            clock = 1 / float(self.stream.average_rate or self.stream.guessed_rate or 25)
            places, lasts = np.arange(len(shown)), 1
        else:
            clock = float(self.stream.time_base)
            lasts = lasts or (int(np.median(np.diff(places))) if len(places) > 1 else 1)
        self.times = (places - places[0]) * clock
        self.duration = float(self.times[-1]) + lasts * clock

    def _check_work(self, wanted: np.ndarray) -> None:
        """Errors: DataError where so few frames are key frames that too many had to be decoded."""
        if self.ticks is None or not len(self.keys):
            frames = int(wanted[-1]) + 1
        else:
            before = np.searchsorted(self.ticks, self.keys)
            starts = before[np.clip(np.searchsorted(before, wanted, side="right") - 1, 0, None)]
            reached = np.concatenate([[0], wanted[:-1] + 1])
            frames = int((wanted + 1 - np.maximum(starts, reached)).sum())
        pixels = frames * self.stream.codec_context.width * self.stream.codec_context.height
        if pixels > MOST_DECODED:
            raise DataError(
                f"{self.what}: {frames:,} frames would have to be decoded to reach {len(wanted)}",
                expected=f"at most {MOST_DECODED:,} pixels on the way; cut it, or write it with more key frames",
            )

    def _decoded(self, wanted: np.ndarray) -> Iterator[Any]:
        """The decoded frames with these numbers, as far as there are any."""
        if self.ticks is None:
            chosen = set(wanted.tolist())
            for number, frame in enumerate(self._frames(0)):
                if number in chosen:
                    yield frame
                if number >= wanted[-1]:
                    break
            return
        frames, reached, trusted = self._frames(int(self.ticks[0])), int(self.ticks[0]) - 1, True
        for target in self.ticks[wanted].tolist():
            place = int(np.searchsorted(self.keys, target, side="right")) - 1
            if trusted and place >= 0 and self.keys[place] > reached + 1:
                frames = self._frames(int(self.keys[place]))
            frame = next((f for f in frames if _tick(f) >= target), None)
            if trusted and (frame is None or _tick(frame) > target):  # the index leads astray: all in order, then
                trusted = False
                self._reopen()
                frames = self._frames(None)
                frame = next((f for f in frames if _tick(f) >= target), None)
            if frame is None:
                return
            reached = _tick(frame)
            yield frame

    def _frames(self, start: int | None) -> Iterator[Any]:
        """Frames in the order they are shown, from the key frame at or before a tick on; None: from where the file
        is.
        """
        if start is not None:
            try:
                self.container.seek(start, stream=self.stream, backward=True)
            except Exception:  # a stream that cannot be sought in
                self._reopen()
        try:
            yield from self.container.decode(self.stream)
        except Exception as error:
            raise DataError(f"{self.what} cannot be decoded: {error}", expected=EXPECTED) from None

    def _reopen(self) -> None:
        self.container.close()
        self.file.seek(0)
        self.container = self._opened()
        self.stream = self._stream()

    def _image(self, frame: Any) -> Image.Image:
        self._check_size(frame.width, frame.height)
        if frame.is_corrupt:
            raise DataError(f"{self.what} is damaged at {float(frame.time or 0):.2f} s", expected=EXPECTED)
        image = as_shown(frame.to_image(), self.stream.sample_aspect_ratio, matrix_of(frame))
        self._check_size(*image.size)
        return image


def _tick(frame: Any) -> int:
    """When a frame is shown, on the clock of its stream."""
    tick = frame.dts if frame.pts is None else frame.pts
    if tick is None:
        raise DataError("a frame does not say when it is shown", expected=EXPECTED)
    return int(tick)
