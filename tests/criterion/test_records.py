"""Criteria and generators from outside: registered, planned, learned by, refused."""

from __future__ import annotations

import importlib.metadata
import pickle
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from ofasys import ConfigError, GeneralistModel, InstructionError, OFASys, PlanError, Task, Trainer, plan
from ofasys.criterion import CRITERIA, Criterion
from ofasys.criterion.cross_entropy import cross_entropy
from ofasys.criterion.regress import SquaredError as Squares
from ofasys.errors import CheckpointError, PluginError
from ofasys.flow import collate, preprocess
from ofasys.generator import GENERATORS, Generator
from ofasys.language import option
from ofasys.modality import BUILT_IN
from ofasys.modality import registry as room
from ofasys.planner import to_json
from tests.laws.test_accumulate import CONFIG

HERE = __name__
ROWS = [{"q": f"{a} and {b}", "a": a + b, "b": b} for a in "xyz" for b in "xyz"]


@dataclass(frozen=True, kw_only=True)
class FocalOptions:
    gamma: float = option(2.0, low=0, high=10, side="target", about="how much less what is sure counts")


def focal(hidden, candidates, labels, *, weights, allowed, smoothing, options):
    scores = (hidden @ candidates.t()).float()
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    own = scores.log_softmax(1).gather(1, labels[:, None])[:, 0]
    losses = -((1 - own.exp()) ** options["gamma"]) * own
    return (losses * weights).sum(), losses.detach()


def plain(*args, **named):
    return cross_entropy(*args, **named)


class Own(Squares):
    pass


def odd(*args, **named):
    return 3.0


@dataclass(frozen=True, kw_only=True)
class Taken:
    max_length: bool = option(False, side="target", about="another thing of a name that is there")


FOCAL = Criterion(
    name="focal",
    about="focal",
    kind="tokens",
    load=f"{HERE}:focal",
    options=FocalOptions,
    keyed=("gamma",),
    generator="search",
)
PLAIN = Criterion(name="plain", about="plain", kind="tokens", load=f"{HERE}:plain", generator="search")
OWN = BUILT_IN.with_(FOCAL, PLAIN)


def grown(line, registry=OWN, rows=ROWS, **settings):
    task = Task("t", line, train=rows, modalities=registry, **settings)
    model = GeneralistModel(config=CONFIG, text_pieces=300, modalities=registry)
    model.grow([(p, task.labels) for p in task.plans], task.texts, task.examples)
    return model, model.bind(task.plan, task.labels)


def loss(line, **settings):
    model, program = grown(line, **settings)
    return model(program, collate(program, [preprocess(program, row) for row in ROWS]))


def test_an_outside_function_that_is_the_inner_one_gives_the_same():
    one, other = loss("[TEXT:q] -> [TEXT:a]"), loss("[TEXT:q] -> [TEXT:a,criterion=plain]")
    assert torch.equal(one.sums, other.sums)
    assert torch.equal(one.total, other.total)


def test_slots_with_their_own_criteria_and_options_share_a_target():
    """Each token is judged by its slot's: the sums are those of tasks apart."""
    line = "[TEXT:q] -> [TEXT:a,criterion=focal,gamma={}] and [TEXT:b{}]"
    both = loss(line.format(0, ""))
    assert torch.allclose(both.sums, loss("[TEXT:q] -> [TEXT:a] and [TEXT:b]").sums, rtol=1e-4)
    sharp = loss(line.format(3, ",criterion=focal,gamma=0"))
    assert torch.allclose(sharp.sums[2], both.sums[2], rtol=1e-4)
    assert sharp.sums[1] < both.sums[1]


def test_it_trains_is_saved_and_wants_its_package(tmp_path):
    line = "[TEXT:q] -> [TEXT:a,criterion=focal,gamma=1]"
    task = Task("t", line, train=ROWS, modalities=OWN)
    trainer = Trainer(max_steps=2, out=tmp_path, live=False)
    model = trainer.fit(model=GeneralistModel(config=CONFIG, text_pieces=300, modalities=OWN), tasks=task)
    given = {"data": ROWS[0], "max_length": 4}
    answer = OFASys.from_pretrained(tmp_path, modalities=OWN).inference(line, **given).text
    assert answer == OFASys(model).inference(line, **given).text
    bare = OFASys.from_pretrained(tmp_path)
    assert bare.model.lacks == ["criterion focal of module tests"]
    said = "the model was trained with criterion focal of module tests, which is not installed here: install it, or"
    with pytest.raises(InstructionError, match="gamma") as refused:
        bare.inference(line, **given)
    assert said in str(refused.value)
    with pytest.raises(PlanError, match=r"no criterion 'focal' for TEXT as a target; .*cross_entropy") as unplanned:
        bare.inference("[TEXT:q] -> [TEXT:a,criterion=focal]", **given)
    assert said in str(unplanned.value)
    bare.save_pretrained(tmp_path / "again")
    assert OFASys.from_pretrained(tmp_path / "again").model.lacks == bare.model.lacks
    with pytest.raises(InstructionError, match="gama") as plain:
        OFASys.from_pretrained(tmp_path, modalities=OWN).inference("[TEXT:q] -> [TEXT:a,gama=1]", **given)
    assert "installed" not in str(plain.value)


def test_weights_of_a_criterion_that_is_not_there_say_of_which_package(tmp_path):
    own = replace(CRITERIA["mse"], name="own", load=f"{HERE}:Own")
    model, _ = grown("[TEXT:q] -> [NUMBER:n,criterion=own]", BUILT_IN.with_(own), rows=[{"q": "x", "n": 1.0}] * 2)
    OFASys(model).save_pretrained(tmp_path / "model")
    assert not OFASys.from_pretrained(tmp_path / "model", modalities=BUILT_IN.with_(own)).model.lacks
    said = "the saved model has weights of criterion 'own' of module tests, which is not installed; install its plug-in"
    with pytest.raises(CheckpointError, match=said):
        OFASys.from_pretrained(tmp_path / "model")


