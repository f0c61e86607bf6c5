"""ofasys: a multi-modal task is one line; many tasks train one model; the same line, given data, is inference.

Names load on first use, so `import ofasys` costs milliseconds and no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ofasys.language.lexicon import Lexicon, provide

if TYPE_CHECKING:
    from ofasys.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        InstructionError,
        LoadingError,
        OfasysError,
        PlanError,
    )
    from ofasys.generalist import GeneralistModel
    from ofasys.hub import AnswerSession, OFASys, Output
    from ofasys.language import Instruction
    from ofasys.planner import Plan, plan
    from ofasys.task.task import Task
    from ofasys.train import Trainer
    from ofasys.train.callback import Callback

__version__ = "0.1.0"

_HOMES = {
    "AnswerSession": "hub",
    "Callback": "train.callback",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "GeneralistModel": "generalist",
    "Instruction": "language",
    "InstructionError": "errors",
    "LoadingError": "errors",
    "OFASys": "hub",
    "OfasysError": "errors",
    "Output": "hub",
    "Plan": "planner",
    "PlanError": "errors",
    "Task": "task.task",
    "Trainer": "train",
    "plan": "planner",
}

__all__ = [
    "AnswerSession",
    "Callback",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "GeneralistModel",
    "Instruction",
    "InstructionError",
    "LoadingError",
    "OFASys",
    "OfasysError",
    "Output",
    "Plan",
    "PlanError",
    "Task",
    "Trainer",
    "plan",
]


def _default_lexicon() -> Lexicon:
    return import_module("ofasys.modality").lexicon()


provide(_default_lexicon)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"ofasys.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ofasys' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
