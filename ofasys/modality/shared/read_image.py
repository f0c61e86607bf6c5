"""Anything that holds a picture -> an upright RGB PIL image."""

from __future__ import annotations

import base64
import io
import os
import re
import struct
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit
from urllib.request import url2pathname

import numpy as np
from PIL import Image, UnidentifiedImageError

from ofasys.errors import DataError
from ofasys.modality.shared.array import as_array, got, holds_array
from ofasys.modality.shared.sixteen_bit import has_sixteen_bits, with_lower_bytes

MOST_PIXELS = int(os.environ.get("OFASYS_MOST_PIXELS") or 100_000_000)
"""Of a picture, or of a frame. A server lowers it for the processes that read strangers' files."""
EXPECTED = "a path, bytes, base64 or data URL, a PIL image, or an array (H, W, 3) or (H, W)"
SHAPES = "(H, W, 3), (H, W, 4) or (H, W)"
_ORIENTATION = 0x0112  # of EXIF; the others are TIFF's
_WIDTH, _HEIGHT, _SHORT_NUMBER = 256, 257, 3
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO, _SAMPLES = 258, 262, 0, 339
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DATA_URL = re.compile(r"\s*data:([^,]*),", re.IGNORECASE)
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_SHORT = 64  # characters of a text that is taken for base64 only if it begins as a picture does, since names look alike
_READERS = {
    b"ftyphei": "for HEIC register the opener of pillow-heif, or save it as .jpg",
    b"ftypmif1": "for HEIF register the opener of pillow-heif, or save it as .jpg",
    b"JXL ": "for JPEG XL install pillow-jxl-plugin and import it, or save it as .jpg",
    b"<svg": "an SVG is a drawing: draw it to .png first",
    b"%PDF": "a PDF is pages: draw one to .png first",
    b"II*\0": "of a TIFF it reads grey of 8 to 32 bits and float32, colour of 8 and 16 bits",
    b"MM\0*": "of a TIFF it reads grey of 8 to 32 bits and float32, colour of 8 and 16 bits",
}  # marks in the first bytes of what Pillow does not read, and the next step
_TAIL, _EXIF_OF_PNG = 2**16, b"eXIf"  # it may come behind the pixels
_STUBS = ("BUFR", "GRIB", "HDF5", "MPEG", "WMF")  # known to Pillow by name alone: it reads no pixels of them


def read_image(value: Any, root: str | Path | None = None) -> Image.Image:
    """An RGB image, EXIF rotation applied, alpha on white, 16-bit scaled to 8.

    value: a path (relative ones start at `root`) or `file:` address, bytes, base64 in either alphabet, a data URL, a
    PIL image, an array, tensor or nested list (H, W, 3), (H, W, 4) or (H, W): uint8, uint16, bool, whole numbers
    0..255, or floats in 0..1. A mapping with `bytes` or `path`, as `datasets` gives, is read too. Float and 16-bit
    pictures mean what the array of their values would. Errors: DataError when it is none of these, holds no picture,
    has no pixels, or more than MOST_PIXELS of them.
    """
    if isinstance(value, dict) and {"bytes", "path"} & value.keys():
        value = value.get("bytes") or value.get("path")
    if isinstance(value, Image.Image):
        image = value
    elif isinstance(value, (bytes, bytearray, memoryview)):
        image = _decode(io.BytesIO(bytes(value)), f"{len(value)} bytes")
    elif isinstance(value, str) and (found := _DATA_URL.match(value)):
        image = _from_data_url(found[1], value[found.end() :])
    elif isinstance(value, (str, os.PathLike)):
        image = _from_path(os.fspath(value), root)
    elif isinstance(value, (list, tuple)) or holds_array(value):
        return _from_array(_numbers(value))
    else:
        raise DataError(got(value), expected=EXPECTED)
    try:
        return _upright_rgb(image)
    except DataError:
        raise
    except Exception as error:  # a PIL image loads its pixels late
        raise DataError(f"the image cannot be read: {error}", expected=EXPECTED) from None


