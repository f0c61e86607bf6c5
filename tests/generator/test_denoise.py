"""From noise to values: the distribution asked for, a row's own noise, guidance, and the steps of `diffusers`."""

import itertools

import numpy as np
import pytest
import torch

from ofasys.errors import ConfigError
from ofasys.generator.denoise import BLOCK, denoise
from ofasys.generator.denoise_options import DenoiseOptions
from ofasys.language import options_of
from ofasys.model.noise import alpha_bar, stopping_times

DEFAULTS = {name: option.default for name, option in options_of(DenoiseOptions).items()}
DEFAULTS |= {"timesteps": 1000, "predict": "x0", "length": 5}


class Exact:
    """An adaptor that knows the answer: values are Gaussian, of mean `mean` and deviation `deviation`."""

    def __init__(self, mean=2.0, deviation=0.5, noise=False, channels=3):
        self.mean, self.deviation, self.noise, self.channels = mean, deviation, noise, channels
        self.times = []

    def shape(self, options):
        return options["length"], self.channels

    def embed(self, tensors):
        self.times.append(tensors["time"].clone())
        assert tensors["frames"].shape == (int(tensors["lengths"].sum()), self.channels)
        return torch.zeros(len(tensors["frames"]), 4)

    def predict(self, hidden, lengths, tensors):
        """hidden[:, 0] moves the mean, so that a continuation can say something."""
        left = alpha_bar(1000)[(tensors["time"] * 1000).round().long().numpy() - 1]
        left = torch.from_numpy(left).repeat_interleave(lengths)[:, None]
        mean = self.mean + hidden[:, :1].double()
        x = tensors["noised"].double()
        gain = left.sqrt() * self.deviation**2 / (left * self.deviation**2 + 1 - left)
        value = mean + gain * (x - left.sqrt() * mean)
        return {"frames": (x - left.sqrt() * value) / (1 - left).sqrt() if self.noise else value}


class Before:
    """What came before: it adds `says` to every state."""

    def __init__(self, rows, says=0.0):
        self.rows, self.says, self.looks = rows, says, 0
        self.hidden = torch.zeros(rows, 4)

    def peek(self, embedding):
        assert embedding.dim() == 3
        assert len(embedding) == self.rows
        self.looks += 1
        return embedding + self.says


def run(rows=2, adaptor=None, before=None, negative=None, seeds=None, **options):
    adaptor, before = adaptor or Exact(), before or Before(rows)
    return np.stack(
        denoise(adaptor, before, DEFAULTS | options, list(range(rows)) if seeds is None else seeds, negative)
    )


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("way", [{}, {"method": "ancestral"}, {"eta": 0.5}])
def test_values_have_the_distribution_the_model_knows(noise, way):
    predict = "noise" if noise else "x0"
    made = run(40, Exact(noise=noise), predict=predict, length=50, **way)
    assert made.shape == (40, 50, 3)
    assert made.dtype == np.float32
    assert made.mean() == pytest.approx(2.0, abs=0.05)
    assert made.std() == pytest.approx(0.5, abs=0.06)


def test_one_look_a_step_for_all_rows():
    adaptor, before, negative = Exact(), Before(3), Before(3)
    run(3, adaptor, before, negative, steps=7)
    assert (before.looks, negative.looks) == (7, 0)
    assert torch.stack(adaptor.times)[:, 0].tolist() == pytest.approx(((stopping_times(1000, 7) + 1) / 1000).tolist())
    run(3, Exact(), before, negative, steps=7, guidance_weight=2.0)
    assert (before.looks, negative.looks) == (14, 7)


@pytest.mark.parametrize("method", ["ddim", "ancestral"])
def test_a_rows_noise_is_a_function_of_its_seed(method):
    together = run(3, seeds=[5, 6, 7], method=method)
    alone = run(1, seeds=[6], method=method)
    np.testing.assert_allclose(together[1], alone[0], atol=1e-6)
    assert not np.allclose(together[0], together[1])
    twice = run(2, seeds=[9, 9], method=method)
    np.testing.assert_array_equal(twice[0], twice[1])


def test_guidance_leads_away_from_the_negative():
    near, plain, far = (
        run(20, Exact(), Before(20, 1.0), Before(20, 0.0), length=20, guidance_weight=weight).mean()
        for weight in (0.0, 1.0, 2.0)
    )
    assert near == pytest.approx(2.0, abs=0.1)
    assert plain == pytest.approx(3.0, abs=0.1)
    assert far == pytest.approx(4.0, abs=0.1)


def test_guidance_needs_a_negative():
    run(guidance_weight=1.0)
    with pytest.raises(ConfigError, match="guidance_weight=2 needs a source that can be left out"):
        run(guidance_weight=2.0)


