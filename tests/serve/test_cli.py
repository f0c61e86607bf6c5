"""`ofasys serve`: what is wrong with its words is told before a model is loaded."""

import pytest
import torch
from typer.testing import CliRunner

from ofasys.cli.main import app
from ofasys.cli.serve import read_limits, spare_a_core
from ofasys.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--limit", "bdy=3"], "--limit 'bdy=3' is no limit; did you mean body?"),
        (["--limit", "body"], "is no limit"),
        (["--limit", "body=0"], "limit body is 0; it is a whole number, more than 0"),
        (["--port", "70000"], "--port is 70000"),
        (["--drain", "-1"], "--drain is -1"),
        (["--examples", "-1"], "--examples is -1; it is how many rows of each task are shown"),
        (["--key-file", "none"], "none is not there"),
        ([], "nothing"),
    ],
)
def test_wrong_words(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["serve", "nothing", *words])
    assert done.exit_code == 2
    assert said in done.stderr


@pytest.mark.parametrize(("said", "threads"), [(None, 3), ("4", 4)])
def test_the_model_leaves_a_core_to_what_reads_requests(monkeypatch, said, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        spare_a_core()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_limits_are_read():
    made = read_limits(["body=1000", "deadline=2.5"])
    assert (made.body, made.deadline) == (1000, 2.5)
    with pytest.raises(ConfigError, match="body is 1"):
        read_limits(["body=1.5"])
