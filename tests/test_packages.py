"""What an installed package brings is found by its entry points, and named with its package wherever it is named."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ofasys import GeneralistModel, OFASys, PlanError, Task, packages, plan
from ofasys.cli import doctor, jsonschema
from ofasys.errors import ConfigError
from ofasys.metric import find, known_metrics, larger_is_better
from ofasys.modality import BUILT_IN, default_registry
from ofasys.modality.registry import lexicon
from ofasys.task.schedule import Entry, Ledger, known_schedules
from ofasys.task.schedule import find as find_schedule
from ofasys.testing.case import CONFIG
from ofasys.train import Trainer

CODE = """
from dataclasses import dataclass, replace
from ofasys.criterion import CRITERIA
from ofasys.engine import EngineSpec
from ofasys.generator import GENERATORS
from ofasys.language import Pattern
from ofasys.metric import Metric
from ofasys.task.schedule import Turn
from ofasys.train.optimizers import ADAFACTOR, MUON

MINE = replace(CRITERIA["cross_entropy"], name="mine", load="shop:cross_entropy")
DRAW = replace(GENERATORS["search"], name="draw", load="shop:search")
ODD = EngineSpec(name="odd", about="odd", load="shop:nowhere", config="ofasys.model.sizes:ModelConfig")
SAME = Metric("same", "how many are the same", ("any",), lambda p, r: float(p == r), "same", False)
MAYBE = Pattern(name="maybe", about="there or not", ways=lambda parts: [(), (0,)], closes="?")
TAKEN = replace(SAME, name="accuracy")
WALK = replace(ADAFACTOR, name="walk")
function = SAME.function

from ofasys.criterion.cross_entropy import cross_entropy
from ofasys.generator.search import search


class Last:
    def turns(self, step, tasks):
        return [Turn(tasks[-1].name)]


