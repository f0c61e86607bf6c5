"""A model and what its tasks taught it, as the files of a folder, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import tokenizers
import torch
from tokenizers import Tokenizer

from ofasys.engine.huggingface.bring import located
from ofasys.engine.spec import TRANSFORMER
from ofasys.errors import CheckpointError, ConfigError
from ofasys.generalist import PRECISIONS, GeneralistModel, Imported
from ofasys.hub.store import read_folder, tensors
from ofasys.modality import Registry, default_registry
from ofasys.modality.vocabulary import ForeignVocabulary, Vocabulary
from ofasys.model.low_rank import add_change, merge, merged_weights, read, written
from ofasys.model.sizes import parameters
from ofasys.packages import GROUPS
from ofasys.types import TaskCard

MODEL_FILES = (
    "model.safetensors",
    "fitted.safetensors",
    "model.json",
    "tokenizer.json",
    "tasks.json",
)  # a checkpoint of a run holds more
ANSWERING = "answering.safetensors"  # of a checkpoint whose run evaluates with other weights than it trains


def model_files(model: GeneralistModel, cards: Sequence[TaskCard], merged: bool = False) -> dict[str, Any]:
    """name -> content, for `write_folder`. merged: changes of low rank are part of their matrices, and all weights are
    there, so that no folder of a backbone is needed. Errors: ConfigError for a model that has learned nothing yet.
    """
    if model.symbols is None:
        raise ConfigError("the model has no vocabulary yet, so there is nothing to save; train it first")
    engine: Any = model.engine
    parts = [] if merged else model.read_parts()
    reference = {name for stem, part in parts for name in (f"{stem}.{own}" for own in part.unchanged())}
    weights = merged_weights(model) if merged else model.state_dict()
    config = engine.standing_alone() if merged and hasattr(engine, "standing_alone") else model.config
    return {
        "model.safetensors": {n: weight for n, weight in weights.items() if n not in reference},
        "fitted.safetensors": {
            f"{key}/{name}": torch.from_numpy(np.ascontiguousarray(array))
            for key, arrays in model.fitted.items()
            for name, array in arrays.items()
        },
        "model.json": {
            "size": model.size,
            "seed": model.seed,
            "engine": model.engine_spec.name,
            "config": model.engine_spec.written(config),
            "tied": model.tied,
            "foreign": None if model.foreign is None else model.foreign.written(),
            "vocabulary": model.symbols.vocabulary.ranges,
            "fingerprint": model.symbols.vocabulary.fingerprint,
            "adaptors": model.made,
            "criteria": model.criteria_made,
            "lora": {} if merged else written(model),
            "reference": sorted(reference),
            "imported": None if model.imported is None else asdict(model.imported),
            "modalities": sorted(model.used),
            "packages": dict(sorted(model.packages.items())),
            "precision": model.precision,
        },
        "tokenizer.json": model.symbols.to_json(),
        "tasks.json": [asdict(card) for card in cards],
    }


def load_model(
    folder: str | Path, modalities: Registry | None = None, *, merged: bool = True, backbone: str | Path | None = None
) -> tuple[GeneralistModel, tuple[TaskCard, ...], dict[str, bytes]]:
    """(model, its tasks' cards, the files it was made of), with the weights its run was evaluated with. Of a run's
    checkpoint the optimizer's file is not read.

    merged: changes of low rank become part of their matrices. backbone: the folder of the backbone whose weights are
    not in the files; None: where it was. Errors: CheckpointError when the folder holds no sound model.
    """
    files = read_folder(folder, (*MODEL_FILES, ANSWERING))
    model, cards = model_of(files, folder, modalities, merged=merged, backbone=backbone)
    return model, cards, files


def model_of(
    files: Mapping[str, bytes],
    where: object,
    modalities: Registry | None = None,
    *,
    merged: bool = True,
    backbone: str | Path | None = None,
) -> tuple[GeneralistModel, tuple[TaskCard, ...]]:
    """(model, its tasks' cards) of the files of a folder. where: what to call it. merged, backbone: as of `load_model`.
    Errors: CheckpointError.
    """
    try:
        for name in MODEL_FILES:
            files[name]
        files = _placed(files, backbone)
        about = Saved.of(files["model.json"])
        cards = read_cards(files)
        weights = renamed(tensors(files["model.safetensors"], "model.safetensors"))
        if ANSWERING in files:
            weights |= renamed(tensors(files[ANSWERING], ANSWERING))
        registry = modalities or default_registry()
        config = about.shape(registry)
        about.check(weights, config)
        model = GeneralistModel(
            seed=about.seed,
            config=config,
            engine=about.engine,
            tied=about.tied,
            vocabulary=about.foreign,
            modalities=registry,
        )
        model.size, model.cards, model.precision = about.size, cards, about.precision
        fill(model, files, weights)
        if merged:
            merge(model)
    except KeyError as error:
        raise CheckpointError(f"{where} lacks {error}: it is not a saved model of this version") from None
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from None
    except (TypeError, ValueError, AttributeError, IndexError, RuntimeError, MemoryError, RecursionError) as error:
        raise CheckpointError(f"{where} is not a saved model of this version: {error}") from None
    return model, cards


def _placed(files: Mapping[str, bytes], backbone: str | Path | None) -> Mapping[str, bytes]:
    """The files with the folder in which their backbone lies here, where they leave weights to it.

    Errors: CheckpointError where it is given to a model that has none, or cannot be got.
    """
    about = parsed_json("model.json", files["model.json"], dict)
    config = about.get("config")
    listed = about.get("reference")
    left = isinstance(listed, list) and any(str(name).startswith("engine.") for name in listed)
    if not left or not isinstance(config, dict) or "folder" not in config:
        if backbone is not None:
            raise CheckpointError(f"it has all its weights itself, and backbone is {str(backbone)!r}; leave it out")
        return files
    try:
        place = located(config, backbone)
    except ConfigError as error:
        raise CheckpointError(f"its backbone: {error}") from error
    about = {**about, "config": {**config, "folder": str(place)}}
    return {**files, "model.json": json.dumps(about).encode()}


@dataclass(frozen=True)
class Saved:
    """What `model.json` says, each of its kind."""

    size: str
    """The name of the model's size."""
    seed: int
    """What its first weights are a function of."""
    engine: str
    """The name of what computes its streams."""
    config: Mapping[str, Any]
    """The fields of that engine's configuration."""
    tied: bool
    """Whether tokens are read and predicted by one table."""
    foreign: ForeignVocabulary | None
    """The vocabulary of a backbone that its own begins with; None: it has its own alone."""
    precision: str
    """The number format its passes were made in."""
    ranges: tuple[tuple[str, int, int], ...]
    """Its vocabulary: (name, first id, ids) of each range, in id order."""
    packages: Mapping[str, str]
    """What of it is from outside, as `criterion focal` -> its package."""
    reference: tuple[str, ...] = ()
    """Names of weights that are not in its files, for they are those its engine or a front brings."""
    imported: Imported | None = None
    """What a checkpoint of another program gave it."""

    @classmethod
    def of(cls, data: bytes) -> Saved:
        """Errors: KeyError for what is missing, CheckpointError for what is of another kind."""
        about = parsed_json("model.json", data, dict)
        for name, kind in _KINDS.items():
            if not isinstance(about[name], kind) or isinstance(about[name], bool):
                _refuse(name, about[name], _SAID[kind])
        for how in (*about["adaptors"].values(), *about["criteria"].values()):
            if not isinstance(how, dict) or not isinstance(how.get("options"), dict):
                _refuse("adaptors, criteria", how, "an object with options in it, for each")
        for one in about["vocabulary"]:
            sound = isinstance(one, list) and len(one) == 3 and isinstance(one[0], str)
            if not sound or not all(isinstance(n, int) and n >= 0 for n in one[1:]):
                _refuse("vocabulary", one, "[name, start, size] for each range")
        engine, tied = about.get("engine", TRANSFORMER.name), about.get("tied", True)  # models of before knew no other
        if not isinstance(engine, str):
            _refuse("engine", engine, "a text")
        if not isinstance(tied, bool):
            _refuse("tied", tied, "true or false")
        for name, value in about["config"].items() if engine == TRANSFORMER.name else ():
            if type(value) not in (int, float, str, bool):
                _refuse(f"config.{name}", value, "a number, a text, true or false")
        precision = about.get("precision", "float32")  # models of before knew no other
        if precision not in PRECISIONS:
            _refuse("precision", precision, " or ".join(PRECISIONS))
        ranges = tuple((name, start, size) for name, start, size in about["vocabulary"])
        return cls(
            about["size"],
            about["seed"],
            engine,
            about["config"],
            tied,
            _foreign(about.get("foreign")),
            precision,
            ranges,
            _packages(about.get("packages", {})),  # models of before told none
            _reference(about.get("reference", [])),
            _imported(about.get("imported")),
        )

    def package(self, what: str) -> str:
        """ " of focal-loss 0.1.0", where the package of what was called so is known."""
        return f" of {self.packages[what]}" if what in self.packages else ""

    def shape(self, registry: Registry) -> Any:
        """The configuration of its engine. Errors: CheckpointError where no engine of its name is known here."""
        known = [one.name for one in registry.engines]
        if self.engine not in known:
            raise CheckpointError(
                f"the saved model has engine {self.engine!r}{self.package(f'engine {self.engine}')}, which is not "
                f"installed; known here: {', '.join(known)}; install its plug-in, or give "
                "modalities=default_registry().with_(its EngineSpec)"
            )
        return registry.engine(self.engine).read(self.config)

    def check(self, weights: Mapping[str, torch.Tensor], config: Any) -> None:
        """Refuse weights before anything of their size is made: they are fewer than the shape says, of whole numbers,
        or not finite.
        """
        held = sum(tensor.numel() for tensor in weights.values())
        body = parameters(config) if self.engine == TRANSFORMER.name else 0
        width = config.width if self.engine == TRANSFORMER.name else 1
        rows = sum(size for _, _, size in self.ranges)
        if self.foreign is not None and self.reference:
            rows -= self.foreign.size
        needed = body + rows * width * (1 if self.tied else 2)
        if held < needed:
            raise CheckpointError(
                f"weights do not fit the model: model.safetensors holds {held:,} numbers, and what model.json says has "
                f"{needed:,} or more; the two are not of one saved model"
            )
        for name, tensor in weights.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
                count = int((~torch.isfinite(tensor)).sum())
                raise CheckpointError(
                    f"{count} of the {tensor.numel()} weights of {name!r} are not finite, so it answers nothing; use "
                    "another checkpoint (which='best' or 'last' of a run)"
                )


_KINDS: dict[str, type] = {
    "size": str,
    "seed": int,
    "config": dict,
    "vocabulary": list,
    "fingerprint": str,
    "adaptors": dict,
    "criteria": dict,
    "modalities": list,
}
_SAID = {str: "a text", int: "a whole number", dict: "an object", list: "a list"}


def _foreign(value: Any) -> ForeignVocabulary | None:
    """Errors: CheckpointError for what is none."""
    if value is None:
        return None
    try:
        return ForeignVocabulary.of(dict(value))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"foreign of model.json is no vocabulary ({error}); the file was changed") from None


def _packages(value: Any) -> dict[str, str]:
    """Errors: CheckpointError for what are none."""
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        _refuse("packages", value, "an object of texts")
    if unknown := [what for what in value if what.partition(" ")[0] not in GROUPS.values()]:
        _refuse("packages", unknown[0], f"one of {', '.join(GROUPS.values())}, and its name")
    return value


def _reference(value: Any) -> tuple[str, ...]:
    """Errors: CheckpointError for what are no names of weights of an engine or an adaptor."""
    if not _texts(value) or not all(name.startswith(("engine.", "adaptors.")) for name in value):
        _refuse("reference", value, "a list of weights of the engine or of adaptors")
    return tuple(value)


def _imported(value: Any) -> Imported | None:
    """Errors: CheckpointError for what says no place, or names no adaptors."""
    if value is None:
        return None
    adaptors: Any = value.get("adaptors") if isinstance(value, dict) else None
    if not _texts(adaptors) or not isinstance(value.get("place"), str):
        _refuse("imported", value, "an object of place and adaptors")
    return Imported(value["place"], tuple(adaptors))


def _refuse(name: str, value: object, expected: str) -> NoReturn:
    raise CheckpointError(f"{name} is {value!r:.60}, and should be {expected}; the file was changed, use another copy")


def parsed_json(name: str, data: bytes, kind: type) -> Any:
    """The value of a JSON file. Errors: CheckpointError for what is no JSON, or another kind of value."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name} is not JSON ({error}); use another checkpoint") from None
    if not isinstance(value, kind):
        _refuse(name, value, _SAID[kind])
    return value


def read_cards(files: Mapping[str, bytes]) -> tuple[TaskCard, ...]:
    """The cards of a saved model's tasks. Errors: CheckpointError for what is none."""
    cards = []
    for number, card in enumerate(parsed_json("tasks.json", files["tasks.json"], list)):
        where = f"task {number} of tasks.json"
        if not isinstance(card, dict):
            _refuse(where, card, "an object")
        known = {field.name for field in fields(TaskCard)}
        if unknown := sorted(set(card) - known):
            raise CheckpointError(f"{where} has {unknown[0]!r}, which this version does not know; it is of a newer one")
        sound = {
            "name": isinstance(card.get("name"), str),
            "instructions": _texts(card.get("instructions")),
            "metrics": _texts(card.get("metrics", [])),
            "settings": isinstance(card.get("settings", {}), dict),
            "generate": isinstance(card.get("generate", {}), dict),
            "origin": isinstance(card.get("origin", ""), str),
            "licence": isinstance(card.get("licence", ""), str),
            "labels": isinstance(card.get("labels", {}), dict) and all(map(_texts, card.get("labels", {}).values())),
        }
        for name, good in sound.items():
            if not good:
                _refuse(f"{name} of {where}", card.get(name), _EXPECTED[name])
        lists = {name: tuple(card.get(name, ())) for name in ("instructions", "metrics")}
        labels = {column: tuple(own) for column, own in card.get("labels", {}).items()}
        cards.append(TaskCard(**{**card, **lists, "labels": labels}))
    return tuple(cards)


_EXPECTED = {
    "name": "a text",
    "instructions": "a list of texts",
    "metrics": "a list of texts",
    "settings": "an object",
    "generate": "an object",
    "origin": "a text",
    "licence": "a text",
    "labels": "an object: column and list of texts",
}


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _tokenizer(data: bytes) -> Tokenizer:
    try:
        return Tokenizer.from_str(data.decode())
    except Exception as error:  # the library raises nothing more precise
        raise CheckpointError(
            f"tokenizer.json cannot be read by tokenizers {tokenizers.__version__} ({error}); use another checkpoint"
        ) from None


def fill(model: GeneralistModel, files: Mapping[str, bytes], weights: Mapping[str, torch.Tensor] | None = None) -> None:
    """Give a model of the right shape the vocabulary, adaptors and weights of saved files. weights: where they are
    read already. Errors: CheckpointError.
    """
    saved = Saved.of(files["model.json"])
    about = json.loads(files["model.json"])
    _check_same(model, saved, about)
    _check_known(model, saved, about)
    model.packages |= saved.packages
    model.imported = saved.imported
    model.used = set(about["modalities"])
    model.tokenizer = _tokenizer(files["tokenizer.json"])
    vocabulary = _vocabulary(model, about)
    for name, tensor in tensors(files["fitted.safetensors"], "fitted.safetensors").items():
        key, _, array = name.rpartition("/")
        model.fitted.setdefault(key, {})[array] = tensor.numpy()
    _grow(model, vocabulary, about)
    weights = renamed(tensors(files["model.safetensors"], "model.safetensors")) if weights is None else weights
    weights = {**_referred(model, saved), **weights}
    _check_weights(model.state_dict(), weights)
    try:
        model.load_state_dict(weights)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"weights do not fit the model: {error}") from None


