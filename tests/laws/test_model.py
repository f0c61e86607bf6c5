"""What must hold of the universal model whatever its weights are."""

import pytest
import torch
from torch import Tensor

from ofasys.model import ModelConfig, UniversalModel
from ofasys.types import Hidden, Layout, Stream

D = 16


def model(**changes: object) -> UniversalModel:
    torch.manual_seed(0)
    fields: dict[str, object] = {
        "width": D,
        "heads": 4,
        "ffn": 24,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "max_positions": 32,
        "max_grid": 8,
    }
    built = UniversalModel(ModelConfig(**(fields | changes)))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # away from gains of one and biases of zero
    return built.eval()


def layout(lengths: list[int], positions: Tensor | None = None) -> Layout:
    T = max(lengths)
    place = torch.cat([torch.arange(n) + T * i for i, n in enumerate(lengths)])
    if positions is None:
        order = torch.cat([torch.arange(n) for n in lengths])
        positions = torch.stack([order, order % 5 - 1, order % 3 - 1], 1)
    return Layout(len(lengths), T, place, positions, torch.tensor(lengths), place.numel() == T * len(lengths))


def stream(lengths: list[int], seed: int = 1) -> Stream:
    generator = torch.Generator().manual_seed(seed)
    return Stream(torch.randn(sum(lengths), D, generator=generator), layout(lengths))


def alone(batch: Stream, i: int) -> Stream:
    """Sample i by itself."""
    lengths = batch.layout.lengths.tolist()
    rows = slice(sum(lengths[:i]), sum(lengths[: i + 1]))
    return Stream(batch.embedding[rows], layout([lengths[i]], batch.layout.positions[rows]))


def steps(m: UniversalModel, target: Stream, memory: Hidden | None, group: int = 1, prefix: int = 1) -> Tensor:
    """States (R, T, D) of a batch without padding, step by step after a prefix."""
    B, T = target.layout.batch, target.layout.length
    x, places = target.embedding.view(B, T, D), target.layout.positions.view(B, T, 3)
    cache = m.start(memory, B, 1, group)  # room for one: it has to grow
    states = [m.step(x[:, :prefix], places[:, :prefix], cache)]
    states += [m.step(x[:, t : t + 1], places[:, t : t + 1], cache) for t in range(prefix, T)]
    return torch.stack(states, 1)


PRE = {}
POST = {"norm": "post", "attention_norm": False, "ffn_norm": False, "head_scale": False, "final_norm": False}
shapes = pytest.mark.parametrize("changes", [PRE, POST], ids=["pre", "post"])


@shapes
@torch.no_grad()
def test_one_sample_equals_itself_in_a_batch(changes: dict[str, object]) -> None:
    m = model(**changes)
    source, target = stream([3, 7, 1]), stream([5, 2, 6], seed=2)
    memory = m.encode(source)
    hidden = m.decode(target, memory)
    decoder_only = m.decode(target, None)
    for i, (s, t) in enumerate(
        zip((slice(0, 3), slice(3, 10), slice(10, 11)), (slice(0, 5), slice(5, 7), slice(7, 13)), strict=True)
    ):
        one = m.encode(alone(source, i))
        torch.testing.assert_close(memory.states[s], one.states)
        torch.testing.assert_close(hidden.states[t], m.decode(alone(target, i), one).states)
        torch.testing.assert_close(decoder_only.states[t], m.decode(alone(target, i), None).states)


@torch.no_grad()
def test_more_padding_changes_nothing() -> None:
    m = model()
    source = stream([3, 5])
    old = source.layout
    wide = Layout(2, 9, torch.tensor([0, 1, 2, 9, 10, 11, 12, 13]), old.positions, old.lengths, False)
    torch.testing.assert_close(m.encode(Stream(source.embedding, wide)).states, m.encode(source).states)


@torch.no_grad()
def test_neighbours_change_nothing() -> None:
    m = model()
    source, target = stream([3, 5]), stream([4, 2], seed=2)
    other = Stream(torch.cat([source.embedding[:3], 100 * stream([5], seed=9).embedding]), source.layout)
    memory, changed = m.encode(source), m.encode(other)
    assert (memory.states[3:] - changed.states[3:]).abs().max() > 0.1
    torch.testing.assert_close(memory.states[:3], changed.states[:3])
    torch.testing.assert_close(m.decode(target, memory).states[:4], m.decode(target, changed).states[:4])


