"""The proof: what is run, that both systems see the same, that a unit goes on where it was cut off, what is told."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.generalist import __main__ as command
from benchmarks.generalist import figures, report, state, suite, units, work
from benchmarks.generalist.ship import carded, ship
from ofasys import OFASys
from ofasys.cli.runfile import read_run
from ofasys.errors import ConfigError
from ofasys.gallery.pages import MAIN, PAGES
from ofasys.gallery.tasks import TASKS
from ofasys.language import Instruction
from ofasys.modality import default_registry
from ofasys.planner import plan as planned
from ofasys.task.schedule import Entry, Ledger
from ofasys.task.source import open_source
from ofasys.train.callback import RunView
from ofasys.types import TaskCard

NAMES = ("grounded_caption", "grounding")
FOUND = Path(report.__file__).parent / "found"
NINE = {"TEXT", "IMAGE", "BOX", "CATEGORY", "AUDIO", "VIDEO", "PHONE", "STRUCT", "MOTION"}
COSTS = {"grounded_caption": state.Cost(0.5, 0.1, 1000.0), "grounding": state.Cost(0.25, 0.05, 500.0)}
PLAN = state.Plan(
    tasks=NAMES,
    seeds=(0,),
    size="tiny",
    parts=("joint",),
    steps=3,
    test=3,
    schedule="round_robin",
    precision="float32",
    text_pieces=300,
    costs=COSTS,
)


def instructions(entry: suite.Entry) -> list[str]:
    kind, _, place = entry["from"].partition(":")
    if "instruction" in entry:
        return list(entry["instruction"])
    if kind == "gallery":
        return list(next(task.instructions for task in TASKS if task.name == place))
    page = next(page for page in (MAIN, *PAGES) if page.name == place)
    return [next(line.instruction for line in page.lines if line.name == entry.get("task", entry["name"]))]


# The list


def test_the_list_has_tasks_enough_and_every_modality() -> None:
    every = suite.entries()
    assert len(every) >= 15
    assert len({entry["name"] for entry in every}) == len(every)
    plans = [planned(Instruction(text)) for entry in every for text in instructions(entry)]
    assert {slot.modality for plan in plans for slot in plan.slots} >= NINE
    assert {spec.tag for spec in default_registry().modalities} == NINE | {"NUMBER"}  # of which there is no task yet


def test_what_is_asked_of_each_part_is_there() -> None:
    found, names = suite.suite(), {entry["name"] for entry in suite.entries()}
    assert {one["task"] for one in found["published"]} <= names
    assert set(found["scaling"]["instead"]) <= names
    assert all(instructions(probe) for probe in found["probe"])
    assert max(found["scaling"]["sizes"]) <= len(names)


def test_a_field_that_is_not_known_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = suite.FILE.read_text().replace('metrics = ["per"', 'metrcs = ["per"')
    monkeypatch.setattr(suite, "FILE", tmp_path / "suite.toml")
    suite.FILE.write_text(wrong)
    suite.suite.cache_clear()
    with pytest.raises(ConfigError, match=r"pronunciation: did you mean metrics\? no field 'metrcs'"):
        suite.suite()
    suite.suite.cache_clear()


def test_an_unknown_task_is_an_error() -> None:
    with pytest.raises(ConfigError, match="did you mean fashion"):
        suite.entries(["fashon"])


def test_rows_are_chosen_by_a_hash_and_files_lie_where_they_lay(tmp_path: Path) -> None:
    assert suite.ranked("fashion", 6) == suite.ranked("fashion", 6) != suite.ranked("topic", 6)
    assert [i for i in suite.ranked("fashion", 9) if i < 6] == suite.ranked("fashion", 6)
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"a": i, "many": [i] * (1 + i % 2)}) for i in range(6)))
    kept = suite.kept(open_source(path), {"name": "one", "where": {"a": [0, 1, 2, 5]}, "single": {"many": "it"}})
    assert [kept[i] for i in range(len(kept))] == [{"a": 0, "it": 0}, {"a": 2, "it": 2}]
    assert kept.root == tmp_path
    some = suite.kept(open_source(path), {"name": "one", "where": {"a": [3]}})
    assert some.column("a") == [3]
    with pytest.raises(ConfigError, match="one: no row has"):
        suite.kept(open_source(path), {"name": "one", "where": {"a": [9]}})


@pytest.mark.parametrize("asked", [20, 10_000])
def test_examples_are_none_of_the_test_rows(tmp_path: Path, asked: int) -> None:
    (probe,) = (one for one in suite.suite()["probe"] if "single" in one)
    task = suite.made(probe, tmp_path, test=asked, examples=16)
    train, test = (task.source(split) for split in ("train", "test"))
    assert len(train) == 16
    assert len(test) == 20 if asked == 20 else 20 < len(test) < 10_000
    assert isinstance(train, suite.Chosen)
    assert isinstance(test, suite.Chosen)
    assert not set(train.rows) & set(test.rows)
    assert set(test[0]) >= {"img", "cap", "box"}


# What there is to run


def test_a_specialist_has_as_much_of_its_task_as_the_generalist() -> None:
    whole, *alone, half = units.joint(replace(PLAN, steps=40), seed=1)
    times = {entry["name"]: entry.get("times", 1) for entry in suite.entries(NAMES)}
    assert len(set(times.values())) > 1
    assert dict(whole.tasks) == dict(unit.tasks[0] for unit in alone) == {name: 40 * times[name] for name in NAMES}
    assert dict(half.tasks) == {name: 20 * times[name] for name in NAMES}
    assert [unit.key for unit in (whole, half)] == ["joint/generalist/1", "joint/generalist-half/1"]


def test_more_tasks_have_the_same_tokens_in_all() -> None:
    plan = replace(PLAN, steps=400)
    none, *some = units.scaling(plan, seed=0)
    assert none.tasks == ()
    tokens = [sum(steps * plan.cost(name).tokens for name, steps in unit.tasks) for unit in some]
    assert tokens == [pytest.approx(units.SCALED * 400 * 750, rel=0.01)] * 2
    own = [steps * plan.cost(name).tokens for name, steps in some[-1].tasks]
    assert own[0] == pytest.approx(own[1], rel=0.01)


def test_a_budget_too_small_says_the_least_and_that_is_enough() -> None:
    plan = replace(PLAN, parts=units.PARTS, seeds=(0, 1))
    with pytest.raises(ConfigError, match="2 tasks, 2 seeds and the parts joint, ways, scaling, published") as error:
        units.planned(plan, 1.0, None)
    least = float(str(error.value).partition("give --budget ")[2].split(",")[0])
    assert units.LEAST <= units.planned(plan, least, None).steps <= units.LEAST + 5
    with pytest.raises(ConfigError, match="too small"):
        units.planned(plan, float("nan"), None)


def test_a_budget_is_used_and_kept() -> None:
    plan = units.planned(replace(PLAN, parts=units.PARTS), 300.0, None)
    assert 290 < units.minutes(plan) <= 300
    assert units.minutes(replace(plan, steps=plan.steps + 2)) > 300


def test_no_budget_and_no_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match="--budget MINUTES"):
        units.planned(PLAN, None, None)
    with pytest.raises(ConfigError, match="2 or more"):
        units.planned(PLAN, None, 1)


# A unit


@pytest.fixture
def whole() -> units.Unit:
    return next(units.joint(PLAN, 0))


@pytest.mark.slow
def test_both_systems_see_the_same_rows(whole: units.Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, int]] = []

    class Watched(suite.Chosen):
        name = ""

        def _row(self, i: int):
            read.append((self.name, i))
            return super()._row(i)

    def watched(entry, folder, test, examples=0):
        task = suite.made(entry, folder, test, examples)
        task.sources["train"] = Watched(task.source("train"), range(len(task.source("train"))))
        task.sources["train"].name = task.name
        task.micro_batch_size = 4
        return task

    monkeypatch.setattr(work, "made", watched)
    monkeypatch.setattr(work, "judged", lambda model, task: {})
    found = work.run(PLAN, whole, tmp_path / "whole")
    together, read[:] = list(read), []
    drawn = dict(whole.tasks)
    assert {name: one["micro_batches"] for name, one in found["tasks"].items()} == drawn
    for unit in (unit for unit in units.joint(PLAN, 0) if unit.system in NAMES):
        alone = work.run(PLAN, unit, tmp_path / unit.system)
        samples = 4 * drawn[unit.system]
        assert alone["tasks"][unit.system]["samples"] == found["tasks"][unit.system]["samples"] == samples
        assert len(read) >= samples
        assert [i for _, i in read] == [i for name, i in together if name == unit.system]
        read.clear()


@pytest.mark.slow
def test_a_unit_that_was_cut_off_ends_as_one_that_was_not(
    whole: units.Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = work.run(PLAN, whole, tmp_path / "straight")

    def cut(self: work.Meter, run: RunView) -> None:
        if run.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as cutting:
        cutting.setattr(work.Meter, "after_step", cut)
        with pytest.raises(KeyboardInterrupt):
            work.run(PLAN, whole, tmp_path / "cut")
    gone_on = work.run(PLAN, whole, tmp_path / "cut")
    again = work.run(PLAN, whole, tmp_path / "cut")  # killed while it answered: nothing is trained a second time
    assert again["tasks"] == gone_on["tasks"] == straight["tasks"]
    assert again["seconds"] == gone_on["seconds"] > 0
    assert again["peak_bytes"] == gone_on["peak_bytes"] > 2**20


@pytest.mark.parametrize(("schedule", "expected"), [("round_robin", 80), ("accumulate", 40)])
def test_an_update_may_hold_a_micro_batch_of_each_task(schedule: str, expected: int) -> None:
    ledger = Ledger(schedule, [Entry(name) for name in NAMES])
    assert work.updates(ledger, 80) == expected
    assert ledger.positions(expected) == dict.fromkeys(NAMES, 40)


@pytest.mark.parametrize("shares", [(400, 1600, 200), (3, 4), (333, 166), (1000, 997, 3, 7), (57, 49, 1), (1, 1)])
def test_updates_of_every_task_draw_its_micro_batches_and_none_besides(shares: tuple[int, ...]) -> None:
    weights = [work.times(steps, min(shares)) for steps in shares]
    entries = [Entry(str(i), weight=weight) for i, weight in enumerate(weights)]
    ledger = Ledger("accumulate", entries)
    end = work.updates(ledger, sum(shares))
    assert end == min(shares)
    assert tuple(ledger.positions(end).values()) == shares


def test_what_a_process_did_before_is_counted() -> None:
    meter = work.Meter()
    before = {"seconds": 1000.0, "processor_seconds": 500.0, "peak_bytes": 2**60, "device_peak_bytes": 2**61}
    meter.restore(before)
    told = meter.state()
    assert told["seconds"] >= 1000
    assert told["processor_seconds"] >= 500
    assert told["peak_bytes"] == 2**60
    meter.before_fit(SimpleNamespace(step=4, max_steps=4))  # type: ignore[arg-type]
    assert meter.state() == before


# The command


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Units are run here, and so fast that nothing is trained; their keys."""
    ran: list[str] = []

    def run(plan: state.Plan, unit: units.Unit, folder: Path) -> dict:
        ran.append(unit.key)
        folder.mkdir(parents=True)
        return line(unit.system, {name: 0.5 for name, _ in unit.tasks}, seed=unit.seed)

    def call(words: list[str], **_: object) -> SimpleNamespace:
        command.main(words[words.index("benchmarks.generalist") + 1 :])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(work, "run", run)
    monkeypatch.setattr(work, "measured", lambda plan, names: {name: COSTS[name] for name in names})
    monkeypatch.setattr(command.subprocess, "run", call)
    return ran


