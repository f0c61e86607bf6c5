"""The demo's data: emoji in two drawing styles, scenes composed of them, and six tasks' rows.

    from ofasys.gallery import emoji

    rows = emoji.grounding("train")
    rows[0]                         # {"img": <PIL image>, "phrase": "dog", "box": [12, 30, 33, 52]}

`pack` loads the drawings, `scenes` composes them, `rows` gives each task its rows.
"""

from __future__ import annotations

from ofasys.gallery.emoji.pack import GROUPS, STYLES, Drawing, drawings, load
from ofasys.gallery.emoji.rows import caption, detection, grounded_caption, grounding, group, vqa
from ofasys.gallery.emoji.scenes import OBJECTS, Scene, compose
from ofasys.gallery.rows import Rows

__all__ = [
    "GROUPS",
    "OBJECTS",
    "STYLES",
    "Drawing",
    "Rows",
    "Scene",
    "caption",
    "compose",
    "detection",
    "drawings",
    "grounded_caption",
    "grounding",
    "group",
    "load",
    "vqa",
]
