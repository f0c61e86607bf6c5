"""Everything that holds a picture is read alike; everything else is a DataError that says what was expected."""

import base64
import io
import struct
import warnings
import zlib
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms

from ofasys.errors import DataError
from ofasys.modality.shared.read_image import image_size, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (23, 31, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def encoded(image, format="PNG", **more):
    file = io.BytesIO()
    image.save(file, format, **more)
    return file.getvalue()


class Foreign:
    """An array of a library that numpy has not heard of."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


class Lent:
    """An array that is lent by DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **more):
        return self.array.__dlpack__(**more)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


PNG = encoded(PICTURE)
BASE64 = base64.b64encode(PNG).decode()


def forms(folder):
    path = folder / "ein Bild.png"
    path.write_bytes(PNG)
    wrapped = "\n".join(BASE64[i : i + 76] for i in range(0, len(BASE64), 76))
    return {
        "path": str(path),
        "pathlib": path,
        "bytes": PNG,
        "bytearray": bytearray(PNG),
        "memoryview": memoryview(PNG),
        "base64": BASE64,
        "base64 in lines": wrapped,
        "data url": f"data:image/png;base64,{BASE64}",
        "data url, upper case": f"DATA:image/PNG;BASE64,{BASE64}",
        "base64, URL-safe": base64.urlsafe_b64encode(PNG).decode(),
        "base64 without padding": BASE64.rstrip("="),
        "data url with parameters": f"data:image/png;name=a.png;charset=utf-8;base64,{BASE64}",
        "data url, percent-encoded base64": f"data:image/png;base64,{quote(BASE64, safe='')}",
        "data url, not base64": f"data:image/png,{quote(PNG)}",
        "data url, URL-safe": f"data:;base64,{base64.urlsafe_b64encode(PNG).decode()}",
        "file address": path.as_uri(),
        "pil": PICTURE,
        "pil, not loaded": Image.open(path),
        "array": PIXELS,
        "tensor": torch.from_numpy(PIXELS.copy()),
        "float array": PIXELS / 255,
        "float32 array": (PIXELS / 255).astype(np.float32),
        "int64 array": PIXELS.astype(np.int64),
        "uint16 array": PIXELS.astype(np.uint16) * 257,
        "array with opaque alpha": np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)]),
        "list": PIXELS.tolist(),
        "tuples": tuple(tuple(map(tuple, row)) for row in PIXELS.tolist()),
        "list of floats": (PIXELS / 255).tolist(),
        "list of arrays": list(PIXELS),
        "list of tensors": list(torch.from_numpy(PIXELS.copy())),
        "tensor with a gradient": torch.from_numpy((PIXELS / 255).astype(np.float32)).requires_grad_(),
        "tensor of another order": torch.from_numpy(PIXELS.transpose(2, 0, 1).copy()).permute(1, 2, 0),
        "sparse tensor": torch.from_numpy(PIXELS / 255).to_sparse(),
        "big-endian": PIXELS.astype(">u2") * 257,
        "big-endian floats": (PIXELS / 255).astype(">f4"),
        "backwards": PIXELS[::-1, ::-1].copy()[::-1, ::-1],
        "read-only": np.frombuffer(PIXELS.tobytes(), np.uint8).reshape(PIXELS.shape),
        "Arrow tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(np.stack([PIXELS, PIXELS]))[0],
        "Arrow list": pa.array([PIXELS.tolist()], pa.list_(pa.list_(pa.list_(pa.uint8()))))[0],
        "of another library": Foreign(PIXELS),
        "DLPack": Lent(PIXELS.copy()),
        "as datasets gives bytes": {"bytes": PNG, "path": None},
        "as datasets gives a path": {"bytes": None, "path": str(path)},
    }


FORMS = (
    "path", "pathlib", "bytes", "bytearray", "memoryview", "base64", "base64 in lines", "base64, URL-safe",
    "base64 without padding", "data url", "data url, upper case", "data url with parameters", "data url, URL-safe",
    "data url, percent-encoded base64", "data url, not base64", "file address", "pil", "pil, not loaded", "array",
    "tensor", "float array", "float32 array", "int64 array", "uint16 array", "array with opaque alpha", "list",
    "tuples", "list of floats", "list of arrays", "list of tensors", "tensor with a gradient",
    "tensor of another order", "sparse tensor", "big-endian", "big-endian floats", "backwards", "read-only",
    "Arrow tensor", "Arrow list", "of another library", "DLPack", "as datasets gives bytes",
    "as datasets gives a path",
)  # fmt: skip


