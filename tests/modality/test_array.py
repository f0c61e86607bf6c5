"""Whatever holds numbers is read as the array of them; what holds none is a DataError."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from ofasys import flow
from ofasys.errors import DataError
from ofasys.modality.motion.read_motion import read_motion
from ofasys.modality.shared.array import as_array, holds_array

NUMBERS = np.arange(24, dtype=np.float32).reshape(2, 4, 3)


class Raises:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("the buffer was deleted")


class OnAnotherDevice:
    def __dlpack__(self, **more):
        raise BufferError("not of this device")

    def __dlpack_device__(self):
        return (2, 0)


@pytest.mark.parametrize(
    "value",
    [
        NUMBERS,
        NUMBERS.tolist(),
        [list(part) for part in NUMBERS],
        tuple(torch.from_numpy(NUMBERS)),
        torch.from_numpy(NUMBERS).requires_grad_(),
        torch.from_numpy(NUMBERS).bfloat16(),
        torch.from_numpy(NUMBERS).half(),
        torch.from_numpy(NUMBERS).to(torch.float8_e4m3fn),
        torch.from_numpy(NUMBERS).to_sparse(),
        torch.from_numpy(NUMBERS.transpose(2, 1, 0).copy()).permute(2, 1, 0),
        torch.from_numpy(-NUMBERS).to(torch.complex64).conj().real.neg(),
        NUMBERS.astype(">f8"),
        np.ma.masked_equal(NUMBERS, 99),
        pa.array([NUMBERS.tolist()])[0],
        pa.FixedShapeTensorArray.from_numpy_ndarray(NUMBERS),
        pa.array(NUMBERS.tolist(), pa.list_(pa.list_(pa.float32()))),
        pa.chunked_array([NUMBERS.tolist()]),
    ],
)
def test_arrays_of_every_kind(value):
    found = as_array(value)
    assert type(found) is np.ndarray
    expected = NUMBERS.astype(np.int64).clip(0, 24)
    if isinstance(value, torch.Tensor) and value.dtype == torch.float8_e4m3fn:
        expected = value.float().numpy()  # four bits of a number: 17 is 16
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["uint8", "int16", "int64", "float16", "float64", "bool"])
def test_the_kind_of_number_is_kept(kind):
    numbers = NUMBERS.astype(kind)
    for value in (numbers, torch.from_numpy(numbers), list(numbers)):
        assert as_array(value).dtype == kind


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (torch.zeros(3, device="meta"), "'meta', which holds no values"),
        ([torch.zeros(3, device="meta")], "'meta', which holds no values"),
        (np.ma.masked_equal(NUMBERS, 3), "masked"),
        (Raises(), "Raises that gives no array: the buffer was deleted"),
        (OnAnotherDevice(), "OnAnotherDevice that gives no array: not of this device"),
        ([[1, 2], [3]], "differ in length"),
        ([np.zeros(2), np.zeros(3)], r"shapes \(2,\) and \(3,\)"),
        ("1 2 3", "got str"),
        (7, "got int"),
        (None, "got NoneType"),
    ],
)
def test_what_holds_no_numbers(value, says):
    with pytest.raises(DataError, match=says) as error:
        as_array(value, "numbers of some kind")
    assert "expected numbers of some kind" in str(error.value)


def test_what_may_be_read():
    assert all(map(holds_array, (NUMBERS, torch.zeros(3), pa.array([1]), pa.scalar(1), Raises(), OnAnotherDevice())))
    assert not any(map(holds_array, ("text", b"bytes", 7, None, [1, 2], {"a": 1})))


def test_a_tensor_with_a_gradient_is_a_motion():
    places = torch.rand(6, 4, 3)
    expected = np.asarray(read_motion(places))
    np.testing.assert_array_equal(np.asarray(read_motion(places.clone().requires_grad_())), expected)
    assert np.asarray(read_motion(places.bfloat16())).shape == (6, 4, 3)
    with pytest.raises(DataError, match="'meta'"):
        read_motion(torch.zeros(6, 4, 3, device="meta"))


def test_an_error_of_a_tensor_names_its_slot(tiny):
    program = tiny.program("ground")
    row = {
        "img": torch.rand(20, 30, 3).bfloat16().requires_grad_(),
        "phrase": "cat",
        "box": torch.tensor([1.0, 2, 9, 8]),
    }
    plain = row | {"img": row["img"].detach().float().numpy(), "box": [1, 2, 9, 8]}
    for name, array in flow.preprocess(program, plain).source[0][1].tensors.items():
        np.testing.assert_array_equal(flow.preprocess(program, row).source[0][1].tensors[name], array)
    with pytest.raises(DataError, match=r"'meta', which holds no values \(slot 'IMAGE:img', column 'img'\)"):
        flow.preprocess(program, row | {"img": torch.zeros(20, 30, 3, device="meta")})
    with pytest.raises(DataError, match=r"'meta', which holds no values \(slot 'BOX:box', column 'box'\)"):
        flow.preprocess(program, row | {"box": torch.zeros(4, device="meta")})


@pytest.mark.parametrize("axes", [None, [0, 1], [1, 0]])
def test_a_tensor_of_arrow_with_its_axes_in_any_order(axes):
    """One value, and the column it is of, are the same numbers."""
    kind = pa.fixed_shape_tensor(pa.int32(), (2, 3), permutation=axes)
    column = pa.ExtensionArray.from_storage(
        kind, pa.array([list(range(6)), list(range(6, 12))], pa.list_(pa.int32(), 6))
    )
    whole = column.to_numpy_ndarray()
    assert as_array(column).tolist() == whole.tolist()
    assert [as_array(value).tolist() for value in column] == whole.tolist()
    assert as_array(column[0]).dtype == np.int32
