"""Sizes are numbers known without the model, and true of it."""

import subprocess
import sys

import pytest
import torch

from ofasys.errors import ConfigError, DataError
from ofasys.model import SIZES, ModelConfig, UniversalModel, flops, parameters
from ofasys.types import Layout, Stream

SMALL = ModelConfig(width=8, heads=2, ffn=12, encoder_layers=1, decoder_layers=2, max_positions=16, max_grid=4)


def changed(**changes: object) -> ModelConfig:
    return ModelConfig.from_dict(SMALL.to_dict() | changes)


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_parameters_of_sizes(name: str) -> None:
    assert parameters(SIZES[name]) == sum(p.numel() for p in UniversalModel(SIZES[name]).parameters())


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"attention_norm": False},
        {"head_scale": False},
        {"ffn_norm": False},
        {"embed_norm": False},
        {"final_norm": False},
    ],
)
def test_parameters_of_switches(switches: dict[str, object]) -> None:
    config = changed(**switches)
    assert parameters(config) == sum(p.numel() for p in UniversalModel(config).parameters())


@pytest.mark.parametrize(("source", "target"), [(6, 4), (6, 0), (0, 4)])
def test_flops_are_those_counted(source: int, target: int) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    def stream(n: int) -> Stream:
        positions = torch.tensor([[i, -1, -1] for i in range(n)])
        return Stream(torch.randn(n, 8), Layout(1, n, torch.arange(n), positions, torch.tensor([n]), True))

    model = UniversalModel(SMALL).eval()
    with FlopCounterMode(display=False) as counter:
        memory = model.encode(stream(source)) if source else None
        if target:
            model.decode(stream(target), memory)
    square = 2 * SMALL.decoder_layers * target * (target - 1) * SMALL.width  # the counter does not know of causality
    attention = counter.get_flop_counts()["Global"].get(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu, 0)
    want = flops(SMALL, source, target)
    if attention == 0:  # a counter that does not know this kernel either
        T, S, D = target, source, SMALL.width
        want -= SMALL.encoder_layers * 4 * S * S * D + SMALL.decoder_layers * (2 * T * (T + 1) * D + 4 * T * S * D)
        square = 0
    assert counter.get_total_flops() == want + square


def test_sizes_need_no_torch() -> None:
    code = "import sys, ofasys.model as m; m.parameters(m.SIZES['base']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_config_round_trip() -> None:
    for config in (*SIZES.values(), changed(norm="post", dropout=0.3)):
        assert ModelConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 3}, "did you mean width"),
        ({"heads": 3}, "does not divide into 3 heads"),
        ({"norm": "around"}, "'pre' or 'post'"),
        ({"activation": "tanh"}, "'gelu', 'relu' or 'silu'"),
        ({"dropout": 1.0}, "less than 1"),
        ({"ffn": 0}, "at least 1"),
        ({"encoder_layers": -1}, "0 or more"),
    ],
)
def test_bad_config(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        changed(**values)


def test_config_that_lacks_fields() -> None:
    with pytest.raises(ConfigError, match="lacks heads, ffn"):
        ModelConfig.from_dict({"width": 8, "encoder_layers": 1, "decoder_layers": 1})


@pytest.mark.parametrize(
    ("position", "message"), [([16, -1, -1], "takes 17 places, the model has 16"), ([0, 2, 4], "3 rows and 5 columns")]
)
def test_positions_beyond_the_tables(position: list[int], message: str) -> None:
    layout = Layout(1, 1, torch.arange(1), torch.tensor([position]), torch.tensor([1]), True)
    with pytest.raises(DataError, match=message):
        UniversalModel(SMALL).encode(Stream(torch.randn(1, 8), layout))


def test_rows_that_do_not_fit_the_sources() -> None:
    layout = Layout(3, 1, torch.arange(3), torch.tensor([[0, -1, -1]] * 3), torch.tensor([1] * 3), True)
    model = UniversalModel(SMALL).eval()
    memory = model.encode(Stream(torch.randn(3, 8), layout))
    with pytest.raises(ValueError, match="expected 6 rows"):
        model.decode(Stream(torch.randn(3, 8), layout), memory, group=2)
    with pytest.raises(ValueError, match="expected 6 rows"):
        model.start(memory, rows=4, max_length=3, group=2)


def test_no_weight_is_left_at_a_bad_scale() -> None:
    torch.manual_seed(0)
    for name in ("tiny", "small"):
        config = SIZES[name]
        model = UniversalModel(config).eval()
        positions = torch.stack([torch.arange(30), *[torch.full((30,), -1)] * 2], 1)
        layout = Layout(1, 30, torch.arange(30), positions, torch.tensor([30]), True)
        memory = model.encode(Stream(torch.randn(30, config.width), layout))
        states = model.decode(Stream(torch.randn(30, config.width), layout), memory).states
        assert 0.8 < states.std().item() < 1.2
