"""Balancers: each against the formula of its paper, written anew, or another implementation; and in a run."""

from __future__ import annotations

import json
import math
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchjd.aggregation import PCGrad

from ofasys import CheckpointError, ConfigError, GeneralistModel, Task, Trainer
from ofasys.train import steps as room
from ofasys.train.balance import BALANCERS, Balancing, Begun, find
from tests.train import tiny

CPU = torch.device("cpu")
ALL = sorted(set(BALANCERS) - {"sum"})


class Toy:
    """Three losses of shared weights, and of one weight that only the last has."""

    def __init__(self, seed: int = 0) -> None:
        random = torch.Generator().manual_seed(seed)
        self.shared = nn.Parameter(torch.randn(4, 3, generator=random))
        self.own = nn.Parameter(torch.randn(2, generator=random))
        self.aims = [torch.randn(4, 3, generator=random) * size for size in (1.0, 3.0, 10.0)]
        self.parameters = [self.shared, self.own]

    def losses(self) -> list[torch.Tensor]:
        found = [(self.shared - aim).square().mean() + 0.1 for aim in self.aims]
        return [*found[:2], found[2] + self.own.square().sum()]

    def gradient(self, loss: torch.Tensor) -> dict[nn.Parameter, torch.Tensor]:
        found = torch.autograd.grad(loss, self.parameters, retain_graph=True, allow_unused=True)
        return {p: g.clone() for p, g in zip(self.parameters, found, strict=True) if g is not None}

    @torch.no_grad()
    def descend(self, gradient: dict[nn.Parameter, torch.Tensor], rate: float = 0.05) -> None:
        for parameter, one in gradient.items():
            parameter -= rate * one


def begun(toy: Toy, names: str = "abc") -> Begun:
    return Begun(tuple(names), frozenset([toy.shared]), CPU, 7)


def trained(balance, steps: int = 25) -> tuple[Toy, Balancing, list[list[float]]]:
    """A toy that a balancer trains, and the factors of the losses at each step."""
    toy = Toy()
    balancing = find(balance).begin(begun(toy))
    seen = []
    for step in range(steps):
        losses = dict(zip("abc", toy.losses(), strict=True))
        factors = {task: balancing.factor(task) for task in losses}
        seen.append([1.0 if factor is None else float(factor) for factor in factors.values()])
        total: dict[nn.Parameter, torch.Tensor] = {}
        for task, loss in losses.items():
            own = toy.gradient(loss if factors[task] is None else loss * factors[task])
            if balancing.apart:
                balancing.take(task, loss.detach(), own)
            else:
                for parameter, one in own.items():
                    total[parameter] = total.get(parameter, 0) + one
        descended = balancing.gradient(step) if balancing.apart else total
        balancing.finish({task: loss.detach() for task, loss in losses.items()}, dict.fromkeys(losses, 1.0))
        toy.descend(descended)
        balancing.after(lambda: dict(zip("abc", [one.detach() for one in toy.losses()], strict=True)))
    return toy, balancing, seen


def test_uncertainty_is_the_loss_of_its_paper():
    """One graph of all losses and log variances, and torch's own Adam for these."""
    toy, log_variance = Toy(), nn.Parameter(torch.zeros(3))
    adam = torch.optim.Adam([log_variance], lr=0.02)
    for _ in range(25):
        whole = sum((-s).exp() * loss + s / 2 for s, loss in zip(log_variance, toy.losses(), strict=True))
        *found, log_variance.grad = torch.autograd.grad(whole, [*toy.parameters, log_variance])
        toy.descend(dict(zip(toy.parameters, found, strict=True)))
        adam.step()
    mine, balancing, _ = trained({"name": "uncertainty", "lr": 0.02})
    torch.testing.assert_close(mine.shared, toy.shared)
    torch.testing.assert_close(mine.own, toy.own)
    assert list(balancing.weights().values()) == pytest.approx((-log_variance).exp().tolist(), rel=1e-4)


def test_uncertainty_settles_where_all_losses_are_alike():
    toy = Toy()
    balancing = find({"name": "uncertainty", "lr": 0.05}).begin(begun(toy))
    for _ in range(3000):
        losses = {"a": torch.tensor(0.2), "b": torch.tensor(3.0), "c": torch.tensor(40.0)}
        balancing.finish(losses, dict.fromkeys(losses, 1 / 3))
    assert balancing.weights() == pytest.approx({"a": 2.5, "b": 1 / 6, "c": 1 / 80}, rel=1e-2)


