"""AUDIO: sound, given as a file in any usual format, or as an array with its rate. It is read as log-mel frames, and
made of them.
"""

from __future__ import annotations

from ofasys.modality.audio.options import AudioOptions, FbankOptions, FramesOptions
from ofasys.modality.modality import Defaults, Modality, Options, Part
from ofasys.types import Continuous

GUESS = 5.0  # seconds, where nothing is known


def _check(options: Options) -> str | None:
    if (options["preprocess"] == "frames") != (options["adaptor"] == "frames"):
        return "preprocess=frames and adaptor=frames go together; say both, or neither"
    if (options["preprocess"] == "ofa_fbank") != (options["adaptor"] == "ofa_conv"):
        return "preprocess=ofa_fbank and adaptor=ofa_conv go together; say both, or neither"
    if options["hop"] > options["window"]:
        return f"hop={options['hop']:g} is longer than window={options['window']:g}; samples would be lost"
    fmax, half = options["fmax"], options["rate"] / 2
    if fmax is not None and fmax > half:
        return f"fmax={fmax:g} Hz is more than half of rate={options['rate']}; give at most {half:g}, or a larger rate"
    if options["fmin"] >= (fmax or half):
        return f"fmin={options['fmin']:g} Hz is not below the highest band, {fmax or half:g} Hz"
    return None


def _positions(options: Options) -> int:
    frames = min(GUESS, options["seconds"]) * 1000 / options["hop"]
    each = options["reduction"] if options["adaptor"] == "frames" else 4
    guess = max(1, round(frames / each))
    return min(guess, int(options["max_length"] or guess))


def _conv_cost(options: Options, width: int) -> tuple[int, int]:
    first, second = 3 * options["mels"] * width, 3 * width * width
    return first + second + 4 * width, 2 * (2 * first + second)


def _ofa_conv_cost(options: Options, width: int) -> tuple[int, int]:
    bands = options["mels"]
    once = (bands - 1) // 2
    left = (once - 1) // 2
    first, second, out = 9 * width, 9 * width * width, width * left * width
    return first + second + out + 3 * width, 2 * (2 * once * first + left * second + out)


def _frames_cost(options: Options, width: int) -> tuple[int, int]:
    mels, reduction = options["mels"], options["reduction"]
    inside, post = mels * reduction, min(width, 256)
    products = 2 * inside * width + 2 * width * width + width
    convolutions = 5 * (2 * mels * post + post * post)
    parameters = products + convolutions + 5 * width + inside + 1 + 6 * post + mels
    return parameters, 2 * (products + reduction * convolutions)


AUDIO = Modality(
    tag="AUDIO",
    about="sound of one channel",
    value="audio",
    options=AudioOptions,
    preprocess={
        "fbank": Part(
            "ofasys.modality.audio.preprocess:Fbank",
            options=FbankOptions,
            about="log-mel frames, normalised; some hidden in training",
            extra="audio",
        ),
        "ofa_fbank": Part(
            "ofasys.modality.audio.ofa_frames:OFAFbank",
            options=FbankOptions,
            about="log-mel frames, whose positions stand where OFASys's do",
            extra="audio",
            adaptor="ofa_conv",
        ),
        "frames": Part(
            "ofasys.modality.audio.preprocess:Frames",
            options=FramesOptions,
            about="log-mel frames that become sound again",
            extra="audio",
        ),
    },
    adaptor={
        "conv": Part(
            "ofasys.modality.audio.adaptor:ConvAdaptor",
            about="two convolutions over time, each of which halves it",
            keyed=("rate", "mels"),
            cost=_conv_cost,
        ),
        "ofa_conv": Part(
            "ofasys.modality.audio.ofa_conv:OFAConvAdaptor",
            about="two convolutions over time and bands, as OFASys has them",
            keyed=("mels",),
            cost=_ofa_conv_cost,
        ),
        "frames": Part(
            "ofasys.modality.audio.adaptor:FramesAdaptor",
            about="frames read back through a bottleneck, and predicted in two goes",
            keyed=("rate", "mels", "reduction"),
            cost=_frames_cost,
        ),
    },
    source=Defaults(preprocess="fbank", adaptor="conv", criteria=("ctc", "classify")),
    target=Defaults(preprocess="frames", adaptor="frames", criterion="frames", generator="frames"),
    item=lambda slot, options: Continuous(slot),
    expected=_positions,
    check=_check,
    limited=True,
    save=Part("ofasys.modality.audio.waveform:save", about="the sound", suffixes=(".wav", ".flac", ".ogg", ".mp3")),
    extra="audio",
    show=Part("ofasys.modality.audio.show:show", about="a player"),
)
