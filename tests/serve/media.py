"""Files of each kind, made up."""

import io
import wave

import numpy as np
from PIL import Image


def png(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def wav(seconds=0.3, rate=16000):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((8000 * np.sin(np.arange(int(seconds * rate)) / 9)).astype("<i2").tobytes())
    return buffer.getvalue()


def gif(frames):
    buffer = io.BytesIO()
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=100)
    return buffer.getvalue()
