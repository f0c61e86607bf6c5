"""What a person gives to Task, Trainer or GeneralistModel: names that are near, and values of the right kind."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
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
    "license": "licence",
    "source": "origin",
}
TRAINER_CALLED = {
    "learning_rate": "lr",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "epoch": "epochs",
    "num_train_epochs": "epochs",
    "max_epochs": "epochs",
    "steps": "max_steps",
    "num_steps": "max_steps",
    "num_train_steps": "max_steps",
    "total_steps": "max_steps",
    "output_dir": "out",
    "out_dir": "out",
    "save_dir": "out",
    "default_root_dir": "out",
    "eval_steps": "eval_every",
    "val_check_interval": "eval_every",
    "save_steps": "save_every",
    "logging_steps": "log_every",
    "log_every_n_steps": "log_every",
    "warmup_steps": "warmup",
    "num_warmup_steps": "warmup",
    "lr_scheduler": "decay",
    "lr_scheduler_type": "decay",
    "gradient_accumulation_steps": "accumulate",
    "accumulate_grad_batches": "accumulate",
    "max_grad_norm": "clip",
    "gradient_clip_val": "clip",
    "grad_clip": "clip",
    "num_workers": "workers",
    "dataloader_num_workers": "workers",
    "per_device_eval_batch_size": "eval_batch_size",
    "metric_for_best_model": "best",
    "early_stopping_patience": "patience",
    "accelerator": "device",
    "random_seed": "seed",
    "adam_betas": "betas",
    "grad_accum": "accumulate",
    "gradient_checkpointing": "recompute",
    "activation_checkpointing": "recompute",
    "torch_compile": "compile",
    "optim": "optimizer",
    "param_groups": "groups",
    "parameter_groups": "groups",
    "peft_config": "groups=[{'match': 'engine.*', 'lora': 8}]",
    "freeze": "groups=[{'match': ..., 'freeze': True}]",
    "output": "out",
    "dtype": "precision",
    "fp16": "precision='float16'",
    "bf16": "precision='bfloat16'",
    "amp": "precision='bfloat16'",
    "no_cuda": "device='cpu'",
    "use_cpu": "device='cpu'",
    "greater_is_better": "best='max:TASK.FIGURE' or 'min:TASK.FIGURE'",
    "load_best_model_at_end": "OFASys.from_pretrained(out), which loads the best checkpoint",
    "resume_from_checkpoint": "out, whose run is resumed",
    "batch_size": "Task(..., micro_batch_size=...): it is a task's",
    "train_batch_size": "Task(..., micro_batch_size=...): it is a task's",
    "per_device_train_batch_size": "Task(..., micro_batch_size=...): it is a task's",
    "micro_batch_size": "Task(..., micro_batch_size=...): it is a task's",
    "shuffle": "Task(..., shuffle=...): it is a task's",
    "label_smoothing": "Task(..., smoothing=...): it is a task's",
    "label_smoothing_factor": "Task(..., smoothing=...): it is a task's",
    "metrics": "Task(..., metrics=...): it is a task's",
    "compute_metrics": "Task(..., metrics=...): it is a task's",
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
        parameters = list(signature.parameters.values())[1:]
        known = [parameter.name for parameter in parameters]

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
                    raise ConfigError(f"{said} has {word}={value!r:.80}; it is {words(hints[word])}")
            if args and not any(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters):
                raise ConfigError(f"{said} takes its settings by name, as {known[0]}={args[0]!r:.40}")
            inner(self, *args, **given)

        made.__init__ = made_of  # type: ignore[method-assign, assignment]
        return made

    return told


def record(what: str, given: str | Mapping[str, Any], records: Mapping[str, Made]) -> Made:
    """The record of a name, or of a mapping of its name and options: its fields are its options, and their values the
    defaults.

    what: how an error names what is asked for: "schedule". Errors: ConfigError for a name or an option there is not.
    """
    name = given if isinstance(given, str) else given.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"the {what} is {given!r:.80}; give its name too, as name: {next(iter(records))}")
    if name not in records:
        raise ConfigError(f"unknown {what} {name!r}; {nearest(name, records)}known here: {', '.join(sorted(records))}")
    found: Any = records[name]
    options = {} if isinstance(given, str) else {key: value for key, value in given.items() if key != "name"}
    known: list[str] = [one.name for one in fields(found)] if is_dataclass(found) else []
    for option in options:
        if option not in known:
            there = f"its options: {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"{what} {name!r} has no option {option!r}; {nearest(str(option), known)}{there}")
    made: Made = replace(found, **options) if options else found
    return made


def meant(word: str, known: list[str], called: Mapping[str, str]) -> str:
    """The next step after a name that there is not: what it is called here, or the nearest, and all there are."""
    there = called.get(word, "")
    if there in known:
        return f"here it is called {there}"
    if there and not there.isidentifier():
        return f"give {there}"
    return f"{nearest(word, known)}there are {', '.join(known)}"


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind: of plain types, as YAML has them, mappings, literals, classes, unions of these.

    Of any other kind all values are.
    """
    if get_origin(kind) in (Union, types.UnionType):
        return any(fits(value, inner) for inner in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        listed = isinstance(value, (tuple, list)) and len(value) == len(inner)
        return listed and all(fits(one, of) for one, of in zip(value, inner, strict=True))
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
    if get_origin(kind) is tuple:
        return f"{len(get_args(kind))} numbers"
    if get_origin(kind) is Mapping:
        return "a mapping"
    return _WORDS.get(kind, f"a {getattr(kind, '__name__', str(kind))}")
