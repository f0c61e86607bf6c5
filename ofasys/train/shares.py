"""What each process takes of a micro-batch where the weights lie in pieces, and what a run of that kind may have."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ofasys.errors import ConfigError
from ofasys.generalist import GeneralistModel
from ofasys.parallel.ranks import Ranks
from ofasys.task.loader import Assembler, Delivery
from ofasys.task.ticket import Ticket
from ofasys.train.callback import Callback
from ofasys.types import Batch

if TYPE_CHECKING:
    from ofasys.train.setup import Setup
    from ofasys.train.trainer import Trainer


class Shares:
    """Processes whose weights lie in pieces go through the same parts of the model, in the same order.

    Where their shares of a micro-batch do not, as where all rows of one are bad, each takes the whole micro-batch, and
    it counts as many times less: the gradient is the same.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @cached_property
    def assembler(self) -> Assembler:
        """Reads all rows of a micro-batch."""
        return Assembler(list(self.setup.tasks.values()), self.setup.programs, self.setup.trainer.seed)

    def alike(self, batch: Batch | None) -> bool:
        """Whether the shares of all go through the same parts. batch: that of this process."""
        told = self.setup.ranks.numbers("a share", [parts_of(self.setup.model, batch)])
        return bool((told == told[0]).all())

    def whole(self, ticket: Ticket) -> Delivery:
        """All rows of a micro-batch."""
        return self.assembler[ticket]


def parts_of(model: GeneralistModel, batch: Batch | None) -> int:
    """What a pass goes through, as a number; 0: nothing. Of each side whether it is there, and whether its embeddings
    are learned, so that a gradient comes to them.
    """
    if batch is None or not batch.targets:
        return 0
    code = 1
    for place, side in enumerate((batch.source, batch.target)):
        if side is not None:
            adaptors = [model.adaptors[entry.adaptor] for entry in side.inputs]
            learned = any(one.requires_grad for adaptor in adaptors for one in adaptor.parameters())
            code += (2 if learned else 1) * 3**place
    return code


def in_pieces(trainer: Trainer, ranks: Ranks) -> bool:
    """Whether the weights of a run are to lie in pieces.

    Errors: ConfigError, on each process, where they do not say the same, or for what does not go with it.
    """
    if not ranks.several:
        return False
    told = ranks.numbers("trainer.shard", [bool(trainer.shard)])[:, 0].tolist()
    if (odd := [rank for rank, said in enumerate(told) if said != told[0]]) != []:
        raise ConfigError(
            f"trainer.shard is {bool(told[0])} on process 0 and {bool(told[odd[0]])} on process {odd[0]} of "
            f"{ranks.size}; start all of them with the same run file"
        )
    if trainer.shard:
        _check(trainer)
    return trainer.shard


def _check(trainer: Trainer) -> None:
    spec = trainer.optimizer_spec
    if not spec.shards:
        raise ConfigError(
            f"trainer.shard is True, and optimizer {spec.name!r} does not learn parameters that lie in pieces; give "
            "'adamw' or 'muon', or shard=False"
        )
    for one in trainer.callbacks:
        if type(one).wants_gradients is not Callback.wants_gradients:
            raise ConfigError(
                f"trainer.shard is True, and callback {one.name or type(one).__name__!r} looks at each task's whole "
                "gradient, which no process has; leave it out, or give shard=False"
            )