def test_all_forms_are_tested(tmp_path):
    assert set(forms(tmp_path)) == set(FORMS)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pixels(form, tmp_path):
    image = read_image(forms(tmp_path)[form])
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), PIXELS)


def test_a_relative_path_starts_at_the_root(tmp_path):
    (tmp_path / "cat.png").write_bytes(PNG)
    assert read_image("cat.png", str(tmp_path)).size == (31, 23)
    with pytest.raises(DataError, match=r"no file 'cat\.png'"):
        read_image("cat.png")


def test_jpeg_is_close():
    image = Image.fromarray(np.full((16, 16, 3), (200, 30, 90), np.uint8))
    assert np.abs(np.asarray(read_image(encoded(image, "JPEG"))).astype(int) - (200, 30, 90)).max() < 8


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_rotation_is_applied(turn):
    upright = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40).convert("RGB")
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[turn]) if turn in undo else upright
    exif = Image.Exif()
    exif[0x0112] = turn
    read = read_image(encoded(stored, "PNG", exif=exif))
    assert read.size == (3, 2)
    np.testing.assert_array_equal(np.asarray(read), np.asarray(upright))


def exif_of(*entries, more=b""):
    """EXIF with these entries (tag, type, count, four bytes) in its first directory."""
    listed = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + listed + bytes(4) + more


TURNED = (0x0112, 3, 1, b"\x06\0\0\0")
EXIF = {
    "sound": (exif_of(TURNED), True),
    "no header": (b"\x00\x08\x00\x02\x01\x12\x00\x03", False),
    "another header": (b"XX" + exif_of(TURNED)[2:], False),
    "nothing after the header": (b"II*\0\x08\0\0\0", False),
    "artist is a fraction over 0": (exif_of(TURNED, (0x3B, 5, 1, b"\x26\0\0\0"), more=bytes(8)), True),
    "description is NaN": (exif_of((0x10E, 11, 1, struct.pack("<f", np.nan)), TURNED), True),
    "description lies outside": (exif_of((0x10E, 2, 4000, struct.pack("<I", 99999)), TURNED), True),
    "a kind that is none": (exif_of((0x10E, 77, 1, bytes(4)), TURNED), True),
    "resolution is a text": (exif_of(TURNED, (0x11A, 2, 3, b"72\0\0"), (0x128, 2, 1, b"2\0\0\0")), True),
    "a directory lies outside": (exif_of(TURNED, (0x8769, 4, 1, struct.pack("<I", 99999))), True),
    "a directory holds itself": (exif_of(TURNED, (0x8769, 4, 1, struct.pack("<I", 8))), True),
    "a directory is a fraction": (exif_of(TURNED, (0x8825, 5, 1, b"\x26\0\0\0"), more=bytes(8)), True),
    "more entries promised": (exif_of(TURNED).replace(b"\x01\0", b"\x32\0", 1), True),
    "cut short": (exif_of(TURNED)[:18], False),
    "turned by 9": (exif_of((0x0112, 3, 1, b"\x09\0\0\0")), False),
    "turned by a text": (exif_of((0x0112, 2, 2, b"6\0\0\0")), False),
}


@pytest.mark.parametrize("kind", EXIF)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_broken_exif_beside_sound_pixels(form, kind, tmp_path):
    """The picture as stored; turned where its orientation can be read. Its size is known by the header."""
    exif, turned = EXIF[kind]
    stored = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).convert("RGB")
    if form == "TIFF":
        if exif[:2] != b"II" or kind in ("nothing after the header", "more entries promised", "cut short"):
            pytest.skip("a TIFF is read by the directory that is broken here")
        data = tiff_with(exif)
        stored = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).convert("RGB")
    else:
        more = {"quality": 100, "subsampling": 0} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
        data = encoded(stored, form, exif=b"Exif\0\0" + exif if form == "JPEG" else exif, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_image(data)
    expected = stored.transpose(Image.Transpose.ROTATE_270) if turned else stored
    (tmp_path / "picture").write_bytes(data)
    assert image_size(tmp_path / "picture") == read.size == expected.size
    assert np.abs(np.asarray(read).astype(int) - np.asarray(expected)).max() <= (3 if form == "JPEG" else 0)


def tiff_with(exif):
    """A TIFF of 8 x 6 grey pixels, whose directory has these entries besides."""
    count = struct.unpack("<H", exif[8:10])[0]
    given = [exif[10 + 12 * i : 22 + 12 * i] for i in range(count)]
    place = 10 + 12 * (count + 9) + 4
    own = [(256, 8), (257, 6), (258, 8), (259, 1), (262, 1), (273, place), (277, 1), (278, 6), (279, 48)]
    entries = sorted(
        [*given, *(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in own)], key=lambda e: e[1::-1]
    )
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", len(entries))
        + b"".join(entries)
        + bytes(4)
        + bytes(range(48))
        + bytes(99)
    )


