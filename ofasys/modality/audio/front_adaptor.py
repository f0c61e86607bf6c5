"""AUDIO through a front: what its processor made -> embeddings. `n` positions, `W` the front's width."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ofasys.modality.shared.front_encoder import FrontAdaptor


class SoundFront(FrontAdaptor):
    """`heard LENGTH`, what the processor made of values that run together, where they are padded `valid LENGTH`, and
    rows (n,): which of the states of all of them, laid end to end, the positions are -> (n, D).
    """

    def _states(self, tensors: Mapping[str, Tensor]) -> Tensor:
        made = [self._heard(tensors, name).flatten(0, 1) for name in tensors if name.startswith("heard")]
        return torch.cat(made).index_select(0, tensors["rows"])

    def _heard(self, tensors: Mapping[str, Tensor], name: str) -> Tensor:
        valid = tensors.get(name.replace("heard", "valid"))
        given = {} if valid is None else {"attention_mask": valid.long()}
        found: Tensor = self.front(tensors[name], **given).last_hidden_state
        return found