def test_what_is_done_is_not_done_again(tmp_path: Path, in_this_process: list[str]) -> None:
    told = ["--state", str(tmp_path / "s"), "--tasks", *NAMES, "--parts", "joint"]
    command.main([*told, "--steps", "4", "--seeds", "0"])
    every = ["joint/generalist/0", "joint/grounded_caption/0", "joint/grounding/0", "joint/generalist-half/0"]
    assert in_this_process == every
    kept = tmp_path / "s" / state.RESULTS
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text("".join(lines[:2]) + lines[2][:20])  # killed while it wrote
    command.main(told)
    assert in_this_process[4:] == every[2:]
    assert list(state.results(tmp_path / "s")) == every
    command.main([*told, "--seeds", "0", "1"])
    assert in_this_process[6:] == [key.replace("/0", "/1") for key in every]
    assert sorted(path.name for path in (tmp_path / "s" / "units").iterdir() if path.is_dir()) == [
        "joint-generalist-0",
        "joint-generalist-1",
    ]


def test_a_seed_alone_joins_those_that_are_there(tmp_path: Path, in_this_process: list[str]) -> None:
    told = ["--state", str(tmp_path), "--tasks", *NAMES, "--parts", "joint"]
    command.main([*told, "--steps", "4", "--seeds", "0", "0"])
    first = list(in_this_process)
    command.main([*told, "--seeds", "3"])
    assert in_this_process[len(first) :] == [key.replace("/0", "/3") for key in first]
    kept = state.load_plan(tmp_path)
    assert kept is not None
    assert kept.seeds == (0, 3)


