"""Checks arrays and tensors against their annotations, shape and dtype: fields when an object is made, arguments and
what is given back when a function is called. Of every module of ofasys that has such annotations.

As in `ofasys.types`; besides, "..." are any dimensions, and of several annotations, `A | B`, that counts which has as
many dimensions as the value. What is compiled is not checked.
"""

import dataclasses
import functools
import importlib
import inspect
import re
import sys
import typing
from collections import ChainMap
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Union

import numpy as np
import torch

import ofasys

DTYPES = {
    "Bool": ("bool",),
    "Int": ("int", "uint"),
    "Float": ("float", "bfloat"),
}  # how the names of a kind's dtypes begin
KIND = re.compile(rf"\b({'|'.join(DTYPES)})\[")
SAYS = "from typing import Annotated as"  # what a module with such annotations imports


class ShapeError(TypeError):
    """An array is not what its annotation says."""


class Kind:
    """`Float` in `Float[Tensor, "N D"]`."""

    def __init__(self, name):
        self.name = name

    def __getitem__(self, args):
        return Annotated[args[0], self.name, *args[1].split()]


NAMES = {"Tensor": torch.Tensor, "np": np, **{name: Kind(name) for name in DTYPES}}


# --- one value and its annotation -------------------------------------------------------------------------------------


def check_value(value, hint, known, sizes, place):
    """Errors: ShapeError. known: name -> value, what names besides sizes may stand for. sizes: dimension -> size; what
    is found here is added.
    """
    kind = typing.get_origin(hint)
    if kind is Annotated:
        check_array(value, hint, known, sizes, place)
    elif kind is Union:
        others = tuple(one for one in typing.get_args(hint) if isinstance(one, type))  # such as NoneType
        if not isinstance(value, others):
            check_value(value, best_of(value, hint), known, sizes, place)
    elif kind in (Mapping, dict):
        for name, each in value.items():
            check_value(each, typing.get_args(hint)[1], known, sizes, f"{place}[{name!r}]")
    elif kind is tuple:
        for i, (each, own) in enumerate(zip(value, typing.get_args(hint), strict=True)):
            check_value(each, own, known, sizes, f"{place}[{i}]")
    elif is_ours(hint):
        check(value, sizes)  # always held, so its sizes are those of its holder


def best_of(value, hint):
    """Of the alternatives of its dtype, or of all where none is, the one that has as many dimensions as the value; the
    first where none has.
    """
    every = [one for one in typing.get_args(hint) if not isinstance(one, type)]
    dtype = str(getattr(value, "dtype", "")).removeprefix("torch.")
    found = [
        one
        for one in every
        if typing.get_origin(one) is Annotated and dtype.startswith(DTYPES.get(one.__metadata__[0], ()))
    ] or every
    return next((one for one in found if len(dims_of(one)) == getattr(value, "ndim", None)), found[0])


def dims_of(hint):
    return hint.__metadata__[1:] if typing.get_origin(hint) is Annotated else ()


def check_array(value, hint, known, sizes, place):
    kind, *dims = hint.__metadata__
    wanted = typing.get_origin(hint.__origin__) or hint.__origin__
    if not isinstance(value, wanted):
        raise ShapeError(
            f"{place} is {kind} {tuple(dims)} of {wanted.__name__}, and a {type(value).__name__} was given"
        )
    if "..." in dims:
        dims = spread(dims, value.ndim)
    if not str(value.dtype).removeprefix("torch.").startswith(DTYPES[kind]) or len(dims) != value.ndim:
        wrong = ""
    else:
        meant = [(dim, size, size_of(dim, size, known, sizes)) for dim, size in zip(dims, value.shape, strict=True)]
        wrong = next((f" {dim} being {should}," for dim, size, should in meant if size != should), None)
    if wrong is not None:
        given = f"{value.dtype} {tuple(value.shape)} was given"
        raise ShapeError(f"{place} is {kind} {hint.__metadata__[1:]},{wrong} and {given}")


def size_of(dim, size, known, sizes):
    """What a dimension of this size should be: a number, what is known by its name, or what it was before."""
    if dim == "...":
        return size
    if dim.isdigit():
        return int(dim)
    meant = known.get(dim)
    return meant if type(meant) is int else sizes.setdefault(dim, size)


