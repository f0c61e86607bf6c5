"""Whole numbers are PCM of the width that their type or their values say."""

import json

import numpy as np
import pytest
import torch

from ofasys.errors import DataError
from ofasys.modality.audio.read_audio import read_audio

WAVE = np.sin(np.arange(4000) / 6) * 0.4
SIGNED = {8: np.int8, 16: np.int16, 32: np.int32}


def whole(bits):
    """The wave as signed whole numbers of that width, int64."""
    return np.round(WAVE * 2 ** (bits - 1)).astype(np.int64)


class Typed(list):
    """A list that knows its type, as a column of a table gives."""

    def __init__(self, values, dtype):
        super().__init__(values)
        self.dtype = dtype

    def __array__(self, dtype=None, copy=None):
        return np.array(list(self), dtype=dtype or self.dtype)


def forms():
    """Values of the wave, and how near they come to it."""
    for bits, kind in SIGNED.items():
        near = 1.1 / 2 ** (bits - 1) + 1e-7
        array = whole(bits).astype(kind)
        unsigned = (whole(bits) + 2 ** (bits - 1)).astype(np.dtype(f"u{bits // 8}"))
        for name, value in {
            "array": array,
            "big-endian": array.astype(np.dtype(kind).newbyteorder(">")),
            "unsigned": unsigned,
            "typed list": Typed(array.tolist(), kind),
            "typed list, unsigned": Typed(unsigned.tolist(), unsigned.dtype),
            "list of numpy's": list(array),
            "tuple of numpy's": tuple(array),
            "strided": np.repeat(array, 2)[::2],
            "read-only": np.frombuffer(array.tobytes(), kind),
            "channels": np.stack([array, array]),
            "channels last": np.stack([array, array], 1),
            "list of channels": [array, array],
        }.items():
            yield f"{name}, {bits}", value, near
        tensor = torch.from_numpy(array.copy())
        yield f"tensor, {bits}", tensor, near
        yield f"list of tensors, {bits}", [tensor, tensor], near
    yield "tensor, unsigned", torch.from_numpy((whole(8) + 128).astype(np.uint8)), 1e-2
    for bits in (16, 24, 32):
        near = 1.1 / 2 ** (bits - 1) + 1e-7
        numbers = whole(bits)
        loud = numbers if bits == 16 else np.append(numbers[:-1], 2 ** (bits - 2))  # beyond what is narrower
        for name, value in {
            "list": loud.tolist(),
            "tuple": tuple(loud.tolist()),
            "JSON": json.loads(json.dumps(loud.tolist())),
            "array of 64": loud,
            "tensor of 64": torch.from_numpy(loud),
            "list of channels": [loud.tolist(), loud.tolist()],
            "list of frames": np.stack([loud, loud], 1).tolist(),
            "numpy's among them": [np.int32(loud[0]), *loud[1:].tolist()],
        }.items():
            yield f"{name}, {bits} by value", value, near
    for kind in (np.float16, np.float32, np.float64, np.longdouble):
        yield f"array of {kind.__name__}", WAVE.astype(kind), 1e-3
    yield "list of floats", WAVE.tolist(), 1e-7
    yield "floats with a whole one", [0, *WAVE.tolist()[1:]], 1e-7
    yield "list of numpy floats", list(WAVE.astype(np.float32)), 1e-7
    for kind in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        yield f"tensor of {kind}", torch.tensor(WAVE, dtype=kind), 4e-3
    yield "tensor that needs a gradient", torch.tensor(WAVE, requires_grad=True) * 1, 1e-7
    yield "list of tensors with gradients", list(torch.tensor(np.stack([WAVE, WAVE]), requires_grad=True)), 1e-7


FORMS = {name: (value, near) for name, value, near in forms()}


@pytest.mark.parametrize("wrapped", ["tuple", "list", "mapping"])
@pytest.mark.parametrize("form", FORMS)
def test_what_samples_may_be(form, wrapped):
    value, near = FORMS[form]
    value = {"tuple": (value, 16000), "list": [value, 16000], "mapping": {"array": value, "sampling_rate": 16000}}
    samples = read_audio(value[wrapped], 16000).samples
    assert samples.dtype == np.float32
    assert samples.shape == WAVE.shape
    inner = slice(0, -1)  # the last may be the one that shows how wide they are
    np.testing.assert_allclose(samples[inner], WAVE[inner], atol=near)


def test_samples_are_a_copy():
    array = WAVE.astype(np.float32)
    audio = read_audio((array, 16000), 16000)
    array[:] = 0
    assert audio.samples.any()


@pytest.mark.parametrize(
    ("numbers", "full"),
    [
        ([0, 2**15 - 1, -(2**15)], 2**15),
        ([0, 2**15, 0], 2**23),
        ([0, -(2**15) - 1, 0], 2**23),
        ([0, 2**23 - 1, -(2**23)], 2**23),
        ([0, 2**23, 0], 2**31),
        ([0, -(2**31), 2**31 - 1], 2**31),
    ],
)
def test_the_narrowest_width_that_holds_all(numbers, full):
    for value in (numbers, np.array(numbers)):
        samples = read_audio((value, 16000), 16000).samples
        np.testing.assert_allclose(samples, np.array(numbers) / full, rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([0, 2**31, 0], "whole numbers from 0 to 2147483648; expected PCM of at most 32 bits"),
        (np.array([0, -(2**40)]), "whole numbers from -1099511627776 to 0"),
        ([0, 2**70], "whole numbers of more than 64 bits"),
        ([0, None, 1], "a sample is 'None'"),
        ([0, "1"], "an array of <U"),
        (np.zeros(9, bool), "an array of bool"),
        ([[1, 2], [3]], "lists that differ in length"),
        (np.zeros(9, "M8[s]"), "an array of datetime64"),
        ([], "holds no samples"),
        (5, r"got int '5'"),
    ],
)
def test_what_are_no_samples(value, says):
    for form in ((value, 16000), {"array": value, "sampling_rate": 16000}):
        with pytest.raises(DataError, match=says):
            read_audio(form, 16000)
