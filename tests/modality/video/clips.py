"""Clips made in a test: each frame is grey, its number times STEP."""

import io

import av
import numpy as np
from PIL import Image

STEP = 8


def grey(number, width=32, height=24):
    return np.full((height, width, 3), number * STEP % 256, np.uint8)


def film(path, frames=30, rate=10, codec="libx264", size=(32, 24), group=12, shown=None, bframes=None):
    """Write a film. shown: when each frame is shown, in frames; default: evenly. bframes: most between two others."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if bframes is not None:
            stream.codec_context.options = {"bf": str(bframes)}
        stream.codec_context.gop_size = group
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(grey(number, *size), "rgb24")
            frame.pts = number if shown is None else shown[number]
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def animation(kind, frames=10, stands=100, size=(32, 24)):
    """Bytes of an animated picture. stands: ms each frame stands, or a list."""
    images = [Image.fromarray(grey(i + 1, *size)) for i in range(frames)]
    file = io.BytesIO()
    more = {"lossless": True} if kind == "WEBP" else {}
    images[0].save(file, kind, save_all=True, append_images=images[1:], duration=stands, loop=0, **more)
    return file.getvalue()


def numbers(images):
    """Which frames these are."""
    return [round(number) for number in shades(images)]


def shades(images):
    """Which frames these are, as near as their encoding kept it."""
    return [float(np.asarray(image).mean() / STEP) for image in images]
