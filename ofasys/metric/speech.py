"""Metrics of speech: errors in words, characters and phones; the distance of two sounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ofasys.errors import DataError
from ofasys.metric.pairs import pairs, shown, text_pairs
from ofasys.metric.word import even, pieces

if TYPE_CHECKING:
    import numpy as np

MOST_FRAMES = 12_000  # of one sound, two minutes; DTW takes time in the product of two lengths
HOP, WINDOW = 0.010, 0.025  # seconds
BANDS, ORDER = 40, 13


def wer(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`wer`, 0 and up: words substituted, deleted and inserted, over the words of the references (jiwer).

    Summed over the data set. Words are what blanks part, blanks of any kind; case and punctuation count. Of several
    references the one with the lowest rate counts. A script without blanks has one word a sentence: ask for `cer`.
    `substitutions`, `deletions`, `insertions`: their shares of it.
    """
    from jiwer import process_words

    return _rate("wer", text_pairs(predictions, references), process_words, pieces, " ")


def cer(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`cer`, 0 and up: like `wer`, of characters, as of Unicode's NFC; blanks at the ends do not count, nor which blank
    it is.
    """
    from jiwer import process_characters

    return _rate("cer", text_pairs(predictions, references), process_characters, lambda text: list(even(text).strip()))


def per(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`per`, 0 and up: like `wer`, of phones: what blanks part in "HH AH L OW". `phone_accuracy`: share of samples
    without error.

    Of several references, such as a word's pronunciations, the one with the lowest rate counts. A list of symbols is
    not a value: join it by blanks.
    """
    from jiwer import process_words

    scored = text_pairs(predictions, references)
    right = sum(any(pieces(text) == pieces(way) for way in ways) for text, ways in scored)
    return _rate("per", scored, process_words, pieces, " ") | {"phone_accuracy": right / len(scored)}


def _rate(
    name: str,
    scored: list[tuple[str, list[str]]],
    process: Callable[[list[str], list[str]], Any],
    units: Callable[[str], list[str]],
    glue: str = "",
) -> dict[str, float]:
    from rapidfuzz.distance import Levenshtein

    both = []
    for text, ways in ((units(text), [*map(units, ways)]) for text, ways in scored):
        # a reference of nothing has no rate: any answer to it is all insertions
        both.append((text, min(ways, key=lambda way: Levenshtein.distance(text, way) / max(len(way), 1e-9))))
    total = sum(len(way) for _, way in both)
    if not total:
        raise DataError("all references are empty, so there is no rate", expected="at least one unit in the references")
    # jiwer refuses an empty reference: what is answered to it is counted here
    extra = sum(len(text) for text, way in both if not way)
    known = [(glue.join(text), glue.join(way)) for text, way in both if way]
    found = process([way for _, way in known], [text for text, _ in known])
    wrong = {
        "substitutions": found.substitutions,
        "deletions": found.deletions,
        "insertions": found.insertions + extra,
    }
    return {name: sum(wrong.values()) / total, **{kind: count / total for kind, count in wrong.items()}}


def mcd(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`mcd`, dB, 0 and up: mel-cepstral distortion (Kubichek 1993) along the best alignment; mean over samples.

    A value is a sound, anything with `.samples` (n,) or (n, channels) and `.rate`, or log-mel frames (n, C): natural
    logarithm of magnitudes. Sounds become 40 log-mel bands, 25 ms every 10 ms, up to the lower of the two Nyquist
    frequencies and 8 kHz. With c_m = 2/C sum_k x_k cos(pi m (k + 1/2) / C), m = 1..13 (no c_0: loudness does not
    count):

        MCD = mean over the path of 10 / ln 10 * sqrt(2 sum_m (c_m - c'_m)^2)

    which is the root mean square difference of the two smoothed spectra in dB. The path is dynamic time warping's
    (Sakoe & Chiba 1978), steps (1,0), (0,1), (1,1). `mcd_length`: mean ratio of lengths, 1 where equally long. Errors:
    DataError for what is no sound, NaN, no frames, more than MOST_FRAMES.
    """
    distances, lengths = [], []
    for i, (prediction, reference) in enumerate(pairs(predictions, references)):
        rates = [value.rate for value in (prediction, reference) if hasattr(value, "rate")]
        top = min([8000.0, *(rate / 2 for rate in rates)])
        one, other = (_frames(value, top, i) for value in (prediction, reference))
        if one.shape[1] != other.shape[1]:
            bands = f"{one.shape[1]} and {other.shape[1]}"
            raise DataError(f"frames of {bands} bands", expected="two sounds, or frames of one kind", sample=i)
        cost, steps = dtw(cepstra(one), cepstra(other))
        distances.append(10 / math.log(10) * math.sqrt(2) * cost / steps)
        lengths.append(len(one) / len(other))
    return {"mcd": math.fsum(distances) / len(distances), "mcd_length": math.fsum(lengths) / len(lengths)}


def cepstra(frames: np.ndarray, order: int = ORDER) -> np.ndarray:
    """Log-mel frames (n, C) -> mel-cepstra (n, min(order, C - 1)), c_1 and up, by the DCT that `mcd` states."""
    import numpy as np

    bands = frames.shape[1]
    m, k = np.arange(1, min(order, bands - 1) + 1), np.arange(bands)
    return np.asarray(frames @ (2 / bands * np.cos(np.pi / bands * np.outer(k + 0.5, m))))


def log_mel(samples: np.ndarray, rate: int, top: float, bands: int = BANDS) -> np.ndarray:
    """Samples (n,) -> natural log of mel magnitudes (frames, bands), from 0 to `top` Hz; magnitudes below 1e-5 count as
    that.

    Triangular filters on the scale 2595 log10(1 + f / 700), Hann window; a sound shorter than a window is padded with
    silence.
    """
    import numpy as np

    window, hop = round(WINDOW * rate), max(1, round(HOP * rate))
    size = 1 << max(9, (window - 1).bit_length())
    samples = np.pad(samples, (0, max(0, window - len(samples))))
    views = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    shape = np.hanning(window + 1)[:-1]
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + top / 700), bands + 2) / 2595) - 1)
    bins = np.arange(size // 2 + 1) * rate / size
    rise = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.clip(np.minimum(rise, fall), 0, None)
    filters /= np.maximum(filters.sum(1, keepdims=True), 1e-9)
    parts = [views[i : i + 4096] * shape for i in range(0, len(views), 4096)]
    mel = [np.abs(np.fft.rfft(part, size)) @ filters.T for part in parts]
    return np.asarray(np.log(np.maximum(np.concatenate(mel), 1e-5)))


def dtw(one: np.ndarray, other: np.ndarray) -> tuple[float, int]:
    """Dynamic time warping of (n, C) and (m, C): the least sum of Euclidean distances along a path, and its steps.

    Diagonal by diagonal, each in one go: O(n m) time, O(n + m) memory. Of paths that cost the same, the shortest.
    """
    import numpy as np

    n, m = len(one), len(other)
    flipped = other[::-1]
    cost = np.full((3, n + 1), np.inf)  # the last three diagonals, by row of `one`, one place to the right
    steps = np.zeros((3, n + 1), dtype=np.int64)
    for d in range(n + m - 1):
        low, high = max(0, d - m + 1), min(n, d + 1)  # rows on this diagonal
        there = np.sqrt(((one[low:high] - flipped[m - 1 - d + low : m - 1 - d + high]) ** 2).sum(1))
        now, left, corner = d % 3, (d - 1) % 3, (d - 2) % 3
        ways = np.stack([cost[corner, low:high], cost[left, low:high], cost[left, low + 1 : high + 1]])
        counts = np.stack([steps[corner, low:high], steps[left, low:high], steps[left, low + 1 : high + 1]])
        least = ways.min(0)
        count = np.where(ways == least, counts, n + m).min(0)
        cost[now] = np.inf
        cost[now, low + 1 : high + 1] = there + (least if d else 0)
        steps[now, low + 1 : high + 1] = 1 + (count if d else 0)
    last = (n + m - 2) % 3
    return float(cost[last, n]), int(steps[last, n])


def _frames(value: Any, top: float, sample: int) -> np.ndarray:
    import numpy as np

    expected = "a sound with .samples and .rate, or log-mel frames (n, C)"
    try:
        array = np.asarray(value.samples if hasattr(value, "samples") else value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"not a sound: {shown(value)}", expected=expected, sample=sample) from None
    sound = hasattr(value, "samples") and hasattr(value, "rate")
    if sound and array.ndim == 2:
        array = array.mean(1)
    if array.ndim != (1 if sound else 2) or not array.size or (not sound and array.shape[1] < 2):
        raise DataError(f"not a sound: {type(value).__name__} of shape {array.shape}", expected=expected, sample=sample)
    if not np.isfinite(array).all():
        raise DataError("the sound holds NaN or infinity", expected="finite numbers", sample=sample)
    if len(array) > MOST_FRAMES * (HOP * value.rate if sound else 1):
        raise DataError(f"the sound is longer than {MOST_FRAMES:,} frames", expected="a shorter one", sample=sample)
    return log_mel(array, int(value.rate), top) if sound else array