def test_a_plan_says_what_is_of_another_package():
    said = str(plan("[TEXT:q] -> [TEXT:a,criterion=focal]", modalities=OWN))
    assert "    package     module tests: criterion focal\n" in said
    assert "package" not in str(plan("[TEXT:q] -> [TEXT:a]", modalities=OWN))
    found = to_json(plan("[TEXT:q] -> [TEXT:a,criterion=focal]", modalities=OWN), registry=OWN)
    assert found["packages"] == {"a": {"module tests": ["criterion focal"]}}


def test_plans_of_outside_criteria_are_values():
    made = plan("[TEXT:q] -> [TEXT:a,criterion=focal]", modalities=OWN)
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert again.fingerprint == made.fingerprint
    assert again.slots[1].learned_by == FOCAL
    assert pickle.loads(pickle.dumps(CRITERIA["classify"])) is CRITERIA["classify"]
    with pytest.raises(InstructionError, match="gamma"):
        plan("[TEXT:q] -> [TEXT:a,criterion=focal,gamma=11]", modalities=OWN)
    alone = BUILT_IN.with_(replace(FOCAL, modalities=("BOX",)))
    with pytest.raises(PlanError, match="no criterion 'focal' for TEXT"):
        plan("[TEXT:q] -> [TEXT:a,criterion=focal]", modalities=alone)
    assert plan("[IMAGE:i] -> [BOX:a,criterion=focal]", modalities=alone).slots[1].kind == "tokens"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (replace(PLAIN, name="cross_entropy"), "criterion 'cross_entropy' is registered already"),
        (replace(PLAIN, name="My Loss"), "a name is small letters"),
        (replace(PLAIN, generator="serch"), "unknown generator 'serch'; did you mean search"),
        (Generator(name="search", about="", load="x:y"), "generator 'search' is registered already"),
        (Generator(name="mine", about="", load="x:y", kind="token"), "of kind 'token'; did you mean tokens"),
        (print, "a builtin_function_or_method cannot be registered"),
        (replace(PLAIN, name="mine", load=print), "criterion 'mine' has load=<built-in function print>; give"),
        (replace(FOCAL, name="mine", options=int), "criterion 'mine' has options=<class 'int'>; give a dataclass"),
        (replace(FOCAL, name="mine", keyed=("gama",)), "keyed by 'gama', no attribute of it; there are gamma"),
        (replace(FOCAL, name="mine", view="al"), "has view='al'; it is 'slot' or 'all'"),
        (replace(FOCAL, name="mine", modalities=("TXET",)), "unknown modality 'TXET'"),
        (replace(FOCAL, name="mine", generator="frames"), "learns tokens, and generator 'frames' makes frames"),
        (replace(PLAIN, name="mine", options=Taken), "an attribute 'max_length', which means something else already"),
    ],
)
def test_what_does_not_fit_is_refused(record, said):
    with pytest.raises(ConfigError, match=said):
        BUILT_IN.with_(record)


def test_a_kind_there_is_not():
    with pytest.raises(ConfigError, match="criterion 'mine' is of kind 'token'; did you mean tokens"):
        Criterion(name="mine", about="", kind="token", load="x:y")


@pytest.mark.parametrize("load", ["nowhere_at_all:focal", f"{HERE}:nothing"])
def test_what_cannot_be_imported_is_refused_when_a_model_grows(load):
    line = "[TEXT:q] -> [TEXT:a,criterion=lost]"
    with pytest.raises(PluginError, match=rf"criterion 'lost': load='{load}' is not there"):
        grown(line, BUILT_IN.with_(replace(PLAIN, name="lost", load=load)))
    lost = Generator(name="lost", about="", load=load, searches=True)
    with pytest.raises(PluginError, match=rf"generator 'lost': load='{load}' is not there"):
        grown("[TEXT:q] -> [TEXT:a,generator=lost]", BUILT_IN.with_(lost))


def test_a_return_value_that_is_none_is_refused_at_the_first_step():
    registry = BUILT_IN.with_(replace(PLAIN, name="odd", load=f"{HERE}:odd"))
    with pytest.raises(PluginError, match=r"criterion 'odd' .* gave a float for 27 tokens; give the weighted sum"):
        loss("[TEXT:q] -> [TEXT:a,criterion=odd]", registry=registry)


def test_installed_packages_bring_theirs(monkeypatch):
    entry = importlib.metadata.EntryPoint("focal", f"{HERE}:FOCAL", "ofasys.criteria")
    monkeypatch.setattr(room, "entry_points", lambda group: [entry] if group == "ofasys.criteria" else [])
    room.default_registry.cache_clear()
    try:
        assert plan("[TEXT:q] -> [TEXT:a,criterion=focal]").slots[1].learned_by == FOCAL
        bad = importlib.metadata.EntryPoint("bad", f"{HERE}:ROWS", "ofasys.criteria")
        monkeypatch.setattr(room, "entry_points", lambda group: [bad] if group == "ofasys.criteria" else [])
        room.default_registry.cache_clear()
        with pytest.raises(ConfigError, match=r"plug-in 'bad' .* is a list, not a Criterion"):
            room.default_registry()
    finally:
        monkeypatch.undo()
        room.default_registry.cache_clear()


def test_records_are_read_without_torch():
    assert {one.kind for one in GENERATORS.values()} <= {one.kind for one in CRITERIA.values()}
    assert HERE in sys.modules
    assert np.isfinite(float(loss("[TEXT:q] -> [TEXT:a,criterion=focal]").total.detach()))
