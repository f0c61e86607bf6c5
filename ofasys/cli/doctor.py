"""`ofasys doctor`: what is here, what is missing for what, and whether the whole way works on this machine."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from ofasys.cli import malloc
from ofasys.cli.extras import installed, libraries, needs, optional
from ofasys.cli.show import say
from ofasys.errors import ConfigError, OfasysError
from ofasys.language import Instruction
from ofasys.metric import METRICS, Metric
from ofasys.modality import BUILT_IN, Modality, Registry, registry
from ofasys.packages import GROUPS, bringing, brought
from ofasys.planner import plan

NEEDED = libraries()[0]
OPTIONAL = optional()
INSTRUCTIONS = ("[IMAGE:img] what colour is it? -> [TEXT:colour]", "say [TEXT:word] twice -> [TEXT:twice]")


def doctor(as_json: bool = False) -> bool:
    """Print what was found. False when something needed is missing or the self-check fails."""
    packages, modalities, more = {name: _version(name) for name in NEEDED}, _modalities(), _plug_ins()
    check = self_check()
    ok = check["ok"] and None not in packages.values() and not any(one["problem"] for one in (*modalities, *more))
    found = {
        "ofasys": _version("ofasys"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages,
        "optional": {name: _version(name) for name in OPTIONAL},
        "device": _device(),
        "modalities": modalities,
        "plug_ins": more,
        "self_check": check,
        "ok": bool(ok),
    }
    say(json.dumps(found, ensure_ascii=False, indent=1) if as_json else _text(found))
    return bool(ok)


def what_it_needs(asked: str, as_json: bool = False) -> bool:
    """Print which extras an instruction, or each task of a run file, needs. False where a library of them is missing.

    Errors: as of an instruction, or of a run file.
    """
    found: dict[str, Any] = {
        name: {
            extra: {"slots": slots, "missing": [lib for lib in libraries()[1].get(extra, ()) if _version(lib) is None]}
            for extra, slots in extras.items()
        }
        for name, extras in _needed(asked).items()
    }
    ok = not any(extra["missing"] for task in found.values() for extra in task.values())
    if as_json:
        say(json.dumps(found, ensure_ascii=False, indent=1))
        return ok
    for name, extras in found.items():
        if not extras:
            say(f"{name}: needs no extra")
        for extra, about in extras.items():
            lacks = ", ".join(about["missing"])
            state = f'MISSING {lacks}: pip install "ofasys[{extra}]"' if lacks else "installed"
            say(f"{name}: {', '.join(about['slots'])} needs ofasys[{extra}], {state}")
    return ok


def _needed(asked: str) -> dict[str, dict[str, list[str]]]:
    """Name -> extra -> what needs it: of an instruction, or of the tasks and the model of a run file."""
    if "->" in asked:
        return {asked: needs([plan(Instruction(asked))])}
    from ofasys.cli.runfile import read_run

    run = read_run(asked)
    found = {task.name: needs(task.plans) for task in run.tasks(splits=())}
    engine = run.engine
    return found | ({"model.engine": {engine.extra: [engine.name]}} if engine.extra else {})


def self_check() -> dict[str, Any]:
    """Train a tiny text and image task some steps on made-up rows, save, load, and answer as before."""
    began = time.perf_counter()
    try:
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # a model this small waits for its threads, most of all on a busy machine
        try:
            problem = _check()
        finally:
            torch.set_num_threads(threads)
    except Exception as error:  # whatever it is, the doctor says it
        problem = f"{type(error).__name__}: {error}"
    return {"ok": not problem, "problem": problem, "seconds": round(time.perf_counter() - began, 1)}


def _check() -> str:
    import numpy as np

    from ofasys.generalist import GeneralistModel
    from ofasys.hub import OFASys
    from ofasys.model.sizes import ModelConfig
    from ofasys.task.task import Task
    from ofasys.train import Trainer

    colours = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}
    pictures = [{"img": np.full((32, 32, 3), rgb, np.uint8), "colour": name} for name, rgb in colours.items()] * 4
    words = [{"word": name, "twice": f"{name} {name}"} for name in colours] * 4
    tasks = [
        Task(
            "colour",
            INSTRUCTIONS[0],
            pictures,
            pictures[:3],
            metrics=["accuracy"],
            micro_batch_size=4,
            settings={"IMAGE.size": 32},
        ),
        Task("twice", INSTRUCTIONS[1], words, micro_batch_size=4),
    ]
    shape = ModelConfig(width=64, heads=2, ffn=128, encoder_layers=1, decoder_layers=1, dropout=0.0, max_positions=256)
    model = GeneralistModel(config=shape, text_pieces=300)
    with tempfile.TemporaryDirectory(prefix="ofasys-doctor-") as folder:
        trainer = Trainer(max_steps=20, warmup=4, lr=2e-3, out=folder, live=False, log_every=2)
        trainer.fit(model=model, tasks=tasks)
        losses = [row["loss"] for row in trainer.history if row["kind"] == "train"]
        if not losses[-1] < losses[0]:
            return f"the loss did not fall: {losses[0]:.3f}, then {losses[-1]:.3f}"
        rows = [{"img": row["img"]} for row in pictures[:3]]
        asked: dict[str, Any] = {"data": rows, "max_length": 8}
        before = OFASys(model).inference(INSTRUCTIONS[0], settings={"IMAGE.size": 32}, **asked)
        after = OFASys.from_pretrained(Path(folder), which="last").inference(INSTRUCTIONS[0], **asked)
        for one, other in zip(before, after, strict=True):
            if one.values != other.values:
                return f"the saved model answers {other.values}, the model in memory {one.values}"
    return ""


def _version(package: str) -> str | None:
    return installed(package)


def _device() -> dict[str, Any]:
    found: dict[str, Any] = {"device": f"cpu: {platform.machine()}", "cores": os.cpu_count()}
    found["malloc"] = malloc.state(os.environ) if malloc.is_glibc() else "not glibc"
    try:
        import torch

        from ofasys.model.sizes import SIZES
        from ofasys.train.precision import asked, measured

        cuda = torch.cuda.is_available()
        if cuda:
            found["device"] = f"cuda: {torch.cuda.get_device_name()}"
        device = torch.device("cuda" if cuda else "cpu")
        found["threads"] = torch.get_num_threads()
        chosen = asked("auto", device) or measured(SIZES["small"].width, lambda: None)
        found["precision"] = chosen.why
    except Exception as error:  # torch may be absent, or broken in any way
        found["problem"] = f"{type(error).__name__}: {error}"
    return found


def _modalities() -> list[dict[str, Any]]:
    """Each modality, where it comes from, and what keeps its parts from loading."""
    specs: list[tuple[str, Any]] = [("built in", modality) for modality in BUILT_IN.modalities]
    found = []
    for entry in entry_points(group="ofasys.modality"):
        where = f"plug-in {entry.name} ({entry.value}{_package(entry)})"
        try:
            loaded = entry.load()
        except Exception as error:  # a plug-in may fail in any way
            found.append({"tag": entry.name, "from": where, "problem": f"{type(error).__name__}: {error}"})
            continue
        if isinstance(loaded, Modality):
            specs.append((where, loaded))
        else:
            found.append(
                {"tag": entry.name, "from": where, "problem": f"it is a {type(loaded).__name__}, not a Modality"}
            )
    return [{"tag": spec.tag, "from": where, "problem": _problem(spec)} for where, spec in specs] + found


def _package(entry: EntryPoint) -> str:
    package = bringing(entry)
    return "" if package is None else f", {package}"


def _plug_ins() -> list[dict[str, Any]]:
    """What installed packages bring besides modalities, of which package it is, and what is wrong with it."""
    from ofasys.task.schedule import SCHEDULES, Schedule
    from ofasys.train.optimizers import OPTIMIZERS, OptimizerSpec

    kinds: dict[str, Any] = {**registry.GROUPS, "ofasys.metrics": Metric, "ofasys.schedules": Schedule}
    kinds["ofasys.optimizers"] = OptimizerSpec
    taken = {"metric": set(METRICS), "schedule": set(SCHEDULES), "optimizer": set(OPTIMIZERS)}
    known, found = _Known(BUILT_IN, taken), []
    for group, noun in GROUPS.items():
        for entry in entry_points(group=group) if kinds[group] is not Modality else ():
            name, problem = entry.name, ""
            try:
                ((_, made),) = brought([entry], kinds[group], noun)
                name = str(getattr(made, "name", name))
                known.add(noun, name, made)
            except Exception as error:  # a plug-in may fail in any way
                problem = f"{type(error).__name__}: {error}"
            found.append({"kind": noun, "name": name, "from": f"{entry.value}{_package(entry)}", "problem": problem})
    return found


@dataclass
class _Known:
    """What is registered so far: records, and the names of what is no record."""

    records: Registry
    taken: dict[str, set[str]]

    def add(self, noun: str, name: str, made: Any) -> None:
        """Errors: ConfigError for a name that is taken, and for a record that cannot be registered or does not load."""
        if noun not in self.taken:
            self.records = self.records.with_(made)
            if hasattr(made, "resolve"):
                made.resolve()
        elif name in self.taken[noun]:
            raise ConfigError(f"{noun} {name!r} is registered already; give the new one another name")
        else:
            self.taken[noun].add(name)


def _problem(spec: Modality) -> str:
    parts = [*spec.preprocess.values(), *spec.adaptor.values(), *([spec.save] if spec.save else [])]
    for part in parts:
        try:
            part.resolve()
        except OfasysError as error:
            return f'{error}, or pip install "ofasys[{spec.extra}]"' if spec.extra else str(error)
        except Exception as error:  # a plug-in may fail in any way
            return f"{type(error).__name__}: {error}"
    return ""


def _text(found: dict[str, Any]) -> str:
    lines = [f"ofasys {found['ofasys']}, Python {found['python']}, {found['system']}", "", "needed"]
    lines += [f"  {name:<17} {v or f'MISSING: pip install {name}'}" for name, v in found["packages"].items()]
    lines += ["optional"]
    for name, (use, extra) in OPTIONAL.items():
        v = found["optional"][name]
        lines.append(
            f"  {name:<17} {v}" if v else f'  {name:<17} not installed, for {use}: pip install "ofasys[{extra}]"'
        )
    device = found["device"]
    lines += [
        "machine",
        f"  device            {device['device']}",
        f"  threads           {device.get('threads', '?')} of {device['cores']} cores",
        f"  precision         {_precision(device)}",
        f"  malloc            {device['malloc']}"
        + (_malloc_hint() if device["malloc"] == "as the system has them" else ""),
        "modalities",
    ]
    lines += [
        f"  {m['tag']:<17} {m['problem'] or 'ok'}{'' if m['from'] == 'built in' else ', ' + m['from']}"
        for m in found["modalities"]
    ]
    lines += ["plug-ins"] if found["plug_ins"] else []
    lines += [
        f"  {one['name']:<17} {one['kind']}, {one['problem'] or 'ok'}, {one['from']}" for one in found["plug_ins"]
    ]
    check = found["self_check"]
    told = (
        f"ok: trained, saved, loaded and answered the same, in {check['seconds']} s"
        if check["ok"]
        else f"FAILED: {check['problem']}"
    )
    return "\n".join([*lines, "self-check", f"  {told}"])


def _precision(device: dict[str, Any]) -> str:
    """What training chooses by itself."""
    return f"{device['precision']}, chosen by itself" if "precision" in device else f"unknown: {device['problem']}"


def _malloc_hint() -> str:
    return f"; {', '.join(malloc.COMMANDS)} choose their own (OFASYS_MALLOC=0 leaves it)"