def image_suffixes() -> frozenset[str]:
    """Suffixes of the files that Pillow reads here, in lower case: `.png`, `.jfif` ..."""
    Image.init()
    return frozenset(s for s, kind in Image.EXTENSION.items() if kind in Image.OPEN and kind not in _STUBS)


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height of the picture that `read_image` gives, by its header. Errors: DataError when it has none."""
    try:
        with Path(path).open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(file)
            early = image.format != "PNG" or "exif" in image.info or _EXIF_OF_PNG not in _tail(file)
            turn = _orientation(image) if early or image.load() else 1
            tags = getattr(image, "tag_v2", {})  # a TIFF's size is that of the turned picture in some releases
            width, height = tags.get(_WIDTH, image.width), tags.get(_HEIGHT, image.height)
            return (width, height) if turn < 5 else (height, width)
    except Exception as error:  # PIL raises many kinds for broken files
        raise DataError(f"{path} holds no picture that can be read: {error}", expected=EXPECTED) from None


def _tail(file: Any) -> bytes:
    """The end of an open file, which is left where it was."""
    place = file.tell()
    file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
    found = file.read()
    file.seek(place)
    return bytes(found)


def _from_path(text: str, root: str | Path | None) -> Image.Image:
    path = Path(root or ".", text)
    if _is_file(path):
        return _decode(path, str(path))
    if text[:5].lower() == "file:":
        path = Path(url2pathname(urlsplit(text).path))
        if _is_file(path):
            return _decode(path, str(path))
    if image := _from_base64_or_name(text):
        return image
    fetched = "; addresses are not fetched: save the picture, and give its path" if "://" in text[:12] else ""
    raise DataError(f"no file {text[:200]!r}{fetched}", expected=EXPECTED)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # base64 is too long for a file's name
        return False


def _from_base64_or_name(text: str) -> Image.Image | None:
    """The picture of a text in the letters of base64; None where it may as well be the name of a file."""
    short = len(text) <= _SHORT
    try:
        data = _of_base64(text)
    except DataError:
        return None
    if short and not _begins_as_picture(data):
        return None
    return _decode(io.BytesIO(data), f"no file {text[:80]!r}; as base64 its {len(data)} bytes")


def _begins_as_picture(data: bytes) -> bool:
    """Whether a kind of picture that has a mark of its own recognises the first bytes."""
    Image.init()
    head = data[:16].ljust(16, b"\0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return any(accept and accept(head) is True for _, accept in Image.OPEN.values())


def _of_base64(text: str) -> bytes:
    """The bytes of base64 in either alphabet, with or without line breaks and padding."""
    try:
        return base64.b64decode(text, validate=True)  # as it is mostly written
    except ValueError:
        letters = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except ValueError as error:
        raise DataError(f"not base64: {error}", expected=EXPECTED) from None


def _from_data_url(about: str, body: str) -> Image.Image:
    """about: between `data:` and the comma: a media type, parameters, and last `base64` where the body is."""
    if about.rpartition(";")[2].strip().lower() == "base64":
        data = _of_base64(unquote(body) if "%" in body else body)
        return _decode(io.BytesIO(data), f"{len(data)} bytes of base64")
    data = unquote_to_bytes(body)
    return _decode(io.BytesIO(data), f"{len(data)} bytes of a data URL")


def _decode(file: Any, what: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs, which are refused below, and of broken EXIF
            image: Image.Image = Image.open(file)
            _check_size(*image.size)
            wide = has_sixteen_bits(image)
            image.load()
            if wide:
                image = with_lower_bytes(image, Image.open(file))
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{what}: {error}", expected=f"at most {MOST_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        known = f"no kind of picture that Pillow reads here{_reader_of(file)}"
        raise DataError(f"{what} hold no picture that can be read: {known}", expected=EXPECTED) from None
    except Exception as error:  # PIL raises many kinds for broken files
        raise DataError(f"{what} hold no picture that can be read: {error}", expected=EXPECTED) from None
    return image


def _reader_of(file: Any) -> str:
    """What reads a picture of a kind that Pillow alone does not, by its first bytes."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            head = opened.read(32)
    else:
        head = file.getvalue()[:32]
    for mark, reader in _READERS.items():
        if mark in head:
            return f"; {reader}"
    return ""


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise DataError(f"the image is {width} x {height} pixels", expected="at least one pixel")
    if width * height > MOST_PIXELS:
        raise DataError(f"the image is {width} x {height} pixels", expected=f"at most {MOST_PIXELS:,} pixels")


def _numbers(value: Any) -> np.ndarray:
    """An array of what an array, a tensor or a list holds. Errors: DataError for a list of anything but numbers."""
    array = as_array(value, EXPECTED)
    if isinstance(value, (list, tuple)) and array.dtype.kind not in "buif":
        raise DataError(got(value), expected=f"one picture; {EXPECTED}")
    return array


