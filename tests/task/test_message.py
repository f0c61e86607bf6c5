"""What a worker hands over comes out as it went in."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ofasys.task import message
from ofasys.task.message import pack, unpack

KINDS = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]


@dataclass(frozen=True)
class Holder:
    name: str
    tensors: tuple[Tensor, ...]


def same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)


@pytest.mark.parametrize("limit", [0, 1 << 20])
@pytest.mark.parametrize("kind", KINDS)
def test_tensors_of_every_kind_and_shape_come_out_the_same(
    kind: torch.dtype, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message, "IN_THE_MESSAGE", limit)
    shapes: list[tuple[int, ...]] = [(), (1,), (0,), (3, 0, 2), (7,), (3, 5)]
    tensors = [torch.randint(0, 2, shape).to(kind) for shape in shapes]
    tensors += [torch.randint(0, 2, (4, 6)).to(kind).T, torch.randint(0, 2, (9,)).to(kind)[::2]]
    made = unpack(pack(Holder("é", tuple(tensors))))
    assert made.name == "é"
    assert all(same(one, other) for one, other in zip(made.tensors, tensors, strict=True))


def test_a_tensor_that_is_more_than_its_numbers_comes_out_as_it_was() -> None:
    weight = torch.nn.Parameter(torch.arange(3.0))
    leaf = torch.ones(2, requires_grad=True)
    conjugate = torch.tensor([1 + 2j]).conj()
    made = unpack(pack((weight, leaf, conjugate)))
    assert isinstance(made[0], torch.nn.Parameter)
    assert made[1].requires_grad
    assert torch.equal(made[2], torch.tensor([1 - 2j]))


def test_arrays_and_plain_values_come_out_the_same_and_one_tensor_stays_one() -> None:
    array, tensor = np.arange(12.0).reshape(3, 4)[:, ::2], torch.arange(5)
    made = unpack(pack({"a": array, "b": [tensor, tensor], "c": ("x", 1, None, b"y")}))
    assert np.array_equal(made["a"], array)
    assert made["b"][0] is made["b"][1]
    assert made["c"] == ("x", 1, None, b"y")


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_tensors_may_be_written_and_begin_at_aligned_places(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message, "IN_THE_MESSAGE", limit)
    one, other = unpack(pack([torch.arange(3, dtype=torch.uint8), torch.arange(4.0)]))
    assert other.data_ptr() - one.data_ptr() == message.ALIGNED
    one += 1
    assert one.tolist() == [1, 2, 3]
    assert other.tolist() == [0, 1, 2, 3]


def test_a_message_in_shared_memory_leaves_no_segment_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message, "IN_THE_MESSAGE", 0)
    own = f"torch_{os.getpid()}_*"
    sent = pack([torch.arange(1000)])
    assert not list(Path("/dev/shm").glob(own))  # its name goes at once, so that no end of a process can leave it
    assert unpack(sent)[0].tolist() == list(range(1000))
