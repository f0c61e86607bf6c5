"""A run, from a YAML or a Python file and the overrides of a command line, to the objects that train."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ofasys.cli.document import Document, Place, by_name, dumped, existing, parse_scalar, read_document, shown
from ofasys.cli.schema import checked, fields
from ofasys.engine import TRANSFORMER, EngineSpec
from ofasys.errors import ConfigError, InstructionError, OfasysError, nearest
from ofasys.generalist import GeneralistModel
from ofasys.hub import OFASys
from ofasys.hub.shipped import SHIPPED, shipped
from ofasys.metric import known_metrics
from ofasys.modality import default_registry
from ofasys.modality.vocabulary import ForeignVocabulary
from ofasys.task.source import is_elsewhere
from ofasys.task.task import SPLITS, Task
from ofasys.train import Trainer
from ofasys.train.groups import read_rules
from ofasys.train.track import TRACKERS, names

FROM = ("from", "which")  # of a model that goes on: where it is saved, and which of its checkpoints
SECTIONS = ("tasks", "model", "trainer")
RESOLVED = "run.yaml"
GALLERY = "gallery:"  # begins what stands for a run file of its tasks


@dataclass
class RunFile:
    """A run as its file and the overrides say it. `tasks`, `model` and `trainer` make the objects.

    path: the file, or what stands for it, as `gallery:sentiment`. document: what it says; a Python file's objects stand
    in it as they are.
    """

    path: Path
    document: Document
    paths: dict[tuple[str, str], tuple[Path, bool]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of the tasks."""
        return list(self.document.values.get("tasks", {}))

    @property
    def engine(self) -> EngineSpec:
        """What the model's engine is, as the file says it. Errors: ConfigError for one that is not known."""
        given = _shape(self.document.values.get("model"))
        if isinstance(given, GeneralistModel):
            return given.engine_spec
        said = given.changes if isinstance(given, _Amended) else given
        name = str(said.get("engine", TRANSFORMER.name) if isinstance(said, Mapping) else TRANSFORMER.name)
        with self._at("model", "engine"):
            return default_registry().engine(name.partition(":")[0])

    def tasks(self, names: Sequence[str] | None = None, splits: Sequence[str] = SPLITS) -> list[Task]:
        """The tasks, or those of the names given, with the rows of the splits given.

        Errors: ConfigError naming file, line and task; DataError for data that cannot be opened.
        """
        for name in names or ():
            if name not in self.names:
                raise ConfigError(
                    f"no task {name!r} in {shown(self.path)}; {nearest(name, self.names)}there are "
                    f"{', '.join(self.names)}"
                )
        given = self.document.values.get("tasks")
        if not isinstance(given, dict) or not given:
            raise ConfigError(f"{self.document.place('tasks')}: there is no task; give tasks: with at least one")
        return [self._task(name, given[name], splits) for name in names or given]

    def model(self) -> GeneralistModel:
        """The model, untrained. Errors: ConfigError."""
        given = _shape(self.document.values.get("model"))
        if isinstance(given, GeneralistModel):
            return given
        if isinstance(given, _Amended):
            return given.made(self)
        if isinstance(given, Mapping) and given.keys() & set(FROM):
            return self._saved(given)
        found = self._model_fields(given if given is not None else {})
        config = found.get("config") if ":" in str(found.get("engine", "")) else None
        inner = {name: ("config", name) for name in config} if isinstance(config, Mapping) else {}
        with self._at("model", inner=inner, otherwise="engine"):
            return GeneralistModel(**found)

    def _saved(self, given: Mapping[str, Any]) -> GeneralistModel:
        """The model of a run or of a saved model. Errors: ConfigError for a field beside that says something else."""
        place = self.document.place("model", "from")
        if "from" not in given:
            raise ConfigError(f"{self.document.place('model', 'which')}: which: is of a saved model; give from: too")
        for name in FROM:
            if not isinstance(given.get(name, ""), str):
                expected = "the folder of a run or of a saved model" if name == "from" else "best or last"
                raise ConfigError(
                    f"{self.document.place('model', name)}: {name} of model is {given[name]!r:.80}; expected {expected}"
                )
        folder, _ = self.model_from()
        beside = {name: value for name, value in given.items() if name not in FROM}
        found = self._model_fields(beside)
        if folder == Path(os.path.normpath(Path(self.trainer().out or "").absolute())):
            raise ConfigError(
                f"{place}: the model comes from {shown(folder)}, which is also where this run is written; give another "
                "trainer.out, or leave from: out to go on with that run"
            )
        with self._at("model"):
            model = OFASys.from_pretrained(folder, which=given.get("which")).model
        has = {"size": model.size, "seed": model.seed, "config": model.config}
        has |= {"engine": model.engine_spec.name, "tied": model.tied, "vocabulary": model.foreign}
        for name, value in found.items():
            if name not in has or has[name] != value:
                said = f", which has {name}: {has[name]}" if name in ("size", "seed") else ""
                raise ConfigError(
                    f"{self.document.place('model', name)}: {name}: {value!r:.60} does not go with from: "
                    f"{given['from']}"
                    f"{said}; leave {name} out"
                )
        return model

    def model_from(self) -> tuple[Path, bool]:
        """The folder that `from:` of the model names, and whether it was written from the root; of a model that comes
        with the package, its own.
        """
        written = self.document.values["model"]["from"]
        found = self._path(written, "model", "from")
        own = None if found[0].exists() else shipped(written)
        return found if own is None else (own, True)

    def trainer(self) -> Trainer:
        """The trainer; without `out`, its folder is runs/NAME-OF-THE-FILE. Errors: ConfigError."""
        given = self.document.values.get("trainer")
        if isinstance(given, _Amended):
            given = given.made(self)
        if not isinstance(given, Trainer):
            found = checked("trainer", given if given is not None else {}, self.document, ("trainer",))
            if found.get("out") is not None:
                found["out"], _ = self._path(found["out"], "trainer", "out")
            with self._at("trainer"):
                given = Trainer(**found)
        return given if given.out is not None else replace(given, out=Path("runs") / self.path.stem)

    def _task(self, name: str, given: Any, splits: Sequence[str]) -> Task:
        if isinstance(given, _Amended):
            given = given.made(self)
        if isinstance(given, Task):
            return given
        path = ("tasks", name)
        found = checked("task", given, self.document, path)
        rows = {split: found.pop(split, None) for split in SPLITS}
        with self._at(*path):
            task = Task(name, **found)
        for split, written in rows.items():
            if written is not None:
                with self._at(*path, split):
                    if is_elsewhere(written):
                        if split in splits:
                            task.add_dataset(written, split)
                        continue
                    whole, _ = self.paths[name, split] = self._path(written, *path, split)
                    if split in splits:
                        task.add_dataset(whole, split)
        return task

    def _model_fields(self, given: Any) -> dict[str, Any]:
        found = checked("model", given, self.document, ("model",))
        if found.get("tokenizer") is not None:
            found["tokenizer"], _ = self._path(found["tokenizer"], "model", "tokenizer")
        name, _, place = str(found.get("engine", "transformer")).partition(":")
        if place and self._path(place, "model", "engine")[0].is_dir():
            found["engine"] = f"{name}:{self._path(place, 'model', 'engine')[0]}"
        if found.get("config") is not None and not place:
            with self._at("model", "engine"):
                engine = default_registry().engine(name)
            with self._at("model", "config"):
                found["config"] = engine.read(found["config"])
        if found.get("vocabulary") is not None:
            with self._at("model", "vocabulary"):
                found["vocabulary"] = ForeignVocabulary.of(found["vocabulary"])
        return found

    def _path(self, written: str, *path: str) -> tuple[Path, bool]:
        """A path as it is from anywhere, and whether it was written so."""
        given = Path(written).expanduser()
        return Path(os.path.normpath(self.document.place(*path).folder / given)), given.is_absolute()

    @contextmanager
    def _at(
        self, *path: str, inner: Mapping[str, tuple[str, ...]] = MappingProxyType({}), otherwise: str = ""
    ) -> Iterator[None]:
        """Errors from inside, with the place in the file before them.

        inner: names within a field, and where they stand. otherwise: the field to blame where an error names none.
        """
        try:
            yield
        except OfasysError as error:
            text = str(error)
            blamed = self._blamed(path, error, inner) or ((otherwise,) if otherwise else ())
            where = str(self.document.place(*path, *blamed))
            if path[0] == "tasks" and path[1] not in text.partition("\n")[0]:
                where += f", task {path[1]!r}"
            raise ConfigError(f"{where}:{chr(10) if chr(10) in text else ' '}{text}") from error

    def _blamed(
        self, path: tuple[str, ...], error: OfasysError, inner: Mapping[str, tuple[str, ...]]
    ) -> tuple[str, ...]:
        """The field of a section that an error is about, where it names one that was given: the first it names."""
        if isinstance(error, InstructionError):
            return ("instruction",)
        own = {p[-1]: p[-1:] for p in self.document.places if p[:-1] == path and p[-1] not in SPLITS}
        words = re.findall(r"\w+", str(error).partition("\n")[0])
        return next((given[word] for given in (own, inner) for word in words if word in given), ())


