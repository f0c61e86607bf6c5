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
#
# An annotation is read once, into a function (value, known, sizes, place) that raises a ShapeError. known: two of name
# -> value, what names besides sizes may stand for, the first first. sizes: dimension -> size; what is found is added.


def checker(hint):
    """What checks a value against an annotation; None where there is nothing to check."""
    kind = typing.get_origin(hint)
    if kind is Annotated:
        return array_checker(hint)
    if kind is Union:
        return union_checker(hint)
    if kind in (Mapping, dict):
        return mapping_checker(checker(typing.get_args(hint)[1]))
    if kind is tuple:
        return tuple_checker([checker(own) for own in typing.get_args(hint)])
    if is_ours(hint):
        return lambda value, known, sizes, place: check(value, sizes)  # always held, so its sizes are its holder's
    return None


def mapping_checker(own):
    def check_each(value, known, sizes, place):
        for name, each in value.items():
            own(each, known, sizes, f"{place}[{name!r}]")

    return own and check_each


def tuple_checker(every):
    def check_each(value, known, sizes, place):
        for i, (each, own) in enumerate(zip(value, every, strict=True)):
            if own is not None:
                own(each, known, sizes, f"{place}[{i}]")

    return check_each


def union_checker(hint):
    """Of the alternatives that counts which `best_of` names, once for each dtype and number of dimensions."""
    others = tuple(one for one in typing.get_args(hint) if isinstance(one, type))  # such as NoneType

    @functools.cache
    def best(dtype, ndim):
        return checker(best_of(dtype, ndim, hint))

    def check_best(value, known, sizes, place):
        if not isinstance(value, others):
            own = best(getattr(value, "dtype", None), getattr(value, "ndim", None))
            if own is not None:
                own(value, known, sizes, place)

    return check_best


def best_of(dtype, ndim, hint):
    """Of the alternatives of a value's dtype, or of all where none is, the one that has as many dimensions; the first
    where none has.
    """
    every = [one for one in typing.get_args(hint) if not isinstance(one, type)]
    found = [one for one in every if typing.get_origin(one) is Annotated and is_of(one.__metadata__[0], dtype)] or every
    return next((one for one in found if len(dims_of(one)) == ndim), found[0])


def dims_of(hint):
    return hint.__metadata__[1:] if typing.get_origin(hint) is Annotated else ()


@functools.cache
def is_of(kind, dtype):
    """Whether a dtype, of numpy or torch, is of a kind."""
    return str(dtype).removeprefix("torch.").startswith(DTYPES.get(kind, ()))


def array_checker(hint):
    kind, *dims = hint.__metadata__
    wanted = typing.get_origin(hint.__origin__) or hint.__origin__
    free = "..." in dims
    named = [(dim, int(dim) if dim.isdigit() else None) for dim in dims]

    def check_array(value, known, sizes, place):
        if not isinstance(value, wanted):
            raise ShapeError(
                f"{place} is {kind} {tuple(dims)} of {wanted.__name__}, and a {type(value).__name__} was given"
            )
        shape, wrong = value.shape, ""
        own = spread(named, dims.index("..."), len(shape)) if free else named
        if len(own) == len(shape) and is_of(kind, value.dtype):
            given, held = known
            for (dim, should), size in zip(own, shape, strict=False):  # as long as each other
                if should is None:
                    meant = given[dim] if dim in given else held.get(dim)
                    should = meant if type(meant) is int else sizes.setdefault(dim, size)
                if size != should and dim != "...":
                    wrong = f" {dim} being {should},"
                    break
            else:
                return
        given = f"{value.dtype} {tuple(shape)} was given"
        raise ShapeError(f"{place} is {kind} {hint.__metadata__[1:]},{wrong} and {given}")

    return check_array


def spread(named, at, ndim):
    """Dimensions with "..." at a place, any number of any size, as often as it stands for one."""
    return [*named[:at], *[("...", 0)] * (ndim - len(named) + 1), *named[at + 1 :]]


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


@functools.cache
def checkers(cls):
    """(field, its place, what checks it) of each field with something to check."""
    every = [(field, f"{cls.__name__}.{field}", checker(hint)) for field, hint in annotated(cls).items()]
    return [one for one in every if one[-1] is not None]


def check(made, sizes):
    """Errors: ShapeError. sizes: dimension -> size, of the object that holds this one; what is found here is added."""
    known = vars(made), {}
    for field, place, own in checkers(type(made)):
        own(getattr(made, field), known, sizes, place)


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
    every = {name: own for name, hint in hints.items() if (own := checker(hint)) is not None}
    gives = every.pop("return", None)
    asked = [(name, f"{function.__qualname__}({name})", own) for name, own in every.items()]

    @functools.wraps(function)
    def called(*args, **kwargs):
        if not WATCHED[-1] or torch.compiler.is_compiling():
            return function(*args, **kwargs)
        given, sizes = dict(zip(names, args, strict=False)), {}
        if kwargs:
            given |= kwargs
        known = given, getattr(given.get("self"), "__dict__", {})
        for name, place, own in asked:
            if name in given:
                own(given[name], known, sizes, place)
        back = function(*args, **kwargs)
        if gives is not None:
            gives(back, known, sizes, f"{function.__qualname__}()")
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