def test_values_stay_within_the_clip():
    assert np.abs(run(adaptor=Exact(mean=50.0), clip=3.0)).max() <= 3.0
    assert run(adaptor=Exact(mean=50.0), clip=0.0).mean() == pytest.approx(50.0, abs=0.5)
    assert run(adaptor=Exact(mean=50.0)).max() <= 6.0


@pytest.mark.parametrize("steps", [1, 2, BLOCK, BLOCK + 1, 999, 1000])
@pytest.mark.parametrize("method", ["ddim", "ancestral"])
def test_any_number_of_steps(steps, method):
    adaptor = Exact()
    made = run(adaptor=adaptor, steps=steps, method=method)
    assert np.isfinite(made).all()
    assert len(adaptor.times) == steps


def test_steps_that_are_not_said_and_steps_that_are_too_many():
    for timesteps, looks in ((1000, 50), (20, 20)):
        adaptor = Exact()
        run(adaptor=adaptor, steps=None, timesteps=timesteps)
        assert len(adaptor.times) == looks
    with pytest.raises(ConfigError, match="steps=21 is more than the timesteps=20 of training; expected at most 20"):
        run(steps=21, timesteps=20)


def test_an_eta_that_ancestral_sampling_has_not():
    assert (run(method="ancestral", eta=1.0) == run(method="ancestral")).all()
    with pytest.raises(ConfigError, match=r"eta=0\.5 is of method=ddim; ancestral sampling is eta=1"):
        run(method="ancestral", eta=0.5)


def test_options_have_ranges():
    options = options_of(DenoiseOptions)
    for name, text in (("steps", "0"), ("method", "euler"), ("eta", "2"), ("guidance_weight", "-1"), ("length", "0")):
        with pytest.raises(ValueError, match=name):
            options[name].read(text)
    assert options["method"].read("ancestral") == "ancestral"


@pytest.mark.slow
def test_schedule_and_steps_are_those_of_diffusers(monkeypatch):
    import diffusers
    from diffusers.schedulers import scheduling_ddpm

    asked = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "clip_sample": False}
    ddpm = diffusers.DDPMScheduler(**asked)
    np.testing.assert_allclose(alpha_bar(1000), ddpm.alphas_cumprod.double().numpy(), rtol=2e-3, atol=1e-6)
    clean, noise, times = torch.randn(9, 4), torch.randn(9, 4), torch.arange(9) * 111
    left = torch.tensor(alpha_bar(1000))[times, None]
    ours = left.sqrt() * clean + (1 - left).sqrt() * noise
    torch.testing.assert_close(ours.float(), ddpm.add_noise(clean, noise, times), atol=1e-4, rtol=1e-4)

    seed, shape = 3, (5, 3)
    for predict, steps, eta in itertools.product(("x0", "noise"), (10, 50), (0.0, 0.7, 1.0)):
        kind = "sample" if predict == "x0" else "epsilon"
        more = {"prediction_type": kind, "timestep_spacing": "trailing"}
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(shape, generator=generator).double()
        draws = torch.cat(
            [torch.randn((BLOCK, *shape), generator=generator) for _ in range(1 + steps // BLOCK)]
        ).double()
        exact = Exact(noise=predict == "noise")

        def said(x, time, exact=exact):
            time = torch.tensor([(time + 1) / 1000])
            return exact.predict(torch.zeros(5, 4), torch.tensor([5]), {"noised": x, "time": time})["frames"]

        ddim = diffusers.DDIMScheduler(**asked, **more, set_alpha_to_one=True)
        ddim.alphas_cumprod = ddim.alphas_cumprod.double()
        ddim.set_timesteps(steps)
        theirs = x
        for i, time in enumerate(ddim.timesteps.tolist()):
            theirs = ddim.step(
                said(theirs, time), time, theirs, eta=eta, variance_noise=draws[i] if eta else None
            ).prev_sample
        ours = run(1, exact, seeds=[seed], predict=predict, steps=steps, eta=eta, clip=0.0)[0]
        np.testing.assert_allclose(ours, theirs, atol=5e-3, err_msg=f"ddim {predict} {steps} {eta}")

        if eta == 1.0:
            left_to_draw = iter(draws)
            monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, left=left_to_draw, **__: next(left))
            ddpm = diffusers.DDPMScheduler(**asked, **more, variance_type="fixed_small")
            ddpm.alphas_cumprod = ddpm.alphas_cumprod.double()
            ddpm.set_timesteps(steps)
            theirs = x
            for time in ddpm.timesteps.tolist():
                theirs = ddpm.step(said(theirs, time), time, theirs).prev_sample
            ours = run(1, exact, seeds=[seed], predict=predict, steps=steps, method="ancestral", clip=0.0)[0]
            np.testing.assert_allclose(ours, theirs, atol=5e-3, err_msg=f"ddpm {predict} {steps}")
