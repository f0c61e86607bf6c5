"""A number is what the state before it predicts: mean and spread, a row each."""

import numpy as np
import torch

from ofasys.generator.regress import regress


class Before:
    hidden = torch.arange(6.0).view(3, 2)


class Adaptor:
    def predict(self, hidden, lengths, tensors):
        assert lengths.tolist() == [1, 1, 1]
        return {"frames": hidden[:, :1].bfloat16(), "spread": hidden[:, 1:]}


def test_a_row_each():
    made = regress(Adaptor(), Before(), {}, [1, 2, 3])
    assert [one.tolist() for one in made] == [[[0.0, 1.0]], [[2.0, 3.0]], [[4.0, 5.0]]]
    assert all(one.dtype == np.float32 for one in made)
