"""Parameters by the pattern of their names: rates, decay, freezing, and what is refused."""

from __future__ import annotations

import pytest
import torch

from ofasys import Callback, ConfigError, Trainer
from ofasys.errors import PluginError
from ofasys.train.groups import GroupRule, groups_of, read_rules, table
from ofasys.train.optimizers import OPTIMIZERS, OptimizerSpec
from tests.train import tiny


def sgd(model, groups, lr, betas):
    return torch.optim.SGD([{"params": list(group.parameters.values())} for group in groups], lr=lr)


SGD = OptimizerSpec("sgd", "", sgd, lr=0.05)


def fit(groups=(), out=None, max_steps=4, model=None, tasks=None, **settings):
    settings = {"live": False, "decay": "constant", "warmup": 0, "precision": "float32"} | settings
    trainer = Trainer(groups=groups, out=out, max_steps=max_steps, **settings)
    return trainer.fit(model=model or tiny.model(), tasks=tasks or [tiny.label_task(), tiny.box_task()])


@pytest.fixture(scope="module")
def begun():
    """The model as it is before the first step."""

    class Stop(Callback):
        def before_fit(self, run):
            self.weights = tiny.weights(run.model)

    stop = Stop()
    return fit(max_steps=1, callbacks=[stop]), stop.weights


def grouped(model, *rules, decay=0.1, peak=1e-3):
    return groups_of(model, decay, read_rules(rules), peak)


def names(groups, match):
    return {name for group in groups if group.match == match for name in group.parameters}


def test_each_parameter_is_in_the_group_of_the_last_rule_that_matches(begun):
    groups = grouped(begun[0], {"match": "engine.*"}, {"match": "engine.decoder.*", "lr": 0.5}, {"match": "*.bias"})
    every = [name for group in groups for name in group.parameters]
    assert sorted(every) == sorted(name for name, _ in begun[0].named_parameters())
    assert names(groups, "*.bias") == {name for name in every if name.endswith(".bias")}
    assert names(groups, "engine.decoder.*") == {
        name for name in every if name.startswith("engine.decoder.") and not name.endswith(".bias")
    }
    assert names(groups, "") == {name for name in every if not name.startswith("engine.") and not name.endswith("bias")}
    assert {group.factor for group in groups if group.match == "engine.decoder.*"} == {500.0}


def test_a_decay_that_is_given_is_of_all_matrices_and_of_no_vector(begun):
    groups = grouped(begun[0], {"match": "adaptors.tokens.*", "weight_decay": 0.3}, {"match": "engine.encoder.*"})
    decays = {name: group.weight_decay for group in groups for name in group.parameters}
    assert decays["adaptors.tokens.weight"] == 0.3
    assert decays["engine.encoder.blocks.0.ffn.up.weight"] == 0.1
    assert decays["engine.encoder.positions.order.weight"] == 0.0
    own = grouped(begun[0], {"match": "engine.encoder.*", "weight_decay": 0.2})
    decays = {name: group.weight_decay for group in own for name in group.parameters}
    assert decays["engine.encoder.positions.order.weight"] == 0.2
    assert decays["engine.encoder.blocks.0.ffn.up.bias"] == 0.0
    assert decays["engine.decoder.blocks.0.ffn.up.weight"] == 0.1


def test_a_rate_falls_block_by_block():
    model = tiny.model(encoder_layers=3, decoder_layers=2)
    groups = grouped(model, {"match": "engine.*", "lr": "0.5x", "layer_decay": 0.5})
    factors = {name: group.factor for group in groups for name in group.parameters}
    assert [factors[f"engine.encoder.blocks.{i}.ffn.up.weight"] for i in range(3)] == [0.125, 0.25, 0.5]
    assert [factors[f"engine.decoder.blocks.{i}.ffn.up.bias"] for i in range(2)] == [0.25, 0.5]
    assert factors["engine.encoder.final_norm.weight"] == 0.5
    assert factors["adaptors.tokens.weight"] == 1.0


