"""Optimizers by name: each learns, goes on bit for bit, and one of one's own is a record."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ofasys import ConfigError, Trainer
from ofasys.errors import PluginError
from ofasys.train.groups import groups_of
from ofasys.train.optimizer import gradient_norm, optimizer_tensors, restore_optimizer, step_clipped
from ofasys.train.optimizers import ADAFACTOR, MUON, OPTIMIZERS, OptimizerSpec, known_optimizers
from ofasys.train.optimizers.muon import Muon, hidden_matrices
from tests.train import tiny

BETAS = (0.9, 0.98)


def fit(optimizer, out=None, max_steps=6, **settings):
    settings = {"live": False, "decay": "constant", "warmup": 0, "precision": "float32"} | settings
    trainer = Trainer(optimizer=optimizer, out=out, max_steps=max_steps, **settings)
    return trainer, trainer.fit(model=tiny.model(), tasks=[tiny.label_task(), tiny.box_task()])


def sgd(model, groups, lr, betas):
    """One of one's own."""
    return torch.optim.SGD([{"params": list(group.parameters.values())} for group in groups], lr=lr, momentum=betas[0])


MINE = OptimizerSpec("sgd", "SGD with momentum.", sgd, lr=0.05)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, MINE], ids=lambda one: getattr(one, "name", one))
def test_each_goes_on_as_if_it_had_never_stopped(tmp_path, optimizer):
    _, straight = fit(optimizer)
    fit(optimizer, tmp_path, 3)
    trainer, resumed = fit(optimizer, tmp_path, 6)
    assert trainer.history[-1]["step"] == 6
    assert tiny.same_weights(tiny.weights(straight), tiny.weights(resumed))
    begun = fit(optimizer, max_steps=3)[1]
    assert not tiny.same_weights(tiny.weights(straight), tiny.weights(begun))


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, MINE], ids=lambda one: getattr(one, "name", one))
def test_each_learns_at_its_own_rate(optimizer):
    trainer = Trainer(optimizer=optimizer, max_steps=60, log_every=10, live=False, precision="float32")
    trainer.fit(model=tiny.model(), tasks=tiny.label_task())
    losses = [line["loss"] for line in trainer.history if line["kind"] == "train"]
    assert losses[-1] < 0.8 * losses[0]


def test_a_rate_that_is_given_stands_before_the_optimizers_own():
    assert [Trainer(optimizer=name).peak for name in OPTIMIZERS] == [1e-3, 1e-2, 1e-3]
    assert Trainer(optimizer="adafactor", lr=0.5).peak == 0.5


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("adamW8", "trainer.optimizer is 'adamW8'; did you mean adamw"),
        ("lion", "there are adamw, adafactor, muon"),
        (3, "trainer has optimizer=3; it is text or a OptimizerSpec"),
    ],
)
def test_one_that_is_not_known_is_refused(optimizer, message):
    with pytest.raises(ConfigError, match=message):
        Trainer(optimizer=optimizer)


def test_muon_takes_the_matrices_between_hidden_states_alone():
    model = fit("adamw", max_steps=1)[1]
    hidden = hidden_matrices(model)
    assert "engine.encoder.blocks.0.ffn.up.weight" in hidden
    assert "engine.decoder.blocks.0.cross_attention.kv.weight" in hidden
    assert not any("positions" in name or "norm" in name or name.endswith(("bias", "scale")) for name in hidden)
    assert not any(name.startswith("adaptors.") for name in hidden)
    made = MUON.optimizer(model, groups_of(model, 0.1), 1e-3, BETAS)
    names = {parameter: name for name, parameter in model.named_parameters()}
    muon = {names[p] for g in made.parts[0].param_groups for p in g["params"]}
    assert muon == hidden
    assert {names[p] for g in made.param_groups for p in g["params"]} == set(names.values())


