"""From a decoder and a constraint to answers: greedy, beams, samples.

`R` rows = `B` sources * `G` hypotheses a source, `K` beams, `D` width. Bookkeeping is small and lives in numpy; only
hidden states and scores are tensors. A label of a closed set is one step, however many tokens spell it, and the
likeliest of all its labels is found, unless tokens are drawn or scored over the whole vocabulary. A token that is
forced costs no scores, and where all rows are forced no step of the model either: what was forced is fed together with
the next token that was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ofasys.generator.beams import Beams
from ofasys.generator.constraint import Constraint, Ints
from ofasys.generator.decoder import Decoder
from ofasys.generator.flock import alike
from ofasys.generator.hypothesis import Hypothesis, by_label
from ofasys.generator.labels import Label, likeliest
from ofasys.generator.options import SearchOptions
from ofasys.generator.rows import check_prefixes
from ofasys.generator.scores import Head
from ofasys.generator.single import Single


@torch.inference_mode()
def search(
    decoder: Decoder,
    constraint: Constraint,
    prefixes: Sequence[Ints],
    options: SearchOptions | None = None,
    *,
    sources: Sequence[int] | None = None,
) -> list[list[Hypothesis]]:
    """The best `n_best` answers of each source, best first; fewer where the target sentence allows fewer.

    prefixes: for each source what comes before (the begin token, prompts, given slots). sources: the numbers by which
    samples are drawn, 0..B-1 if None; a source keeps its draws wherever it stands in a batch.
    """
    options = options or SearchOptions()
    if constraint.start == constraint.accept:
        nothing = np.zeros(0, dtype=np.int64)
        return [[Hypothesis(nothing, nothing, 0.0, 0.0, True)] for _ in prefixes]
    if not len(prefixes):
        return []
    if by_label(options) and (rest := _one_label(constraint)) is not None:
        return _labels(decoder, constraint, prefixes, options.n_best, rest)
    numbers = list(sources or range(len(prefixes)))
    if (common := alike(constraint, options)) is not None and (join := getattr(decoder, "join", None)) is not None:
        joined: list[list[Hypothesis]] | None = join(constraint, common, prefixes, options, numbers)
        if joined is not None:
            return joined
    share = getattr(decoder, "share", None)
    head = Head(decoder.table, decoder.output, constraint, options.normalise == "vocabulary", share)
    if options.beam_size > 1:
        return Beams(decoder, constraint, head, prefixes, options).search()
    return Single(decoder, constraint, head, prefixes, options, numbers).search()


def _one_label(constraint: Constraint) -> list[int] | None:
    """What is forced after the label of a target that is one label, spelled in tokens; None for another target."""
    if constraint.trie_of[constraint.start] < 0:
        return None
    last = constraint.tries[int(constraint.trie_of[constraint.start])].last[:1]
    state, tokens = int(constraint.advance(last, np.array([constraint.end]))[0]), list[int]()
    while state != constraint.accept:
        tokens.append(int(constraint.single[state]))
        if tokens[-1] < 0:
            return None
        state = int(constraint.advance(np.array([state]), np.array(tokens[-1:]))[0])
    return tokens


def _labels(
    decoder: Decoder, constraint: Constraint, prefixes: Sequence[Ints], most: int, rest: Sequence[int]
) -> list[list[Hypothesis]]:
    """The likeliest labels of each source, whatever the beams; rest: what is forced after a label."""
    check_prefixes(decoder, prefixes)
    branches, hidden = decoder.plant(prefixes)
    sources = np.arange(len(prefixes))
    found = likeliest(
        branches, decoder.table, constraint, sources, np.full(len(sources), constraint.start), hidden, most
    )
    forced = np.array(rest, dtype=np.int64)

    def answer(label: Label) -> Hypothesis:
        tokens = np.concatenate([label.tokens, forced])
        return Hypothesis(tokens, constraint.walk(tokens), label.logprob, label.logprob, True)

    return [[answer(label) for label in labels] for labels in found]
