"""Anything that holds sound -> one channel at the rate asked for."""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
from collections.abc import Iterable, Mapping
from math import inf, isfinite
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from ofasys.errors import DataError
from ofasys.modality.audio.pcm import numbers, scaled
from ofasys.modality.audio.sound_file import EXPECTED, SoundFile, too_long
from ofasys.modality.audio.waveform import Audio, missing
from ofasys.types import NamedBytes

MOST_BYTES = 2**29
MOST_RATE = 768_000
LOUDEST = 1000.0
_PARAMETER = r';[^;,="]+=(?:"[^"]*"|[^;,"]*)'
_DATA_URL = re.compile(rf"data:(?:audio|video|application)/[^;,]+(?:{_PARAMETER})*;base64,", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/", " \t\r\n=")


def read_audio(value: Any, rate: int, seconds: float = 60.0, root: str | Path | None = None) -> Audio:
    """The sound of a value, its channels averaged, resampled to `rate`.

    value: a path (relative ones start at `root`), bytes, a data URL, a file open for reading, `(array, rate)`, an
    Audio, or a mapping with `array` and `sampling_rate`, `bytes` or `path`, as `datasets` gives. An array is (n,) or
    has two axes, the shorter of which are channels; whole numbers are taken as PCM of the width their type says, or
    their values. seconds: the most that is taken; decoding stops there, and does not begin where a file surely holds
    more. Errors: DataError for what holds no sound, is longer, ends before it should, or has a sample that is no
    number; ConfigError when a library to read it is not installed.
    """
    value = _plain(value)
    if isinstance(value, str) and (url := _DATA_URL.match(value)):
        value = _decode_base64(value[url.end() :])
    if isinstance(value, SoundFile):
        return _heard(value, rate, seconds)
    if _has_rate(value):
        blocks, given = _of_array(value[0], value[1], seconds)
        return _collect(blocks, given, rate, seconds, "the array")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _heard(_of_bytes(value), rate, seconds)
    if isinstance(value, (str, os.PathLike)):
        path = _found(value, root)
        with path.open("rb") as file:
            return _heard(SoundFile(file, str(path), path.suffix, path), rate, seconds)
    if hasattr(value, "read"):
        return _heard(SoundFile(_bytes_of(value), "the file", _suffix(getattr(value, "name", ""))), rate, seconds)
    if hasattr(value, "__array__") or isinstance(value, (tuple, list)):
        raise DataError(f"got {type(value).__name__} without its rate", expected=EXPECTED)
    raise DataError(f"got {type(value).__name__} {str(value)[:40]!r}", expected=EXPECTED)


def as_given(value: Any) -> Audio:
    """The sound of samples that are at hand, whatever holds them, at their own rate. Errors: DataError."""
    if isinstance(value, Audio):
        return value
    plain = _plain(value)
    if not _has_rate(plain):
        raise DataError(f"got {type(value).__name__}", expected="(array, rate), or what else holds samples and a rate")
    samples, rate = plain
    (block,), given = _of_array(samples, rate, inf)
    return _collect([block], given, int(rate) if isfinite(rate) else 0, inf, "the array")


def _plain(value: Any) -> Any:
    """(array, rate) of what holds both; of other holders a path or an open file."""
    if isinstance(value, NamedBytes):
        value = {"bytes": value, "path": value.path}
    if isinstance(value, Mapping):
        value = _of_mapping(value)
    if hasattr(value, "get_all_samples"):  # what `datasets` decodes to since version 4
        decoded = value.get_all_samples()
        value = (decoded.data, decoded.sample_rate)
    if hasattr(value, "samples") and hasattr(value, "rate"):
        value = (value.samples, value.rate)
    return value


def _has_rate(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[1], (int, float, np.number))


class _Bytes(io.BytesIO):
    """A damaged file may send libsndfile before its beginning: it stays where it is, and nothing is printed."""

    def seek(self, place: int, whence: int = 0, /) -> int:
        try:
            return super().seek(place, whence)
        except ValueError:
            return self.tell()


def _heard(file: SoundFile, rate: int, seconds: float) -> Audio:
    sound = file.sound(seconds)
    return _collect(sound.blocks, sound.rate, rate, seconds, file.name, sound.spare)


def _collect(
    blocks: Iterable[np.ndarray], given: float, rate: int, seconds: float, name: str, spare: float = 0.0
) -> Audio:
    """Blocks (n,) at the rate `given` -> one Audio at `rate`. Only what it becomes is kept.

    spare: seconds above `seconds` that are let pass.
    """
    if not (isfinite(given) and given == int(given) and 100 <= given <= MOST_RATE):
        raise DataError(f"{name}: a rate of {given} Hz", expected=f"a whole number from 100 to {MOST_RATE}")
    stream = None if given == rate else _resampler(int(given), rate)
    made, count = [], 0
    for block in blocks:
        count += len(block)
        if count > (seconds + spare) * given:
            raise too_long(name, None, seconds)
        peak = max(float(block.max(initial=0.0)), -float(block.min(initial=0.0)))
        if not isfinite(peak):
            raise DataError(f"{name}: a sample is NaN or infinite", expected="finite samples")
        if peak > LOUDEST:
            raise DataError(f"{name}: samples reach {peak:g}", expected="samples from -1 to 1, or whole numbers (PCM)")
        made.append(block if stream is None else stream.resample_chunk(block))
    if not count:
        raise DataError(f"{name} holds no samples", expected="at least a few milliseconds of sound")
    if stream is not None:
        made.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    return Audio(made[0] if len(made) == 1 else np.concatenate(made), rate)


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
        return _of_bytes(value["bytes"], _suffix(value.get("path")))
    if value.get("path"):
        return value["path"]
    raise DataError(f"got a mapping with {', '.join(map(str, value)) or 'nothing'}", expected=EXPECTED)


def _of_array(value: Any, rate: Any, seconds: float) -> tuple[list[np.ndarray], float]:
    array = numbers(value)
    if rate > 0 and max(array.shape) > seconds * float(rate):
        raise too_long("the array", max(array.shape) / float(rate), seconds)
    samples = scaled(array)
    if samples.ndim == 2:
        samples = samples.mean(1 if samples.shape[1] <= samples.shape[0] else 0)
    return [samples], float(rate)


def _decode_base64(text: str) -> bytes:
    """Of either alphabet, with or without blanks and the padding at its end."""
    kept = unquote(text).translate(_URL_SAFE)
    try:
        return base64.b64decode(kept + "=" * (-len(kept) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"not base64: {error}", expected=EXPECTED) from None


def _of_bytes(data: Any, suffix: str = "") -> SoundFile:
    return SoundFile(_Bytes(data), f"a file of {len(data)} bytes", suffix)


def _suffix(name: Any) -> str:
    """Of a file's name, if it is one."""
    return Path(name).suffix if isinstance(name, (str, os.PathLike)) else ""


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