def _check_same(model: GeneralistModel, saved: Saved, about: Mapping[str, Any]) -> None:
    """Errors: CheckpointError for a model of another engine or shape than the saved one."""
    own = {"engine": model.engine_spec.name, "tied": model.tied, "foreign": model.foreign}
    for name, mine in own.items():
        if getattr(saved, name) != mine:
            raise CheckpointError(
                f"the saved model has {name}={getattr(saved, name)!r} and this one {mine!r}; make this one so too"
            )
    written = json.loads(json.dumps(model.engine_spec.written(model.config)))  # a list where there was a tuple
    if about["config"] != written and _filled(model, about["config"]) != written:
        mine, theirs = written, about["config"]
        name = next(key for key in mine if mine[key] != theirs.get(key))
        raise CheckpointError(
            f"the saved model has {name}={theirs.get(name)!r} and this one {mine[name]!r}; use the saved size"
        )


def _vocabulary(model: GeneralistModel, about: Mapping[str, Any]) -> Vocabulary:
    """The saved vocabulary. Errors: CheckpointError for one that was changed, or is of another tokenizer."""
    vocabulary = Vocabulary(tuple((name, start, size) for name, start, size in about["vocabulary"]), model.foreign)
    if vocabulary.fingerprint != about["fingerprint"]:
        raise CheckpointError("the vocabulary's hash does not fit its ranges; the checkpoint was changed by hand")
    text = {name: size for name, _, size in vocabulary.ranges}.get("text", 0)
    if model.pieces() != text:
        raise CheckpointError(
            f"tokenizer.json has {model.pieces()} pieces and the model learned {text}; it is not its own, use "
            "the one that was saved with it"
        )
    return vocabulary


