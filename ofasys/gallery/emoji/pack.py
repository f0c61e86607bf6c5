"""The packed drawings, as records.

What a training row may show, in any task: drawings whose `caption_split` is "train", and no others. The rest are kept
for two questions. Can the name be said of a style in which this emoji was never seen (`caption_split` "valid", "test":
the emoji's other style is in training)? Can the group be said of an emoji never seen in any style (`emoji_split`
"valid", "test": all its drawings have `caption_split` "none")? Emoji that look alike by construction (the man, woman
and person of one profession; a drawing and its mirror image) are in the same `emoji_split`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources

from PIL import Image

STYLES = ("noto", "fluent")
GROUPS = (
    "smileys & emotion",
    "people & body",
    "animals & nature",
    "food & drink",
    "travel & places",
    "activities",
    "objects",
    "symbols",
    "flags",
)
SIDE = 64  # pixels, of every packed drawing


@dataclass(frozen=True)
class Drawing:
    """One emoji in one style. Two drawings are equal when emoji and style are."""

    hexcode: str
    """Its code points, in hexadecimal, joined by hyphens."""
    style: str
    emoji: str = field(compare=False)
    name: str = field(compare=False)
    keywords: tuple[str, ...] = field(compare=False)
    """Words it is found by."""
    group: str = field(compare=False)
    """As Unicode has it: smileys & emotion, ..."""
    subgroup: str = field(compare=False)
    """As Unicode has it: face-smiling, ..."""
    caption_split: str = field(compare=False)
    """train, valid, test or none: where its name may be asked for."""
    emoji_split: str = field(compare=False)
    """train, valid or test: of all drawings of this emoji."""
    encoded: bytes = field(compare=False, repr=False)
    """Lossless WebP, 64x64, with alpha."""

    @cached_property
    def image(self) -> Image.Image:
        """RGBA, 64x64, decoded on first use and shared by all callers: copy it before changing it."""
        with Image.open(io.BytesIO(self.encoded)) as opened:
            return opened.convert("RGBA")


@cache
def load() -> tuple[Drawing, ...]:
    """All drawings, in Unicode order of the emoji, one style after the other. Read once per process."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = resources.files(__package__).joinpath("emoji.parquet").read_bytes()
    table = pq.read_table(pa.BufferReader(data))
    rows = table.rename_columns([{"image": "encoded"}.get(name, name) for name in table.column_names]).to_pylist()
    return tuple(Drawing(**{**row, "keywords": tuple(row["keywords"])}) for row in rows)


@cache
def drawings(
    *, caption_split: str | None = None, emoji_split: str | None = None, style: str | None = None
) -> tuple[Drawing, ...]:
    """The drawings with these values, in the order of `load()`."""
    return tuple(
        drawing
        for drawing in load()
        if caption_split in (None, drawing.caption_split)
        and emoji_split in (None, drawing.emoji_split)
        and style in (None, drawing.style)
    )
