"""Anything that holds sound -> one channel at the rate asked for."""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.audio.waveform import Audio, missing, soundfile
from ofasys.types import NamedBytes

EXPECTED = (
    "a path, bytes or an open file (wav, flac, ogg, mp3, g722, m4a ...), (array, rate), "
    'or {"array": ..., "sampling_rate": ...}'
)
MOST_BYTES = 2**29
MOST_RATE = 768_000
LOUDEST = 1000.0
BLOCK = 2**19  # samples of all channels decoded at a time
_DATA_URL = re.compile(r"data:(audio|video|application)/[\w.+-]+(;[\w=.\"-]+)*;base64,", re.IGNORECASE)


def read_audio(value: Any, rate: int, seconds: float = 60.0, root: str | Path | None = None) -> Audio:
    """The sound of a value, its channels averaged, resampled to `rate`.

    value: a path (relative ones start at `root`), bytes, a data URL, a file open for reading, `(array, rate)`, an Audio, or a
    mapping with `array` and `sampling_rate`, `bytes` or `path`, as `datasets` gives. An array is (n,) or has two axes, the shorter of
    which are channels; whole numbers are taken as PCM of their width. seconds: the most that is taken; what a header says is
    checked before anything is decoded, and decoding stops there. Errors: DataError for what holds no sound, is longer, ends before it
    should, or has a sample that is no number; ConfigError when a library to read it is not installed.
    """
    if isinstance(value, NamedBytes):
        value = {"bytes": value, "path": value.path}
    if isinstance(value, Mapping):
        value = _of_mapping(value)
    if hasattr(value, "get_all_samples"):  # what `datasets` decodes to since version 4
        decoded = value.get_all_samples()
        value = (np.asarray(decoded.data), decoded.sample_rate)
    if hasattr(value, "samples") and hasattr(value, "rate"):
        value = (value.samples, value.rate)
    if isinstance(value, str) and _DATA_URL.match(value):
        value = _decode_base64(value)
    if isinstance(value, _File):
        return value.read(rate, seconds)
    if isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[1], (int, float, np.number)):
        return _collect(*_of_array(value[0], value[1], seconds), rate, seconds, "the array")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _File(_Bytes(value), f"a file of {len(value)} bytes").read(rate, seconds)
    if isinstance(value, (str, os.PathLike)):
        path = _found(value, root)
        with path.open("rb") as file:
            return _File(file, str(path), path.suffix, path).read(rate, seconds)
    if hasattr(value, "read"):
        return _File(_bytes_of(value), "the file").read(rate, seconds)
    if hasattr(value, "__array__") or isinstance(value, (tuple, list)):
        raise DataError(f"got {type(value).__name__} without its rate", expected=EXPECTED)
    raise DataError(f"got {type(value).__name__} {str(value)[:40]!r}", expected=EXPECTED)


class _Bytes(io.BytesIO):
    """A damaged file may send libsndfile before its beginning: it stays where it is, and nothing is printed."""

    def seek(self, place: int, whence: int = 0, /) -> int:
        try:
            return super().seek(place, whence)
        except ValueError:
            return self.tell()


