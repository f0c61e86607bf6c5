"""Bytes that hold sound -> blocks of one channel, through libsndfile where its count is sure, else through FFmpeg.

No header is believed about how long the sound is, except to refuse early what is far too long: all is read to its end,
and whether something is missing is told by the decoder and by what the file is made of.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.audio.movie_clock import movie_tick
from ofasys.modality.audio.mpeg import frame_bytes, is_counted, is_free
from ofasys.modality.audio.pcm import scaled
from ofasys.modality.audio.waveform import missing, soundfile
from ofasys.modality.shared.whole import holds_no_samples, is_late_flac, missing_part, ogg_links

EXPECTED = (
    "a path, bytes or an open file (wav, flac, ogg, mp3, g722, m4a ...), (array, rate), "
    'or {"array": ..., "sampling_rate": ...}'
)
BLOCK = 2**19  # samples of all channels decoded at a time
GATHERED = 2**17  # samples of one channel, of small frames
PADDING = 3  # frames of a codec that an encoder adds to what it was given
MOST_JUNK = 4096  # bytes after the last frame of an mp3 that are let pass, tags aside
PADDED = ("aac", "ac3", "eac3", "mp", "opus", "vorbis", "wma")  # codecs whose encoders do
SIMPLE = ("wav", "aiff", "au", "caf", "w64", "mpegts")  # may end anywhere, as far as FFmpeg can tell
DTYPES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "s64": np.int64, "flt": np.float32, "dbl": np.float64}
SKIP_MANUAL = 1 << 29  # libavcodec's flag: frames come untrimmed
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"LYRICS200")


@dataclass(frozen=True)
class Sound:
    """Blocks (n,) float32 at `rate`. spare: seconds that do not count as length, since an encoder may have added
    them.
    """

    blocks: Iterator[np.ndarray]
    """One after the other, each (n,)."""
    rate: int
    spare: float = 0.0


@dataclass(frozen=True)
class SoundFile:
    """A file that holds sound in some format.

    suffix: of its name, for formats that do not say what they are. path: where it lies, if it does, for libsndfile to
    read it itself.
    """

    file: BinaryIO
    name: str
    suffix: str = ""
    path: Path | None = None

    def sound(self, seconds: float) -> Sound:
        """Errors: DataError when it holds none, or surely more than `seconds`; ConfigError when a library is
        missing.
        """
        size = self.file.seek(0, os.SEEK_END)
        self.file.seek(0)
        if size == 0:
            raise DataError(f"{self.name} is empty", expected=EXPECTED)
        if (lacks := missing_part(self.file, size)) is not None:
            raise self._cut_short(lacks)
        head = self.file.read(12)
        self.file.seek(0)
        if head[:4] == b"OggS" and len(links := ogg_links(self.file, size)) > 1:
            return self._linked(links, seconds)
        raw = "g722" if self.suffix.lower() == ".g722" else None
        mpeg = head[:3] == b"ID3" or bool(frame_bytes(head)) or is_free(head)
        counted = mpeg and is_counted(self.file, size)
        late = head[:4] == b"fLaC" and is_late_flac(self.file)  # libsndfile makes up samples at its end
        if raw is None and (counted or not (mpeg or late or _is_for_ffmpeg(head))):
            library = soundfile()
            try:
                opened = library.SoundFile(self.path or self.file)
            except (library.LibsndfileError, TypeError):
                opened = None
            if opened is not None and _is_sure(opened, counted):
                spare = PADDING * (1152 if opened.samplerate >= 32000 else 576) / opened.samplerate if counted else 0.0
                self._check_length(opened.frames / opened.samplerate - spare, seconds)
                return Sound(self._soundfile(opened, library.LibsndfileError), opened.samplerate, spare)
            if opened is not None and opened.frames == 0 and holds_no_samples(self.file, size):
                raise DataError(f"{self.name} holds no samples", expected="at least a few milliseconds of sound")
            self.file.seek(0)
        return self._ffmpeg(seconds, raw)

    def _check_length(self, found: float, seconds: float) -> None:
        if found > seconds:
            raise too_long(self.name, found, seconds)

    def _linked(self, links: list[tuple[int, int]], seconds: float) -> Sound:
        """Files of sound end to end in one."""
        self.file.seek(0)
        data = self.file.read()
        sounds = [replace(self, file=io.BytesIO(data[a:b]), path=None).sound(seconds) for a, b in links]
        if len(rates := {sound.rate for sound in sounds}) > 1:
            raise self._rate_changes(*sorted(rates)[:2])
        return Sound(chain.from_iterable(sound.blocks for sound in sounds), sounds[0].rate, sounds[0].spare)

    def _soundfile(self, opened: Any, trouble: type[Exception]) -> Iterator[np.ndarray]:
        frames = max(1, BLOCK // opened.channels)
        left = opened.frames
        with opened:
            try:
                while len(block := opened.read(frames, dtype="float32", always_2d=True)):
                    left -= len(block)
                    yield _averaged([block[:, channel] for channel in range(opened.channels)])
            except trouble as error:
                raise self._damaged(error) from None
            if left > 0:
                raise self._cut_short(f"{opened.frames - left} of {opened.frames} samples are there")

    def _ffmpeg(self, seconds: float, kind: str | None) -> Sound:
        """Whatever libsndfile cannot read or count; nothing but these bytes is opened."""
        try:
            import av
        except ImportError as error:
            raise missing("av") from error
        try:
            container: Any = av.open(self.file, format=kind, options={"protocol_whitelist": "none"})
        except (av.FFmpegError, ValueError) as error:
            raise DataError(f"{self.name} holds no sound that can be read: {error}", expected=EXPECTED) from None
        if not container.streams.audio:
            raise DataError(f"{self.name} holds no sound, only {container.format.name}", expected=EXPECTED)
        stream = container.streams.audio[0]
        codec = stream.codec_context
        if codec is None:
            raise DataError(f"{self.name} holds sound of an unknown kind", expected=EXPECTED)
        told = _told(container, stream)
        if told is not None:
            self._check_length(told - 1, seconds)  # to the second: decoding will tell
        if container.format.name == "caf" and codec.name == "alac":
            codec.flags2 |= SKIP_MANUAL  # FFmpeg 8 takes the end off twice
        frames = self._frames(container, stream, av.FFmpegError)
        first = next(frames, None)
        if first is None and not stream.rate:
            raise DataError(f"{self.name} holds {codec.name} that cannot be decoded", expected=EXPECTED)
        rate = stream.rate if first is None else first.sample_rate
        spare = (
            PADDING * max(codec.frame_size, first.samples) / rate if first and codec.name.startswith(PADDED) else 0.0
        )
        end = None
        if container.format.name.startswith("mov,") and told is not None:
            tick = movie_tick(self.file)
            end, spare = (told, tick), max(spare, tick)
        frames = chain(() if first is None else (first,), frames)
        return Sound(self._blocks(frames, rate, end), rate, spare)

    def _frames(self, container: Any, stream: Any, trouble: type[Exception]) -> Iterator[Any]:
        """Decoded frames to the end. Errors: DataError where a piece is missing or damaged."""
        kind = container.format.name
        pieces = kind not in SIMPLE
        last, junk = None, 0
        with container:
            try:
                for packet in container.demux(stream):
                    if pieces and packet.is_corrupt:
                        raise self._cut_short(f"a piece of {packet.size} bytes is not whole")
                    try:
                        frames = packet.decode()
                    except trouble as error:
                        begin = bytes(packet)[:11]
                        if kind != "mp3" or frame_bytes(begin):
                            raise self._damaged(error) from None
                        junk += 0 if last is None or begin.startswith(TAGS) else packet.size
                        continue
                    if frames and junk:
                        raise self._damaged(f"{junk} bytes within it are no sound")
                    if packet.size:
                        last = packet
                    yield from frames
            except trouble as error:
                raise self._damaged(error) from None
            if junk > MOST_JUNK:
                raise self._damaged(f"{junk} bytes at its end are no sound")
            if kind == "mp3" and last is not None and (whole := frame_bytes(bytes(last)[:4])) > last.size:
                raise self._cut_short(f"{last.size} of {whole} bytes of its last frame are there")

    def _blocks(self, frames: Iterator[Any], rate: int, end: tuple[float, float] | None) -> Iterator[np.ndarray]:
        """Frames -> blocks of one channel. end: where an edit list ends, give or take, in seconds; the last frame is
        cut there.
        """
        parts: list[np.ndarray] = []
        held, count, last = 0, 0, None
        for frame in frames:
            if frame.sample_rate != rate:
                raise DataError(
                    f"{self.name}: its rate changes from {rate} to {frame.sample_rate} Hz", expected="one rate"
                )
            if held >= GATHERED:
                yield np.concatenate(parts)
                parts, held = [], 0
            last = _mono(frame)
            parts.append(last)
            held, count = held + len(last), count + len(last)
        if last is None:
            return
        if end is not None:
            parts[-1] = last[: _kept(frame, count, rate, end)]
        yield np.concatenate(parts)

    def _rate_changes(self, before: int, after: int) -> DataError:
        return DataError(
            f"{self.name} has parts of {before} and of {after} Hz", expected="one rate; cut the file there"
        )

    def _cut_short(self, what: str) -> DataError:
        return DataError(f"{self.name} is cut short: {what}", expected="a whole file")

    def _damaged(self, error: Exception | str) -> DataError:
        return DataError(f"{self.name} is damaged: {error}", expected="a whole file")


def too_long(name: str, found: float | None, seconds: float) -> DataError:
    """The error for more sound than a slot takes. found: how much, in seconds, if that is known."""
    length = "goes on" if found is None else f"lasts {found:.1f} s, which is"
    return DataError(
        f"{name} {length} longer than {seconds:g} s",
        expected=f"at most {seconds:g} s; a slot takes more with seconds=...",
    )


def _is_for_ffmpeg(head: bytes) -> bool:
    """What libsndfile cannot read at all, or reads wrong: it takes the floats of an extensible W64 for whole
    numbers.
    """
    return head[4:8] == b"ftyp" or head[:4] in (b"\x1aE\xdf\xa3", b"riff")


def _is_sure(opened: Any, counted: bool) -> bool:
    """Whether the samples libsndfile will give are all there are; else the file is closed again.

    counted: whether MPEG audio says how much it is; else libsndfile guesses from its first frames.
    """
    sure = 0 < opened.frames < 2**40 and (counted or not opened.subtype.startswith("MPEG"))
    if not sure:
        opened.close()
    return sure


def _told(container: Any, stream: Any) -> float | None:
    """Seconds of a stream, where its container was written with them; others are guessed from a bit rate."""
    kind = container.format.name
    if kind.startswith("mov,") and stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if kind.startswith("matroska,"):
        if found := re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", "")):
            hours, minutes, rest = map(float, found.groups())
            return 3600 * hours + 60 * minutes + rest
        if container.duration and len(container.streams) == 1:
            return float(container.duration) / 1e6
    return None


def _mono(frame: Any) -> np.ndarray:
    """The channels of a decoded frame, averaged: (n,) float32."""
    name, count, planes = frame.format.name, frame.samples, frame.planes
    kind = name.removesuffix("p")
    if kind != name:  # planar
        parts = [np.frombuffer(plane, DTYPES[kind], count) for plane in planes]
    else:
        channels = frame.layout.nb_channels
        packed = np.frombuffer(planes[0], DTYPES[kind], count * channels).reshape(-1, channels)
        parts = [packed[:, channel] for channel in range(channels)]
    if kind != "flt":
        parts = [part / np.float32(2.0**63) if kind == "s64" else scaled(part) for part in parts]
    return _averaged(parts)


def _averaged(channels: Sequence[np.ndarray]) -> np.ndarray:
    """Channels (n,) float32 -> their mean (n,)."""
    return channels[0] if len(channels) == 1 else sum(channels[1:], channels[0]) / np.float32(len(channels))


def _kept(frame: Any, count: int, rate: int, end: tuple[float, float]) -> int:
    """Samples of the last frame that are sound: as long as it says it is shown, and up to the end of the edit list.

    count: samples with all of it. Where the two differ by less than the list can say, the frame is the exact one.
    """
    shown = round(frame.duration * frame.time_base * rate) if frame.duration and frame.time_base else frame.samples
    kept = min(frame.samples, shown)
    beyond = count - frame.samples + kept - round(end[0] * rate)
    return kept - beyond if end[1] * rate + 1 < beyond < kept else kept
