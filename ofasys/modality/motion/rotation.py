"""Rotations as Euler angles of any order, as matrices, and as six numbers (Zhou et al., 2019).

Matrices act on columns: v' = R v. An order such as "ZYX" is R = Rz Ry Rx, as the channels of a BVH joint are read: from
the left, each about the axes the ones before have turned. Angles are in degrees. `...` are any leading axes.
"""

from __future__ import annotations

import numpy as np

TINY = 1e-8


def turn(axis: str, degrees: np.ndarray) -> np.ndarray:
    """Rotation about one axis, "X", "Y" or "Z": degrees (...) -> (..., 3, 3)."""
    radians = np.deg2rad(degrees)
    i = "XYZ".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    made = np.zeros((*radians.shape, 3, 3))
    made[..., i, i] = 1.0
    made[..., j, j] = made[..., k, k] = np.cos(radians)
    made[..., k, j] = np.sin(radians)
    made[..., j, k] = -made[..., k, j]
    return made


def euler_to_matrix(degrees: np.ndarray, order: str) -> np.ndarray:
    """degrees (..., n), one for each letter of `order` -> (..., 3, 3)."""
    made = np.broadcast_to(np.eye(3), (*degrees.shape[:-1], 3, 3))
    for i, axis in enumerate(order):
        made = made @ turn(axis, degrees[..., i])
    return made


def matrix_to_euler(matrix: np.ndarray, order: str) -> np.ndarray:
    """(..., 3, 3) -> degrees (..., n) for an order of n different axes, 1 to 3; of three, the second is within -90..90.

    Where that is 90 (gimbal lock) the other two turn about one axis: the third is 0 then. A matrix that fewer axes
    cannot reach gives angles of its nearest part.
    """
    axes = ["XYZ".index(axis) for axis in order]
    if len(axes) == 1:
        (i,) = axes
        return np.rad2deg(_angle(i, (i + 1) % 3, matrix[..., :, (i + 1) % 3]))[..., None]
    if len(axes) == 2:
        i, j = axes
        return np.rad2deg(np.stack([_angle(i, j, matrix[..., :, j]), -_angle(j, i, matrix[..., i, :])], -1))
    i, j, k = axes
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    sine = np.clip(sign * matrix[..., i, k], -1.0, 1.0)
    locked = np.abs(sine) > 1.0 - 1e-12
    first = np.arctan2(-sign * matrix[..., j, k], matrix[..., k, k])
    third = np.arctan2(-sign * matrix[..., i, j], matrix[..., i, i])
    first = np.where(locked, np.arctan2(sign * matrix[..., k, j], matrix[..., j, j]), first)
    third = np.where(locked, 0.0, third)
    return np.rad2deg(np.stack([first, np.arcsin(sine), third], -1))


def _angle(axis: int, start: int, vector: np.ndarray) -> np.ndarray:
    """How far a rotation about `axis` turned the unit vector of another axis, `start`, that is now `vector` (...,
    3).
    """
    j, k = (axis + 1) % 3, (axis + 2) % 3
    return np.arctan2(vector[..., k], vector[..., j]) if start == j else np.arctan2(-vector[..., j], vector[..., k])


def matrix_to_six(matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., 6): the first column, then the second."""
    return np.concatenate([matrix[..., :, 0], matrix[..., :, 1]], -1)


def six_to_matrix(six: np.ndarray) -> np.ndarray:
    """(..., 6), any numbers -> the rotation (..., 3, 3) by Gram-Schmidt. Columns that vanish or coincide give some
    rotation.
    """
    first = _unit(six[..., :3], np.array([1.0, 0.0, 0.0]))
    second = six[..., 3:] - (first * six[..., 3:]).sum(-1, keepdims=True) * first
    aside = np.eye(3)[np.abs(first).argmin(-1)]  # the axis that lies least along the first column
    second = _unit(second, aside - (first * aside).sum(-1, keepdims=True) * first)
    second = second / np.linalg.norm(second, axis=-1, keepdims=True)
    return np.stack([first, second, np.cross(first, second)], -1)


def _unit(vector: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.where(length > TINY, vector / np.maximum(length, TINY), otherwise)