def test_dwa_is_its_formula():
    balancing = find({"name": "dwa", "every": 2, "temperature": 2.0}).begin(begun(Toy(), "ab"))
    for a, b in [(4.0, 1.0), (6.0, 1.0), (2.0, 1.0), (3.0, 0.8)]:
        assert balancing.factor("a") is None
        balancing.finish({"a": torch.tensor(a), "b": torch.tensor(b)}, {})
    powers = [math.exp(2.5 / 5.0 / 2), math.exp(0.9 / 1.0 / 2)]
    expected = {"a": 2 * powers[0] / sum(powers), "b": 2 * powers[1] / sum(powers)}
    assert balancing.weights() == pytest.approx(expected)
    assert balancing.factor("a") == pytest.approx(expected["a"])
    assert find("dwa").begin(begun(Toy())).factor("a") is None


def test_dwa_of_a_loss_that_explodes_and_of_one_that_is_0():
    balancing = find({"name": "dwa", "every": 1}).begin(begun(Toy(), "abc"))
    for a, b, c in [(1e-6, 1.0, 0.0), (1e6, 1.0, 0.0)]:
        losses = {"a": torch.tensor(a), "b": torch.tensor(b), "c": torch.tensor(c)}
        balancing.finish(losses, {})
    assert balancing.weights() == pytest.approx({"a": 2.0, "b": 0.0})
    assert balancing.factor("c") is None


def test_gradnorm_is_the_algorithm_of_its_paper():
    """The gradient of |weight * length - aim| by torch's own autograd, Adam, and a scaling."""
    toy, weights = Toy(), nn.Parameter(torch.ones(3))
    adam = torch.optim.Adam([weights], lr=0.03)
    first = None
    for _ in range(25):
        losses = toy.losses()
        first = first or [float(loss.detach()) for loss in losses]
        lengths = [torch.autograd.grad(loss, toy.shared, retain_graph=True)[0].norm() for loss in losses]
        found = torch.autograd.grad(
            sum(w.detach() * loss for w, loss in zip(weights, losses, strict=True)), toy.parameters
        )
        norms = torch.stack([w * length for w, length in zip(weights, lengths, strict=True)])
        ratios = torch.tensor([float(loss.detach()) / one for loss, one in zip(losses, first, strict=True)])
        aims = (norms.mean() * (ratios / ratios.mean()) ** 1.5).detach()
        weights.grad = torch.autograd.grad((norms - aims).abs().sum(), weights)[0]
        adam.step()
        weights.data *= 3 / weights.data.sum()
        toy.descend(dict(zip(toy.parameters, found, strict=True)))
    mine, balancing, _ = trained({"name": "gradnorm", "lr": 0.03})
    torch.testing.assert_close(mine.shared, toy.shared)
    assert list(balancing.weights().values()) == pytest.approx(weights.tolist(), rel=1e-4)
    assert sum(balancing.weights().values()) == pytest.approx(3)


def test_famo_is_the_algorithm_of_its_paper():
    """As its authors wrote it: one graph of all losses, and the softmax's own gradient."""
    toy, logits = Toy(), nn.Parameter(torch.zeros(3))
    adam = torch.optim.Adam([logits], lr=0.025, weight_decay=0.01)
    for _ in range(25):
        losses = torch.stack(toy.losses())
        z = torch.softmax(logits, -1)
        scale = (z / losses).sum().detach()
        whole = (losses.log() * z.detach() / scale).sum() * 3
        toy.descend(dict(zip(toy.parameters, torch.autograd.grad(whole, toy.parameters), strict=True)))
        with torch.no_grad():
            fallen = losses.log() - torch.stack(toy.losses()).log()
        logits.grad = torch.autograd.grad(torch.softmax(logits, -1), logits, grad_outputs=fallen)[0]
        adam.step()
    mine, balancing, _ = trained("famo")
    torch.testing.assert_close(mine.shared, toy.shared, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mine.own, toy.own, rtol=1e-4, atol=1e-5)
    expected = (3 * torch.softmax(logits, -1)).tolist()
    assert list(balancing.weights().values()) == pytest.approx(expected, rel=1e-3)