def test_figures_that_do_not_compare_are_refused(tmp_path: Path, in_this_process: list[str]) -> None:
    told = ["--state", str(tmp_path), "--tasks", *NAMES]
    command.main([*told, "--steps", "4", "--seeds", "0", "--parts", "joint"])
    with pytest.raises(SystemExit, match="size 'tiny' and not 'small'; leave that out"):
        command.main([*told, "--size", "small"])
    with pytest.raises(SystemExit, match="steps 4 and not 5"):
        command.main([*told, "--steps", "5"])
    made = json.loads((tmp_path / state.PLAN).read_text()) | {"suite": "another"}
    (tmp_path / state.PLAN).write_text(json.dumps(made))
    with pytest.raises(SystemExit, match="of another list of tasks"):
        command.main(told)


def test_a_budget_too_small_is_refused_before_anything_is_trained(tmp_path: Path, in_this_process: list[str]) -> None:
    with pytest.raises(SystemExit, match="a budget of 1 minutes is too small"):
        command.main(["--state", str(tmp_path), "--tasks", *NAMES, "--budget", "1"])
    assert not in_this_process
    assert not (tmp_path / state.PLAN).exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--size", "tinny"], "did you mean tiny"),
        (["--test", "0"], "it is 1 or more"),
        (["--text-pieces", "3"], "--text-pieces is 3; it is 256 or more, one for each byte"),
        (["--balance", "som"], "did you mean sum"),
        (["--precision", "float8"], "precision"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    words: list[str], told: str, tmp_path: Path, in_this_process: list[str]
) -> None:
    with pytest.raises(SystemExit, match=told):
        command.main(["--state", str(tmp_path), "--tasks", *NAMES, "--steps", "4", *words])
    assert not in_this_process


