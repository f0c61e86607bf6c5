"""A model whose weights, gradients and moments lie in pieces on the processes of a run (FSDP2: Zhao et al., 2023,
https://arxiv.org/abs/2304.11277; `torch.distributed.fsdp.fully_shard`).

Of each parameter a process holds some rows. The units of a model are made whole one after the other as a pass comes to
them, and are in pieces again after it; what is in no unit is whole from the beginning of a pass to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed._composable.contract import REGISTRY_KEY, STATE_KEY
from torch.distributed._composable_state import _module_state_mapping
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from ofasys.parallel.placed import dissolved_by, local
from ofasys.parallel.ranks import Ranks


@dataclass(frozen=True)
class Held:
    """What a process holds of the weights between two passes."""

    processes: int
    """Of the run."""
    weights: int
    """Numbers of the whole model."""
    here: int
    """Of these, on this process."""
    groups: int
    """Parts that are made whole in one go."""
    largest: int
    """Numbers of the largest of them."""

    def to_dict(self) -> dict[str, float]:
        """As figures of a log; of bytes, those of weights and gradients in float32."""
        return {
            "processes": self.processes,
            "weights": self.weights,
            "weights_here": self.here,
            "bytes_here": 8 * self.here,
            "groups": self.groups,
            "largest_group": self.largest,
        }


class Shards:
    """The weights of a model in pieces. Parameters of no dimension stay whole on every process.

    Whatever waits for the others here is called by all processes, in the same order.
    """

    def __init__(
        self, model: nn.Module, engine: nn.Module, units: Sequence[nn.Module], ranks: Ranks, device: torch.device
    ) -> None:
        """model: whole, the same on each process. engine: what gives states whose gradient runs through all units.
        units: modules that a pass calls one after the other, as modules. device: of this process's pieces.
        """
        self.model, self.ranks, self.device = model, ranks, device
        self.plain = [parameter for parameter in model.parameters() if parameter.ndim == 0]
        sizes = [sum(p.numel() for p in unit.parameters()) for unit in units]
        mesh, ignored = init_device_mesh(device.type, (ranks.size,)), set(self.plain)
        for unit in (*units, model):
            made = fully_shard(unit, mesh=mesh, ignored_params=ignored)
            made.set_gradient_divide_factor(1.0)  # losses are divided by what all processes count
            made.set_force_sum_reduction_for_comms(True)
        for parameter in self.plain:
            parameter.data = parameter.data.to(device)
        self.cpu_mesh = mesh if device.type == "cpu" else init_device_mesh("cpu", (ranks.size,))
        self.side = dist.new_group(backend="gloo")  # for what a thread beside the run tells those of the others
        self.root = cast(FSDPModule, model)
        self.root._get_fsdp_state()._lazy_init()
        self.states: list[Tensor] = []
        self.watched = engine.register_forward_hook(self._see)
        dissolved_by[model] = self.dissolve
        whole = sum(parameter.numel() for parameter in model.parameters())
        here = sum(local(parameter).numel() for parameter in model.parameters())
        largest = max(*sizes, whole - sum(sizes)) if sizes else whole
        self.held = Held(ranks.size, whole, here, len(sizes) + 1, largest)

    def _see(self, engine: nn.Module, given: Any, states: Any) -> None:
        """Keep the states of a pass that is learned from."""
        found = [getattr(side, "states", None) for side in (states.source, states.target)]
        self.states = [one for one in found if isinstance(one, Tensor)] if torch.is_grad_enabled() else []

    def joined(self, total: Tensor) -> Tensor:
        """The loss () of a pass, which depends, by a factor of 0, on all that another process's loss depends on too.

        FSDP2 adds up what has a gradient on this process, in the order in which it finds it: processes that learn
        other heads would give each the gradient of another. What nobody's loss depends on has no gradient.
        """
        learned = [one for one in self.model.parameters() if one.requires_grad and not isinstance(one, DTensor)]
        candidates = [*self.states, *learned]
        here = _reached(total, candidates)
        used = self.ranks.numbers("what is learned", here).sum(0).tolist()
        self.states = []
        for one, mine, processes in zip(candidates, here, used, strict=True):
            if processes and not mine:
                total = total + 0.0 * one.reshape(-1)[:1].sum()
        return total

    def rest(self) -> None:
        """After a pass that nothing is learned from: what it has made whole is in pieces again."""
        self.states = []
        self.root.reset_iter_state()

    def length(self, gradients: Sequence[Tensor]) -> Tensor:
        """() float32: the length of all gradients as one vector. Of those that are whole, each process has all."""
        pieces = [local(one).reshape(-1) for one in gradients if isinstance(one, DTensor)]
        whole = [one.reshape(-1) for one in gradients if not isinstance(one, DTensor)]
        zero = torch.zeros((), device=self.device)
        own = torch.stack([zero, *(torch.dot(one, one) for one in pieces)]).sum()
        rest = torch.stack([zero, *(torch.dot(one, one) for one in whole)]).sum()
        return (self.ranks.sum_rows(own) + rest).sqrt()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Within it each process has all weights whole, and a pass waits for nobody; nothing is learned in it.

        It holds as many numbers as the model has, without gradients.
        """
        units = [module for module in self.model.modules() if isinstance(module, FSDPModule)]
        try:
            with self.ranks.computing():
                for unit in units:
                    unit.set_reshard_after_forward(False, recurse=False)
                    unit.unshard()
            yield
        finally:
            for unit in units:
                unit.set_reshard_after_forward(unit is not self.root, recurse=False)
            # forgets, too, which units passes have called: a backward gathers ahead by that
            self.root.reset_iter_state()

    def copied(self, tensor: Tensor) -> Tensor:
        """A copy in the CPU's memory of what this process has of a tensor; it lies in pieces as that does."""
        own = local(tensor.detach()).to("cpu", copy=True)
        if not isinstance(tensor, DTensor):
            return own
        return DTensor.from_local(
            own, self.cpu_mesh, tensor.placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
        )

    def told_beside(self, own: str | None) -> list[str | None]:
        """What all say, by rank, in a thread beside the run; each calls it in that thread."""
        found: list[str | None] = [None] * self.ranks.size
        with self.ranks.heard():
            dist.all_gather_object(found, own, group=self.side)
        return found

    @torch.no_grad()
    def dissolve(self, value_of: Callable[[Tensor], Tensor]) -> None:
        """Make plain parameters of those in pieces, one after the other. value_of: of each its value."""
        self.watched.remove()
        self.rest()
        self.model.zero_grad(set_to_none=True)
        made: dict[nn.Parameter, nn.Parameter] = {}
        for module in self.model.modules():
            for name, parameter in list(module._parameters.items()):
                if parameter is not None:
                    if parameter not in made:
                        with self.ranks.computing():
                            made[parameter] = nn.Parameter(value_of(parameter.detach()), parameter.requires_grad)
                    module._parameters[name] = made[parameter]
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else buffer.cpu()
            _release(module)