def read_run(path: str | Path, overrides: Sequence[str] = ()) -> RunFile:
    """Read a run file, YAML or Python, and lay the overrides over it.

    path: or `gallery:NAME,NAME`. overrides: `dotted.key=value`, as `trainer.max_steps=100` or `tasks.caption.weight=2`.
    Errors: ConfigError.
    """
    names = gallery_names(path)
    if shipped(path) is not None:
        raise ConfigError(
            f"{path} is a model that comes with ofasys, and no run file: `ofasys demo --pretrained` shows what it "
            f"answers, `ofasys card {path}` says how it was made, and a run file with model: {{from: {path}}} goes on "
            f"from it; for the tasks of the gallery give gallery:NAME or gallery:all"
        )
    path = Path(path).expanduser()
    if (path / RESOLVED).is_file():
        raise ConfigError(f"{shown(path)} is the folder of a run; its run file is {shown(path / RESOLVED)}")
    path = path if names else existing(path)
    if names:
        document = _gallery(names)
    else:
        document = _python(path) if path.suffix == ".py" else read_document(path)
    for name in document.values:
        if name not in SECTIONS:
            raise ConfigError(
                f"{document.place(name)}: a run file has no {name!r}; {nearest(name, SECTIONS)}it has tasks, model, "
                "trainer and include"
            )
    if "model" in document.values:
        document.values["model"] = _shape(document.values["model"])
    for text in overrides:
        keys, value = _override(text, document.values)
        document = _laid(document, tuple(keys), value, Place(f"{text!r} on the command line", Path.cwd()))
    return RunFile(path, document)


