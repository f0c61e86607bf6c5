"""What an emoji is called, in four styles of drawing: three to learn from, and one that is never seen in training."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from PIL import Image

from ofasys.errors import DataError
from ofasys.gallery.data import Archive
from ofasys.gallery.tasks.split import part
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

SIDE = 64  # pixels
PACKAGE = "@iconify-json/"
STYLES = ("noto", "fluent-emoji-flat", "twemoji", "openmoji")
HELD_OUT = "openmoji"
PARTLY = "twemoji"  # the style in which a twentieth of the emoji are valid rows, and not in training
COMPONENT = 2  # the group of what is no emoji by itself


def emoji(labels: bytes) -> Iterator[tuple[str, str]]:
    """(code points, name) of each emoji: no flags' letters, no parts, and of one in several skin colours the plain."""
    for one in json.loads(labels):
        if one.get("group", COMPONENT) != COMPONENT:
            yield "-".join(code for code in one["hexcode"].lower().split("-") if code != "fe0f"), one["label"]


def renderer(archive: Archive) -> Callable[[str], bytes | None]:
    """Code points -> a PNG of the drawing on white, (SIDE, SIDE) in colour; None for one that the set lacks."""
    drawer = drawings(archive)

    def render(codes: str) -> bytes | None:
        return None if (drawn := drawer(codes)) is None else _on_white(drawn)

    return render


def drawings(archive: Archive) -> Callable[[str], Image.Image | None]:
    """Code points -> the drawing, (SIDE, SIDE) with alpha; None for one that the set lacks."""
    import resvg_py

    files = dict(archive.files("package/icons.json", "package/chars.json"))
    icons, names = json.loads(files["package/icons.json"]), json.loads(files["package/chars.json"])

    def draw(codes: str) -> Image.Image | None:
        if (name := names.get(codes)) is None:
            return None
        icon, mirrored = _icon(icons, name)
        width, height = (icon.get(side, icons.get(side)) or icons["height"] for side in ("width", "height"))
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{SIDE}" height="{SIDE}" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        )
        drawn = Image.open(io.BytesIO(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True))).convert("RGBA")
        return drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else drawn

    return draw


def _icon(icons: dict[str, Any], name: str) -> tuple[dict[str, Any], bool]:
    """The icon that a name stands for, and whether it is mirrored. Errors: DataError for another kind of alias."""
    mirrored = False
    while name not in icons["icons"]:
        alias = icons["aliases"][name]
        if not set(alias) <= {"parent", "hFlip"}:
            raise DataError(f"the icon {name!r} is {sorted(alias)} of another", expected="a parent, mirrored or not")
        mirrored ^= alias.get("hFlip", False)
        name = alias["parent"]
    return icons["icons"][name], mirrored


def _on_white(drawn: Image.Image) -> bytes:
    canvas = Image.new("RGB", drawn.size, "white")
    canvas.paste(drawn, (0, 0), drawn)
    file = io.BytesIO()
    canvas.save(file, "png")
    return file.getvalue()


def drawn(data: Data, styles: Iterable[str]) -> Iterator[tuple[str, str, bytes]]:
    """(name, style, PNG) of each emoji that all of these styles draw, style by style."""
    draw = {style: renderer(data.archive(PACKAGE + style)) for style in styles}
    for codes, name in emoji(data.archive("emojibase-data").read("package/en/data.json")):
        found = {style: img for style, render in draw.items() if (img := render(codes)) is not None}
        if len(found) == len(draw):
            yield from ((name, style, img) for style, img in found.items())


def make(data: Data) -> Splits:
    """Emoji that all styles draw."""
    rows: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for name, style, img in drawn(data, STYLES):
        valid = style == PARTLY and part(name) == "valid"
        split = "test" if style == HELD_OUT else "valid" if valid else "train"
        rows[split].append({"img": img, "cap": name, "style": style})
    return rows


TASK = GalleryTask(
    "captions",
    "what an emoji is called, in a style that was never seen",
    (
        "[IMAGE:img,size=64] what does the image show? -> [TEXT:cap]",
        "name the emoji [IMAGE:img,size=64] -> [TEXT:cap]",
        "what is on [IMAGE:img,size=64]? -> [TEXT:cap]",
    ),
    "cider",
    (*(PACKAGE + style for style in STYLES), "emojibase-data"),
    "The emoji that all of Noto, Fluent, Twemoji and OpenMoji draw, and their English names. Test rows are the "
    "drawings of OpenMoji, a style that is not in training, while each name is; valid rows are a twentieth of those of "
    "Twemoji, by name, which are not in training either.",
    make,
    (4692, 90, 1594),
    "c90e2c92c12591e8",
    Figure(0.0345, "always 'grinning face'"),
    Figure(1.1509, "the nearest drawing by HOG and colour"),
    settings={"micro_batch_size": 32, "generate": {"max_length": 24}},
    needs={"resvg_py": "gallery"},
)
