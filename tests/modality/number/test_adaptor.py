"""NUMBER's adaptor: what it makes of places, near and far, and of states."""

import pytest
import torch

from ofasys.modality.number import NUMBER
from ofasys.modality.number.adaptor import LEAST, WaveAdaptor


@pytest.fixture
def adaptor():
    torch.manual_seed(0)
    return WaveAdaptor({}, 16)


def test_any_place_is_embedded_and_neighbours_change_nothing(adaptor):
    places = torch.tensor([[0.0], [-1.0], [1e6], [-1e6], [1e-6]])
    made = adaptor.embed({"frames": places})
    assert made.shape == (5, 16)
    assert torch.isfinite(made).all()
    torch.testing.assert_close(adaptor.embed({"frames": places[2:3]}), made[2:3])
    near = adaptor.embed({"frames": torch.tensor([[1.0], [1.01], [2.0]])})
    assert (near[0] - near[1]).norm() < (near[0] - near[2]).norm()


def test_before_anything_was_learned_it_says_what_is_known(adaptor):
    made = adaptor.predict(torch.randn(4, 16), torch.ones(4, dtype=torch.long), {})
    assert torch.equal(made["frames"], torch.zeros(4, 1))
    torch.testing.assert_close(made["spread"], torch.ones(4, 1))


def test_a_spread_is_never_nothing(adaptor):
    with torch.no_grad():
        adaptor.after.bias[1] = -1e4
    made = adaptor.predict(torch.randn(4, 16), torch.ones(4, dtype=torch.long), {})
    assert float(made["spread"].detach().min()) == pytest.approx(LEAST)


def test_half_precision(adaptor):
    half = adaptor.to(torch.bfloat16)
    assert half.embed({"frames": torch.ones(2, 1)}).dtype == torch.bfloat16
    assert (
        half.predict(torch.ones(2, 16, dtype=torch.bfloat16), torch.ones(2, dtype=torch.long), {})["frames"].dtype
        == torch.float32
    )


def test_training_in_half_precision_leaves_numbers_whole(adaptor):
    torch.nn.init.normal_(adaptor.after.weight)
    places, hidden = {"frames": torch.randn(5, 1)}, torch.randn(5, 16)
    embedded, made = adaptor.embed(places), adaptor.predict(hidden, torch.ones(5, dtype=torch.long), {})
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(adaptor.embed(places), embedded)
        assert torch.equal(adaptor.predict(hidden, torch.ones(5, dtype=torch.long), {})["frames"], made["frames"])


def test_the_plan_counts_its_weights():
    counted = NUMBER.adaptor["waves"].cost({}, 16)[0]
    assert counted == sum(p.numel() for p in WaveAdaptor({}, 16).parameters())