def test_one_process_is_at_work_in_a_folder(tmp_path: Path) -> None:
    with command.held(tmp_path / "lock", wait=False), pytest.raises(SystemExit, match="another process is at work"):
        command.main(["--state", str(tmp_path), "--steps", "4"])


def test_a_report_of_nothing_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no proof; run one there"):
        command.main(["--state", str(tmp_path), "--report", "--out", str(tmp_path)])


def test_the_list_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["--list"])
    told = capsys.readouterr().out
    assert all(entry["name"] in told for entry in suite.entries())


# Figures


def score(value: float, higher: bool = True, trivial: float | None = 0.1) -> dict:
    return {
        "metric": "accuracy" if higher else "per",
        "value": value,
        "higher_is_better": higher,
        "figures": {"accuracy": value},
        "trivial": trivial,
        "test_rows": 9,
    }


def line(system: str, values: dict[str, float], seed: int = 0, part: str = "joint", **more: object) -> dict:
    return {
        "key": f"{part}/{system}/{seed}",
        "part": part,
        "system": system,
        "seed": seed,
        "tasks": {name: score(value) for name, value in values.items()},
        "probes": [],
        "parameters": 2_000_000,
        "tokens": 1_000_000,
        "seconds": 60.0,
        "processor_seconds": 30.0,
        "peak_bytes": 2**30,
        "threads": 1,
        "torch": "2",
        "machine": "m",
        "date": "2026-01-02",
        **more,
    }


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        (score(0.6), score(0.5), 1.2),
        (score(0.1, higher=False), score(0.2, higher=False), 2.0),
        (score(0.5, higher=False), score(0.0, higher=False), 0.0),
        (score(0.0), score(0.5), 0.0),
        (score(0.5), score(0.0), None),
        (score(0.0), score(0.0), None),
        (score(0.0, higher=False), score(0.2, higher=False), None),
        (score(-0.1), score(-0.2), None),
        (score(float("nan")), score(0.5), None),
    ],
)
def test_a_ratio_is_above_one_where_the_generalist_is_better(own: dict, other: dict, expected: float | None) -> None:
    assert figures.ratio(own, other) == (None if expected is None else pytest.approx(expected))


