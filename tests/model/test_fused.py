"""All layers of a step in one call of C, against the same layers one product after the other."""

import shutil

import pytest
import torch
from torch.nn import functional as F

from ofasys.model import ModelConfig, UniversalModel, fused, linear, native
from ofasys.model.step import advance
from ofasys.types import Layout, Stream

BART = {"norm": "post", "attention_norm": False, "ffn_norm": False, "head_scale": False, "final_norm": False}
SHAPES = [{}, BART, {"activation": "relu", "width": 96, "heads": 2}, {"activation": "silu", "ffn_norm": False}]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Models of any size are fused where the machine can."""
    monkeypatch.setattr(fused, "LEAST", 1)
    if native.compiled("decoder") is None:
        pytest.skip("no C compiler here")


def made(**shape):
    """A model none of whose parameters is at its first, neutral value."""
    torch.manual_seed(0)
    given = {"width": 64, "heads": 4, "ffn": 96, "encoder_layers": 1, "decoder_layers": 2, "dropout": 0.0} | shape
    model = UniversalModel(ModelConfig(**given)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def memory(model, lengths):
    places = [torch.arange(n) for n in lengths]
    order, most = torch.cat(places), max(lengths)
    positions = torch.stack([order, torch.full_like(order, -1), torch.full_like(order, -1)], 1)
    index = torch.cat([place + most * number for number, place in enumerate(places)])
    layout = Layout(len(lengths), most, index, positions, torch.tensor(lengths), len(set(lengths)) == 1)
    return model.encode(Stream(torch.randn(len(order), model.width), layout))


def steps(model, source, rows, group, one_call, skip=None):
    """The states of two positions at once and five one by one, rows changing places midway."""
    cache = model.start(source, rows, 3, group)  # it has to grow
    cache.skip = skip
    assert cache.layers.fused is not None
    if not one_call:
        cache.layers.fused = None
    draws = torch.Generator().manual_seed(1)
    found = []
    for first, n in ((0, 2), *((i, 1) for i in range(2, 7))):
        if first == 4:
            cache.reorder(torch.arange(rows).view(-1, group).flip(1).flatten())
        positions = torch.stack([torch.arange(first, first + n), *2 * [torch.full((n,), -1)]], 1)
        found.append(model.step(torch.randn(rows, n, model.width, generator=draws), positions, cache))
    model.decoder.kept.drop()
    return torch.stack(found)


@pytest.mark.parametrize(("lengths", "group"), [([5], 1), ([4, 4, 4], 3), ([6, 2], 5), (None, 9)])
@pytest.mark.parametrize("shape", SHAPES)
@torch.inference_mode()
def test_one_call_is_the_layers_one_by_one(shape, lengths, group):
    model = made(**shape)
    source = None if lengths is None else memory(model, lengths)
    rows = (1 if lengths is None else len(lengths)) * group
    one, other = (steps(model, source, rows, group, one_call) for one_call in (True, False))
    assert torch.allclose(one, other, atol=2e-5)
    assert one.abs().max() > 0.5


@torch.inference_mode()
def test_places_that_hold_nothing_are_not_seen():
    model = made()
    skip = torch.tensor([0, 2, 1])
    one, other = (steps(model, None, 3, 1, one_call, skip) for one_call in (True, False))
    assert torch.allclose(one[1:], other[1:], atol=2e-5)
    assert not torch.allclose(one[1:], steps(model, None, 3, 1, True)[1:], atol=1e-3)


@torch.no_grad()
def test_in_bfloat16_a_little_is_lost():
    model = made(**BART)
    source = memory(model, [5, 3])
    exact = steps(model, source, 4, 2, True)
    model.reduced = True
    assert 1e-4 < (steps(model, source, 4, 2, True) - exact).abs().max() < 0.1
    for module in model.decoder.blocks.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.copy_(module.weight.bfloat16().float())
    rough = steps(model, source, 4, 2, True)
    model.reduced = False
    own = (steps(model, source, 4, 2, True) - rough).abs()  # of the other factor, where that is rounded too
    assert own.max() < 0.1
    assert own.mean() < 0.01


@torch.inference_mode()
def test_sources_are_read_in_bfloat16_where_they_are_decoded_in_it(monkeypatch):
    if linear.library() is None:
        pytest.skip("no products of pairs here")
    model = made(**BART)
    order = torch.arange(9)
    layout = Layout(
        1, 9, order, torch.stack([order, -torch.ones_like(order), -torch.ones_like(order)], 1), order[-1:] + 1, True
    )
    source = Stream(torch.randn(9, model.width), layout)
    exact, rough = (model.encode(source, reduced).states for reduced in (False, True))
    assert 1e-4 < (rough - exact).abs().max() < 0.1
    model.reduced = True
    assert torch.equal(model.encode(source).states, exact), "but where it is asked"
    kept = model.start(model.encode(source, True), 1, 4).cross
    opened = model.open(source, None, 1).cache.cross
    assert kept[0].k.dtype is torch.bfloat16
    assert torch.equal(kept[1].v, opened[1].v), "a session that reads by itself"
    monkeypatch.setattr(linear, "library", lambda: None)
    model.encoder.read.drop()
    torch.testing.assert_close(model.encode(source, True).states, exact)


@torch.inference_mode()
def test_threads_share_a_step_without_changing_it():
    model = made()
    source = memory(model, [5, 3])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = steps(model, source, 10, 5, True)
        torch.set_num_threads(2)
        assert torch.equal(steps(model, source, 10, 5, True), one)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize(("shape", "threads"), [({}, 1), (BART, 1), ({"width": 288, "heads": 6, "ffn": 608}, 2)])
@torch.inference_mode()
def test_a_row_is_the_same_whatever_stands_beside_it(shape, threads, reduced):
    model, before = made(**shape), torch.get_num_threads()
    model.reduced = reduced
    given = torch.randn(17, 3, model.width)

    def stepped(rows):
        cache = model.start(None, len(rows), 3)
        places = torch.tensor([[[i, -1, -1]] for i in range(3)])
        return torch.stack([model.step(rows[:, i : i + 1], places[i], cache) for i in range(3)])

    try:
        torch.set_num_threads(threads)
        together = stepped(given)
        for first, last in ((0, 1), (1, 2), (2, 4), (4, 9), (8, 16), (16, 17)):
            assert torch.equal(stepped(given[first:last]), together[:, first:last])
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def test_changed_weights_are_seen():
    model = made()

    def state():
        return model.step(torch.ones(1, 1, 64), torch.tensor([[0, -1, -1]]), model.start(None, 1, 2))

    before = state()
    model.decoder.blocks[0].ffn.down.weight.mul_(2)
    assert not torch.allclose(state(), before, atol=1e-3)


@pytest.mark.parametrize("shape", [{"width": 72, "heads": 3}, {"ffn": 100}, {"positions": "rotary"}])
def test_what_the_c_is_not_for_is_computed_without(shape):
    model = made(**shape)
    assert model.start(None, 1, 2).layers.fused is None
    assert (
        model.step(torch.ones(1, 1, model.width), torch.tensor([[0, -1, -1]]), model.start(None, 1, 2)).isfinite().all()
    )


def test_without_a_compiler_there_is_no_library(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.compiled.cache_clear()
    try:
        monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
        assert native.compiled("decoder") is None
        native.compiled.cache_clear()
        monkeypatch.setenv("CC", shutil.which("false") or "false")  # one that fails
        assert native.compiled("decoder") is None
        assert not list(tmp_path.rglob("*.so"))
    finally:
        native.compiled.cache_clear()


@pytest.mark.parametrize("activation", [F.gelu, F.relu, F.silu])
def test_activations_are_those_of_torch(activation):
    name = {F.gelu: "gelu", F.relu: "relu", F.silu: "silu"}[activation]
    model = made(activation=name, decoder_layers=1, ffn_norm=False)
    with torch.inference_mode():
        wide = torch.cat([torch.linspace(-30, 30, 64)[None], torch.linspace(-3, 3, 64)[None]])
        cache = model.start(None, 2, 2)
        one = cache.layers.fused.step(wide, cache)
        cache.layers.fused = None
        model.decoder.kept.drop()
        other = model.start(None, 2, 2)
        other.layers.fused = None
        positions = torch.tensor([[0, -1, -1]])
        assert torch.allclose(one, advance(wide[:, None], model.decoder.positions, positions, other)[:, 0], atol=2e-4)