def test_padding_changes_no_gradient() -> None:
    m = model()
    source, target = stream([3, 7]), stream([5, 2], seed=2)

    def gradients(losses: list[Tensor]) -> list[Tensor]:
        return list(torch.autograd.grad(sum(losses, torch.zeros(())), list(m.parameters())))

    together = gradients([m.decode(target, m.encode(source)).states.pow(3).sum()])
    apart = gradients([m.decode(alone(target, i), m.encode(alone(source, i))).states.pow(3).sum() for i in range(2)])
    torch.testing.assert_close(together, apart, atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_a_decoder_position_does_not_see_what_follows() -> None:
    m = model()
    target = stream([6])
    changed = target.embedding.clone()
    changed[4:] = torch.randn_like(changed[4:])  # not a shift: the first LayerNorm would undo it
    before, after = m.decode(target, None), m.decode(Stream(changed, target.layout), None)
    torch.testing.assert_close(before.states[:4], after.states[:4])
    assert (before.states[4:] - after.states[4:]).abs().max() > 0.1


@shapes
@pytest.mark.parametrize("prefix", [1, 3, 6])
@pytest.mark.parametrize("with_source", [True, False])
@torch.no_grad()
def test_steps_equal_the_full_pass(changes: dict[str, object], prefix: int, with_source: bool) -> None:
    m = model(**changes)
    target = stream([6, 6, 6], seed=2)
    memory = m.encode(stream([3, 7, 1])) if with_source else None
    want = m.decode(target, memory).states.view(3, 6, D)[:, prefix - 1 :]
    torch.testing.assert_close(steps(m, target, memory, prefix=prefix), want)


@torch.no_grad()
def test_several_positions_in_the_middle() -> None:
    m = model()
    target, memory = stream([6, 6], seed=2), m.encode(stream([3, 4]))
    x, places = target.embedding.view(2, 6, D), target.layout.positions[:6]  # (n, 3): the same for all rows
    want = m.decode(target, memory).states.view(2, 6, D)
    cache = m.start(memory, 2, 8)
    for a, b in ((0, 2), (2, 5), (5, 6)):
        torch.testing.assert_close(m.step(x[:, a:b], places[a:b], cache), want[:, b - 1])
    assert cache.filled == 6


@pytest.mark.parametrize("lengths", [[4, 4, 4, 4, 4, 4], [4, 2, 3, 1, 4, 4]])
@torch.no_grad()
def test_a_group_equals_a_repeated_memory(lengths: list[int]) -> None:
    m = model()
    source, target = stream([3, 5]), stream(lengths, seed=2)
    repeated = Stream(
        torch.cat([source.embedding[:3]] * 3 + [source.embedding[3:]] * 3),
        layout([3] * 3 + [5] * 3, torch.cat([source.layout.positions[:3]] * 3 + [source.layout.positions[3:]] * 3)),
    )
    want = m.decode(target, m.encode(repeated)).states
    memory = m.encode(source)
    torch.testing.assert_close(m.decode(target, memory, group=3).states, want)
    if min(lengths) == max(lengths):
        torch.testing.assert_close(steps(m, target, memory, group=3), want.view(6, 4, D))
        torch.testing.assert_close(steps(m, target, memory, group=3, prefix=2), want.view(6, 4, D)[:, 1:])


@torch.no_grad()
def test_reorder_goes_on_from_the_parents() -> None:
    m = model()
    memory = m.encode(stream([3, 5]))
    x = stream([5] * 4, seed=2).embedding.view(4, 5, D)
    places = torch.tensor([[t, -1, -1] for t in range(5)])
    parents = torch.tensor([1, 1, 2, 2])
    cache = m.start(memory, 4, 5, group=2)
    m.step(x[:, :3], places[:3], cache)
    cache.reorder(torch.arange(4))
    cache.reorder(parents)
    m.step(x[:, 3:4], places[3:4], cache)
    got = m.step(x[:, 4:5], places[4:5], cache)
    history = torch.cat([x[parents, :3], x[:, 3:]], 1)
    target = Stream(history.reshape(20, D), layout([5] * 4, places.repeat(4, 1)))
    torch.testing.assert_close(got, m.decode(target, memory, group=2).states.view(4, 5, D)[:, -1])


@torch.no_grad()
def test_keep_goes_on_with_some_sources() -> None:
    m = model()
    memory = m.encode(stream([3, 5, 2]))
    x = stream([3] * 6, seed=2).embedding.view(6, 3, D)
    places = torch.tensor([[t, -1, -1] for t in range(3)])
    whole, cut = m.start(memory, 6, 4, group=2), m.start(memory, 6, 4, group=2)
    for cache in (whole, cut):
        m.step(x[:, :2], places[:2], cache)
    cut.keep(torch.tensor([0, 2]))
    rows = torch.tensor([0, 1, 4, 5])
    assert cut.rows == 4
    torch.testing.assert_close(m.step(x[rows, 2:], places[2:], cut), m.step(x[:, 2:], places[2:], whole)[rows])


@shapes
def test_gradients_reach_every_parameter(changes: dict[str, object]) -> None:
    m = model(**changes).train()
    target = stream([5, 2], seed=2)
    m.decode(target, m.encode(stream([3, 7]))).states.pow(3).sum().backward()
    for name, parameter in m.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_one_side_alone_trains() -> None:
    m = model()
    m.encode(stream([3, 7])).states.pow(3).sum().backward()
    assert all(p.grad is not None for p in m.encoder.parameters())
    assert all(p.grad is None for p in m.decoder.parameters())
    m.decode(stream([3, 7]), None).states.pow(3).sum().backward()
    crossed = {name for name, p in m.decoder.named_parameters() if p.grad is None}
    assert crossed
    assert all("cross" in name for name in crossed)


def test_same_seed_same_model_and_output() -> None:
    one, two = model().train(), model().train()
    outputs = []
    for m in (one, two):
        torch.manual_seed(5)
        outputs.append(m.encode(stream([3, 7])).states)
    torch.testing.assert_close(outputs[0], outputs[1], atol=0, rtol=0)


def test_dropout_only_in_training() -> None:
    m = model()
    source = stream([3, 7])
    torch.testing.assert_close(m.encode(source).states, m.encode(source).states, atol=0, rtol=0)
    m.train()
    assert not torch.equal(m.encode(source).states, m.encode(source).states)
