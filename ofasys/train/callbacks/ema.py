"""A moving average of the weights: often better than the weights of any one step (Polyak & Juditsky, 1992)."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ofasys.errors import ConfigError
from ofasys.parallel.placed import gathered_whole, placed_as
from ofasys.train.callback import Callback, RunView


class EMA(Callback):
    """average = decay x average + (1 - decay) x weights, after every update, in float32, whatever the weights are in.
    Buffers, and parameters that are whole numbers, stay the model's own.

    It is saved with the run, evaluated in place of the weights, and what a model loaded from the run answers with. It
    is found in `RUN/checkpoints/.../callbacks.safetensors` as `EMA/NAME`. Rows and weights that are new to the model
    start from themselves; another model than the last begins anew.
    """

    def __init__(self, decay: float = 0.999, evaluate: bool = True, keep: bool = False) -> None:
        """decay: from 0 to less than 1; 0.999 looks back some 1,000 updates. evaluate: the valid rows, the best
        checkpoint's choice, and what is loaded from the run see the average. keep: the model has the average as its
        weights when `fit` is over.
        """
        if not 0 <= decay < 1:
            raise ConfigError(f"EMA has decay={decay}; it is 0 or more and less than 1")
        self.decay, self.evaluate, self.keep = decay, evaluate, keep
        self.average: dict[str, Tensor] = {}
        self.aside: list[Tensor] | None = None
        self.of: weakref.ref[nn.Module] | None = None  # the model of the average; None: whichever comes next

    def before_fit(self, run: RunView) -> None:
        """Begin with the weights as they are, where there is no average of this model yet."""
        if self.of is not None and self.of() is not run.model:
            self.average = {}
        self.of = weakref.ref(run.model)
        self._follow(run.model)

    @torch.no_grad()
    def after_step(self, run: RunView) -> None:
        """One update more; the device is asked for nothing."""
        weights = [parameter.detach().float() for _, parameter in _weights(run.model)]
        torch._foreach_lerp_(self._listed(run.model), weights, 1 - self.decay)

    def before_evaluation(self, run: RunView) -> None:
        """The average in place of the weights."""
        if self.evaluate:
            self.aside = [parameter.detach().clone() for _, parameter in _weights(run.model)]
            self._put(run.model, self._listed(run.model))

    def after_evaluation(self, run: RunView) -> None:
        """The weights in their place again."""
        if self.aside is not None:
            self._put(run.model, self.aside)
            self.aside = None

    def after_fit(self, run: RunView) -> None:
        """The average as the model's weights, where that is wanted; whole, where it lay in pieces as they did."""
        if self.keep:
            self._put(run.model, self._listed(run.model))
        self.average = {name: gathered_whole(one) for name, one in self.average.items()}

    @contextmanager
    def averaged(self, model: nn.Module) -> Iterator[None]:
        """Within it `model` has the average as its weights. Errors: ConfigError for a model of other weights."""
        if odd := [name for name, _ in _weights(model) if name not in self.average]:
            raise ConfigError(
                f"EMA has no average of {odd[0]}: of a model whose changes of low rank were merged, or another one; "
                "load the run's own with OFASys.from_pretrained"
            )
        weights = [parameter.detach().clone() for _, parameter in _weights(model)]
        self._put(model, self._listed(model))
        try:
            yield
        finally:
            self._put(model, weights)

    def answering_weights(self) -> Mapping[str, Tensor]:
        """The average, where it is what is evaluated."""
        return self.average if self.evaluate else {}

    def state(self) -> dict[str, Any]:
        """The average, by the weights' names."""
        return dict(self.average)

    def restore(self, state: Mapping[str, Any]) -> None:
        """The average of the checkpoint. Errors: ConfigError for what is no tensor."""
        for name, value in state.items():
            if not isinstance(value, Tensor):
                raise ConfigError(f"EMA is given {name}={value!r:.60}, which it did not keep; give another `out`")
        self.average, self.of = dict(state), None

    @torch.no_grad()
    def _follow(self, model: nn.Module) -> None:
        """An average for each weight, those that are there kept; new rows start from themselves."""
        before, self.average = self.average, {}
        for name, parameter in _weights(model):
            new, old = parameter.detach().float().clone(), before.get(name)
            if old is not None and old.ndim and len(old) < len(new):
                old = torch.cat([old, gathered_whole(new)[len(old) :].to(old.device)])
            self.average[name] = new if old is None else placed_as(old.float(), new)

    def _listed(self, model: nn.Module) -> list[Tensor]:
        return [self.average[name] for name, _ in _weights(model)]

    @staticmethod
    @torch.no_grad()
    def _put(model: nn.Module, values: list[Tensor]) -> None:
        for (_, parameter), value in zip(_weights(model), values, strict=True):
            parameter.copy_(value)


def _weights(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """What is averaged, by name."""
    return [(name, one) for name, one in model.named_parameters() if one.is_floating_point()]
