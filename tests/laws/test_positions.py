"""What holds for every position scheme: a cache is the full pass, a tree is its paths, neighbours and padding are
nothing.

A scheme of one's own, one class and its line, is under the same laws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from ofasys import GeneralistModel, OFASys, Task, Trainer
from ofasys.errors import ConfigError, PluginError
from ofasys.model import ModelConfig, UniversalModel
from ofasys.model.attention import biased
from ofasys.model.positions import SCHEMES, PositionScheme
from ofasys.model.positions.positions import Positions, guarded
from ofasys.model.product import attend
from ofasys.model.sizes import parameters
from ofasys.model.tree import Tree
from ofasys.types import Stream
from tests.laws.test_model import alone, layout, model, stream


class Waves(Positions):
    """Sines and cosines of the place (Vaswani et al., 2017)."""

    def __init__(self, config: ModelConfig, decoder: bool) -> None:
        super().__init__(config, decoder)
        self.width = config.width

    def stream(self, positions: Tensor, top: Sequence[int] | None = None) -> Tensor:
        rates = 10_000.0 ** (-torch.arange(0, self.width, 2, device=positions.device) / self.width)
        angle = positions[..., :1].float() * rates
        return torch.cat([angle.sin(), angle.cos()], -1)


OWN = PositionScheme(name="waves", about="sines and cosines of the place", load=f"{__name__}:Waves")


@pytest.fixture(autouse=True, scope="module")
def with_own() -> Iterator[None]:
    SCHEMES[OWN.name] = OWN
    yield
    del SCHEMES[OWN.name]


KINDS: dict[str, dict[str, object]] = {
    "learned": {},
    "relative": {"positions": "relative", "buckets": 8, "farthest": 16},
    "alibi": {"positions": "alibi"},
    "rotary": {"positions": "rotary"},
    "rotary of 2": {"positions": "rotary", "rotary_axes": 2},
    "rotary of 3": {"positions": "rotary", "rotary_axes": 3, "width": 36, "heads": 3},
    "waves": {"positions": "waves"},
}
every = pytest.mark.parametrize("kind", KINDS)


def made(kind: str) -> UniversalModel:
    return model(**KINDS[kind])


def of_width(m: UniversalModel, batch: Stream) -> Stream:
    width = m.config.width
    generator = torch.Generator().manual_seed(9)
    return Stream(torch.randn(len(batch.embedding), width, generator=generator), batch.layout)


@every
@pytest.mark.parametrize("prefix", [1, 4])
@pytest.mark.parametrize("with_source", [True, False])
@torch.no_grad()
def test_a_cache_is_the_full_pass(kind: str, prefix: int, with_source: bool) -> None:
    m = made(kind)
    target = of_width(m, stream([6, 6, 6], seed=2))
    memory = m.encode(of_width(m, stream([3, 7, 1]))) if with_source else None
    full = m.decode(target, memory).states.view(3, 6, -1)
    x, places = target.embedding.view(3, 6, -1), target.layout.positions.view(3, 6, 3)
    cache = m.start(memory, 3, 1)  # it has to grow
    found = [m.step(x[:, :prefix], places[:, :prefix], cache)]
    found += [m.step(x[:, t : t + 1], places[:, t : t + 1], cache) for t in range(prefix, 6)]
    torch.testing.assert_close(torch.stack(found, 1), full[:, prefix - 1 :], atol=1e-5, rtol=1e-4)
    cache = m.start(memory, 3, 2)
    torch.testing.assert_close(m.fill(x, places, cache), full, atol=1e-5, rtol=1e-4)


@every
@torch.no_grad()
def test_a_cache_reordered_and_cut_goes_on_as_its_rows(kind: str) -> None:
    m = made(kind)
    memory = m.encode(of_width(m, stream([3, 5])))
    x = of_width(m, stream([5] * 4, seed=2)).embedding.view(4, 5, -1)
    places = torch.tensor([[t, t % 3, -1] for t in range(5)])
    parents = torch.tensor([1, 1, 2, 2])
    cache = m.start(memory, 4, 1, group=2)
    m.step(x[:, :3], places[:3], cache)
    cache.reorder(parents)
    m.step(x[:, 3:4], places[3:4], cache)
    cache.keep(torch.tensor([1]))
    got = m.step(x[2:, 4:5], places[4:5], cache)
    history = torch.cat([x[parents, :3], x[:, 3:]], 1)
    target = Stream(history.reshape(20, -1), layout([5] * 4, places.repeat(4, 1)))
    torch.testing.assert_close(
        got, m.decode(target, memory, group=2).states.view(4, 5, -1)[2:, -1], atol=1e-5, rtol=1e-4
    )


@every
@torch.no_grad()
def test_a_tree_is_its_paths(kind: str) -> None:
    """From each of two rows two ways on, one of which parts again: as if each were a row of its own."""
    m = made(kind)
    memory = m.encode(of_width(m, stream([3, 5])))
    rows, n = 2, 3
    width = m.config.width
    x = torch.randn(rows, n, width)
    more = torch.randn(6, width)
    cache = m.start(memory, rows, n)
    m.step(x, torch.tensor([[t, -1, -1] for t in range(n)]), cache)
    tree = Tree(cache)
    at = torch.tensor([[n, -1, -1]] * 3)
    got = [m.grow(more[:3], at, tree, np.array([0, 0, 1]), np.array([-1, -1, -1]))]
    got.append(m.grow(more[3:], at + torch.tensor([1, 0, 0]), tree, np.array([0, 0, 1]), np.array([0, 1, 2])))
    for node, (row, path) in enumerate([(0, [0]), (0, [1]), (1, [2]), (0, [0, 3]), (0, [1, 4]), (1, [2, 5])]):
        whole = torch.cat([x[row], more[path]])
        places = torch.tensor([[t, -1, -1] for t in range(len(whole))])
        both = torch.cat([whole] * rows)  # beside itself, so that each row has its source
        states = m.decode(Stream(both, layout([len(whole)] * rows, places.repeat(rows, 1))), memory).states
        want = states.view(rows, len(whole), width)[row, -1]
        torch.testing.assert_close(torch.cat(got)[node], want, atol=1e-5, rtol=1e-4)


@every
@torch.no_grad()
def test_neighbours_and_padding_change_nothing(kind: str) -> None:
    m = made(kind)
    source, target = of_width(m, stream([3, 7, 1])), of_width(m, stream([5, 1, 4], seed=2))
    memory = m.encode(source)
    together = m.decode(target, memory).states.split([5, 1, 4])
    for i, states in enumerate(together):
        own = m.decode(alone(target, i), m.encode(alone(source, i))).states
        torch.testing.assert_close(states, own, atol=1e-5, rtol=1e-4)


@every
@torch.no_grad()
def test_where_a_position_stands_matters(kind: str) -> None:
    m = made(kind)
    x = of_width(m, stream([6]))
    order = torch.tensor([0, 7, 2, 9, 4, 1])
    moved = torch.stack([order, torch.full((6,), -1), torch.full((6,), -1)], 1)
    states = [m.encode(Stream(x.embedding, layout([6], places))).states for places in (moved, moved.flip(0))]
    assert (states[0] - states[1]).abs().max() > 1e-3


class Silent(Positions):
    """Nothing is said of where a position stands."""


@torch.no_grad()
def test_a_method_of_a_scheme_is_called_because_it_is_there() -> None:
    assert (Positions.biased, Waves.biased, Waves.rotates) == (False, False, False)
    told = type("Told", (Silent,), {"bias": lambda self, layer, queries, keys: keys})
    assert (told.biased, told.rotates, type("Inner", (told,), {}).biased) == (True, False, True)


def test_a_scheme_that_cannot_be_imported_is_named() -> None:
    lost = PositionScheme(name="lost", about="nowhere", load="nowhere_at_all:Lost")
    with pytest.raises(PluginError, match="position scheme 'lost': load='nowhere_at_all:Lost' is not there"):
        lost.resolve()


@every
def test_it_learns_and_counts_its_weights(kind: str) -> None:
    m = made(kind).train()
    m.decode(of_width(m, stream([5, 2], seed=2)), m.encode(of_width(m, stream([3, 7])))).states.pow(3).sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in m.parameters())
    assert sum(p.numel() for p in m.parameters()) == parameters(m.config)


@every
def test_a_model_with_it_trains_answers_is_saved_and_loaded(kind: str, tmp_path) -> None:
    fields = {
        "width": 36,
        "heads": 3,
        "ffn": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "max_positions": 64,
        "max_grid": 8,
    }
    config = ModelConfig(**(fields | KINDS[kind] | {"dropout": 0.0}))  # type: ignore[arg-type]
    rows = [{"img": np.full((16, 16, 3), 60 * i, np.uint8), "q": f"no {i}", "a": "ab"[i % 2]} for i in range(4)]
    line = "[IMAGE:img,size=16,patch=8] is [TEXT:q] ? -> [TEXT:a,closed_set]"
    trainer = Trainer(max_steps=2, out=tmp_path / "run", live=False)
    model = trainer.fit(model=GeneralistModel(config=config, text_pieces=280), tasks=Task("t", line, train=rows))
    loaded = OFASys.from_pretrained(tmp_path / "run")
    assert loaded.model.config == config
    given = {"data": rows, "closed_set": ["a", "b"]}
    one, other = (found.inference(line, **given) for found in (OFASys(model), loaded))
    assert [out.score for out in one] == [out.score for out in other]


def test_a_mask_is_never_a_large_finite_number() -> None:
    """A row that is -1e9 everywhere gets a gradient as many times too large as it has keys; guarded it is -inf."""
    torch.manual_seed(0)
    bias = torch.zeros(1, 2, 4, 6)
    bias[:, :, :, 3:] = -1e9
    bias[:, :, 1] = torch.finfo(torch.float32).min
    bias[:, :, 1, 0] = 0.0
    clean = guarded(bias)
    assert torch.equal(clean == -torch.inf, bias < -1e4)
    gradients = []
    for mask in (biased(bias, None, False), bias > -1e4):
        q, k, v = (
            torch.randn(1, 2, n, 8, generator=torch.Generator().manual_seed(n)).requires_grad_() for n in (4, 6, 6)
        )
        attend(q, k, v, mask).square().sum().backward()
        gradients.append(torch.cat([one.grad.flatten() for one in (q, k, v)]))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_row_that_sees_nothing_is_no_nan() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        q, k, v = (torch.randn(1, 2, n, 8, dtype=dtype).requires_grad_() for n in (4, 6, 6))
        bias = torch.zeros(1, 2, 4, 6)
        bias[:, :, 2] = -1e9
        found = attend(q, k, v, biased(bias, None, False))
        assert torch.equal(found[:, :, 2], torch.zeros_like(found[:, :, 2]))
        found.float().square().sum().backward()
        assert all(bool(torch.isfinite(one.grad).all()) for one in (q, k, v))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"positions": "rotari"}, "model.positions is 'rotari'; did you mean rotary"),
        ({"positions": 3}, "model.positions is 3; "),
        ({"positions": "rotary", "heads": 32}, "heads are 1 wide; rotary positions of 1 axes take a multiple of 2"),
        (
            {"positions": "rotary", "rotary_axes": 3},
            "heads are 16 wide; rotary positions of 3 axes take a multiple of 6",
        ),
        ({"positions": "rotary", "rotary_axes": 4}, "model.rotary_axes is 4; it is 1, 2 or 3"),
        ({"positions": "rotary", "rotary_base": "x"}, "model.rotary_base is 'x'; it is a number above 1"),
        ({"positions": "relative", "buckets": 7}, "buckets is 7; it is even, and 4 or more"),
        ({"positions": "relative", "buckets": 2.5}, "model.buckets is 2.5; it is a whole number"),
        ({"positions": "relative", "farthest": 32}, "model.farthest is 32; it is more than buckets, 32"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], said: str) -> None:
    fields: dict[str, object] = {"width": 32, "heads": 2, "ffn": 32, "encoder_layers": 1, "decoder_layers": 1}
    with pytest.raises(ConfigError, match=said):
        ModelConfig(**(fields | changes))  # type: ignore[arg-type]


def test_a_file_of_before_is_read() -> None:
    old = dataclasses.asdict(ModelConfig(width=32, heads=2, ffn=32, encoder_layers=1, decoder_layers=1))
    for name in ("positions", "buckets", "farthest", "rotary_axes", "rotary_base"):
        del old[name]
    assert ModelConfig.from_dict(old).positions == "learned"