def test_pcgrad_of_two_is_its_formula():
    toy = Toy()
    balancing = find("pcgrad").begin(begun(toy, "ab"))
    g, h = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[-0.5, 2.0, 0.0]])
    balancing.take("a", torch.tensor(1.0), {toy.shared: g.clone(), toy.own: torch.tensor([3.0])})
    balancing.take("b", torch.tensor(1.0), {toy.shared: h.clone()})
    found = balancing.gradient(0)
    dot = float((g * h).sum())
    expected = g - dot / h.square().sum() * h + h - dot / g.square().sum() * g
    torch.testing.assert_close(found[toy.shared], expected)
    assert found[toy.own].tolist() == [3.0]  # nobody else's
    balancing.take("a", torch.tensor(1.0), {toy.shared: g.clone()})
    balancing.take("b", torch.tensor(1.0), {toy.shared: -0.1 * h})
    torch.testing.assert_close(balancing.gradient(1)[toy.shared], g - 0.1 * h)  # no conflict: the sum


@pytest.mark.parametrize("step", range(4))
def test_pcgrad_of_five_is_that_of_torchjd(step, monkeypatch):
    """Which is given all five gradients as the rows of one matrix."""
    random = torch.Generator().manual_seed(step)
    rows = torch.randn(5, 12, generator=random)
    toy = Toy()
    balancing = find("pcgrad").begin(begun(toy, "abcde"))
    for task, row in zip("abcde", rows, strict=True):
        balancing.take(task, torch.tensor(1.0), {toy.shared: row.reshape(4, 3).clone()})
    seeds = []
    seed = torch.manual_seed
    monkeypatch.setattr(torch, "manual_seed", lambda number: seeds.append(number) or seed(number))
    before = torch.get_rng_state()
    found = balancing.gradient(step)[toy.shared]
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng([]):
        seed(seeds[0])
        expected = PCGrad()(rows.double()).float()
    torch.testing.assert_close(found, expected.reshape(4, 3))


@pytest.mark.parametrize("name", ALL)
def test_a_task_without_a_gradient_in_an_update_stays_as_it_is(name):
    toy, balancing, _ = trained({"name": "dwa", "every": 1} if name == "dwa" else name, 5)
    before = balancing.weights()
    loss = toy.losses()[0]
    if balancing.apart:
        balancing.take("a", loss.detach(), toy.gradient(loss))
        alone = balancing.gradient(9)
        assert set(alone) == {toy.shared}
    balancing.finish({"a": loss.detach()}, {"a": 1.0})
    balancing.after(lambda: {"a": loss.detach() * 0.9})
    after = balancing.weights()
    if name in ("uncertainty", "gradnorm"):
        assert after["b"] / after["c"] == pytest.approx(before["b"] / before["c"])


@pytest.mark.parametrize("name", ["uncertainty", "gradnorm", "famo"])
def test_a_loss_that_is_not_finite_leaves_the_weights_finite(name):
    toy, balancing, _ = trained(name, 3)
    loss = toy.losses()[0]
    if balancing.apart:
        balancing.take("a", torch.tensor(float("nan")), {toy.shared: torch.full((4, 3), float("nan"))})
        balancing.take("b", loss.detach(), toy.gradient(loss))
        balancing.gradient(3)
    balancing.finish({"a": torch.tensor(float("nan")), "b": loss.detach()}, {"a": 1.0, "b": 1.0})
    balancing.after(lambda: {"a": torch.tensor(float("nan")), "b": loss.detach()})
    assert all(math.isfinite(weight) for weight in balancing.weights().values())


@pytest.mark.parametrize("name", ALL)
def test_what_is_kept_is_json_and_goes_on_exactly(name):
    _, balancing, _ = trained({"name": "dwa", "every": 3} if name == "dwa" else name, 10)
    kept = json.loads(json.dumps(balancing.state()))
    again = find({"name": "dwa", "every": 3} if name == "dwa" else name).begin(begun(Toy()))
    if kept:
        again.restore(kept)
    assert again.state() == balancing.state()
    assert again.weights() == balancing.weights()


# --- in a run -------------------------------------------------------------------------------------------------------


def fit(out=None, tasks=None, model=None, **changes):
    given = {
        "max_steps": 6,
        "warmup": 1,
        "lr": 5e-3,
        "live": False,
        "log_every": 1,
        "schedule": "accumulate",
        "seed": 3,
    }
    trainer = Trainer(out=out, **(given | changes))
    model = model or tiny.model()
    tasks = tasks or [tiny.label_task(valid=None), tiny.fill_task(loss_weight=0.5), tiny.box_task(weight=2, join=1)]
    trainer.fit(model=model, tasks=tasks)
    return tiny.weights(model), trainer


@pytest.fixture(scope="module")
def plain():
    """The weights of a plain sum, by number format."""
    return {precision: fit(precision=precision, **PARTS)[0] for precision in ("float32", "bfloat16")}


