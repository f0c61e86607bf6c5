"""Pieces of a report that need no file beside it: sounds to play, pictures, moving pictures, tables."""

from __future__ import annotations

import base64
import html
import io
import wave
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

SHOWN = 8  # samples of a task that are shown
WIDE = 200  # pixels, the longer side of a picture among others
LARGEST = 8  # times that a small picture is enlarged


def spread(count: int, most: int = SHOWN) -> list[int]:
    """The numbers of at most `most` of `count` samples, evenly spread."""
    most = min(most, count)
    return [i * count // most for i in range(most)]


def text(value: Any) -> str:
    """A value as HTML text, in which no mark is HTML's."""
    return html.escape(", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))


def data_url(kind: str, data: bytes) -> str:
    """A file as an address of itself."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def sound(samples: np.ndarray, rate: int) -> str:
    """A player of samples (n,) in -1..1: 16-bit wav within the page."""
    whole = np.round(np.clip(np.asarray(samples, dtype=np.float64), -1, 1) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(whole.tobytes())
    return f"<audio controls src='{data_url('audio/wav', buffer.getvalue())}'></audio>"


def picture(image: Image.Image, side: int) -> str:
    """A picture, `side` pixels wide."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return _image("image/png", buffer.getvalue(), image.width, side)


def scale_of(image: Image.Image) -> float:
    """How many times its size a picture is shown, so that it is about WIDE pixels: a whole number if it is enlarged."""
    longest = max(image.size)
    return WIDE / longest if longest > WIDE else float(min(LARGEST, WIDE // longest))


def shrunk(image: Image.Image) -> Image.Image:
    """A picture of at most WIDE pixels a side; a smaller one as it is."""
    scale = scale_of(image)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def shown_width(image: Image.Image) -> int:
    """Pixels that a picture, once `shrunk`, is wide on the page."""
    return max(1, round(image.width * max(1.0, scale_of(image))))


def thumbnail(image: Image.Image) -> str:
    """A picture of about WIDE pixels."""
    small = shrunk(image)
    return picture(small, shown_width(small))


def film(frames: Sequence[Image.Image], seconds: float, side: int, colours: int = 64) -> str:
    """A moving picture, `side` pixels wide, that begins anew: frames of one size, each shown so many seconds."""
    flat = [frame.convert("RGB").quantize(colours, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    wait = max(20, round(100 * seconds) * 10)  # browsers count hundredths, and at least two
    flat[0].save(
        buffer, "GIF", save_all=True, append_images=flat[1:], duration=wait, loop=0, disposal=1, optimize=False
    )
    return _image("image/gif", buffer.getvalue(), frames[0].width, side)


def _image(kind: str, data: bytes, width: int, side: int) -> str:
    """Enlarged, pixels stay squares."""
    drawn = " class='pixels'" if side > width else ""
    return f"<img alt='' width='{side}'{drawn} src='{data_url(kind, data)}'>"


def table(head: Sequence[Any], rows: Sequence[Sequence[Any]], kind: str = "data") -> str:
    """A table of texts. kind: its class."""
    line = "".join(f"<th>{text(cell)}</th>" for cell in head)
    lines = [f"<tr>{line}</tr>"] if head else []
    lines += [f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table class='{kind}'>{''.join(lines)}</table>"


def verdict(answer: Any, truth: Any, same: bool | None = None) -> str:
    """The answer in green if it is the truth; else in red, and the truth below. same: whether it is; None: if equal."""
    if answer == truth if same is None else same:
        return f"<span class='right'>{text(answer)}</span>"
    return (
        f"<span class='wrong'>{text(answer) or '(nothing)'}</span><br><span class='muted'>truth: {text(truth)}</span>"
    )


def card(*parts: str, kind: str = "") -> str:
    """Parts below each other in a box. kind: "pair" and "wide" are wider ones."""
    return f"<div class='card {kind}'>{'<br>'.join(parts)}</div>"


def row(cards: Sequence[str]) -> str:
    """Cards beside each other."""
    return f"<div class='row'>{''.join(cards)}</div>"
