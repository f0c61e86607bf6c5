"""Noised values, and the loss of what a model says of them."""

import numpy as np
import pytest
import torch

from ofasys.criterion.diffusion import Diffusion, prepare
from ofasys.criterion.diffusion_options import DiffusionOptions
from ofasys.language import options_of
from ofasys.model.noise import alpha_bar
from ofasys.types import SlotFeatures, SlotPrediction, SlotTargets

DEFAULTS = {name: option.default for name, option in options_of(DiffusionOptions).items()}
frames = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def noised(seed, **options):
    piece = SlotFeatures({"frames": frames, "other": np.ones(1)}, 6, orders=6, info={"a": 1})
    return prepare(piece, DEFAULTS | options, np.random.default_rng(seed))


def test_a_noised_value_is_value_and_noise():
    piece, learn = noised(0)
    left = alpha_bar(1000)[round(float(learn["time"][0]) * 1000) - 1]
    np.testing.assert_allclose(learn["noised"], left**0.5 * frames + (1 - left) ** 0.5 * learn["noise"], atol=1e-6)
    np.testing.assert_array_equal(learn["frames"], frames)
    np.testing.assert_array_equal(piece.tensors["frames"], learn["noised"])
    assert piece.tensors["lengths"].tolist() == [6]
    assert piece.tensors["time"].dtype == np.float32
    assert piece.tensors["other"].tolist() == [1]
    assert (piece.length, piece.orders, piece.info) == (6, 6, {"a": 1})
    assert {array.dtype for array in learn.values()} == {np.dtype(np.float32)}


def test_noise_is_a_function_of_the_sample():
    assert all(np.array_equal(a, b) for a, b in zip(noised(3)[1].values(), noised(3)[1].values(), strict=True))
    assert not np.array_equal(noised(3)[1]["noise"], noised(4)[1]["noise"])
    times = np.array([noised(seed, timesteps=4)[1]["time"][0] for seed in range(200)])
    assert sorted(set(times.tolist())) == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(("predict", "key"), [("x0", "frames"), ("noise", "noise")])
def test_the_loss_is_the_mean_over_all_positions(predict, key):
    learn = [noised(seed)[1] for seed in range(3)]
    tensors = {name: torch.from_numpy(np.concatenate([one[name] for one in learn])) for name in learn[0]}
    targets = SlotTargets(
        0, "target", "diffusion", torch.arange(18), torch.tensor([6, 6, 6]), tensors, {"lengths": (6, 6, 6)}, 18
    )
    made = torch.randn(18, 3, requires_grad=True)
    judge = Diffusion(DEFAULTS | {"predict": predict}, 8)
    verdict = judge(SlotPrediction(targets, torch.zeros(18, 8), {"frames": made}, None))
    assert verdict.sum.item() / 18 == pytest.approx(((made - tensors[key]) ** 2).mean().item())
    (verdict.sum / 18).backward()
    torch.testing.assert_close(made.grad, 2 * (made.detach() - tensors[key]) / made.numel())
    assert not list(judge.parameters())
    exact = judge(SlotPrediction(targets, torch.zeros(18, 8), {"frames": tensors[key]}, None))
    assert exact.sum.item() == 0


def test_options_have_ranges():
    options = options_of(DiffusionOptions)
    assert (DEFAULTS["timesteps"], DEFAULTS["predict"], DEFAULTS["drop"]) == (1000, "x0", 0.1)
    for name, text in (("timesteps", "1"), ("predict", "x1"), ("drop", "1.5")):
        with pytest.raises(ValueError, match=name):
            options[name].read(text)
    assert options["predict"].read("noise") == "noise"