def test_the_table_says_what_each_holds(begun):
    groups = grouped(
        begun[0],
        {"match": "engine.encoder.*", "lr": "0.1x"},
        {"match": "engine.decoder.*", "freeze": True},
        {"match": "adaptors.image*", "freeze": 50},
    )
    lines = [line.split() for line in table(groups, 1e-3).splitlines()]
    assert lines[0] == ["group", "parameters", "numbers", "lr", "weight", "decay"]
    assert ["all", "else", "1", f"{begun[0].table.numel():,}", "0.001", "0"] in lines
    matrices = [name for name, own in begun[0].named_parameters() if "encoder.blocks" in name and own.ndim > 1]
    assert any(line[:2] == ["engine.encoder.*", f"{len(matrices)}"] and line[3:] == ["0.0001", "0.1"] for line in lines)
    assert all("frozen" in line for line in lines if line[0] == "engine.decoder.*")
    assert any(line[0] == "adaptors.image*" and line[3:] == ["0.001", "after", "50", "0.1"] for line in lines)


def test_it_is_told_before_the_first_step(caplog):
    fit([{"match": "engine.decoder.*", "freeze": True}], max_steps=1)
    assert "parameters by group:\ngroup" in caplog.text
    caplog.clear()
    fit(max_steps=1)
    assert "by group" not in caplog.text


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_group_that_says_nothing_changes_nothing(optimizer):
    plain = fit(optimizer=optimizer)
    assert tiny.same_weights(tiny.weights(plain), tiny.weights(fit([{"match": "*"}], optimizer=optimizer)))


def test_a_group_has_its_own_rate(begun):
    """By plain gradient descent, what a weight moves by is the rate times its gradient."""
    before = begun[1]
    moved = {}
    for rate in (None, "0.1x", 0.025):
        rules = [] if rate is None else [{"match": "engine.decoder.*", "lr": rate}]
        after = tiny.weights(fit(rules, max_steps=1, optimizer=SGD))
        moved[rate] = {name: after[name] - before[name] for name in after}
    for name, whole in moved[None].items():
        tenth, half = (0.1, 0.5) if name.startswith("engine.decoder.") else (1.0, 1.0)
        torch.testing.assert_close(moved["0.1x"][name], whole * tenth, rtol=1e-2, atol=1e-7)
        torch.testing.assert_close(moved[0.025][name], whole * half, rtol=1e-2, atol=1e-7)


