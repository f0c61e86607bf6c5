"""When a run is saved, and that only what is sound is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from ofasys.errors import CheckpointError
from ofasys.generalist import GeneralistModel
from ofasys.parallel.placed import local
from ofasys.program.batch import to_device
from ofasys.program.program import Program
from ofasys.types import Batch

clock = time.monotonic  # decides when a run is saved, and nothing else


class Clock:
    """Says when a run is to be saved again: `minutes` after the last time. 0: never."""

    def __init__(self, minutes: float) -> None:
        self.seconds, self.last = 60 * minutes, clock()

    @property
    def due(self) -> bool:
        """Whether it is time."""
        return self.seconds > 0 and clock() - self.last >= self.seconds

    def saved(self) -> None:
        """Begin to count anew."""
        self.last = clock()


@torch.no_grad()
def not_finite(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> str | None:
    """What of a model, or of its optimizer, holds a number that is none: the name of the first; None if all is well.

    Of what lies in pieces, those of this process.
    """
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(local(tensor)).all()):
            return f"the weights {name}"
    for parameter, state in optimizer.state.items() if optimizer is not None else ():
        for kind, tensor in state.items():
            if torch.is_tensor(tensor) and not bool(torch.isfinite(local(tensor)).all()):
                return f"the optimizer's {kind} of {names[parameter]}"
    return None


@torch.no_grad()
def is_sound(model: GeneralistModel, program: Program, batch: Batch) -> bool:
    """Whether a batch has a finite loss: weights may be finite and yet so large that nothing comes of them."""
    with model.answering():
        batch = to_device(batch, model.device)
        return bool(torch.isfinite(model(program, batch).total))


@contextmanager
def writing(out: Path | None, what: str, kept: int | None) -> Iterator[None]:
    """Turn what the file system refuses into a CheckpointError that says what is still whole. kept: the last step that
    was saved.
    """
    try:
        yield
    except (OSError, CheckpointError) as failed:
        error = failed if isinstance(failed, OSError) else failed.__cause__ or failed.__context__
        if not isinstance(error, OSError):
            raise
        left = f"the checkpoint of step {kept} is whole" if kept is not None else "no checkpoint was saved before"
        raise CheckpointError(
            f"{out}: {what} could not be written ({error.strerror or error}); {left}; make room or mend the folder, "
            "and the "
            f"same fit goes on {'from there' if kept is not None else 'from the start'}"
        ) from error
