"""Connectionist temporal classification (Graves et al., 2006): labels for a longer sequence, whose places are not
known.

`n` positions of all values, `B` values, `T` positions of the longest, `U` labels to choose from, `D` width. Label 0 is
the blank, label u + 1 is token u of the label column's range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ofasys.types import LossOutput, SlotPrediction

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int


class CTC(nn.Module):
    """Scores are products of a position's state with rows of the shared table, and with one learned vector, the
    blank.
    """

    def __init__(self, options: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.blank = nn.Parameter(torch.zeros(width))

    def log_probs(self, seen: SlotPrediction) -> Float[Tensor, "n labels"]:
        """Of each position, normalised over the blank and the U labels."""
        assert seen.candidates is not None
        with torch.autocast(seen.hidden.device.type, enabled=False):
            hidden = seen.hidden.float()
            scores = torch.cat([hidden @ self.blank[:, None].float(), hidden @ seen.candidates.float().T], 1)
            return torch.log_softmax(scores, 1)

    def forward(self, seen: SlotPrediction) -> LossOutput:
        """The negative log-likelihood of the labels.

        targets.tensors: as of `join`. A value with fewer positions than its labels need (one each, and a blank between
        equal ones) has no alignment: it is left out of the loss, and `ctc_short` counts it.
        """
        tensors, sizes = seen.targets.tensors, seen.targets.sizes
        loss = ctc_loss(
            self.log_probs(seen), sizes["lengths"], tensors["labels"], tensors["places"], sizes["token_lengths"]
        )
        return LossOutput(loss.sum(), left_out={"ctc_short": tensors["short"].sum()})


def ctc_loss(
    log_probs: Float[Tensor, "n labels"],
    lengths: Sequence[int],
    labels: Int[Tensor, "L"],
    places: Int[Tensor, "tokens"],
    counts: Sequence[int],
) -> Float[Tensor, "B"]:
    """Each value's negative log-likelihood; 0 where there is no alignment.

    log_probs: of the blank and U labels, of B values of `lengths` positions end to end. labels: those of the U that any
    value has; places: the values' labels end to end, `counts` of each, as places in these.
    """
    own = log_probs.index_select(1, torch.cat([labels.new_zeros(1), labels + 1]))
    # All labels that nobody has as one: the rows still sum to one, as torch's gradient needs, and the product over
    # positions, samples and vocabulary is gone.
    rest = (1 - own.exp().sum(1, keepdim=True)).clamp(min=1e-12).log()
    padded = nn.utils.rnn.pad_sequence(torch.cat([own, rest], 1).split(list(lengths)))  # (T, B, 2 + labels)
    sizes = tuple(lengths), tuple(counts)
    return nn.functional.ctc_loss(padded, places + 1, *sizes, blank=0, reduction="none", zero_infinity=True)  # type: ignore[arg-type]


def join(lengths: Int[np.ndarray, "values"], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """tokens, the labels of all values end to end, and token_lengths (B,) -> the same, and

    labels (L,), those that any value has; places (tokens,), each token as a place in these; short (B,) bool, the values
    that have no alignment.
    """
    labels, places = np.unique(arrays["tokens"], return_inverse=True)
    short = lengths < needed(arrays["tokens"], arrays["token_lengths"])
    return {**arrays, "labels": labels, "places": places, "short": short}


def fitting(lengths: Int[np.ndarray, "values"], arrays: Mapping[str, np.ndarray]) -> int:
    """The labels of all values that have an alignment."""
    return int(arrays["token_lengths"][~arrays["short"]].sum())


def needed(tokens: Int[np.ndarray, "tokens"], counts: Int[np.ndarray, "values"]) -> Int[np.ndarray, "values"]:
    """The fewest positions that hold these labels: one each, and a blank between equal neighbours."""
    value = np.repeat(np.arange(len(counts)), counts)
    twice = (tokens[1:] == tokens[:-1]) & (value[1:] == value[:-1])
    found: np.ndarray = counts + np.bincount(value[1:][twice], minlength=len(counts))
    return found