def test_broken_exif_beside_the_orientation_of_xmp():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = encoded(Image.new("RGB", (8, 6)), "WEBP", exif=b"no EXIF at all", xmp=xmp)
    assert read_image(data).size == (6, 8)


@pytest.mark.parametrize("most", [1, 2, 40, 300])
def test_base64_of_any_length(most):
    """From 35 bytes on, in both alphabets, with and without padding and line breaks."""
    picture = Image.fromarray(np.random.default_rng(most).integers(0, 256, (1, most), dtype=np.uint8))
    for data in (encoded(picture, "GIF"), encoded(picture), encoded(picture, "PPM"), encoded(picture, "BMP")):
        for text in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
            lines = "\r\n".join(text[i : i + 20] for i in range(0, len(text), 20))
            for written in (text, text.rstrip("="), f" {text}\n", lines):
                np.testing.assert_array_equal(np.asarray(read_image(written))[..., 0], np.asarray(picture))


def test_a_file_comes_before_base64(tmp_path):
    """A name may be in the letters of base64; what lies there is read."""
    text = base64.b64encode(encoded(Image.new("P", (1, 1)), "GIF")).decode().replace("/", "_").rstrip("=")
    (tmp_path / text).write_bytes(PNG)
    assert read_image(text, tmp_path).size == (31, 23)
    assert read_image(text).size == (1, 1)


def test_alpha_lies_on_white():
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0], pixels[0, :, 3] = 200, (0, 255, 51)
    expected = [[255, 255, 255], [200, 0, 0], [244, 204, 204]]
    np.testing.assert_array_equal(np.asarray(read_image(pixels))[0], expected)
    np.testing.assert_array_equal(np.asarray(read_image(encoded(Image.fromarray(pixels))))[0], expected)


def test_grey_with_alpha_and_palette_with_transparency():
    grey = Image.fromarray(np.array([[10, 10]], np.uint8)).convert("LA")
    grey.putalpha(Image.fromarray(np.array([[255, 0]], np.uint8)))
    np.testing.assert_array_equal(np.asarray(read_image(encoded(grey)))[0], [[10] * 3, [255] * 3])
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 255, 255, 0, 0])
    palette.putdata([0, 1])
    plain = [[0, 0, 255], [255, 0, 0]]
    np.testing.assert_array_equal(np.asarray(read_image(encoded(palette)))[0], plain)
    clear = read_image(encoded(palette, transparency=0))
    np.testing.assert_array_equal(np.asarray(clear)[0], [[255] * 3, [255, 0, 0]])
    np.testing.assert_array_equal(np.asarray(read_image(encoded(palette, "GIF")))[0], plain)


def test_grey_of_every_depth():
    ramp = np.array([[0, 128, 255]], np.uint8)
    expected = np.repeat(ramp[0][:, None], 3, 1)
    sixteen = Image.fromarray(ramp.astype(np.uint16) * 257)
    for value in (
        ramp,
        ramp[..., None],
        Image.fromarray(ramp),
        encoded(sixteen),
        encoded(sixteen, "TIFF"),
        encoded(sixteen, "PPM"),
        Image.fromarray(ramp).convert("I"),
        Image.fromarray((ramp / 255).astype(np.float32)),
        encoded(Image.fromarray((ramp / 255).astype(np.float32)), "TIFF"),
        encoded(Image.fromarray((ramp / 255).astype(np.float32)), "PPM"),
    ):
        np.testing.assert_array_equal(np.asarray(read_image(value))[0], expected)
    np.testing.assert_array_equal(np.asarray(read_image(np.array([[True, False]])))[0], [[255] * 3, [0] * 3])
    np.testing.assert_array_equal(np.asarray(read_image(Image.new("1", (1, 1), 1)))[0], [[255] * 3])


