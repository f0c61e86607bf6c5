"""AUDIO: sound, given as a file in any usual format, or as an array with its rate. It is read as log-mel frames or
sample by sample, and made of frames. Frames that others made can be read too.
"""

from __future__ import annotations

from ofasys.modality.audio import front
from ofasys.modality.audio.front import SOUND, FrontSoundOptions
from ofasys.modality.audio.options import BandsOptions, FbankOptions, FramesOptions, WaveOptions
from ofasys.modality.audio.strides import STRIDE, WAVE
from ofasys.modality.modality import Defaults, Modality, Options, Part
from ofasys.modality.shared.front import front_of, is_front
from ofasys.types import Continuous

GUESS = 5.0  # seconds, where nothing is known
FRAME = 0.01  # seconds from frame to frame, where others made them


def _check(options: Options) -> str | None:
    if (options["preprocess"] == "hf") != is_front(options):
        return "preprocess=hf and adaptor=hf:FOLDER go together; say the adaptor alone"
    if is_front(options):
        return front.check(options, "AUDIO")
    for name, adaptor in (("frames", "frames"), ("wave", "wave"), ("ofa_fbank", "ofa_conv")):
        if (options["preprocess"] == name) != (options["adaptor"] == adaptor):
            return f"preprocess={name} and adaptor={adaptor} go together; say both, or neither"
    return _check_mel(options) if "hop" in options else None


def _check_mel(options: Options) -> str | None:
    if options["hop"] > options["window"]:
        return f"hop={options['hop']:g} is longer than window={options['window']:g}; samples would be lost"
    fmax, half = options["fmax"], options["rate"] / 2
    if fmax is not None and fmax > half:
        return f"fmax={fmax:g} Hz is more than half of rate={options['rate']}; give at most {half:g}, or a larger rate"
    if options["fmin"] >= (fmax or half):
        return f"fmin={options['fmin']:g} Hz is not below the highest band, {fmax or half:g} Hz"
    return None


def _positions(options: Options) -> int:
    seconds, each = min(GUESS, options.get("seconds", GUESS)), 4 * FRAME
    if is_front(options):
        each = 1 / front.hearing(front_of(options)).a_second
    elif options["adaptor"] == "wave":
        each = STRIDE / options["rate"]
    elif "hop" in options:
        each = options["hop"] / 1000 * (options["reduction"] if options["adaptor"] == "frames" else 4)
    guess = max(1, round(seconds / each))
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


def _wave_cost(options: Options, width: int) -> tuple[int, int]:
    weights, flops, steps = 0, 0, STRIDE
    for number, (kernel, stride) in enumerate(WAVE):
        own, steps = kernel * (width if number else 1) * width, steps // stride  # steps of this layer in a position
        weights, flops = weights + own, flops + 2 * own * steps
    return weights + (3 * len(WAVE) + 5) * width + width * width, flops + 2 * width * width


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
    preprocess={
        "fbank": Part(
            "ofasys.modality.audio.preprocess:Fbank",
            options=FbankOptions,
            about="log-mel frames, normalised; some hidden in training",
            adaptor="conv",
            side="source",
            extra="audio",
        ),
        "bands": Part(
            "ofasys.modality.audio.bands:Bands",
            options=BandsOptions,
            about="frames that others made, normalised; some hidden in training",
            adaptor="conv",
            side="source",
        ),
        "wave": Part(
            "ofasys.modality.audio.wave:Wave",
            options=WaveOptions,
            about="samples, normalised",
            adaptor="wave",
            side="source",
            extra="audio",
        ),
        "ofa_fbank": Part(
            "ofasys.modality.audio.ofa_frames:OFAFbank",
            options=FbankOptions,
            about="log-mel frames, whose positions stand where OFASys's do",
            adaptor="ofa_conv",
            side="source",
            extra="audio",
        ),
        "hf": Part(
            "ofasys.modality.audio.front_sound:FrontSound",
            options=FrontSoundOptions,
            about="sound, as the front's own processor makes it",
            adaptor="hf",
            side="source",
            extra="audio",
        ),
        "frames": Part(
            "ofasys.modality.audio.preprocess:Frames",
            options=FramesOptions,
            about="log-mel frames that become sound again",
            adaptor="frames",
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
        "wave": Part(
            "ofasys.modality.audio.wave_adaptor:WaveAdaptor",
            about="seven strided convolutions over samples, a position 320 of them",
            keyed=("rate",),
            cost=_wave_cost,
        ),
        "hf": SOUND,
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
    save=Part("ofasys.modality.audio.save:save", about="the sound", suffixes=(".wav", ".flac", ".ogg", ".mp3")),
    extra="audio",
    show=Part("ofasys.modality.audio.show:show", about="a player"),
    widget=lambda options: "file" if options["preprocess"] == "bands" else "audio",
)