LAST = Last()
"""
Installed = Callable[..., None]


def forget() -> None:
    for kept in (default_registry, lexicon, known_metrics, known_schedules, packages._package):
        kept.cache_clear()
    sys.modules.pop("shop", None)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """installed(group=["name = shop:NAME"], ...): a package `shop-wares 1.2` that brings these."""

    def installed(**groups: list[str]) -> None:
        about = tmp_path / "shop_wares-1.2.dist-info"
        about.mkdir()
        (tmp_path / "shop.py").write_text(CODE)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-wares\nVersion: 1.2\n")
        lines = [f"[ofasys.{group}]\n" + "\n".join(entries) for group, entries in groups.items()]
        (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        forget()

    forget()
    yield installed
    monkeypatch.undo()
    forget()


def test_metrics_and_schedules_are_known_by_name(installed: Installed) -> None:
    assert "same" not in known_metrics()
    installed(metrics=["anything = shop:SAME"], schedules=["last = shop:LAST"])
    task = Task("t", "[TEXT:a] -> [TEXT:b]", train=[{"a": "x", "b": "y"}], metrics=["same", "accuracy"])
    assert task.metrics[0](["a"], ["a"]) == {"same": 1.0}
    assert larger_is_better("same") is False
    with pytest.raises(ConfigError, match="unknown metric 'sane'; did you mean same"):
        find("sane")
    assert Ledger("last", [Entry("a"), Entry("b")]).draws(0) == [("b", 0)]
    assert Trainer(schedule="last").schedule == "last"
    with pytest.raises(ConfigError, match=r"unknown schedule 'lats'; did you mean last\?"):
        find_schedule("lats")
    schema = str(jsonschema.run_schema())
    assert "'same'" in schema
    assert "'last'" in schema


@pytest.mark.parametrize(
    ("group", "entry", "said"),
    [
        ("metrics", "a = shop:TAKEN", r"plug-in 'a' \(shop:TAKEN\): metric 'accuracy' is registered already"),
        ("metrics", "a = shop:function", r"plug-in 'a' \(shop:function\) is a function, not a Metric"),
        ("metrics", "a = shop:NOTHING", r"plug-in 'a' \(shop:NOTHING\) does not load: AttributeError"),
        ("metrics", "a = ship:SAME", "does not load: ModuleNotFoundError"),
        ("schedules", "accumulate = shop:LAST", "schedule 'accumulate' is registered already"),
        ("schedules", "last = shop:Last", r"\(shop:Last\) is a type, not a Schedule; name an object of it"),
        ("schedules", "last = shop:SAME", "is a Metric, not a Schedule"),
        ("criteria", "a = shop:SAME", "is a Metric, not a Criterion"),
    ],
)
def test_what_clashes_or_is_none_is_refused(installed: Installed, group: str, entry: str, said: str) -> None:
    installed(**{group: [entry]})
    with pytest.raises(ConfigError, match=said):
        (known_metrics(), known_schedules(), default_registry())


def test_the_doctor_lists_them_with_their_package(
    installed: Installed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "self_check", lambda: {"ok": True, "problem": "", "seconds": 1.0})
    installed(
        criteria=["mine = shop:MINE"],
        generators=["draw = shop:DRAW"],
        metrics=["one = shop:SAME", "two = shop:SAME"],
        optimizers=["walk = shop:WALK", "muon = shop:MUON"],
        schedules=["last = shop:LAST"],
        modality=["text = ofasys.modality.text:TEXT"],
        patterns=["maybe = shop:MAYBE"],
    )
    assert not doctor.doctor()
    printed = capsys.readouterr().out
    assert "plug-ins\n  mine              criterion, ok, shop:MINE, shop-wares 1.2\n" in printed
    assert "  draw              generator, ok, shop:DRAW, shop-wares 1.2\n" in printed
    assert "  same              metric, ok, shop:SAME, shop-wares 1.2\n" in printed
    assert "  same              metric, ConfigError: metric 'same' is registered already;" in printed
    assert "  walk              optimizer, ok, shop:WALK, shop-wares 1.2\n" in printed
    assert "  muon              optimizer, ConfigError: optimizer 'muon' is registered already;" in printed
    assert "  maybe             pattern, ok, shop:MAYBE, shop-wares 1.2\n" in printed
    assert "  last              schedule, ok, shop:LAST, shop-wares 1.2\n" in printed
    assert "  TEXT              ok, plug-in text (ofasys.modality.text:TEXT, shop-wares 1.2)\n" in printed


def test_the_doctor_says_what_is_wrong_with_one(installed: Installed) -> None:
    installed(engines=["odd = shop:ODD"], criteria=["taken = shop:SAME"], metrics=["nobody = shap:SAME"])
    found = {one["name"]: one["problem"] for one in doctor._plug_ins()}
    assert "engine 'odd': load='shop:nowhere' is not there" in found["odd"]
    assert "is a Metric, not a criterion" in found["taken"]
    assert "does not load: ModuleNotFoundError: No module named 'shap'" in found["nobody"]


def test_a_model_that_was_saved_names_the_packages_of_what_it_lacks(installed: Installed, tmp_path: Path) -> None:
    installed(patterns=["maybe = shop:MAYBE"], criteria=["mine = shop:MINE"], generators=["draw = shop:DRAW"])
    line = "[TEXT:a]? so [TEXT:b] -> [TEXT:c,criterion=mine,generator=draw]"
    assert "  maybe: there or not, of shop-wares 1.2\n" in str(plan(line))
    assert "    package     shop-wares 1.2: criterion mine, generator draw\n" in str(plan(line))
    task = Task("t", line, train=[{"a": "x", "b": "y", "c": "z"}, {"b": "y", "c": "z"}])
    model = GeneralistModel(config=CONFIG, text_pieces=300)
    Trainer(max_steps=1, live=False, out=tmp_path / "run").fit(model=model, tasks=task)
    made_of = {"pattern maybe", "criterion mine", "generator draw"}
    assert model.packages == dict.fromkeys(made_of, "shop-wares 1.2")
    bare = OFASys.from_pretrained(tmp_path / "run", modalities=BUILT_IN)
    assert set(bare.model.lacks) == {f"{what} of shop-wares 1.2" for what in made_of}
    with pytest.raises(PlanError, match=r"no criterion .mine. .* trained with criterion mine of shop-wares 1\.2"):
        bare.inference(line, data={"b": "y"})
    assert bare.inference("so [TEXT:b] -> [TEXT:c]", data={"b": "y"}, max_length=2).text is not None


def test_the_package_of_a_thing(installed: Installed) -> None:
    assert packages.package_of("ofasys.criterion.ctc:CTC") is None
    assert packages.package_of("torch.nn:Linear").startswith("torch 2.")  # type: ignore[union-attr]
    assert packages.package_of("shop.inner:LAST") == "module shop"
    installed(schedules=["last = shop:LAST"])
    assert packages.package_of("ofasys.model:A", "shop.inner:LAST") == "shop-wares 1.2"
    assert packages.told("criterion", "mine", "shop:MINE") == "criterion 'mine' (shop:MINE, shop-wares 1.2)"
    assert packages.told("criterion", "ctc", "ofasys.criterion.ctc:CTC") == "criterion 'ctc' (ofasys.criterion.ctc:CTC)"
