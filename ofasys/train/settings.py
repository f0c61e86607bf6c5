"""What is wrong with the settings of a trainer: names that others use for them, and values of another kind."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ofasys.errors import ConfigError, nearest

Kind = TypeVar("Kind", bound=type)

ELSEWHERE = {  # what other libraries call it -> what it is here
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
}
IN_A_TASK = {  # the same, of what is a task's
    "batch_size": "micro_batch_size",
    "train_batch_size": "micro_batch_size",
    "per_device_train_batch_size": "micro_batch_size",
    "micro_batch_size": "micro_batch_size",
    "shuffle": "shuffle",
    "label_smoothing": "smoothing",
    "label_smoothing_factor": "smoothing",
    "metrics": "metrics",
    "compute_metrics": "metrics",
}
BY_VALUE = {
    "fp16": "precision='bfloat16'",
    "bf16": "precision='bfloat16'",
    "amp": "precision='bfloat16'",
    "no_cuda": "device='cpu'",
    "use_cpu": "device='cpu'",
    "greater_is_better": "best='max:TASK.FIGURE' or 'min:TASK.FIGURE'",
    "load_best_model_at_end": "OFASys.from_pretrained(out), which loads the best checkpoint",
    "resume_from_checkpoint": "out, whose run is resumed",
}


def checked(made: Kind) -> Kind:
    """A dataclass whose `__init__` answers unknown names and values of another kind with a ConfigError; its signature
    stays.
    """
    plain: Callable[..., None] = made.__init__  # type: ignore[misc]
    known = [name for name in inspect.signature(plain).parameters if name != "self"]

    @wraps(plain)
    def init(self: Any, *args: Any, **given: Any) -> None:
        if args:
            raise ConfigError(f"Trainer takes its settings by name, as Trainer(max_steps={args[0]!r:.40})")
        for name in given:
            if name not in known:
                raise ConfigError(unknown(name, known))
        hints = get_type_hints(plain)
        for name, value in given.items():
            if not _fits(value, hints[name]):
                raise ConfigError(f"trainer.{name} is {value!r:.80}; it is {_words(hints[name])}")
        plain(self, **given)

    made.__init__ = init  # type: ignore[misc]
    return made


def unknown(name: str, known: list[str]) -> str:
    """The sentence about a setting that there is not."""
    said = f"Trainer has no {name!r}; "
    if name in ELSEWHERE:
        return f"{said}it is called {ELSEWHERE[name]}"
    if name in IN_A_TASK:
        return f"{said}it belongs to a task: Task(..., {IN_A_TASK[name]}=...)"
    if name in BY_VALUE:
        return f"{said}give {BY_VALUE[name]}"
    return f"{said}{nearest(name, [*known, *ELSEWHERE])}there are {', '.join(known)}"


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        return (
            isinstance(value, (tuple, list))
            and len(value) == len(inner)
            and all(_fits(one, kind) for one, kind in zip(value, inner, strict=True))
        )
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real)
    if hint in (str, Path, type(None)):
        return isinstance(value, hint)
    return hasattr(value, "turns")


def _words(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_words(one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        return f"{len(get_args(hint))} numbers"
    words = {
        int: "a whole number",
        float: "a number",
        bool: "True or False",
        str: "text",
        type(None): "None",
        Path: "a path",
    }
    return words.get(hint, "an object with `turns`")