def kept(*lines: dict) -> dict[str, dict]:
    return {one["key"]: one for one in lines}


def test_means_are_of_seeds_and_tasks_without_a_ratio_are_named() -> None:
    a, b = NAMES
    lines = kept(
        line("generalist", {a: 0.4, b: 0.3}),
        line(a, {a: 0.5}),
        line(b, {b: 0.3}),
        line("generalist", {a: 0.6, b: 0.3}, seed=1),
        line(a, {a: 0.5}, seed=1),
        line(b, {b: 0.0}, seed=1),
    )
    found = figures.compared(lines, "generalist")
    mean = figures.meant(found)
    assert mean is not None
    assert mean.by_seed == {0: pytest.approx(0.9), 1: pytest.approx(1.2)}
    assert mean.value == pytest.approx(1.05)
    assert mean.without == [b]
    assert mean.even == 2
    assert mean.geometric == pytest.approx((0.8 * 1.0 * 1.2) ** (1 / 3))
    assert [one.task for one in figures.learned(found)] == [a, b, a]
    assert figures.meant([]) is None


# The model that comes with the package


def test_a_generalist_is_made_the_packages_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.generalist.ship.ROWS", 3)
    (generalist, *_) = units.joint(PLAN, 0)
    line = work.run(PLAN, generalist, command.folder_of(tmp_path, generalist))
    state.add_result(tmp_path, line)
    to = ship(PLAN, tmp_path, 0, tmp_path / "shipped")
    model = OFASys.from_pretrained(to)
    assert [card.name for card in model.cards] == list(NAMES)
    for card in model.cards:
        assert (card.licence, model.facts.tasks[card.name].split) == ("Apache-2.0, MIT", "test")
        score = line["tasks"][card.name]
        assert model.facts.tasks[card.name].scores == {score["metric"]: pytest.approx(score["value"])}
    told = (to / "README.md").read_text()
    assert PLAN.options in told
    assert "Noto Emoji, Google Inc" in told
    assert str(tmp_path) not in told + (to / "run.json").read_text() + (to / "run.yaml").read_text()
    (task,) = read_run(to / "run.yaml").tasks([NAMES[0]])
    assert len(task.source("test")) == 3
    assert set(task.source("test")[0]) >= {"img", "box", "cap"}


