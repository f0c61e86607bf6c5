"""Checks what is made of `ofasys.types` against its annotations: shape and dtype of every array and tensor."""

import dataclasses
import functools
import typing
from collections.abc import Mapping
from contextlib import contextmanager
from typing import Annotated, Union

import numpy as np
import torch

from ofasys import types

DTYPES = {"Bool": ("bool",), "Int": ("int",), "Float": ("float", "bfloat")}  # how the names of a kind's dtypes begin


class ShapeError(TypeError):
    """An array is not what its annotation says."""


class Kind:
    """`Float` in `Float[Tensor, "N D"]`."""

    def __init__(self, name):
        self.name = name

    def __getitem__(self, args):
        return Annotated[args[0], self.name, *args[1].split()]


NAMES = {"Tensor": torch.Tensor, "np": np, **{name: Kind(name) for name in DTYPES}}


def is_ours(cls):
    return dataclasses.is_dataclass(cls) and cls.__module__ == types.__name__


@functools.cache
def annotated(cls):
    """Field -> annotation, of the fields with something to check."""
    hints = typing.get_type_hints(cls, vars(types) | NAMES, include_extras=True)
    return {field: hint for field, hint in hints.items() if is_ours(hint) or "Annotated" in str(hint)}


def check(made, sizes):
    """Errors: ShapeError. sizes: dimension -> size, of the object that holds this one; what is found here is added."""
    for field, hint in annotated(type(made)).items():
        check_value(getattr(made, field), hint, vars(made), sizes, f"{type(made).__name__}.{field}")


def check_value(value, hint, known, sizes, place):
    kind = typing.get_origin(hint)
    if kind is Annotated:
        check_array(value, hint, known, sizes, place)
    elif kind is Union:
        if value is not None:
            check_value(value, typing.get_args(hint)[0], known, sizes, place)
    elif kind is Mapping:
        for name, each in value.items():
            check_value(each, typing.get_args(hint)[1], known, sizes, f"{place}[{name!r}]")
    else:
        check(value, sizes)  # always held, so its sizes are those of its holder


def check_array(value, hint, known, sizes, place):
    (kind, *dims), said = hint.__metadata__, f"{place} is {hint.__metadata__[0]} {hint.__metadata__[1:]}"
    if not isinstance(value, hint.__origin__):
        raise ShapeError(f"{said} of {hint.__origin__.__name__}, and a {type(value).__name__} was given")
    if not str(value.dtype).removeprefix("torch.").startswith(DTYPES[kind]) or len(dims) != value.ndim:
        raise ShapeError(f"{said}, and {value.dtype} {tuple(value.shape)} was given")
    for dim, size in zip(dims, value.shape, strict=True):
        wanted = int(dim) if dim.isdigit() else known.get(dim, sizes.setdefault(dim, size))
        if wanted != size:
            raise ShapeError(f"{said}, {dim} being {wanted}, and {value.dtype} {tuple(value.shape)} was given")


WATCHED = [True]  # its last says whether


def watch():
    """From now on every object is checked when it is made."""
    for cls in filter(is_ours, vars(types).values()):
        cls.__init__ = checked(cls.__init__)


@contextmanager
def unwatched():
    """Within it nothing is checked: what is wrong there is to be found by the package."""
    WATCHED.append(False)
    yield
    WATCHED.pop()


def checked(init):
    @functools.wraps(init)
    def made(self, *args, **kwargs):
        init(self, *args, **kwargs)
        if WATCHED[-1]:
            check(self, {})

    return made
