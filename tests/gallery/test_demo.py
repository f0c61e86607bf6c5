"""What the demo does before it trains."""

import pytest

from ofasys.errors import ConfigError
from ofasys.gallery.demo import run_demo


def test_a_folder_that_is_not_of_a_demo_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not of an earlier demo"):
        run_demo(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"