def test_what_was_not_run_cannot_be_the_packages_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no result of joint/generalist/1 yet; run the proof first"):
        ship(PLAN, tmp_path, 1, tmp_path / "shipped")


def test_terms_that_a_model_cannot_keep_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"name": "maps", "from": "gallery:map_regions"}
    monkeypatch.setattr("benchmarks.generalist.ship.entry_of", lambda name: entry)
    with pytest.raises(ConfigError, match=r"maps: rows under GPL-2.0-or-later were learned from"):
        carded(TaskCard("maps", ("a",)))


# The page


def test_a_page_of_nothing_says_so() -> None:
    told = report.page(replace(PLAN, parts=units.PARTS), {})
    assert told.count("Not run yet.") == 4
    assert "No task of the plan has published figures." in told
    assert f"0 of {7 + len(suite.suite()['way'])} models have been run" in told
    assert report.picture(PLAN, {}) is None


def test_a_page_says_what_was_found_and_what_was_not_run(tmp_path: Path) -> None:
    a, b = NAMES
    lines = kept(line("generalist", {a: 0.4, b: 0.3}), line(a, {a: 0.5}), line(b, {b: 0.05}))
    paths = report.write(PLAN, lines, tmp_path)
    told, drawn = (path.read_text() for path in paths)
    assert f"| {a} | {PLAN.steps} | accuracy | 0.100 | 0.500 | 0.400 | 0.80 | - | - |" in told
    assert "mean ratio 340.0% (one seed) over 2 tasks of 2" in told
    assert f"no specialist there is better than an answer without looking: {b}" in told
    assert "Without them the mean ratio is 80.0% over 1 tasks" in told
    assert "2.00 million, the specialists together 4.00 million: 50.0%" in told
    assert "3 of 4 models have been run. **Not run**:" in told
    assert "the part 'more tasks, the same compute' is not planned" in told
    assert "generalist-half (seed 0)" in told
    assert "Seed 0, generalist: 50% of the specialists' processor time" in told
    assert f"of {a} and {b} the same drawings in other places" in told
    widths = [
        float(bit.partition("width='")[2].partition("'")[0]) for bit in drawn.splitlines() if "height='16'" in bit
    ]
    assert drawn.count(report.GREY) == 1
    assert "14 of the list's 16 tasks are not planned" in told
    assert widths == [pytest.approx(0.8 * 230), pytest.approx(460)]


def test_ways_stand_beside_the_generalist() -> None:
    a, b = NAMES
    (way, *_) = units.ways(PLAN, 0)
    lines = kept(
        line("generalist", {a: 0.4, b: 0.3}, steps=6),
        line(a, {a: 0.5}),
        line(b, {b: 0.3}),
        line(way.system, {a: 0.6, b: 0.3}, part="ways", steps=3),
    )
    told = report.page(replace(PLAN, parts=("joint", "ways")), lines)
    own = "optimizer adamw, schedule round_robin, accumulate 1, balance sum, clip 1.0"
    assert f"| {own} (above) | 90.0% | 89.4% | 1 | 6 | 0.5 |" in told
    assert f"| {way.system} | 110.0% | 109.5% | 2 | 3 | 0.5 |" in told
    assert f"| {a} | accuracy | 0.500 | 0.400 | 0.600 |" in told


def test_a_way_is_trained_as_it_says_on_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(suite.suite(), "way", [{"schedule": "accumulate", "optimizer": "muon"}])
    (way,) = units.ways(PLAN, 0)
    assert way.key == "ways/schedule accumulate, optimizer muon/0"
    assert way.tasks == next(units.joint(PLAN, 0)).tasks
    found = work.run(PLAN, way, tmp_path / "way")
    assert found["steps"] == min(steps for _, steps in way.tasks)
    assert {name: task["micro_batches"] for name, task in found["tasks"].items()} == dict(way.tasks)
    told = json.loads((tmp_path / "way" / "run" / "run.json").read_text())["trainer"]
    assert (told["schedule"], told["optimizer"], told["balance"]) == ("accumulate", "muon", "sum")