PARTS = {"accumulate": 2, "decay": "constant", "max_steps": 4}


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("uncertainty", "float32"),
        ("dwa", "float32"),
        ("gradnorm", "bfloat16"),
        ("famo", "bfloat16"),
        ("pcgrad", "bfloat16"),
    ],
)
def test_a_run_that_is_stopped_and_resumed_is_never_stopped(name, precision, plain, tmp_path):
    """With several parts an update; and it is not the run of a plain sum."""
    settings = PARTS | {"balance": {"name": "dwa", "every": 1} if name == "dwa" else name, "precision": precision}
    whole, trainer = fit(**settings)
    fit(tmp_path, **(settings | {"max_steps": 3}))
    parts, _ = fit(tmp_path, **settings)
    assert tiny.same_weights(parts, whole)
    assert not tiny.same_weights(plain[precision], whole)
    assert all(math.isfinite(line["loss"]) for line in trainer.history if line["kind"] == "train")


@pytest.fixture
def gradients(monkeypatch):
    """What is descended in the first update."""
    found = []

    def watched(run, step):
        if not found:
            found.append({n: p.grad.clone() for n, p in run.model.named_parameters() if p.grad is not None})

    monkeypatch.setattr(room.Steps, "descend", watched)
    return found


def test_a_factor_of_one_and_a_surgery_without_conflict_are_the_sum(gradients, monkeypatch):
    """The gradients that are gathered task by task add up to those of one backward pass after the other."""
    tasks = lambda: [tiny.label_task(valid=None), tiny.fill_task(weight=2)]  # noqa: E731
    settings = {"max_steps": 1, "accumulate": 2, "precision": "float32"}
    found = {}
    for name in ("sum", "gradnorm", "uncertainty", "dwa"):
        gradients.clear()
        fit(tasks=tasks(), model=tiny.model(dropout=0.0), balance=name, **settings)
        found[name] = gradients[0]
    for name, own in found.items():
        assert own.keys() == found["sum"].keys()
        for key, one in own.items():
            torch.testing.assert_close(one, found["sum"][key], rtol=1e-4, atol=1e-6, msg=f"{name} {key}")


def test_losses_are_means_without_weights_and_parts(monkeypatch):
    """Whatever a task's weight, its micro-batches and its instructions, the balancer is told its mean loss."""
    told = []

    class Listening(Balancing):
        def finish(self, losses, shares):
            told.append(({task: float(loss) for task, loss in losses.items()}, dict(shares)))

    listening = SimpleNamespace(cost="nothing", begin=lambda run: Listening())
    tasks = [tiny.label_task(valid=None, loss_weight=3.0), tiny.fill_task(weight=2)]
    _, trainer = fit(tasks=tasks, balance=listening, max_steps=2)
    for step, (losses, shares) in enumerate(told, 1):
        lines = {line["task"]: line["loss"] for line in trainer.history if line["step"] == step}
        assert losses == pytest.approx(lines, rel=1e-5)
        assert shares == pytest.approx({"label": 3.0 / 3, "fill": 2 / 3})


def test_the_log_tells_the_weights():
    _, trainer = fit(balance="gradnorm")
    last = {line["task"]: line["balance"] for line in trainer.history if line["step"] == 6}
    assert sum(last.values()) == pytest.approx(3, rel=1e-4)
    _, trainer = fit()
    assert all("balance" not in line for line in trainer.history)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"schedule": "round_robin"},
            "balance is 'pcgrad', and an update holds one task.*give schedule='accumulate', or acc",
        ),
        ({"tasks": [tiny.label_task(valid=None)]}, "there is one task, 'label'"),
    ],
)
def test_nothing_to_balance_is_refused_before_the_first_step(changes, message):
    model = tiny.model()
    with pytest.raises(ConfigError, match=message):
        fit(balance="pcgrad", model=model, **changes)
    assert model.symbols is None
    fit(balance="pcgrad", max_steps=1)
    fit(balance="pcgrad", max_steps=1, schedule="round_robin", accumulate=3)


def test_float16_is_refused_beside_a_balancer():
    with pytest.raises(ConfigError, match=r"balance='dwa' does not go with precision='float16'.*bfloat16 or float32"):
        fit(balance="dwa", precision="float16", max_steps=1)
    fit(balance="sum", precision="float16", max_steps=1)