def test_rates_of_groups_fall_with_the_runs():
    seen = []

    class Rates(Callback):
        def after_step(self, run):
            seen.append(sorted({group["lr"] for group in run.optimizer.param_groups}))

    fit([{"match": "engine.*", "lr": "0.5x"}], decay="linear", lr=1e-2, callbacks=[Rates()])
    assert [low / high for low, high in seen] == pytest.approx([0.5] * 4)
    assert seen[0][1] == 1e-2 > seen[1][1] > seen[3][1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_is_frozen_stays_as_it_is_and_all_else_learns(begun, optimizer):
    model = fit([{"match": "engine.*", "freeze": True}], optimizer=optimizer)
    for name, weight in tiny.weights(model).items():
        assert torch.equal(weight, begun[1][name]) == name.startswith("engine."), name
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_is_frozen_for_some_updates_learns_after_them(begun, tmp_path):
    rules = [{"match": "engine.encoder.*", "freeze": 2}]
    early = tiny.weights(fit(rules, tmp_path, max_steps=2))
    assert all(torch.equal(early[name], begun[1][name]) for name in early if name.startswith("engine.encoder."))
    late = tiny.weights(fit(rules, tmp_path, max_steps=5))
    assert not any(
        torch.equal(late[name], early[name]) for name in late if name.startswith("engine.encoder.blocks.0.ffn")
    )
    assert tiny.same_weights(late, tiny.weights(fit(rules, max_steps=5)))


def test_what_was_frozen_by_hand_stays_so():
    model = tiny.model()
    for parameter in model.engine.encoder.parameters():
        parameter.requires_grad_(False)
    before = tiny.weights(model)
    after = tiny.weights(fit([{"match": "engine.*", "freeze": 1}], model=model, max_steps=3))
    encoder = [name for name in before if name.startswith("engine.encoder.")]
    assert all(torch.equal(before[name], after[name]) for name in encoder)
    assert not torch.equal(before["engine.decoder.final_norm.bias"], after["engine.decoder.final_norm.bias"])
    assert not any(parameter.requires_grad for parameter in model.engine.encoder.parameters())
    assert all(parameter.requires_grad for parameter in model.engine.decoder.parameters())


def test_what_was_frozen_is_freed_where_a_run_fails():
    class Fails(Callback):
        def after_step(self, run):
            raise ValueError("no")

    model = tiny.model()
    with pytest.raises(PluginError):
        fit([{"match": "engine.*", "freeze": True}], model=model, callbacks=[Fails()])
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_task_whose_loss_depends_on_nothing_that_learns_is_told(caplog, begun):
    rules = [{"match": "*", "freeze": True}, {"match": "adaptors.image*"}]
    model = fit(rules, max_steps=6)
    assert caplog.text.count("task 'label' learns nothing: all parameters that its loss depends on are frozen") == 1
    changed = {name for name, own in tiny.weights(model).items() if not torch.equal(own, begun[1][name])}
    assert changed == {name for name in begun[1] if name.startswith("adaptors.image")}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([{"match": "engine.encodr.*"}], r"'engine.encodr.\*' matches no parameter; did you mean engine.encoder.\*"),
        ([{"match": "engine.encoder"}], r"matches no parameter; did you mean engine.encoder.\*"),
        ([{"match": "zzz"}], r"names begin with adaptors.image_patch_8, adaptors.tokens, engine.decoder"),
        ([{"match": "engine.*"}, {"match": "*"}], r"all that 'engine.\*' matches is in later groups"),
        ([{"match": "*.bias", "weight_decay": 0.1}], "holds no matrix; vectors do not decay"),
        ([{"match": "*", "freeze": True}], "freezes every parameter from the first update on"),
        ([{"match": "engine.*", "freeze": 3}, {"match": "ad*", "freeze": True}], "freezes every parameter"),
    ],
)
def test_groups_that_do_not_fit_the_model_are_refused(groups, message):
    with pytest.raises(ConfigError, match=message):
        fit(groups)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("engine.*", "trainer.groups is 'engine.*'; give a list of groups"),
        ({"match": "engine.*"}, "give a list of groups"),
        (["engine.*"], "a group is a mapping as match: engine"),
        ([{"lr": 0.1}], "has no match"),
        ([{"match": ""}], "match of a group is ''"),
        ([{"match": ["a", "b"]}], r"match of a group is \['a', 'b'\]"),
        ([{"match": "*", "learning_rate": 1}], "has 'learning_rate'; here it is called lr"),
        ([{"match": "*", "freez": True}], "did you mean freeze"),
        ([{"match": "*", "lr": "0.1"}], "lr of group '.' is '0.1'; it is a rate as 1e-4, or a share of the run's"),
        ([{"match": "*", "lr": -1.0}], "lr of group '.' is -1.0"),
        ([{"match": "*", "lr": True}], "lr of group '.' is True"),
        ([{"match": "*", "weight_decay": -1}], "weight_decay of group '.' is -1; it is a number of 0 or more"),
        ([{"match": "*", "layer_decay": 2}], "layer_decay of group '.' is 2; it is a number of 0 or more and at most"),
        ([{"match": "*", "freeze": -1}], "freeze of group '.' is -1; it is true, false, or a number of updates"),
        ([{"match": "*", "freeze": "yes"}], "freeze of group '.' is 'yes'"),
    ],
)
def test_what_is_no_group_is_refused_when_the_trainer_is_made(groups, message):
    with pytest.raises(ConfigError, match=message):
        Trainer(groups=groups)


def test_a_rule_is_what_it_was_read_from():
    given = {"match": "engine.*", "lr": "0.1x", "freeze": 1, "layer_decay": 0.9}
    assert read_rules([given]) == (GroupRule(**given),)
    assert GroupRule(**given).to_dict() == given
    assert read_rules([GroupRule(match="*", freeze=False)])[0].to_dict() == {"match": "*"}
    assert read_rules([GroupRule(match="*", lr=" 2.5e-1x ")])[0].factor(3.0) == 0.25


def test_an_optimizer_that_joins_groups_of_different_rates_is_named():
    def joined(model, groups, lr, betas):
        return torch.optim.SGD(model.parameters(), lr=lr)

    with pytest.raises(PluginError, match="optimizer 'one' joined groups of different rates"):
        fit([{"match": "engine.*", "lr": "2x"}], optimizer=OptimizerSpec("one", "", joined, lr=0.1))
    fit(optimizer=OptimizerSpec("one", "", joined, lr=0.1), max_steps=1)
