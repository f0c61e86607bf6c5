"""Connectionist temporal classification (Graves et al., 2006): labels for a longer sequence, whose places are not
known.

`n` positions of all values, `B` values, `T` positions of the longest, `U` labels to choose from, `D` width. Label 0 is
the blank, label u + 1 is token u of the label column's range.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ofasys.types import LossOutput, SlotPrediction, SlotTargets


class CTC(nn.Module):
    """Scores are products of a position's state with rows of the shared table, and with one learned vector, the
    blank.
    """

    def __init__(self, options: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.blank = nn.Parameter(torch.zeros(width))

    def log_probs(self, seen: SlotPrediction) -> Tensor:
        """(n, 1 + U), normalised over the labels."""
        assert seen.candidates is not None
        with torch.autocast(seen.hidden.device.type, enabled=False):
            hidden = seen.hidden.float()
            scores = torch.cat([hidden @ self.blank[:, None].float(), hidden @ seen.candidates.float().T], 1)
            return torch.log_softmax(scores, 1)

    def forward(self, seen: SlotPrediction) -> LossOutput:
        """The negative log-likelihood per label.

        targets.tensors: tokens, the labels of all values end to end, numbered within their range, and token_lengths (B,).
        A value with fewer positions than its labels need (one each, and a blank between equal ones) has no alignment:
        it is left out of the loss, and `ctc_short` counts it.
        """
        tensors, lengths = seen.targets.tensors, seen.targets.lengths
        loss = ctc_loss(self.log_probs(seen), lengths, tensors["tokens"], tensors["token_lengths"])
        count = fitting(seen.targets)
        return LossOutput(loss.sum() / max(1, count), count, left_out={"ctc_short": int(_short(seen.targets).sum())})


def ctc_loss(log_probs: Tensor, lengths: Tensor, tokens: Tensor, counts: Tensor) -> Tensor:
    """(B,): each value's negative log-likelihood; 0 where there is no alignment.

    log_probs (n, 1 + U) of B values of `lengths` (B,) positions end to end; tokens (sum of counts,) in 0..U-1, counts
    (B,).
    """
    labels, tokens = torch.unique(tokens, return_inverse=True)
    own = log_probs.index_select(1, torch.cat([labels.new_zeros(1), labels + 1]))
    # All labels that nobody has as one: the rows still sum to one, as torch's gradient needs, and the product over
    # positions, samples and vocabulary is gone.
    rest = (1 - own.exp().sum(1, keepdim=True)).clamp(min=1e-12).log()
    padded = nn.utils.rnn.pad_sequence(torch.cat([own, rest], 1).split(lengths.tolist()))  # (T, B, 2 + labels)
    return nn.functional.ctc_loss(padded, tokens + 1, lengths, counts, blank=0, reduction="none", zero_infinity=True)


def fitting(targets: SlotTargets) -> int:
    """The labels of all values that have an alignment."""
    return int(targets.tensors["token_lengths"][~_short(targets)].sum())


def _short(targets: SlotTargets) -> Tensor:
    """(B,) bool: values with fewer positions than their labels need."""
    return targets.lengths < needed(targets.tensors["tokens"], targets.tensors["token_lengths"])


def needed(tokens: Tensor, counts: Tensor) -> Tensor:
    """(B,): the fewest positions that hold these labels: one each, and a blank between equal neighbours."""
    value = torch.repeat_interleave(counts)
    twice = (tokens[1:] == tokens[:-1]) & (value[1:] == value[:-1])
    return counts + torch.bincount(value[1:][twice], minlength=len(counts))