class _File:
    """Bytes that hold sound in some format. suffix: of the file's name, for formats that do not say what they are.

    path: where they lie, if they do, for libsndfile to read them itself.
    """

    def __init__(self, file: BinaryIO, name: str, suffix: str = "", path: Path | None = None) -> None:
        self.file, self.name, self.suffix, self.path = file, name, suffix.lower(), path

    def read(self, rate: int, seconds: float) -> Audio:
        size = self.file.seek(0, os.SEEK_END)
        self.file.seek(0)
        if size == 0:
            raise DataError(f"{self.name} is empty", expected=EXPECTED)
        if self.suffix not in (".g722", ".m4a", ".mp4", ".aac", ".webm"):
            sound = soundfile()
            try:
                opened = sound.SoundFile(self.path or self.file)
            except (sound.LibsndfileError, TypeError):
                self.file.seek(0)
            else:
                with opened:
                    self._check_length(opened.frames / opened.samplerate, seconds)
                    _check_whole(self.file, size, self.name)
                    blocks = self._soundfile(opened, sound.LibsndfileError)
                    return _collect(blocks, opened.samplerate, rate, seconds, self.name)
        return self._av(rate, seconds)

    def _check_length(self, found: float, seconds: float) -> None:
        if found > seconds and found < 1e9:  # else the header does not say: decoding will tell
            raise _too_long(self.name, found, seconds)

    def _soundfile(self, opened: Any, trouble: type[Exception]) -> Iterator[np.ndarray]:
        frames = max(1, BLOCK // opened.channels)
        left = opened.frames
        try:
            while len(block := opened.read(frames, dtype="float32", always_2d=True)):
                left -= len(block)
                yield block.mean(1)
        except trouble as error:
            raise DataError(f"{self.name} is damaged: {error}", expected="a whole file") from None
        if 0 < left < 2**40:
            raise _cut_short(self.name, f"{opened.frames - left} of {opened.frames} samples are there")

    def _av(self, rate: int, seconds: float) -> Audio:
        """What libsndfile cannot read, through FFmpeg; nothing but these bytes is opened."""
        try:
            import av
        except ImportError as error:
            raise missing("av") from error
        kind = "g722" if self.suffix == ".g722" else None
        try:
            container: Any = av.open(self.file, format=kind, options={"protocol_whitelist": "none"})
        except (av.FFmpegError, ValueError) as error:
            raise DataError(f"{self.name} holds no sound that can be read: {error}", expected=EXPECTED) from None
        with container:
            if not container.streams.audio:
                raise DataError(f"{self.name} holds no sound, only {container.format.name}", expected=EXPECTED)
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise DataError(f"{self.name} holds sound of an unknown kind", expected=EXPECTED)
            told = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
            if told is None and container.duration:
                told = container.duration / 1e6
            if told is not None:
                self._check_length(told, seconds)
            if not container.format.name.startswith(("mov,", "matroska,")):
                told = None  # guessed from the bit rate
            blocks = self._decoded(container, stream, told, av.FFmpegError)
            return _collect(blocks, stream.rate, rate, seconds, self.name)

    def _decoded(
        self, container: Any, stream: Any, told: float | None, trouble: type[Exception]
    ) -> Iterator[np.ndarray]:
        import av

        planes = av.AudioResampler(format="fltp", rate=stream.rate)
        count = 0
        try:
            for frame in container.decode(stream):
                for part in planes.resample(frame):
                    count += part.samples
                    yield part.to_ndarray().mean(0, dtype=np.float32)
            for part in planes.resample(None) if count else ():
                count += part.samples
                yield part.to_ndarray().mean(0, dtype=np.float32)
        except trouble as error:
            raise DataError(f"{self.name} is damaged: {error}", expected="a whole file") from None
        if told is not None and count / stream.rate < told - max(0.25, 0.02 * told):
            raise _cut_short(self.name, f"{count / stream.rate:.2f} s of {told:.2f} s are there")


def _collect(blocks: Iterable[np.ndarray], given: float, rate: int, seconds: float, name: str) -> Audio:
    """Blocks (n,) at the rate `given` -> one Audio at `rate`. Only what it becomes is kept."""
    if not (isfinite(given) and given == int(given) and 100 <= given <= MOST_RATE):
        raise DataError(f"{name}: a rate of {given} Hz", expected=f"a whole number from 100 to {MOST_RATE}")
    stream = None if given == rate else _resampler(int(given), rate)
    made, count = [], 0
    for block in blocks:
        count += len(block)
        if count > seconds * given:
            raise _too_long(name, None, seconds)
        peak = float(np.abs(block).max(initial=0.0))
        if not isfinite(peak):
            raise DataError(f"{name}: a sample is NaN or infinite", expected="finite samples")
        if peak > LOUDEST:
            raise DataError(f"{name}: samples reach {peak:g}", expected="samples from -1 to 1, or whole numbers (PCM)")
        made.append(block if stream is None else stream.resample_chunk(block))
    if not count:
        raise DataError(f"{name} holds no samples", expected="at least a few milliseconds of sound")
    if stream is not None:
        made.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    return Audio(np.concatenate(made), rate)


def _resampler(given: int, rate: int) -> Any:
    try:
        import soxr
    except ImportError as error:
        raise missing("soxr") from error
    return soxr.ResampleStream(given, rate, 1, dtype="float32")


def _of_mapping(value: Mapping[str, Any]) -> Any:
    if value.get("array") is not None:
        if "sampling_rate" not in value:
            raise DataError(f"got a mapping with {', '.join(map(str, value))}", expected=EXPECTED)
        return value["array"], value["sampling_rate"]
    if value.get("bytes") is not None:
        data = value["bytes"]
        return _File(_Bytes(data), f"a file of {len(data)} bytes", Path(str(value.get("path") or "")).suffix)
    if value.get("path"):
        return value["path"]
    raise DataError(f"got a mapping with {', '.join(map(str, value)) or 'nothing'}", expected=EXPECTED)


def _of_array(value: Any, rate: Any, seconds: float) -> tuple[list[np.ndarray], float]:
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        raise DataError("the array's rows differ in length", expected="samples (n,) or (n, channels)") from None
    if array.ndim not in (1, 2) or array.dtype.kind not in "iufb":
        raise DataError(f"got an array of {array.dtype}, shape {array.shape}", expected="samples (n,) or (n, channels)")
    if rate > 0 and max(array.shape) > seconds * float(rate):
        raise _too_long("the array", max(array.shape) / float(rate), seconds)
    if array.dtype.kind in "iub":
        middle = 128.0 if array.dtype == np.uint8 else 0.0
        full = 2.0 ** (8 * array.dtype.itemsize - 1)
        array = (array.astype(np.float32) - middle) / full
    if array.ndim == 2:
        array = array.mean(1 if array.shape[1] <= array.shape[0] else 0)
    return [array.astype(np.float32)], float(rate)


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.split(",", 1)[1], validate=False)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"not base64: {error}", expected=EXPECTED) from None