def _release(module: nn.Module) -> None:
    """Undo what `fully_shard` did to a module besides its parameters, so that it can be done again."""
    for flag in ("_is_fsdp_managed_module", "_fsdp_use_orig_params"):
        module.__dict__.pop(flag, None)
    if not isinstance(module, FSDPModule):
        return
    state: Any = module._get_fsdp_state()
    handles = [state._pre_forward_hook_handle, state._post_forward_hook_handle]
    for group in state._fsdp_param_groups:
        handles += group._module_to_pre_save_state_dict_hook_handle.values()
        handles += group._module_to_pre_load_state_dict_hook_handle.values()
        handles += [parameter._post_load_hook_handle for parameter in group.fsdp_params]
    for handle in handles:
        handle.remove()
    for key in (STATE_KEY, REGISTRY_KEY):
        module.__dict__.pop(key, None)
    _module_state_mapping.pop(module, None)
    module.__class__ = type(module).__mro__[2]


def _reached(total: Tensor, candidates: Sequence[Tensor]) -> list[bool]:
    """Of each, whether the gradient of a loss comes to it."""
    seen: set[Any] = set()
    leaves: set[int] = set()
    stack = [total.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        stack.extend(follows for follows, _ in node.next_functions)
    return [id(one) in leaves if one.is_leaf else one.grad_fn in seen for one in candidates]