def _grow(model: GeneralistModel, vocabulary: Vocabulary, about: Mapping[str, Any]) -> None:
    """Room for all that the saved model has weights of. Errors: CheckpointError for what cannot be made here."""
    try:
        model.set_vocabulary(vocabulary)
        for key, how in about["adaptors"].items():
            model.add_adaptor(key, how["modality"], how["name"], how["options"], how["fitted"])
        for how in about["criteria"].values():
            model.add_criterion(how["name"], how["options"])
        merge(model)
        for name, rank in read(about.get("lora", {})).items():
            add_change(model, name, rank)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"model.json names an adaptor, a criterion or a change that cannot be made here ({type(error).__name__}: "
            f"{error}); it is of another version, or was changed"
        ) from None


def _filled(model: GeneralistModel, config: Mapping[str, Any]) -> Any:
    """A saved configuration with the fields that it was saved without, as of a version that did not know them."""
    spec = model.engine_spec
    return json.loads(json.dumps(spec.written(spec.read(config))))


def _referred(model: GeneralistModel, saved: Saved) -> dict[str, torch.Tensor]:
    """The weights that files leave to what the engine or a front brings. Errors: CheckpointError where it has not
    brought them.
    """
    wanted = set(saved.reference)
    backbone = sum(name.startswith("engine.") for name in wanted)
    if backbone and not getattr(model.engine, "of_folder", False):
        _missing(backbone, "backbone", saved.config)
    for key, how in model.made.items():
        held = sum(name.startswith(f"adaptors.{key}.") for name in wanted)
        if held and not getattr(model.adaptors[key], "of_folder", False):
            _missing(held, f"front of {how['modality']}", how["options"])
    own = model.state_dict()
    return {name: own[name] for name in saved.reference if name in own}


