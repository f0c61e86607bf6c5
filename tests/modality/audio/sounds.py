"""Made-up sounds, and sounds in files. `from tests.modality.audio.sounds import tone`."""

import io
from pathlib import Path

import numpy as np

DIGITS = Path(__file__).parent / "data"
OPTIONS = {
    "rate": 16000,
    "window": 25.0,
    "hop": 10.0,
    "mels": 80,
    "fmin": 0.0,
    "fmax": None,
    "seconds": 60.0,
    "max_length": None,
}
SOURCE = OPTIONS | {
    "normalise": "utterance",
    "time_masks": 2,
    "time_mask": 40,
    "time_share": 0.1,
    "band_masks": 2,
    "band_mask": 16,
}
TARGET = OPTIONS | {"reduction": 2, "vocoder": "griffin_lim", "vocoder_steps": 30}


def tone(seconds=0.5, hz=440.0, rate=16000, loud=0.5):
    t = np.arange(round(seconds * rate)) / rate
    return (loud * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def chirp(seconds=0.5, low=200.0, high=3000.0, rate=16000):
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (low * t + (high - low) * t * t / (2 * seconds)))).astype(np.float32)


def encoded(samples, rate=16000, format="WAV", subtype=None):
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def through_av(samples, rate, format, codec):
    """Bytes as FFmpeg writes them."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples[None] * 32767).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def pitch(audio):
    """The loudest frequency, in Hz."""
    return (
        np.abs(np.fft.rfft(audio.samples * np.hanning(len(audio.samples)))).argmax() * audio.rate / len(audio.samples)
    )