def gallery_names(path: str | Path) -> list[str]:
    """The tasks of the gallery that `gallery:NAME,NAME` names; none for a path."""
    given = str(path)
    return given.removeprefix(GALLERY).split(",") if given.startswith(GALLERY) else []


def _gallery(names: Sequence[str]) -> Document:
    """The run of tasks of the gallery, their rows made of what was fetched."""
    from ofasys.gallery.tasks.run import run_of

    return Document(run_of(names), Place(f"{GALLERY}{','.join(names)}", Path.cwd()))


def _override(text: str, values: Mapping[str, Any]) -> tuple[list[str], Any]:
    """The keys of an override and its value."""
    dotted, equals, written = text.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"{text!r} is not an override; expected dotted.key=value, as trainer.max_steps=100")
    section, _, rest = dotted.partition(".")
    if dotted == "model":
        return [dotted], parse_scalar(written)
    if section not in SECTIONS or not rest:
        raise ConfigError(
            f"{text!r}: {'nothing' if section in SECTIONS else 'no section'} is called {dotted!r}; "
            f"{nearest(section, SECTIONS) if section not in SECTIONS else ''}"
            "overrides begin with trainer., model., or tasks.NAME."
        )
    keys = [section]
    if section == "tasks":
        names = [name for name in values.get("tasks") or {} if rest == name or rest.startswith(f"{name}.")]
        name = max(names, key=len, default=rest.partition(".")[0])
        if not names:
            known = list(values.get("tasks") or {})
            raise ConfigError(
                f"{text!r}: no task {name!r}; {nearest(name, known)}there are {', '.join(known) or 'none'}"
            )
        keys, rest = [*keys, name], rest[len(name) + 1 :]
    if rest:
        keys += rest.split(".", 1)  # what follows a field is one key: settings.IMAGE.size
    return keys, written if keys[-1] == "instruction" else parse_scalar(written)