def spread(dims, ndim):
    """Dimensions with "...", any number of any size, as often as it stands for one."""
    at = dims.index("...")
    return [*dims[:at], *["..."] * (ndim - len(dims) + 1), *dims[at + 1 :]]


# --- objects and functions --------------------------------------------------------------------------------------------


def is_ours(cls):
    return isinstance(cls, type) and cls.__module__.startswith("ofasys.") and dataclasses.is_dataclass(cls)


@functools.cache
def annotated(cls):
    """Field -> annotation, of the fields with something to check: arrays, and objects that are always held."""
    texts = {}
    for own in reversed(cls.__mro__):
        texts |= inspect.get_annotations(own)
    module = sys.modules[cls.__module__]
    held = {field: found for field, text in texts.items() if is_ours(found := vars(module).get(text))}
    found = held | arrays(texts, module)
    return {field: found[field] for field in texts if field in found}


def arrays(texts, module):
    """Name -> annotation, of those of arrays. Only these are evaluated: others may name what is not imported."""
    says = {name: getattr(text, "__forward_arg__", str(text)) for name, text in texts.items()}  # of named tuples
    return {name: eval(text, vars(module) | NAMES) for name, text in says.items() if KIND.search(text)}


def check(made, sizes):
    """Errors: ShapeError. sizes: dimension -> size, of the object that holds this one; what is found here is added."""
    for field, hint in annotated(type(made)).items():
        check_value(getattr(made, field), hint, vars(made), sizes, f"{type(made).__name__}.{field}")


def checked_init(init):
    @functools.wraps(init)
    def made(self, *args, **kwargs):
        init(self, *args, **kwargs)
        if WATCHED[-1]:
            check(self, {})

    return made


def checked(function, hints):
    """The function, whose arguments and what it gives back are checked. A number of its object, or among its arguments,
    is what a size of its name is.
    """
    names = list(inspect.signature(function).parameters)
    gives = hints.pop("return", None)

    @functools.wraps(function)
    def called(*args, **kwargs):
        if not WATCHED[-1] or torch.compiler.is_compiling():
            return function(*args, **kwargs)
        given, sizes = dict(zip(names, args, strict=False)) | kwargs, {}
        known = ChainMap(given, getattr(given.get("self"), "__dict__", {}))
        for name, hint in hints.items():
            if name in given:
                check_value(given[name], hint, known, sizes, f"{function.__qualname__}({name})")
        back = function(*args, **kwargs)
        if gives is not None:
            check_value(back, gives, known, sizes, f"{function.__qualname__}()")
        return back

    return called


# --- what is watched --------------------------------------------------------------------------------------------------

WATCHED = [True]  # its last says whether


@contextmanager
def unwatched():
    """Within it nothing is checked: what is wrong there is to be found by the package."""
    WATCHED.append(False)
    try:
        yield
    finally:
        WATCHED.pop()


@functools.cache
def watched():
    """The modules of ofasys with such annotations."""
    root = Path(ofasys.__file__).parent
    files = [file for file in sorted(root.rglob("*.py")) if SAYS in file.read_text()]
    return [importlib.import_module(".".join(["ofasys", *f.relative_to(root).with_suffix("").parts])) for f in files]


def watch():
    """From now on every object is checked when it is made, and every function when it is called."""
    replaced = {}
    for module in watched():
        for own in list(vars(module).values()):
            if getattr(own, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(own) and (hints := arrays(own.__annotations__, module)):
                replaced[own] = checked(own, hints)
            elif inspect.isclass(own):
                watch_class(own, module)
    for module in [one for name, one in sys.modules.items() if name.startswith("ofasys")]:
        for name, own in list(vars(module).items()):
            if inspect.isfunction(own) and own in replaced:
                setattr(module, name, replaced[own])


def watch_class(cls, module):
    for name, own in list(vars(cls).items()):
        if name == "__init__" and is_ours(cls):
            cls.__init__ = checked_init(own)  # written by dataclasses
            continue
        function = own.fget if isinstance(own, property) else getattr(own, "__func__", own)
        if inspect.isfunction(function) and (hints := arrays(function.__annotations__, module)):
            wrapped = checked(function, hints)
            if isinstance(own, property):
                setattr(cls, name, property(wrapped, own.fset, own.fdel))
            else:
                setattr(cls, name, wrapped if function is own else type(own)(wrapped))
