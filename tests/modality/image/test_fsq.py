"""The quantiser equals that of vector-quantize-pytorch; every code stands for values that have it."""

import pytest
import torch

from ofasys.modality.shared.code_levels import LEVELS
from ofasys.modality.shared.fsq import FSQ


@pytest.mark.parametrize("codes", LEVELS)
def test_parity(codes):
    theirs = pytest.importorskip("vector_quantize_pytorch").FSQ(list(LEVELS[codes]))
    mine = FSQ(LEVELS[codes])
    torch.manual_seed(0)
    z = torch.randn(3, 40, len(LEVELS[codes])) * 2
    one, other = z.clone().requires_grad_(), z.clone().requires_grad_()
    values, (expected, index) = mine(one), theirs(other)
    torch.testing.assert_close(values, expected, rtol=0, atol=0)
    assert torch.equal(mine.index(values), index.long())
    values.pow(2).sum().backward()
    expected.pow(2).sum().backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=0)
    torch.testing.assert_close(mine.values(index.long()), theirs.indices_to_codes(index), rtol=0, atol=0)


@pytest.mark.parametrize("codes", LEVELS)
def test_every_code_comes_back(codes):
    fsq, every = FSQ(LEVELS[codes]), torch.arange(codes)
    assert fsq.codes == codes
    values = fsq.values(every)
    assert torch.equal(fsq.index(values), every)
    assert values.min() == -1
    assert len(torch.unique(values, dim=0)) == codes


def test_what_is_not_a_number_of_levels_is_between_the_outermost():
    fsq = FSQ((8, 5))
    z = torch.tensor([[-1e9, 1e9], [0, 0], [1e9, -1e9]])
    assert fsq(z).tolist() == [[-1, 1], [0, 0], [0.75, -1]]


def test_the_gradient_passes_the_rounding():
    z = torch.zeros(1, 2, requires_grad=True)
    FSQ((5, 5))(z).sum().backward()
    assert (z.grad > 0.9).all()