def _shape(model: Any) -> Any:
    """`model: tiny` is short for its size."""
    return {"size": model} if isinstance(model, str) else model


@dataclass
class _Amended:
    """An object of a Python file, and fields to be changed in it."""

    section: str
    path: tuple[str, ...]
    given: Any
    changes: dict[str, Any] = field(default_factory=dict)

    def made(self, run: RunFile) -> Any:
        """The object with the changes made: a new one, so that it is validated as any other."""
        changes = checked(self.section, self.changes, run.document, self.path, needed=False)
        with run._at(*self.path):
            if isinstance(self.given, Trainer):
                if changes.get("out") is not None:
                    changes["out"], _ = run._path(changes["out"], "trainer", "out")
                return replace(self.given, **changes)
            if isinstance(self.given, GeneralistModel):
                return self._model(run, changes)
            return self._task(run, changes)

    def _model(self, run: RunFile, changes: dict[str, Any]) -> GeneralistModel:
        old = self.given
        if old.symbols is not None:
            raise ConfigError(
                "the model of the file is trained already, so its fields cannot be changed; change them there"
            )
        kept = {name: getattr(old, name) for name in ("size", "seed", "text_pieces", "modalities", "tied")}
        kept |= {"engine": old.engine_spec, "vocabulary": old.foreign}
        if old.size == "custom":
            kept |= {"size": "tiny", "config": None if "size" in changes else old.config}
        if old.place is not None and not {"engine", "config"} & set(changes):
            kept = {name: kept[name] for name in ("seed", "modalities")}
            kept |= {"engine": old.place[0], "config": old.place[1]}
        made = GeneralistModel(**{**kept, **run._model_fields(changes)})
        if "tokenizer" not in changes and made.place is None:
            made.tokenizer = old.tokenizer
        return made

    def _task(self, run: RunFile, changes: dict[str, Any]) -> Task:
        old: Task = self.given
        if type(old) is not Task:
            raise ConfigError(f"it is a {type(old).__name__}, of your own; change its fields in the file")
        rows = {split: changes.pop(split, None) for split in SPLITS}
        kept = _task_fields(old) | {
            "instruction": old.instructions,
            "metrics": old.metrics,
            "modalities": old.modalities,
        }
        for name in ("settings", "generate"):
            if isinstance(changes.get(name), dict):
                changes[name] = kept[name] | changes[name]
        made = Task(old.name, **{**kept, **changes})
        for split in SPLITS:
            if rows[split] is not None:
                given = rows[split]
                made.add_dataset(given if is_elsewhere(given) else run._path(given, *self.path, split)[0], split)
            elif split in old.sources:
                made.add_dataset(old.sources[split], split)
        return made


@contextmanager
def _not_ending(origin: Place) -> Iterator[None]:
    """Errors: ConfigError where a person's own file ends the process, which would look as if all had gone well."""
    try:
        yield
    except SystemExit as error:
        raise ConfigError(
            f"{origin} ended the process (exit code {error.code!r}); leave sys.exit() out of it"
        ) from None


