"""Metrics of texts: BLEU, chrF, ROUGE-L, CIDEr-D. Each reference is a string or a list of alternatives."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ofasys.metric.pairs import text_pairs
from ofasys.metric.word import even, words

Gram = tuple[str, ...]


def bleu(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`bleu`, 0..100: sacrebleu's corpus BLEU-4, its tokenisation ("13a", for European languages) and smoothing."""
    from sacrebleu import corpus_bleu

    texts, streams = _streams(predictions, references)
    return {"bleu": float(corpus_bleu(texts, streams).score)}


def chrf(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`chrf`, 0..100: sacrebleu's corpus chrF2 (Popovic 2015): F2 of character n-grams up to 6; blanks do not count."""
    from sacrebleu import corpus_chrf

    texts, streams = _streams(predictions, references)
    return {"chrf": float(corpus_chrf(texts, streams).score)}


def _streams(predictions: Sequence[Any], references: Sequence[Any]) -> tuple[list[str], list[Any]]:
    """Answers, and references the way sacrebleu wants them: the first of each sample, the second of each, ..."""
    scored = [(_even(text), [*map(_even, ways)]) for text, ways in text_pairs(predictions, references)]
    most = max(len(ways) for _, ways in scored)
    return [text for text, _ in scored], [
        [ways[i] if i < len(ways) else None for _, ways in scored] for i in range(most)
    ]


def _even(text: str) -> str:
    return text if text.isascii() else even(text)  # of ASCII, sacrebleu's own rules of blanks hold


def rouge_l(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`rouge_l`, 0..1: the F-measure of the longest common subsequence of `words`, no stemming; the best reference
    counts.

    Mean over samples. Equal to the package rouge-score (`rougeL`) on ASCII text. A text without a word scores 0.
    """
    from rapidfuzz.distance import LCSseq

    def f_measure(prediction: list[str], reference: list[str]) -> float:
        common = LCSseq.similarity(prediction, reference)
        return 2 * common / (len(prediction) + len(reference)) if common else 0.0

    scored = text_pairs(predictions, references)
    best = (max(f_measure(words(text), words(way)) for way in ways) for text, ways in scored)
    return {"rouge_l": math.fsum(best) / len(scored)}


def cider(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`cider`, 0..10: CIDEr-D (Vedantam et al. 2015, arXiv:1411.5726), on `words` instead of the Penn Treebank's.

    For n = 1..4, with g_n the tf-idf vector of a sentence's n-grams (document = the references of one sample),
    l its number of words, s its references and sigma = 6:

        CIDEr-D_n(c, s) = 10 mean_j exp(-(l_c - l_j)^2 / (2 sigma^2)) min(g_n(c), g_n(s_j)) . g_n(s_j) / (|g_n(c)|
        |g_n(s_j)|)

    and CIDEr-D the mean over n, then over samples. A perfect answer may be under 10: an n-gram that stands in the
    references of every sample weighs nothing, and a sentence shorter than four words has no 4-gram. For the same reason
    a data set of one sample scores 0. Papers usually print a hundred times this figure: their 120 is 1.2 here.
    """
    scored = text_pairs(predictions, references)
    answers = [_grams(words(text)) for text, _ in scored]
    truths = [[_grams(words(way)) for way in ways] for _, ways in scored]
    seen_in = Counter(gram for ways in truths for gram in {gram for way in ways for level in way for gram in level})
    log_samples = math.log(len(scored))

    def weigh(levels: list[Counter[Gram]]) -> list[dict[Gram, float]]:
        return [{g: tf * (log_samples - math.log(max(1, seen_in[g]))) for g, tf in level.items()} for level in levels]

    total = 0.0
    for answer, ways in zip(answers, truths, strict=True):
        answer_weights = weigh(answer)
        total += math.fsum(_cosine_d(answer, answer_weights, way, weigh(way)) for way in ways) / len(ways)
    return {"cider": 10 * total / len(scored)}


def _grams(tokens: list[str], up_to: int = 4) -> list[Counter[Gram]]:
    return [
        Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))  # one Counter for each n
        for n in range(1, up_to + 1)
    ]


def _cosine_d(
    answer: list[Counter[Gram]],
    answer_weights: list[dict[Gram, float]],
    truth: list[Counter[Gram]],
    truth_weights: list[dict[Gram, float]],
    sigma: float = 6.0,
) -> float:
    """The mean over n of the clipped cosines, times the Gaussian of the difference in length."""
    cosines = []
    for ours, theirs in zip(answer_weights, truth_weights, strict=True):
        product = math.fsum(min(weight, theirs[gram]) * theirs[gram] for gram, weight in ours.items() if gram in theirs)
        norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
        cosines.append(product / norms if norms else 0.0)
    difference = answer[0].total() - truth[0].total()
    return math.fsum(cosines) / len(cosines) * math.exp(-(difference**2) / (2 * sigma**2))
