"""One answer of a search, and how it is scored."""

from __future__ import annotations

from dataclasses import dataclass

from ofasys.generator.constraint import Constraint, Ints
from ofasys.generator.options import SearchOptions


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """One answer. tokens (n,): generated, the prefix not among them. states (n,): the automaton's state before each.

    logprob: sum over the tokens that were chosen or had to come. score: logprob / length ** length_penalty, a label of
    a closed set being one of the length; the logprob where nothing but labels, and which of them stand, was chosen.
    finished: False if a text had to be closed at the very end because max_length was reached.
    """

    tokens: Ints
    states: Ints
    logprob: float
    score: float
    finished: bool

    @classmethod
    def scored(
        cls, constraint: Constraint, tokens: Ints, logprob: float, length: int, finished: bool, options: SearchOptions
    ) -> Hypothesis:
        """The hypothesis of these tokens, `length` of which count in its score."""
        penalty = 0.0 if constraint.labels and by_label(options) else options.length_penalty
        score = logprob / max(length, 1) ** penalty
        return cls(tokens.copy(), constraint.walk(tokens), float(logprob), float(score), finished)


def by_label(options: SearchOptions) -> bool:
    """Whether a label of a closed set is chosen as a whole."""
    return options.normalise == "allowed" and not options.sampling
