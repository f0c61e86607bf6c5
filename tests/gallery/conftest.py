"""The made-up packages that stand for what is fetched."""

import pytest

from tests.gallery import standins


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Name -> folder. Only to be read."""
    folder = tmp_path_factory.mktemp("packages")
    return {name: standins.make(name, folder) for name in standins.BUILDERS}