def _from_array(array: np.ndarray) -> Image.Image:
    """An RGB image, alpha on white."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        hint = "; move the channels last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise DataError(f"got an array of shape {array.shape}{hint}", expected=SHAPES)
    _check_size(array.shape[1], array.shape[0])
    image = Image.fromarray(_eight_bit(array))
    if image.mode == "RGBA":
        return _on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bit(array: np.ndarray) -> np.ndarray:
    """Values as uint8. Errors: DataError for a kind of number, or a value, that stands for no brightness."""
    kind = array.dtype.kind
    if kind not in "buif":
        raise DataError(f"got an array of {array.dtype}", expected="uint8, uint16, bool, or floats in 0..1")
    if kind == "u" and array.dtype.itemsize == 1:
        return array
    if kind == "b":
        return array * np.uint8(255)
    if kind == "u" and array.dtype.itemsize == 2:
        return (array / 257).round().astype(np.uint8)
    low, high = array.min(), array.max()
    if kind == "f":
        if not (low >= 0 and high <= 1):  # NaN is neither
            raise DataError("a float array with values outside 0..1 or NaN", expected="floats in 0..1, or uint8")
        scaled = array.astype(np.float64)  # so that a list of the same numbers gives the same pixels
        scaled *= 255
        return np.rint(scaled, out=scaled).astype(np.uint8)
    if low < 0 or high > 255:
        raise DataError(
            f"an array of {array.dtype} with values outside 0..255", expected="uint8, uint16 for 16 bits, or float"
        )
    return array.astype(np.uint8)


def _upright_rgb(image: Image.Image) -> Image.Image:
    _check_size(*image.size)
    image.load()
    turn = _TURNS.get(_orientation(image))  # after the load: a TIFF turns itself then
    if image.mode == "F" or image.mode.startswith("I") or _is_signed(image):
        plain = _from_array(_grey(image))
        if "transparency" in image.info:
            plain.paste("white", mask=Image.fromarray(np.asarray(image) == image.info["transparency"]))
    elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        plain = _on_white(image.convert("RGBA"))
    elif image.mode in ("RGBa", "La"):
        plain = _on_white(image.convert(image.mode[:-1] + "A").convert("RGBA"))
    else:
        plain = image.convert("RGB")
    return plain if turn is None else plain.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """1 to 8, that of EXIF, else of XMP; 1 where neither can be read: what lies beside sound pixels spoils none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            turn = _plain_orientation(image.info.get("exif")) or image.getexif().get(_ORIENTATION)
            return int(turn) if turn in _TURNS else 1
    except Exception:  # Pillow raises many kinds for broken EXIF, and looks at XMP only after it
        beside = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
        found = _XMP_ORIENTATION.search(beside.encode() if isinstance(beside, str) else beside)
        return int(found[1]) if found else 1


def _plain_orientation(exif: Any) -> int | None:
    """That of the first directory, read by itself: before release 13 Pillow loses it behind a tag that is broken."""
    if not isinstance(exif, bytes):
        return None
    data = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return None
    start = struct.unpack_from(f"{order}I", data, 4)[0]
    for i in range(struct.unpack_from(f"{order}H", data, start)[0]):
        tag, kind = struct.unpack_from(f"{order}HH", data, start + 2 + 12 * i)
        if tag == _ORIENTATION and kind == _SHORT_NUMBER:
            return int(struct.unpack_from(f"{order}H", data, start + 10 + 12 * i)[0])
    return None


def _is_signed(image: Image.Image) -> bool:
    """Whether these are the whole numbers -128..127 of a TIFF, which Pillow has no mode for."""
    return image.mode == "L" and getattr(image, "tag_v2", {}).get(_SAMPLES) == (2,)


def _grey(image: Image.Image) -> np.ndarray:
    """The values (H, W) of an image of floats, or of numbers of more than 8 bits, as the array that means the same."""
    values = np.asarray(image)
    if image.mode == "I":
        return values.astype(np.uint16) if image.format in ("PNG", "PPM") else values  # they have 16 bits, and no mode
    if _is_signed(image):
        return values.view(np.int8)
    if image.format == "FITS" and image.mode == "I;16":  # they are signed, which Pillow's mode is not
        return values.view(np.int16)
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16") and (bits := tags.get(_BITS, (16,))[0]) < 16:
        values = (values * (65535 / (2**bits - 1))).round().astype(np.uint16)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        return (1 if image.mode == "F" else 65535) - values
    return values


def _on_white(image: Image.Image) -> Image.Image:
    """An RGBA image without its alpha."""
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