def _laid(document: Document, keys: tuple[str, ...], value: Any, place: Place) -> Document:
    """The document with one value laid over it; an object of a Python file gathers it as a change."""
    depth = 2 if keys[0] == "tasks" else 1
    holder = document.values if depth == 1 else document.values["tasks"]
    found = holder.get(keys[depth - 1])
    if len(keys) > depth and isinstance(found, (Task, GeneralistModel, Trainer)):
        found = holder[keys[depth - 1]] = _Amended({"tasks": "task"}.get(keys[0], keys[0]), keys[:depth], found)
    if len(keys) > depth and isinstance(found, _Amended):
        inner = found.changes
        for key in keys[depth:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = value
        document.places[keys] = place
        return document
    above: Any = value
    for key in reversed(keys):
        above = {key: above}
    return document.under(Document(above, document.origin, {keys: place}))


# --- Python run files
# --------------------------------------------------------------------------------------------------


def _python(path: Path) -> Document:
    """What a Python file defines: `tasks`, `model`, `trainer`, or a function `run()` that returns them."""
    real = path.resolve()
    spec = importlib.util.spec_from_file_location("ofasys_run_file", real)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(real.parent))
    origin = Place(shown(path), real.parent)
    with _not_ending(origin):
        spec.loader.exec_module(module)
    if callable(getattr(module, "run", None)):
        with _not_ending(origin):
            found = module.run()
        if not isinstance(found, Mapping) and not (isinstance(found, tuple) and len(found) == 3):
            raise ConfigError(f"{origin}: run() returned {type(found).__name__}; expected (tasks, model, trainer)")
        values = dict(found) if isinstance(found, Mapping) else dict(zip(SECTIONS, found, strict=True))
    else:
        values = {name: getattr(module, name) for name in SECTIONS if hasattr(module, name)}
    if "tasks" not in values:
        raise ConfigError(f"{origin} defines no tasks; define tasks, model and trainer, or run() that returns them")
    for name, kind in (("model", GeneralistModel), ("trainer", Trainer)):
        if name in values and not isinstance(_shape(values[name]), (kind, dict)):
            raise ConfigError(
                f"{origin}: {name} is a {type(values[name]).__name__}; expected a {kind.__name__}, or a dict of its "
                "fields"
            )
    tasks = [values["tasks"]] if isinstance(values["tasks"], Task) else values["tasks"]
    if not isinstance(tasks, (list, tuple, dict)):
        raise ConfigError(f"{origin}: tasks is a {type(tasks).__name__}; expected a list of Task")
    document = Document(values, origin)
    if isinstance(tasks, dict):
        for key, task in tasks.items():
            if isinstance(task, Task) and task.name != key:
                raise ConfigError(
                    f"{origin}: task {task.name!r} stands under {key!r}; give it the same name in both places"
                )
    values["tasks"] = by_name(tasks, document)
    return document


# --- the resolved run
# --------------------------------------------------------------------------------------------------


def resolved(run: RunFile, tasks: Sequence[Task], model: GeneralistModel, trainer: Trainer, out: Path) -> str:
    """Everything that is chosen, as a YAML run file to stand in `out`.

    A data path written relative is relative to `out`, so that a project can be moved as a whole; one written absolute
    stays so. What YAML cannot hold (rows, functions of a Python file) is named in comments on top.
    """
    notes: list[str] = []
    values: dict[str, Any] = {
        "tasks": {},
        "model": _model_values(run, model, out),
        "trainer": _trainer_values(trainer, notes),
    }
    for task in tasks:
        found = _task_fields(task)
        found["metrics"] = [metric.name for metric in task.metrics if known_metrics().get(metric.name) is metric]
        for metric in task.metrics:
            if metric.name not in found["metrics"]:
                notes.append(f"task {task.name}: metric {metric.name}, a function")
        data = dict[str, Any]()
        for split, source in task.sources.items():
            if (given := getattr(source, "given", None)) is not None:
                data[split] = given
                continue
            place = run.paths.get((task.name, split)) or _path_of(source)
            if place is None:
                notes.append(f"task {task.name}: its {split} rows, a {source.describe()}")
            else:
                data[split] = _from(out, *place)
        values["tasks"][task.name] = {"instruction": found.pop("instruction"), **data, **found}
    head = (
        f"# What ran: {shown(run.path)} with every choice made. It is a run file itself; its "
        "paths start from this folder.\n"
    )
    if notes:
        head += "# Not here, because only the Python file holds it:\n" + "".join(f"#   {note}\n" for note in notes)
    return head + dumped(values)