def test_a_step_of_muon_is_that_of_torch_s_two():
    """The matrices by torch.optim.Muon and the rest by torch.optim.AdamW, with the same gradients."""
    torch.manual_seed(0)
    model, twin = fit("adamw", max_steps=1)[1], fit("adamw", max_steps=1)[1]
    made = MUON.optimizer(model, groups_of(model, 0.1), 1e-2, BETAS)
    hidden, others = [], {True: [], False: []}
    for name, parameter in twin.named_parameters():
        decays = parameter.ndim > 1 and not name.startswith("adaptors.tokens") and "positions" not in name
        if name in hidden_matrices(twin):
            hidden.append(parameter)
        else:
            others[decays].append(parameter)
    first = torch.optim.Muon(hidden, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    groups = [{"params": own, "weight_decay": 0.1 * decays} for decays, own in others.items()]
    second = torch.optim.AdamW(groups, lr=1e-2, betas=BETAS)
    for _ in range(3):
        for own, other in zip(model.parameters(), twin.parameters(), strict=True):
            own.grad = torch.randn_like(own)
            other.grad = own.grad.clone()
        made.step()
        first.step()
        second.step()
    for own, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("together", [1, 2**22])
def test_matrices_of_one_shape_step_together_as_each_does_alone(together, monkeypatch):
    monkeypatch.setattr("ofasys.train.optimizers.muon.TOGETHER", together)
    torch.manual_seed(0)
    shapes = [(8, 8)] * 3 + [(24, 8), (8, 24), (8, 24), (5, 7)]
    own = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    other = [nn.Parameter(one.detach().clone()) for one in own]
    ours = Muon(own, lr=1e-2, weight_decay=0.1)
    theirs = torch.optim.Muon(other, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        for one, two in zip(own, other, strict=True):
            one.grad = None if step == 1 and one is own[0] else torch.randn_like(one)
            two.grad = None if one.grad is None else one.grad.clone()
        ours.step()
        theirs.step()
    for one, two in zip(own, other, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(ours.state[one]["momentum_buffer"], theirs.state[two]["momentum_buffer"])


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)


@pytest.mark.parametrize("spec", [ADAFACTOR, MUON, MINE], ids=lambda spec: spec.name)
@pytest.mark.parametrize("clip", [0.5, 1e3])
def test_a_clipped_step_is_that_of_torch(spec, clip):
    ends = []
    for ours in (False, True):
        torch.manual_seed(0)
        model = Two()
        optimizer = spec.optimizer(model, groups_of(model, 0.1), 1e-2, BETAS)
        for step in range(3):
            optimizer.zero_grad(set_to_none=True)
            for parameter in list(model.parameters())[: step + 1]:
                parameter.grad = torch.randn_like(parameter) * 10
            if ours:
                step_clipped(optimizer, gradient_norm(optimizer), clip, torch.zeros(()))
            else:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
        ends.append([p.detach().clone() for p in model.parameters()])
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, MINE], ids=lambda one: getattr(one, "name", one))
def test_a_gradient_that_is_not_finite_changes_no_weight(optimizer, monkeypatch):
    """Also where the optimizer does not look for itself; the run ends with the step."""
    from ofasys.train import steps

    kept = {}
    own = steps.gradient_norm

    def spoiled(one):
        if one is not kept.get("optimizer"):
            kept.update(optimizer=one, calls=0)
        kept["calls"] += 1
        if kept["calls"] == 3:
            kept["weights"] = [p.detach().clone() for g in one.param_groups for p in g["params"]]
            for group in one.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad.fill_(torch.nan)
        return own(one)

    monkeypatch.setattr(steps, "gradient_norm", spoiled)
    with pytest.raises(ConfigError, match="the gradient is nan at step 3"):
        fit(optimizer, max_steps=5, log_every=5, skip_limit=0)
    after = [p.detach() for g in kept["optimizer"].param_groups for p in g["params"]]
    assert all(map(torch.equal, kept["weights"], after))