def _missing(count: int, what: str, of: Mapping[str, Any]) -> NoReturn:
    """of: where its weights lay, and their mark."""
    hint = ", or give its folder as backbone=" if what == "backbone" else ""
    raise CheckpointError(
        f"the saved model has {count} weights of its {what} by reference, and {of.get('folder')} is not there, or "
        f"holds others; put the {what.partition(' ')[0]} back whose weights have the SHA-256 "
        f"{of.get('fingerprint')!s:.16}...{hint}"
    )


def _check_known(model: GeneralistModel, saved: Saved, about: Mapping[str, Any]) -> None:
    """Errors: CheckpointError for a modality, or a criterion with weights, that is not known here, with its package."""
    missing = set(map(str, about["modalities"])) - {modality.tag for modality in model.modalities.modalities}
    if missing:
        raise CheckpointError(
            f"the saved model uses modality {min(missing)}{saved.package(f'modality {min(missing)}')}, which is not "
            "installed; install its plug-in"
        )
    for name in sorted({str(how.get("name")) for how in about["criteria"].values()}):
        if not model.modalities.knows(f"criterion {name}"):
            raise CheckpointError(
                f"the saved model has weights of criterion {name!r}{saved.package(f'criterion {name}')}, which is not "
                "installed; install its plug-in, or give modalities=default_registry().with_(its record)"
            )


def renamed(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights, or what an optimizer or a callback keeps of them as KIND/NAME, under their names of today: of models
    that knew one engine, those of the universal model.
    """
    return {re.sub("^(.*/)?universal[.]", r"\1engine.", name): tensor for name, tensor in weights.items()}


def _check_weights(mine: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> None:
    """Errors: CheckpointError naming the first weight that is missing, unknown, or of another shape or kind."""
    why = ""
    for name, tensor in mine.items():
        if name not in theirs:
            why = f"{name!r} is missing"
        elif theirs[name].shape != tensor.shape:
            why = f"{name!r} has shape {tuple(theirs[name].shape)}, and should have {tuple(tensor.shape)}"
        elif tensor.is_floating_point() and not theirs[name].is_floating_point():
            why = f"{name!r} holds {theirs[name].dtype}, and should hold numbers with a fraction"
        if why:
            break
    else:
        why = next((f"{name!r} is not known" for name in theirs if name not in mine), "")
    if why:
        raise CheckpointError(f"weights do not fit the model: {why}; the files are not of one saved model")