def _task_fields(task: Task) -> dict[str, Any]:
    """What a Task was made of, as plain values, without its rows."""
    texts = [str(instruction) for instruction in task.instructions]
    own = {
        "instruction": texts[0] if len(texts) == 1 else texts,
        "metrics": [metric.name for metric in task.metrics],
        "closed_set": {name: list(labels) for name, labels in task.closed_set.items()} or None,
        "generate": asdict(task.generate),
        "settings": dict(task.settings),
    }
    return {name: own.get(name, getattr(task, name, None)) for name in fields("task") if name not in SPLITS}


def _model_values(run: RunFile, model: GeneralistModel, out: Path) -> dict[str, Any]:
    given = _shape(run.document.values.get("model"))
    if isinstance(given, dict) and "from" in given:
        return {
            name: _from(out, *run.model_from()) if name == "from" else given[name] for name in FROM if name in given
        }
    if model.place is not None:
        return {"seed": model.seed, "engine": model.place[0], "config": dict(model.place[1])}
    values: dict[str, Any] = {"size": model.size, "seed": model.seed, "text_pieces": model.text_pieces}
    if model.size == "custom":
        values["size"] = "tiny"
        values["config"] = model.engine_spec.written(model.config)
    values |= {"engine": model.engine_spec.name, "tied": model.tied}
    if model.foreign is not None:
        values["vocabulary"] = {**model.foreign.written(), "text": list(model.foreign.text)}
    written = given.get("tokenizer") if isinstance(given, dict) else None
    if written is not None:
        values["tokenizer"] = _from(out, *run._path(written, "model", "tokenizer"))
    return values


def _trainer_values(trainer: Trainer, notes: list[str]) -> dict[str, Any]:
    values = {name: getattr(trainer, name) for name in fields("trainer")}
    values["betas"], values["out"], values["track"] = list(trainer.betas), ".", names(trainer.track)
    if own := [name for name in values["track"] if name not in TRACKERS]:
        notes.append(f"trainer: its trackers, {', '.join(own)}")
        values["track"] = [name for name in values["track"] if name in TRACKERS]
    for name in ("schedule", "balance"):
        if not isinstance(values[name], str | Mapping):
            notes.append(f"trainer: its {name}, a {type(values[name]).__name__}")
            del values[name]
    values |= {"lr": trainer.peak, "groups": [rule.to_dict() for rule in read_rules(trainer.groups)]}
    if not isinstance(trainer.optimizer, str):
        notes.append(f"trainer: its optimizer, {trainer.optimizer.name}")
        del values["optimizer"]
    if trainer.callbacks:
        named = ", ".join(one.name or type(one).__name__ for one in trainer.callbacks)
        notes.append(f"trainer: its callbacks, {named}")
    return values


def _path_of(source: Any) -> tuple[Path, bool] | None:
    path = getattr(source, "path", None) or getattr(source, "folder", None)
    return None if path is None else (Path(path).absolute(), Path(path).is_absolute())


def _from(out: Path, path: Path, fixed: bool) -> str:
    if path.parent == SHIPPED:
        return path.name
    try:
        return str(path) if fixed else Path(os.path.relpath(path, out.absolute())).as_posix()
    except ValueError:  # another drive
        return str(path)