def test_probes_and_published_figures_have_their_tables() -> None:
    plan = replace(PLAN, tasks=("fashion", "pronunciation"), parts=units.PARTS)
    plan = replace(plan, costs=dict.fromkeys(plan.tasks, state.Cost(1.0, 1.0, 100.0)))
    probes = [{"name": probe["name"], "zero": score(0.2), "examples": score(0.7)} for probe in suite.suite()["probe"]]
    fewer = [one | {"zero": score(0.1)} for one in probes]
    lines = kept(
        line("of-1", {}, part="scaling", probes=probes),
        line("of-2", {}, part="scaling", probes=fewer),
        line("fashion", {"fashion": 0.76}),
        line("fashion", {"fashion": 0.94}, part="published"),
        line("pronunciation", {"pronunciation": 0.5}, part="published"),
    )
    lines["published/pronunciation/0"]["tasks"]["pronunciation"]["figures"] = {"exact_match": 0.7}
    for name in plan.tasks:
        lines[f"published/{name}/0"]["tasks"][name] |= {"samples": 3000, "train_rows": 2000, "test_rows": 1234}
    told = report.page(plan, lines)
    assert "| new wording | accuracy | 0 | 0.200 | 0.100 | 1 |" in told
    assert "| new wording | accuracy | 16 | 0.700 | 0.700 | no difference |" in told
    assert "| fashion | accuracy | 0.9400 | 0.7600 | at least 0.93: reached | 0.8878 HOG" in told
    assert "| pronunciation | WER without stress | 0.3000 |  | at most 0.25: not reached |" in told
    assert told.count("| 3,000 | 1.5 | 1,234 |") == 2


def test_every_row_of_a_table_is_as_long_as_its_head() -> None:
    lines = kept(line("generalist", dict.fromkeys(NAMES, 0.4)), line("generalist-half", dict.fromkeys(NAMES, 0.4)))
    told = report.page(PLAN, lines).splitlines()
    tables = [
        (one.count("|"), two.count("|")) for one, two in pairwise(told) if one.startswith("|") and two.startswith("|")
    ]
    assert len(tables) == 3
    assert all(one == two for one, two in tables)


def test_the_longest_gradient_is_that_of_models_of_several_tasks(tmp_path: Path) -> None:
    plan = replace(PLAN, clip=0.25)
    for unit, expected in zip(units.joint(plan, 0), (0.25, 1.0), strict=False):
        work.run(plan, unit, tmp_path / unit.system)
        told = json.loads((tmp_path / unit.system / "run" / "run.json").read_text())["trainer"]
        assert told.get("clip", 1.0) == expected


def test_an_update_of_several_tasks_holds_several_micro_batches(tmp_path: Path) -> None:
    plan = replace(PLAN, accumulate=9)
    whole, alone, *_ = units.joint(plan, 0)
    found = work.run(plan, whole, tmp_path / "whole")
    drawn = sum(steps for _, steps in whole.tasks)
    assert found["steps"] == -(-drawn // 2)  # no more than there are tasks
    assert sum(task["micro_batches"] for task in found["tasks"].values()) == 2 * found["steps"]
    assert work.run(plan, alone, tmp_path / "alone")["steps"] == alone.tasks[0][1]


def test_the_page_is_what_its_lines_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are kept beside the code, by which anyone may count again or go on."""
    monkeypatch.setattr(state, "listed", lambda tasks: json.loads((FOUND / state.PLAN).read_text())["suite"])
    plan = state.load_plan(FOUND)
    assert plan is not None
    written = (FOUND.parents[1] / report.PAGE).read_text(encoding="utf8")
    assert report.page(plan, state.results(FOUND), pictured=True) == written
