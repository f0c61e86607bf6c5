"""Every label of a closed set with its exact probability, as hypotheses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ofasys.errors import ConfigError
from ofasys.generator.options import SearchOptions
from ofasys.generator.rank import rank
from ofasys.generator.search import Hypothesis
from ofasys.program.program import Program
from ofasys.program.steps import StepDecoder


def ranked(
    decoder: StepDecoder, program: Program, prefixes: Sequence[np.ndarray], options: SearchOptions
) -> list[list[Hypothesis]]:
    """Per source one hypothesis a label, the likeliest first; score is the label's log-probability.

    n_best above 1 cuts the list. Errors: ConfigError for options that only a search has.
    """
    if options.sampling:
        raise ConfigError("generator=rank gives every label its exact probability; sampling goes with generator=search")
    answers, states = program.label_answers
    scores = (
        rank(decoder, program.constraint, prefixes, [a.tolist() for a in answers], normalise=options.normalise)
        .cpu()
        .numpy()
    )
    most = options.n_best if options.n_best > 1 else len(answers)
    found = []
    for row in scores:
        best = np.argsort(-row, kind="stable")[:most]
        found.append([Hypothesis(answers[i], states[i], float(row[i]), float(row[i]), True) for i in best.tolist()])
    return found