WIDE = np.random.default_rng(1).integers(0, 65536, (9, 7, 4), dtype=np.uint16)
DARK = WIDE % 200


def wide_png(array, clear=b""):
    """A PNG of 16 bits a channel, which Pillow writes of grey only."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[1 if array.ndim == 2 else array.shape[2]]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, colour, 0, 0, 0))
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in array)
    middle = (chunk(b"tRNS", clear) if clear else b"") + chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + header + middle + chunk(b"IEND", b"")


def pnm(array):
    head = f"P{5 if array.ndim == 2 else 6} {array.shape[1]} {array.shape[0]} 65535\n"
    return head.encode() + array.astype(">u2").tobytes()


def tiff(array, **more):
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(
        file, array, photometric=more.pop("photometric", "rgb" if array.ndim == 3 else "minisblack"), **more
    )
    return file.getvalue()


@pytest.mark.parametrize(
    "array",
    [WIDE, WIDE[..., :3], WIDE[..., 0], DARK[..., :3], DARK[..., 0]],
    ids=["RGBA", "RGB", "grey", "dark RGB", "dark grey"],
)
def test_sixteen_bits_are_read_as_the_same_array(array):
    expected = np.asarray(read_image(array))
    alpha = {"extrasamples": ["unassalpha"]} if array.shape[-1] == 4 else {}
    files = [
        wide_png(array),
        *(tiff(array, **alpha, **more) for more in ({}, {"byteorder": ">"}, {"compression": "zlib"})),
    ]
    for data in files if alpha else [*files, pnm(array)]:
        np.testing.assert_array_equal(np.asarray(read_image(data)), expected)


def test_grey_with_alpha_of_sixteen_bits_is_read_as_the_same_array():
    expected = read_image(WIDE[..., [0, 0, 0, 3]])
    np.testing.assert_array_equal(np.asarray(read_image(wide_png(WIDE[..., [0, 3]]))), np.asarray(expected))


def test_planes_apart_are_right_or_refused():
    planes = np.moveaxis(WIDE[..., :3], -1, 0).copy()
    apart = {"photometric": "rgb", "planarconfig": "separate"}
    read = np.asarray(read_image(tiff(planes, compression="zlib", **apart))).astype(int)
    assert np.abs(read - np.asarray(read_image(WIDE[..., :3]))).max() <= 1
    eight = (planes >> 8).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(read_image(tiff(eight, **apart))), np.moveaxis(eight, 0, -1))
    with pytest.raises(DataError, match=r"16 bits in separate planes.*expected planes together"):
        read_image(tiff(planes, **apart))  # Pillow 13 takes the bytes of each plane for its pixels


def test_a_tiff_whose_white_is_zero():
    grey, eight = WIDE[..., 0], (WIDE[..., 0] >> 8).astype(np.uint8)
    for array, meant in ((grey, 65535 - grey), (eight, 255 - eight), (eight / np.float32(255), 1 - eight / 255)):
        read = np.asarray(read_image(tiff(array, photometric="miniswhite")))
        np.testing.assert_array_equal(read, np.asarray(read_image(meant)))


def test_twelve_bits_are_scaled_to_eight():
    values = np.array([[0, 2048, 4095, 1024]])
    packed = np.packbits((values[0][:, None] >> np.arange(11, -1, -1) & 1).astype(np.uint8).reshape(-1)).tobytes()
    short = lambda tag, value: struct.pack("<HHIHH", tag, 3, 1, value, 0)  # noqa: E731
    entries = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 122), (277, 1), (278, 1), (279, 6)]
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", 9) + b"".join(short(*entry) for entry in entries) + bytes(4) + packed
    np.testing.assert_array_equal(np.asarray(read_image(data))[0, :, 0], (values[0] / 4095 * 255).round())


def test_one_colour_of_sixteen_bits_is_transparent():
    for array in (WIDE[..., :3], WIDE[..., 0]):
        read = np.asarray(read_image(wide_png(array, np.atleast_1d(array[2, 3]).astype(">u2").tobytes())))
        expected = np.asarray(read_image(array)).copy()
        expected[(array == array[2, 3]).reshape(9, 7, -1).all(2)] = 255
        np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("kind", ["int8", "int16", "uint32", "int32"])
def test_whole_numbers_of_a_tiff(kind):
    values = np.arange(120).reshape(10, 12)
    np.testing.assert_array_equal(np.asarray(read_image(tiff(values.astype(kind)))), np.asarray(read_image(values)))
    with pytest.raises(DataError, match=r"outside 0\.\.255"):
        read_image(tiff((values - 60).astype(kind) if kind != "uint32" else (values * 300).astype(kind)))


@pytest.mark.parametrize("kind", ["int16", "int32", "float32"])
def test_numbers_of_fits_are_signed(kind):
    """Lines from below; whole numbers beside 0..255, and floats beside 0..1, are refused."""

    def fits(values):
        bits = -32 if kind == "float32" else 8 * values.itemsize
        cards = {"SIMPLE": "T", "BITPIX": bits, "NAXIS": 2, "NAXIS1": values.shape[1], "NAXIS2": values.shape[0]}
        head = "".join(f"{name:8}= {value:>20}".ljust(80) for name, value in cards.items()) + "END".ljust(80)
        data = values[::-1].astype(values.dtype.newbyteorder(">")).tobytes()
        return head.ljust(2880).encode() + data.ljust(2880, b"\0")

    values = (np.arange(12).reshape(3, 4) / (11 if kind == "float32" else 1)).astype(kind)
    np.testing.assert_array_equal(np.asarray(read_image(fits(values))), np.asarray(read_image(values)))
    for wrong in (values - values.dtype.type(5), values * values.dtype.type(100)):
        with pytest.raises(DataError, match=r"values outside 0\.\."):
            read_image(fits(wrong))


def test_modes_of_pillow():
    """Every mode means the colours that Pillow itself gives for it, with alpha on white."""
    alpha = Image.fromarray((WIDE >> 8).astype(np.uint8))
    plain = alpha.convert("RGB")
    for mode in ("HSV", "YCbCr", "CMYK", "RGBX", "P", "L", "1"):
        image = plain.convert(mode)
        np.testing.assert_array_equal(np.asarray(read_image(image)), np.asarray(image.convert("RGB")))
    lab = ImageCms.profileToProfile(
        plain, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    np.testing.assert_array_equal(np.asarray(read_image(lab)), np.asarray(lab.convert("RGB")))
    for mode, through in (("RGBA", "RGBA"), ("RGBa", "RGBA"), ("LA", "LA"), ("La", "LA"), ("PA", "PA")):
        values = np.asarray(alpha.convert(through).convert("RGBA")).astype(float)
        share = values[..., 3:] / 255
        image = alpha.convert(through).convert(mode)
        expected = values[..., :3] * share + 255 * (1 - share)
        assert np.abs(np.asarray(read_image(image)) - expected).max() <= 2


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, (3, 4, 3), elements=st.floats(0, 1, width=16)))
def test_floats_of_any_width_give_the_same_pixels(array):
    """float16, float32, float64, bfloat16 and lists of the same numbers."""
    expected = np.asarray(read_image(array))
    narrow = torch.from_numpy(array).bfloat16()
    for value in (array.astype(np.float16), array.astype(np.float64), array.tolist(), torch.from_numpy(array).half()):
        np.testing.assert_array_equal(np.asarray(read_image(value)), expected)
    np.testing.assert_array_equal(np.asarray(read_image(narrow)), np.asarray(read_image(narrow.float().numpy())))


def test_cmyk_is_converted():
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    for value in (cmyk, encoded(cmyk, "JPEG", quality=95), encoded(cmyk, "TIFF")):
        assert np.abs(np.asarray(read_image(value))[4, 4].astype(int) - (255, 0, 0)).max() < 12


# --- what is no picture ----------------------------------------------------------------------------------------------


def png_of(width, height):
    """A PNG that claims to be of this size, with next to no data."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


