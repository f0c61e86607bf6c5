"""Every label of a closed set with its exact probability, as hypotheses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ofasys.generator.rank import rank
from ofasys.generator.search import Hypothesis
from ofasys.program.program import Program
from ofasys.program.steps import StepDecoder


def ranked(decoder: StepDecoder, program: Program, prefixes: Sequence[np.ndarray]) -> list[list[Hypothesis]]:
    """Per source one hypothesis a label, the likeliest first; score is the label's log-probability."""
    labels = program.label_tokens()
    scores = rank(decoder, program.constraint, prefixes, labels).cpu().numpy()
    answers = [np.array(label, dtype=np.int64) for label in labels]
    states = [program.constraint.walk(answer) for answer in answers]
    found = []
    for row in scores:
        best = np.argsort(-row, kind="stable")
        found.append([Hypothesis(answers[i], states[i], float(row[i]), float(row[i]), True) for i in best.tolist()])
    return found
