"""What a person gives to Task or GeneralistModel: names that are near, and values of the right kind."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from functools import wraps
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ofasys.errors import ConfigError, nearest

Made = TypeVar("Made")

# What others call an argument that is here under another name, by what takes it.
TASK_CALLED = {
    "batch_size": "micro_batch_size",
    "per_device_train_batch_size": "micro_batch_size",
    "train_data": "train",
    "train_dataset": "train",
    "data": "train",
    "dataset": "train",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "eval_dataset": "valid",
    "metric": "metrics",
    "labels": "closed_set",
    "classes": "closed_set",
    "prompt": "instruction",
    "line": "instruction",
    "instructions": "instruction",
    "label_smoothing": "smoothing",
    "num_beams": "generate={'beam_size': ...}",
    "beam_size": "generate={'beam_size': ...}",
    "max_new_tokens": "generate={'max_length': ...}",
    "do_sample": "generate={'sampling': ...}",
}
TRAINER_CALLED = {
    "steps": "max_steps",
    "num_steps": "max_steps",
    "total_steps": "max_steps",
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "learning_rate": "lr",
    "batch_size": "micro_batch_size, which each task has",
    "per_device_train_batch_size": "micro_batch_size, which each task has",
    "per_device_eval_batch_size": "eval_batch_size",
    "gradient_accumulation_steps": "accumulate",
    "grad_accum": "accumulate",
    "output_dir": "out",
    "output": "out",
    "max_grad_norm": "clip",
    "grad_clip": "clip",
    "gradient_clip_val": "clip",
    "warmup_steps": "warmup",
    "lr_scheduler": "decay",
    "lr_scheduler_type": "decay",
    "eval_steps": "eval_every",
    "save_steps": "save_every",
    "logging_steps": "log_every",
    "num_workers": "workers",
    "dataloader_num_workers": "workers",
    "dtype": "precision",
    "fp16": "precision",
    "bf16": "precision",
    "early_stopping_patience": "patience",
    "metric_for_best_model": "best",
}
MODEL_CALLED = {
    "name": "size",
    "model_size": "size",
    "vocab_size": "text_pieces",
    "d_model": "config, its width",
    "hidden_size": "config, its width",
    "num_heads": "config, its heads",
    "dropout": "config, its dropout",
    "random_seed": "seed",
}
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    type(None): "None",
}


def arguments(what: str, called: Mapping[str, str]) -> Callable[[type[Made]], type[Made]]:
    """A class decorator: its constructor says which argument was meant, and what kind of value was expected.

    what: how an error names what is made: "task", "model". called: names from elsewhere -> ours. Arguments
    whose annotation is of other than plain types and classes are not looked at. Errors of the constructor: ConfigError.
    """

    def told(made: type[Made]) -> type[Made]:
        inner = made.__init__
        signature = inspect.signature(inner)
        known = list(signature.parameters)[1:]

        @wraps(inner)
        def made_of(self: Made, *args: Any, **given: Any) -> None:
            name = args[0] if args else given.get("name")
            said = f"{what} {name!r}" if "name" in known and isinstance(name, str) else what
            for word in given:
                if word not in known:
                    raise ConfigError(f"{said} has no {word!r}; {meant(word, known, called)}")
            hints = get_type_hints(inner)
            for word, value in {**dict(zip(known, args, strict=False)), **given}.items():
                if word in hints and not fits(value, hints[word]):
                    raise ConfigError(f"{said} has {word} {value!r:.80}; it is {words(hints[word])}")
            inner(self, *args, **given)

        made.__init__ = made_of  # type: ignore[method-assign, assignment]
        return made

    return told


def meant(word: str, known: list[str], called: Mapping[str, str]) -> str:
    """The next step after a name that there is not: what it is called here, or the nearest, and all there are."""
    if word in called and (called[word] in known or not called[word].isidentifier()):
        return f"here it is called {called[word]}"
    return f"{nearest(word, known)}there are {', '.join(known)}"


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind: of plain types, as YAML has them, mappings, literals, classes, unions of these.

    Of any other kind all values are.
    """
    if get_origin(kind) in (Union, types.UnionType):
        return any(fits(value, inner) for inner in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is Mapping:
        return isinstance(value, Mapping)
    true = type(value).__name__ in ("bool", "bool_")
    if kind is bool:
        return true
    if kind is int:
        return isinstance(value, Integral) and not true
    if kind is float:
        return isinstance(value, Real) and not true
    return not _is_class(kind) or isinstance(value, kind)


def _is_class(kind: Any) -> bool:
    return (
        kind is not Any
        and isinstance(kind, type)
        and not getattr(kind, "_is_protocol", False)
        and get_origin(kind) is None
    )


def words(kind: Any) -> str:
    """A kind in words: `a whole number or None`."""
    if get_origin(kind) is Literal:
        return " or ".join(repr(value) for value in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(words(inner) for inner in get_args(kind))
    if get_origin(kind) is Mapping:
        return "a mapping"
    return _WORDS.get(kind, f"a {getattr(kind, '__name__', str(kind))}")