def test_a_task_that_joins_later_is_there_to_be_balanced():
    fit(tasks=[tiny.label_task(valid=None), tiny.fill_task(join=2)], balance="gradnorm", max_steps=3)


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        ("pcgard", "unknown balance 'pcgard'; did you mean pcgrad"),
        ({"every": 3}, "give its name too"),
        ({"name": "dwa", "evry": 3}, "balance 'dwa' has no option 'evry'; did you mean every"),
        ({"name": "dwa", "every": 0}, "every=0; it is 1 update or more"),
        ({"name": "dwa", "temperature": -1}, "temperature=-1"),
        ({"name": "uncertainty", "lr": 0}, "lr=0; it is a number above 0"),
        ({"name": "gradnorm", "alpha": "x"}, "alpha='x'; it is a number"),
        ({"name": "famo", "decay": -1}, "decay=-1"),
        (3, "not a balancer: 3"),
        (type(BALANCERS["dwa"]), "not a balancer"),
    ],
)
def test_what_cannot_be_is_answered(balance, message):
    with pytest.raises(ConfigError, match=message):
        Trainer(balance=balance)
    Trainer(balance={"name": "dwa", "every": 3})


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    with pytest.raises(ConfigError, match=r'balance pcgrad needs the library torchjd: pip install "ofasys\[balance\]"'):
        fit(balance="pcgrad")


@pytest.mark.parametrize("name", ["famo", "gradnorm", "uncertainty", "dwa"])
def test_a_loss_below_0_is_named_before_anything_is_saved(name, tmp_path):
    """Of numbers, whose loss is a density's: it may be any."""
    rows = [{"text": word, "n": 7.0} for word in tiny.WORDS]
    numbers = Task("numbers", "[TEXT:text] -> [NUMBER:n]", train=rows, micro_batch_size=8)
    settings = {"max_steps": 60, "lr": 3e-2, "log_every": 30, "save_every": 20}
    with pytest.raises(ConfigError, match=r"the loss of task 'numbers' was -.*give balance='pcgrad'"):
        fit(tmp_path, tasks=[tiny.label_task(valid=None), numbers], balance=name, **settings)
    assert not list(tmp_path.glob("checkpoints/*.json"))
    fit(
        tasks=[tiny.label_task(valid=None), numbers], balance="pcgrad", **(settings | {"max_steps": 3, "save_every": 0})
    )


@pytest.mark.parametrize("name", ALL)
def test_micro_batches_without_a_usable_row_take_no_part(name):
    """A task of bad rows but one in an update, and none in another."""
    rows = tiny.label_rows(12, bad=(0, 1, 2, 3, 4, 5, 6, 7))
    bad = tiny.label_task("bad", train=rows, valid=None, shuffle=False, micro_batch_size=2)
    _, trainer = fit(tasks=[bad, tiny.fill_task()], balance=name, max_steps=7, log_every=7)
    figures = {line["task"]: line for line in trainer.history}
    assert figures["bad"]["samples"] == 4
    assert all(math.isfinite(line["loss"]) for line in figures.values())


@pytest.mark.parametrize("name", ["gradnorm", "famo", "pcgrad"])
def test_an_update_that_is_begun_again_in_pieces_is_as_if_it_had_fitted(name, gradients, monkeypatch):
    """The second task does not fit the memory, when the first one's gradient was taken already."""
    tasks = lambda: [tiny.label_task(valid=None), tiny.fill_task(instruction="[TEXT:text] -> [TEXT:label]")]  # noqa: E731
    settings = {"balance": name, "precision": "float32", "max_steps": 1}
    fit(tasks=tasks(), model=tiny.model(dropout=0.0), **settings)
    whole = gradients.pop()
    forward, calls = GeneralistModel.forward, []

    def full(model, *given):
        calls.append(None)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("full")
        return forward(model, *given)

    monkeypatch.setattr(GeneralistModel, "forward", full)
    fit(tasks=tasks(), model=tiny.model(dropout=0.0), **settings)
    assert len(calls) > 3
    for key, one in whole.items():
        torch.testing.assert_close(gradients[0][key], one, rtol=1e-3, atol=1e-5)


def test_another_balancer_than_before_begins_anew_and_is_told(tmp_path, caplog):
    fit(tmp_path, balance="gradnorm", max_steps=2)
    fit(tmp_path, balance="uncertainty", max_steps=4)
    assert "trainer.balance 'gradnorm' -> 'uncertainty'" in caplog.text


def test_a_state_that_no_balancer_kept_is_an_error(tmp_path):
    fit(tmp_path, balance="famo", max_steps=2)
    tiny.rewrite_state(tmp_path, balance={"of": "FAMO", "kept": {"label": {"valu": 3}}})
    with pytest.raises(CheckpointError, match=r"balancer cannot go on from what it kept .*; give another `out`"):
        fit(tmp_path, balance="famo")
