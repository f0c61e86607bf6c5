"""Minimum Bayes risk decoding (Kumar & Byrne, 2004): the drawn answer that is most like the others."""

from dataclasses import replace

from ofasys.generator import Generator
from ofasys.generator.search import search


def alike(one, other):
    """F1 of the tokens two answers share."""
    shared = len(set(one.tolist()) & set(other.tolist()))
    return 2 * shared / max(1, len(set(one.tolist())) + len(set(other.tolist())))


def least_risk(decoder, constraint, prefixes, options, sources):
    """Hypotheses a sample, the one most like the others first; arguments as of `search`."""
    drawn = replace(options, sampling=True, beam_size=1, n_best=8)
    found = search(decoder, constraint, prefixes, drawn, sources=sources)
    return [
        sorted(several, key=lambda one: -sum(alike(one.tokens, other.tokens) for other in several))[: options.n_best]
        for several in found
    ]


LEAST_RISK = Generator(
    name="least_risk",
    about="of 8 answers that are drawn the one most like the others",
    load="bayes:least_risk",
    searches=True,
)
