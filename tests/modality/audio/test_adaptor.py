"""Both adaptors: plain convolutions, and nobody sees a neighbour."""

import numpy as np
import pytest
import torch
from torch import nn

from ofasys.modality.audio.adaptor import ConvAdaptor, FramesAdaptor, Postnet, convolve, windows
from ofasys.modality.audio.preprocess import Fbank
from ofasys.types import SlotFeatures

D = 16
LENGTHS = [1, 2, 3, 4, 5, 8, 37]


def values(lengths, width=8, seed=0):
    return torch.randn(sum(lengths), width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (5, 1), (3, 1), (1, 1), (5, 2)])
def test_it_is_a_plain_convolution_of_each_value(size, stride):
    torch.manual_seed(0)
    layer = nn.Conv1d(8, D, size, stride=stride)
    x = values(LENGTHS)
    lengths = torch.tensor(LENGTHS)
    owner = torch.arange(len(LENGTHS)).repeat_interleave((lengths + stride - 1) // stride)
    made = convolve(x, lengths, layer, owner)
    assert stride > 1 or torch.equal(made, convolve(x, lengths, layer))
    plain = [
        nn.functional.conv1d(one.T[None], layer.weight, layer.bias, stride, size // 2)[0].T for one in x.split(LENGTHS)
    ]
    assert [len(one) for one in plain] == [-(-n // stride) for n in LENGTHS]
    torch.testing.assert_close(made, torch.cat(plain))


def test_windows_of_no_rows():
    assert windows(torch.tensor([2, 0, 1]), torch.tensor([0, 2]), 3, 2).tolist() == [[3, 0, 1], [3, 2, 3]]


def source(lengths, x=None):
    x = values(lengths) if x is None else x
    parts = [
        SlotFeatures({"frames": one.detach().numpy(), "counts": np.array([n])}, -(-n // 4))
        for n, one in zip(lengths, x.split(lengths), strict=True)
    ]
    return {name: torch.from_numpy(array) for name, array in Fbank.collate(Fbank.__new__(Fbank), parts).items()}


def test_the_source_takes_a_quarter_of_the_positions_each_value_alone():
    torch.manual_seed(0)
    adaptor = ConvAdaptor({"mels": 8}, D).eval()
    together = adaptor.embed(source(LENGTHS))
    assert len(together) == sum(((n + 1) // 2 + 1) // 2 for n in LENGTHS)
    alone = [adaptor.embed(source([len(x)], x)) for x in values(LENGTHS).split(LENGTHS)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_no_gradient_crosses_from_value_to_value():
    torch.manual_seed(0)
    adaptor = ConvAdaptor({"mels": 8}, D)
    x = values([9, 6]).requires_grad_()
    adaptor.embed(source([9, 6]) | {"frames": x})[:3].square().sum().backward()
    assert x.grad[:9].any(1).all()
    assert not x.grad[9:].any()


def made():
    torch.manual_seed(0)
    adaptor = FramesAdaptor({"mels": 8, "reduction": 2}, D)
    for parameter in adaptor.postnet.parameters():  # it adds nothing at first
        nn.init.normal_(parameter, std=0.3)
    return adaptor


def test_shapes_of_a_target():
    adaptor = made().eval()
    assert adaptor.embed({"frames": values([24])}).shape == (12, D)
    found = adaptor.predict(torch.randn(12, D), torch.tensor([5, 7]), {})
    assert {name: tuple(x.shape) for name, x in found.items()} == {
        "coarse": (12, 2, 8),
        "frames": (12, 2, 8),
        "stop": (12,),
    }


def test_a_target_alone_and_among_others():
    adaptor = made().eval()
    hidden = values(LENGTHS, D)
    together = adaptor.predict(hidden, torch.tensor(LENGTHS), {})
    alone = [adaptor.predict(one, torch.tensor([len(one)]), {}) for one in hidden.split(LENGTHS)]
    for name, x in together.items():
        torch.testing.assert_close(x, torch.cat([one[name] for one in alone]))
    assert (together["frames"] - together["coarse"]).abs().max() > 0.1


def test_the_postnet_begins_by_adding_nothing():
    assert not Postnet(8, D)(values([5, 9]), torch.tensor([5, 9])).any()


def test_frames_that_are_read_back_are_dropped_in_training_alone():
    adaptor, x = made(), {"frames": values([24])}
    assert not torch.equal(adaptor.embed(x), adaptor.embed(x))
    adaptor.eval()
    assert torch.equal(adaptor.embed(x), adaptor.embed(x))


def test_what_the_plan_says_it_costs():
    from ofasys.modality.audio import AUDIO

    options = {"mels": 80, "reduction": 2}
    for name, kind in (("conv", ConvAdaptor), ("frames", FramesAdaptor)):
        for width in (32, 512):
            parameters = sum(p.numel() for p in kind(options, width).parameters())
            assert AUDIO.adaptor[name].cost(options, width)[0] == parameters
