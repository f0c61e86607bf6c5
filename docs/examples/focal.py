"""A focal loss over tokens (Lin et al., 2017): what a model is sure of already counts less."""

from dataclasses import dataclass

import torch

from ofasys.criterion import Criterion
from ofasys.language import option


@dataclass(frozen=True, kw_only=True)
class FocalOptions:
    """What criterion=focal gives a slot."""

    gamma: float = option(2.0, low=0, high=10, side="target", about="how much less what is sure counts")


def focal(hidden, candidates, labels, *, weights, allowed, smoothing, options):
    """(the weighted sum, the loss of each token); arguments as below."""
    scores = (hidden @ candidates.t()).float()
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    own = scores.log_softmax(1).gather(1, labels[:, None])[:, 0]
    losses = -((1 - own.exp()) ** options["gamma"]) * own
    return (losses * weights).sum(), losses.detach()


FOCAL = Criterion(
    name="focal",
    about="cross-entropy in which what is sure counts less",
    kind="tokens",
    load="focal:focal",
    options=FocalOptions,
    keyed=("gamma",),
    generator="search",
)
