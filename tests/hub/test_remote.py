"""Models go to the hub and come back, by the hub's own library, against a hub on loopback."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ofasys import CheckpointError, ConfigError, OFASys, Trainer
from ofasys.cli.main import app
from tests.hub.fake_hub import FakeHub, Repository, fake_hub, hub_of_a_test
from tests.train import tiny

huggingface_hub = pytest.importorskip("huggingface_hub")
NAME = "me/colours"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "first"
    trainer = Trainer(max_steps=2, out=out, live=False, precision="float32")
    trainer.fit(model=tiny.model(), tasks=tiny.label_task(origin="Colours by hand", licence="cc0-1.0"))
    return out


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with hub_of_a_test(monkeypatch, tmp_path) as found:
        yield found


def files(hub: FakeHub, branch: str = "main") -> dict[str, bytes]:
    known = hub.repositories[NAME]
    return known.commits[known.branches[branch]]


def same(one, other):
    return tiny.same_weights(tiny.weights(one.model), tiny.weights(other.model))


def test_what_is_pushed_is_what_is_pulled_and_nothing_else_is_fetched(run, hub):
    model = OFASys.from_pretrained(run)
    address = model.push_to_hub(NAME, licence="cc0-1.0", message="the first")
    assert address == f"{hub.address}/{NAME}/commit/{hub.repositories[NAME].branches['main']}"
    assert hub.repositories[NAME].messages == ["initial commit", "the first"]
    assert not hub.repositories[NAME].private
    files(hub)["evil.py"] = b"raise SystemExit(1)"
    files(hub)["pytorch_model.bin"] = b"\x80\x04."
    pulled = OFASys.from_pretrained(NAME)
    assert same(model, pulled)
    assert pulled.origin.startswith(f"{NAME} (commit ")
    assert pulled.facts == model.facts
    assert pulled.inference(tiny.LABEL, data={"text": "red fish"}).text in tiny.COLOURS
    assert hub.fetched() == set(json.loads(files(hub)["manifest.json"])["files"]) - {"README.md"} | {"manifest.json"}
    hub.asked.clear()
    assert same(pulled, OFASys.from_pretrained(f"hf:{NAME}"))
    assert not hub.fetched()  # only which commit it is, is asked again


def test_a_revision_is_named_in_either_way(run, hub):
    model = OFASys.from_pretrained(run)
    model.push_to_hub(NAME)
    first = hub.repositories[NAME].branches["main"]
    other = OFASys(tiny.model(seed=1))
    other = OFASys(
        Trainer(max_steps=1, live=False, precision="float32").fit(model=other, tasks=tiny.label_task()).model
    )
    other.push_to_hub(NAME, revision="next")
    other.push_to_hub(NAME, revision="next")  # the branch is there
    assert same(OFASys.from_pretrained(NAME), model)
    assert same(OFASys.from_pretrained(NAME, revision="next"), other)
    assert same(OFASys.from_pretrained(f"{NAME}@next"), other)
    other.push_to_hub(NAME)
    assert same(OFASys.from_pretrained(NAME), other)
    assert same(OFASys.from_pretrained(f"{NAME}@{first}"), model)
    with pytest.raises(CheckpointError, match=r"'me/colours' has no such revision on the hub; give a branch, a tag"):
        OFASys.from_pretrained(NAME, revision="later")
    with pytest.raises(ConfigError, match=r"the revision is given twice: as 'next' and as 'main'; give it once"):
        OFASys.from_pretrained(f"{NAME}@next", revision="main")
    with pytest.raises(ConfigError, match=r"revision is 'next', and .*first is no name of the hub; leave it out"):
        OFASys.from_pretrained(run, revision="next")


def test_private_is_asked_for_and_only_then(run, hub, monkeypatch):
    OFASys.from_pretrained(run).push_to_hub(NAME, private=True)
    assert hub.repositories[NAME].private
    OFASys.from_pretrained(NAME)
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    with pytest.raises(CheckpointError, match=r"'me/colours': there is no folder of that name here, and the hub has"):
        OFASys.from_pretrained(NAME)


def test_a_folder_of_that_name_is_never_asked_of_the_hub(run, hub, tmp_path):
    shutil.copytree(run, "runs/first")
    OFASys.from_pretrained("runs/first")
    with pytest.raises(CheckpointError, match=r"no folder 'runs/frist'; did you mean runs/first"):
        OFASys.from_pretrained("runs/frist")
    assert not hub.asked


def test_a_pulled_model_is_read_as_strictly_as_any(run, hub):
    OFASys.from_pretrained(run).push_to_hub(NAME)
    known = hub.repositories[NAME]
    whole = files(hub)
    torn = whole["model.safetensors"][:-4] + b"\0\0\0\1"
    for change, message in (
        ({"model.safetensors": torn}, "is torn: model.safetensors holds .* bytes that are not"),
        ({"manifest.json": b"[]"}, "the manifest.json of me/colours cannot be read"),
        ({"manifest.json": b"{"}, "the manifest.json of me/colours cannot be read"),
        ({"manifest.json": whole["manifest.json"].replace(b'"ofasys": 1', b'"ofasys": 9')}, "checkpoint format 9"),
        ({"facts.json": b"{}"}, "is torn: facts.json"),
    ):
        known.add("main", {**whole, **change}, "changed")
        with pytest.raises(CheckpointError, match=message):
            OFASys.from_pretrained(NAME)
    listed = json.loads(whole["manifest.json"])
    listed["files"]["../../outside"] = listed["files"]["/etc/hostname"] = {"sha256": "0" * 64, "bytes": 1}
    known.add("main", {**whole, "manifest.json": json.dumps(listed).encode()}, "names that lead out")
    OFASys.from_pretrained(NAME)
    assert not [line for line in hub.asked if "outside" in line or "hostname" in line]


def test_what_is_no_model_of_ours_is_told(hub):
    other = hub.repositories["google/flan"] = Repository()
    other.add("main", {"config.json": b"{}", "model.safetensors": b""}, "theirs")
    with pytest.raises(CheckpointError, match=r"google/flan has no manifest.json on the hub: it is no model of ofasys"):
        OFASys.from_pretrained("google/flan")
    with pytest.raises(
        CheckpointError, match=r"'google/flam': there is no folder of that name here, and the hub has n"
    ):
        OFASys.from_pretrained("google/flam")


def test_what_the_hub_refuses_is_told_with_the_next_step(run, hub, monkeypatch):
    model = OFASys.from_pretrained(run)
    with pytest.raises(CheckpointError, match=r"'a b/c', to which nothing was pushed is no name of the hub"):
        model.push_to_hub("a b/c")
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    with pytest.raises(CheckpointError, match=r"to which nothing was pushed: the hub answered 401 .*hf auth login"):
        model.push_to_hub(NAME)
    hub.fails_with = 403
    with pytest.raises(CheckpointError, match=r"the hub answered 403 .*you may not write there"):
        model.push_to_hub(NAME)
    assert NAME not in hub.repositories


def test_without_a_hub_it_is_said_at_once_and_what_was_brought_before_is_used(run, hub, monkeypatch, caplog):
    model = OFASys.from_pretrained(run)
    model.push_to_hub(NAME)
    OFASys.from_pretrained(NAME)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(
        CheckpointError, match=r"'me/other': there is no folder .*hub was not reached \(.*try again with"
    ):
        OFASys.from_pretrained("me/other")
    with pytest.raises(CheckpointError, match=r"'me/new', to which nothing was pushed: .*was not reached"):
        model.push_to_hub("me/new")
    with caplog.at_level(logging.WARNING, "ofasys"):
        assert same(OFASys.from_pretrained(NAME), model)
    assert "the hub was not reached, so me/colours is what was brought from it before: commit" in caplog.text


def test_without_the_library_it_is_said_how_to_get_it(run, hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"needs the library huggingface_hub; pip install 'ofasys\[hub\]', or give a"):
        OFASys.from_pretrained(NAME)


def test_the_command_line_pushes_and_asks_by_name(run, hub):
    def ofasys(*words: str) -> str:
        done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    assert f"pushed: {hub.address}/{NAME}/commit/" in ofasys("push", run, NAME, "--licence", "mit", "--revision", "one")
    assert "license: mit" in files(hub, "one")["README.md"].decode()
    assert ofasys("infer", f"{NAME}@one", "label", "text=red").strip() in tiny.COLOURS
    assert tiny.LABEL.partition(" ->")[0] in ofasys("tasks", f"{NAME}@one")
    assert f"OFASys.from_pretrained('{NAME}')" in files(hub, "one")["README.md"].decode()
    done = CliRunner().invoke(app, ["infer", NAME, "label", "text=red"], catch_exceptions=False)
    assert done.exit_code == 2
    assert done.stderr == (
        f"{NAME} has no manifest.json on the hub: it is no model of ofasys; one of transformers is an engine, as "
        f"GeneralistModel(engine='hf:{NAME}')\n"
    )


def test_nothing_of_this_machine_is_pushed(run, hub):
    OFASys.from_pretrained(run).push_to_hub(NAME)
    told = b"".join(data for name, data in files(hub).items() if not name.endswith(".safetensors")).decode()
    for place in (run, Path.home(), Path.cwd(), Path(__file__).parents[2]):
        assert str(place) not in told


def test_another_hub_is_not_asked(run, hub, monkeypatch):
    """The library would ask the one it knows by itself first, whatever address it is given."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _detect_agent

    with fake_hub() as other:
        monkeypatch.setattr(constants, "ENDPOINT", other.address)
        monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(Path("none").absolute()))
        monkeypatch.setattr(_detect_agent, "_registry", None)
        OFASys.from_pretrained(run).push_to_hub(NAME)
        assert hub.asked
        assert not other.asked


PULLS = """
import os, sys
from ofasys.hub.remote import pull
assert "huggingface_hub" not in sys.modules, "it reads the environment once"
for more in ({"HF_HUB_OFFLINE": "1"}, {}, {"HF_HUB_OFFLINE": "1"}):
    child = os.fork()
    if not child:
        os.environ |= more
        try:
            print(pull("me/colours"), flush=True)
        except Exception as error:
            print(*str(error).split(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.slow
def test_a_process_is_told_of_the_hub_by_its_environment(run, hub, tmp_path):
    """Before the hub's library is imported, as users do; and where no hub is, it ends soon."""
    there = {**os.environ, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(sys.path)}
    OFASys.from_pretrained(run).push_to_hub(NAME)
    done = subprocess.run(
        [sys.executable, "-c", PULLS], capture_output=True, text=True, env=there, timeout=100, check=True
    )
    offline, reached, kept = done.stdout.splitlines()
    assert "hub was not reached (OfflineModeIsEnabled" in offline
    assert "models--me--colours" in reached
    assert "models--me--colours" in kept
