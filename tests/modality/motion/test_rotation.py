"""Rotations agree with `roma`, and each way back undoes the way there."""

import itertools

import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ofasys.modality.motion.rotation import euler_to_matrix, matrix_to_euler, matrix_to_six, six_to_matrix

ORDERS = ["".join(order) for n in (1, 2, 3) for order in itertools.permutations("XYZ", n)]
THREE = [order for order in ORDERS if len(order) == 3]
degrees = np.random.default_rng(0).uniform(-360, 360, (50, 3))


@pytest.mark.parametrize("order", ORDERS)
def test_matrices_are_those_of_roma(order):
    angles = degrees[:, : len(order)]
    theirs = roma.euler_to_rotmat(order, torch.from_numpy(angles), degrees=True)
    np.testing.assert_allclose(euler_to_matrix(angles, order), theirs, atol=1e-12)


@pytest.mark.parametrize("order", THREE)
def test_angles_are_those_of_roma(order):
    matrix = euler_to_matrix(degrees, order)
    theirs = roma.rotmat_to_euler(order, torch.from_numpy(matrix), degrees=True)
    np.testing.assert_allclose(matrix_to_euler(matrix, order), theirs, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_angles_make_their_matrix_again(order):
    matrix = euler_to_matrix(degrees[:, : len(order)], order)
    np.testing.assert_allclose(euler_to_matrix(matrix_to_euler(matrix, order), order), matrix, atol=1e-12)


@pytest.mark.parametrize("order", THREE)
@pytest.mark.parametrize("second", [90.0, -90.0])
def test_gimbal_lock_gives_angles_of_the_same_rotation(order, second):
    matrix = euler_to_matrix(np.array([[30.0, second, 20.0]]), order)
    angles = matrix_to_euler(matrix, order)
    np.testing.assert_allclose(euler_to_matrix(angles, order), matrix, atol=1e-6)
    assert angles[0, 2] == 0


def test_six_numbers_make_their_rotation_again():
    matrix = euler_to_matrix(degrees, "ZYX")
    np.testing.assert_allclose(six_to_matrix(matrix_to_six(matrix)), matrix, atol=1e-12)


def test_any_six_numbers_make_the_rotation_of_roma():
    six = np.random.default_rng(1).normal(size=(50, 6))
    columns = torch.from_numpy(np.stack([six[:, :3], six[:, 3:]], -1))
    np.testing.assert_allclose(six_to_matrix(six), roma.special_gramschmidt(columns), atol=1e-12)


@settings(max_examples=200, deadline=None)
@given(arrays(np.float64, (6,), elements=st.floats(-1e3, 1e3)))
def test_whatever_six_numbers_make_a_rotation(six):
    matrix = six_to_matrix(six)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-7)
    assert np.linalg.det(matrix) == pytest.approx(1)
