"""Everything that holds a picture is read alike; everything else is a DataError that says what was expected."""

import base64
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from ofasys.errors import DataError
from ofasys.modality.shared.read_image import read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (23, 31, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def encoded(image, format="PNG", **more):
    file = io.BytesIO()
    image.save(file, format, **more)
    return file.getvalue()


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
        "pil": PICTURE,
        "pil, not loaded": Image.open(path),
        "array": PIXELS,
        "tensor": torch.from_numpy(PIXELS.copy()),
        "float array": PIXELS / 255,
        "float32 array": (PIXELS / 255).astype(np.float32),
        "int64 array": PIXELS.astype(np.int64),
        "uint16 array": PIXELS.astype(np.uint16) * 257,
        "array with opaque alpha": np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)]),
        "as datasets gives bytes": {"bytes": PNG, "path": None},
        "as datasets gives a path": {"bytes": None, "path": str(path)},
    }


FORMS = (
    "path", "pathlib", "bytes", "bytearray", "memoryview", "base64", "base64 in lines", "data url", "data url, upper case",
    "pil", "pil, not loaded", "array", "tensor", "float array", "float32 array", "int64 array", "uint16 array",
    "array with opaque alpha", "as datasets gives bytes", "as datasets gives a path",
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
        sixteen.convert("I"),
    ):
        np.testing.assert_array_equal(np.asarray(read_image(value))[0], expected)
    np.testing.assert_array_equal(np.asarray(read_image(np.array([[True, False]])))[0], [[255] * 3, [0] * 3])
    np.testing.assert_array_equal(np.asarray(read_image(Image.new("1", (1, 1), 1)))[0], [[255] * 3])


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
    "None": (None, "got NoneType"),
    "list": ([[1, 2], [3, 4]], "got list"),
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