BAD = {
    "truncated": (PNG[: len(PNG) // 2], "no picture that can be read"),
    "truncated jpeg": (encoded(PICTURE, "JPEG")[:-300], "no picture that can be read"),
    "not a picture": (b"this is text" * 20, "no picture that can be read"),
    "no bytes": (b"", "no picture that can be read"),
    "base64 of text": (base64.b64encode(b"this is text" * 20).decode(), "no picture that can be read"),
    "data url of nothing": ("data:image/png;base64,", "no picture that can be read"),
    "no such file": ("nowhere/cat.png", "no file 'nowhere/cat.png'"),
    "a folder": (".", "no file '.'"),
    "an empty name": ("", "no file"),
    "a very long name": ("x/" + "a.b" * 2000, "no file"),
    "a NUL in the name": ("cat\0.png", "no file"),
    "number": (7, "got int '7'"),
    "a number of 5,000 digits": ([[10**5000, 1]], "got list; expected one picture"),
    "None": (None, "got NoneType"),
    "list": ([1, 2], r"shape \(2,\)"),
    "list of names": (["a.png", "b.png"], "got list .*one picture"),
    "list with nothing": ([[1, None], [3, 4]], "got list"),
    "ragged list": ([[1, 2], [3]], "lists that differ in length"),
    "list of unlike arrays": ([np.zeros((2, 3)), np.zeros((3, 3))], "arrays of shapes"),
    "tensor on no device": (torch.zeros(4, 4, 3, device="meta"), "'meta', which holds no values"),
    "masked array": (np.ma.masked_equal(np.arange(4.0).reshape(2, 2) / 4, 0.5), "masked"),
    "array that fails": (Foreign("not an array at all"), "shape"),
    "uint16 as int": (PIXELS.astype(int) * 257, "outside 0..255; expected .*uint16"),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(99), "no kind of picture that Pillow reads here; for HEIC register"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "draw it to .png first"),
    "address": ("https://example.com/cat.png", "not fetched"),
    "file address of nothing": ("file:///nowhere/cat.png", "no file 'file:///nowhere/cat.png'"),
    "short name": ("cat", "no file 'cat'"),
    "name in the letters of base64": ("images/train/cat_0001", "no file 'images/train/cat_0001'"),
    "name that begins as a picture does": ("CgAbcd", "no file 'CgAbcd'"),
    "long name": ("images/" * 12, "no file 'images/images"),
    "torn base64": (BASE64[:200], "hold no picture that can be read"),
    "torn data url": (f"data:image/png;base64,{BASE64[:200]}", "no picture that can be read"),
    "data url of letters that are none": ("data:image/png;base64,ä!?", "not base64"),
    "data url of text": ("data:text/plain,hello", "no picture that can be read"),
    "float image to 255": (Image.fromarray(PIXELS[..., 0].astype(np.float32)), "floats in 0..1, or uint8"),
    "float image of NaN": (Image.fromarray(np.full((2, 2), np.nan, np.float32)), "outside 0..1 or NaN"),
    "32-bit image": (Image.fromarray(PIXELS[..., 0].astype(np.int32) * 257), "outside 0..255"),
    "dict of nothing": ({"bytes": None, "path": None}, "got NoneType"),
    "bomb": (png_of(100_000, 100_000), "at most 100,000,000 pixels"),
    "smaller bomb": (png_of(10_000, 10_001), "100|pixels"),
    "10^9 pixels": (np.broadcast_to(np.uint8(0), (100_000, 10_000)), "100,000,000 pixels"),
    "0 pixels": (np.zeros((0, 5, 3), np.uint8), "the image is 5 x 0 pixels; expected at least one pixel"),
    "0 pixels, PIL": (Image.new("RGB", (0, 4)), "the image is 0 x 4 pixels"),
    "NaN": (np.full((2, 2), np.nan), "outside 0..1 or NaN"),
    "infinite": (np.full((2, 2), np.inf), "outside 0..1 or NaN"),
    "floats to 255": (PIXELS.astype(np.float32), "floats in 0..1, or uint8"),
    "negative": (np.full((2, 2), -1), "outside 0..255"),
    "too large": (np.full((2, 2), 256), "outside 0..255"),
    "channels first": (np.zeros((3, 8, 8), np.uint8), "move the channels last"),
    "two channels": (np.zeros((8, 8, 2), np.uint8), r"shape \(8, 8, 2\)"),
    "one axis": (np.zeros(8, np.uint8), r"shape \(8,\)"),
    "a batch": (np.zeros((1, 8, 8, 3), np.uint8), r"shape \(1, 8, 8, 3\)"),
    "array of str": (np.full((2, 2), "x"), "got an array of <U1"),
    "array of objects": (np.full((2, 2), None, object), "got an array of object"),
    "complex": (np.zeros((2, 2), complex), "got an array of complex128"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_picture(kind):
    value, says = BAD[kind]
    with pytest.raises(DataError, match=says) as error:
        read_image(value)
    assert "expected" in str(error.value)


def test_a_pil_image_that_breaks_when_it_is_loaded(tmp_path):
    (tmp_path / "half.png").write_bytes(PNG[: len(PNG) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        read_image(Image.open(tmp_path / "half.png"))