def _found(value: str | os.PathLike[str], root: str | Path | None) -> Path:
    path = Path(root or ".", value)
    try:
        if path.is_file():
            return path
    except (OSError, ValueError):
        pass
    raise DataError(f"no file {str(value)[:200]!r}", expected=EXPECTED)


def _bytes_of(file: Any) -> io.BytesIO:
    """What an open file holds from where it stands; it is left there if it can be."""
    place = file.tell() if hasattr(file, "seekable") and file.seekable() else None
    data = file.read(MOST_BYTES + 1)
    if place is not None:
        file.seek(place)
    if not isinstance(data, bytes):
        raise DataError(f"got a file of {type(data).__name__}", expected="a file opened in binary mode")
    if len(data) > MOST_BYTES:
        raise DataError(f"the file is larger than {MOST_BYTES >> 20} MiB", expected="a smaller file, or its path")
    return _Bytes(data)


def _check_whole(file: BinaryIO, size: int, name: str) -> None:
    """Errors: DataError where a header promises more than there is; libsndfile reads such files without a word."""
    place = file.tell()
    try:
        file.seek(0)
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RIFX") and head[8:] == b"WAVE":
            order = "<" if head[:4] == b"RIFF" else ">"
            at = 12
            while len(chunk := _at(file, at, 8)) == 8:
                length = struct.unpack(order + "I", chunk[4:])[0]
                if chunk[:4] == b"data":
                    if length < 0x7FFFFF00 and at + 8 + length > size:  # a stream says as much as it can, or nothing
                        raise _cut_short(name, f"{size - at - 8} of {length} bytes of sound are there")
                    break
                at += 8 + length + length % 2
        elif head[:4] == b"FORM" and (promised := struct.unpack(">I", head[4:8])[0] + 8) > size:
            raise _cut_short(name, f"{size} of {promised} bytes are there")
        elif head[:4] == b"OggS":
            start = max(0, size - 2 * 65307)
            tail = _at(file, start, size - start)
            page = tail.rfind(b"OggS")
            lengths = tail[page + 27 : page + 27 + tail[page + 26]] if page + 27 <= len(tail) else b""
            if page < 0 or page + 27 > len(tail) or page + 27 + tail[page + 26] + sum(lengths) > len(tail):
                raise _cut_short(name, "its last page is not whole")
    finally:
        file.seek(place)


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _cut_short(name: str, what: str) -> DataError:
    return DataError(f"{name} is cut short: {what}", expected="a whole file")


def _too_long(name: str, found: float | None, seconds: float) -> DataError:
    length = "goes on" if found is None else f"lasts {found:.1f} s, which is"
    return DataError(
        f"{name} {length} longer than {seconds:g} s",
        expected=f"at most {seconds:g} s; a slot takes more with seconds=...",
    )