def test_rows_and_columns_of_adafactor_grow_with_their_parameter():
    model = Two()
    optimizer = ADAFACTOR.optimizer(model, groups_of(model, 0.0), 0.1, BETAS)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    saved = {name: value.clone() for name, value in optimizer_tensors(optimizer, model).items()}
    larger = Two()
    larger.a = nn.Linear(3, 5)
    again = ADAFACTOR.optimizer(larger, groups_of(larger, 0.0), 0.1, BETAS)
    restore_optimizer(again, larger, saved)
    state = again.state[larger.a.weight]
    assert state["row_var"].shape == (5, 1)
    assert torch.equal(state["row_var"][:3], saved["row_var/a.weight"])
    assert torch.equal(state["col_var"], saved["col_var/a.weight"])
    assert again.state[larger.a.bias]["variance"].tolist()[3:] == [0.0, 0.0]
    for parameter in larger.parameters():
        parameter.grad = torch.randn_like(parameter)
    again.step()
    assert all(bool(torch.isfinite(parameter).all()) for parameter in larger.parameters())


class Counting(torch.optim.SGD):
    """Keeps a whole number and a fraction of each parameter, as optimizers of other libraries do."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state["count"] = state.get("count", 0) + 1
                state["half"] = state.get("half", 1.0) / 2


def test_numbers_that_are_no_tensors_come_back_as_they_were():
    model = Two()
    optimizer = Counting(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    saved = optimizer_tensors(optimizer, model)
    again = Counting(model.parameters(), lr=0.1)
    restore_optimizer(again, model, saved)
    state = again.state[model.a.weight]
    assert state == {"count": 1, "half": 0.5}
    assert (type(state["count"]), type(state["half"])) == (int, float)
    again.state[model.a.weight]["why"] = "text"
    with pytest.raises(PluginError, match=r"Counting keeps why='text' of a\.weight"):
        optimizer_tensors(again, model)


def test_another_optimizer_than_the_run_had_begins_without_a_state(tmp_path, caplog):
    fit("adamw", tmp_path, 3)
    trainer, _ = fit("muon", tmp_path, 6)
    assert "the run was trained with adamw so far; muon begins with no state of its own" in caplog.text
    assert "changed since: trainer.optimizer 'adamw' -> 'muon'" in caplog.text
    assert trainer.history[-1]["step"] == 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda *given: None, "make of optimizer 'mine' gave a NoneType"),
        (lambda model, groups, lr, betas: torch.optim.SGD(list(groups[0].parameters.values()), lr), "in 0 places"),
        (
            lambda model, groups, lr, betas: torch.optim.SGD([*model.parameters(), nn.Parameter(torch.ones(1))], lr),
            "took 1 parameters that are in no group",
        ),
        (lambda *given: 1 / 0, r"optimizer 'mine' cannot be made \(ZeroDivisionError: division by zero\)"),
    ],
)
def test_one_of_one_s_own_that_does_not_fit_is_named(make, message):
    with pytest.raises(PluginError, match=message):
        fit(OptimizerSpec("mine", "", make, lr=0.1), max_steps=1)


class Entry:
    """An entry point of an installed package."""

    def __init__(self, name, made):
        self.name, self.value, self.made = name, f"package:{name}", made

    def load(self):
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


@pytest.fixture
def installed(monkeypatch):
    """Makes entry points installed."""
    known_optimizers.cache_clear()
    found = {}
    monkeypatch.setattr("ofasys.train.optimizers.known.entry_points", lambda group: found.get(group, []))
    yield found
    known_optimizers.cache_clear()


def test_one_of_an_installed_package_is_known_by_name(installed):
    installed["ofasys.optimizers"] = [Entry("sgd", MINE)]
    assert fit("sgd", max_steps=1)[0].peak == 0.05
    assert Trainer(optimizer="adamw").optimizer_spec.name == "adamw"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry("bad", ImportError("no such module")), r"plug-in 'bad' \(package:bad\) does not load: ImportError"),
        (Entry("bad", sgd), "is a function, not an OptimizerSpec"),
        (Entry("bad", OptimizerSpec("muon", "", sgd, lr=0.1)), "optimizer 'muon' is registered already; give"),
    ],
)
def test_an_installed_package_that_does_not_fit_is_named(installed, entry, message):
    installed["ofasys.optimizers"] = [entry]
    with pytest.raises(ConfigError, match=message):
        Trainer(optimizer="muon")
