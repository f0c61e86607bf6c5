"""The installed packages that bring something: by entry point, and of which package a thing is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, packages_distributions, version
from types import MappingProxyType
from typing import Any, TypeVar

from ofasys.errors import ConfigError, PluginError

Thing = TypeVar("Thing")
OWN = __name__.partition(".")[0]
GROUPS = {
    "ofasys.criteria": "criterion",
    "ofasys.engines": "engine",
    "ofasys.generators": "generator",
    "ofasys.metrics": "metric",
    "ofasys.modality": "modality",
    "ofasys.optimizers": "optimizer",
    "ofasys.patterns": "pattern",
    "ofasys.schedules": "schedule",
}
"""Entry point group -> what its entries are."""


def brought(entries: Iterable[EntryPoint], kind: Any, noun: str) -> list[tuple[EntryPoint, Any]]:
    """Entry points -> each with what it names. kind, noun: the class or protocol of which it has to be, and its name.

    Errors: ConfigError naming the entry for what does not load, or is something else.
    """
    found = []
    for entry in entries:
        try:
            made = entry.load()
        except Exception as error:  # a plug-in may fail in any way
            text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ConfigError(
                f"plug-in {entry.name!r} ({entry.value}) does not load: {text}; mend it, or uninstall its package"
            ) from error
        if isinstance(made, type) or not isinstance(made, kind):
            article = "an" if noun[0] in "AEIOUaeiou" else "a"
            raise ConfigError(
                f"plug-in {entry.name!r} ({entry.value}) is a {type(made).__name__}, not {article} {noun}; name an "
                "object of it"
            )
        found.append((entry, made))
    return found


def with_brought(
    own: Mapping[str, Thing],
    entries: Iterable[EntryPoint],
    kind: Any,
    noun: str,
    named: Callable[[EntryPoint, Any], str],
) -> Mapping[str, Thing]:
    """Name -> thing: our own, and those of installed packages, each under the name that `named` gives it.

    Errors: ConfigError naming the entry for what does not load, is something else, or has a name that is taken.
    """
    found = dict(own)
    for entry, made in brought(entries, kind, kind.__name__):
        if (name := named(entry, made)) in found:
            raise ConfigError(
                f"plug-in {entry.name!r} ({entry.value}): {noun} {name!r} is registered already; give the new one "
                "another name"
            )
        found[name] = made
    return MappingProxyType(found)


def by_own_name(entry: EntryPoint, made: Any) -> str:
    """Of a record that has one."""
    return str(made.name)


def loaded(whose: str, what: str, name: str) -> Any:
    """What "module:name" names. whose, what: the record it is of, as `criterion 'focal'`, and the field it stands in.

    Errors: PluginError where it cannot be imported.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(
            f"{whose}: {what}={name!r} is not there ({error}); give 'module:name' of what can be imported"
        ) from error


def bringing(entry: EntryPoint) -> str | None:
    """The package of an entry point, as `focal-loss 0.1.0`; None where it is of none that is installed."""
    return None if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def package_of(*places: str) -> str | None:
    """The package of the first of these that is not of ofasys itself, as `focal-loss 0.1.0`; None where all are.

    places: "module" or "module:name", as `load` of a record has it; "" is none. Of a module that no installed package
    has, `module focal`.
    """
    tops = [place.partition(":")[0].partition(".")[0] for place in places]
    return next((_package(top) for top in tops if top not in ("", OWN)), None)


@lru_cache(maxsize=256)
def _package(top: str) -> str:
    """By entry points first: a package that is installed for editing does not list its modules."""
    for group in GROUPS:
        for entry in entry_points(group=group):
            if entry.module.partition(".")[0] == top and (package := bringing(entry)) is not None:
                return package
    names = packages_distributions().get(top)
    return f"{names[0]} {version(names[0])}" if names else f"module {top}"


def told(noun: str, name: str, load: str) -> str:
    """A record in an error: what it is, where its work is done, and of which package if of another."""
    package = package_of(load)
    return f"{noun} {name!r} ({load}{f', {package}' if package else ''})"
