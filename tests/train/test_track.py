"""Figures go to the trackers that are named, over a resume too; one that fails costs the run nothing."""

import json
import sys

import pytest

from ofasys import ConfigError, Trainer
from ofasys.train.track import TRACKERS, trackers
from tests.train import tiny


class Told:
    """Writes down what it is told."""

    def __init__(self):
        self.calls = []

    def begin(self, run):
        self.calls.append(("begin", run.name, run.start, run.identity, run.settings["trainer"]["lr"]))

    def figures(self, step, figures):
        self.calls += [(step, name, value) for name, value in figures.items()]

    def end(self, failed):
        self.calls.append(("end", failed))


def fit(out, track, **changes):
    settings = {"max_steps": 4, "log_every": 2, "lr": 5e-3, "warmup": 1, "live": False} | changes
    model = tiny.model()
    Trainer(out=out, track=track, **settings).fit(model=model, tasks=tiny.label_task())
    return tiny.weights(model)


def test_what_the_log_has_a_tracker_is_told(tmp_path):
    told = Told()
    fit(tmp_path / "run", told, max_steps=2)
    fit(tmp_path / "run", [told])
    begun = [call for call in told.calls if call[0] == "begin"]
    assert [call[1:3] for call in begun] == [("run", 0), ("run", 2)]
    assert begun[0][3] == begun[1][3]
    assert [call for call in told.calls if call[0] == "end"] == [("end", False)] * 2
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    logged = {
        (line["step"], f"{line['kind']}/{line['task']}/{name}", value)
        for line in lines
        for name, value in line.items()
        if name != "step" and isinstance(value, (int, float))
    }
    assert {call for call in told.calls if isinstance(call[0], int)} == logged
    fit(tmp_path / "other", told)
    assert told.calls[-1] == ("end", False)
    assert len({call[3] for call in told.calls if call[0] == "begin"}) == 2


def test_an_error_of_the_run_is_told(tmp_path, monkeypatch):
    told = Told()
    with pytest.raises(ConfigError):
        fit(tmp_path, told, lr=1e38)
    assert told.calls[-1] == ("end", True)


@pytest.mark.parametrize("method", ["begin", "figures", "end"])
def test_a_tracker_that_fails_costs_the_run_nothing(tmp_path, caplog, method):
    def failing(self, *given):
        raise ConnectionError("the service is away")

    broken, told = type("Broken", (Told,), {method: failing})(), Told()
    weights = fit(tmp_path / "one", [broken, told])
    assert f"tracker Broken raised ConnectionError: the service is away in {method}; the run goes on" in caplog.text
    assert caplog.text.count("tracker Broken") == 1
    assert told.calls[-1] == ("end", False)
    assert tiny.same_weights(weights, fit(tmp_path / "two", ()))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("wandbb", "trainer.track is 'wandbb'; did you mean wandb"),
        ([Told], "a tracker has begin"),
        (3, "a tracker has begin"),
    ],
)
def test_what_is_no_tracker(tmp_path, asked, said):
    with pytest.raises(ConfigError, match=said):
        Trainer(out=tmp_path, track=asked)
    with pytest.raises(ConfigError, match="there is no `out`"):
        Trainer(track="wandb")
    assert trackers(()) == []


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_library_that_is_not_there(tmp_path, monkeypatch, name):
    module = {"tensorboard": "torch.utils.tensorboard"}.get(name, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"trainer\.track needs a library that is not there .*pip install"):
        fit(tmp_path, name)


# --- the libraries themselves, where they are installed --------------------------------------------------------------


def last_loss(out):
    lines = tiny.lines(out / "metrics.jsonl")
    return next(line["loss"] for line in reversed(lines) if line["kind"] == "train")


@pytest.mark.slow
def test_mlflow_has_what_was_told(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    fit(tmp_path, "mlflow", max_steps=2)
    fit(tmp_path, "mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ofasys").experiment_id
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED"
    assert run.data.params["trainer.lr"] == "0.005"
    history = client.get_metric_history(run.info.run_id, "train/label/loss")
    assert [one.step for one in history] == [2, 4]
    assert history[-1].value == pytest.approx(last_loss(tmp_path))


@pytest.mark.slow
def test_wandb_keeps_what_was_told_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    fit(tmp_path, "wandb", max_steps=2)
    fit(tmp_path, "wandb")
    kept = list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    identity = json.loads((tmp_path / "track.json").read_text())["identity"]
    assert kept
    assert all(path.stem == f"run-{identity}" for path in kept)
    assert b"train/label/loss" in b"".join(path.read_bytes() for path in kept)


@pytest.mark.slow
def test_trackio_has_what_was_told(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    fit(tmp_path / "run", "trackio")
    (database,) = (tmp_path / "trackio").glob("ofasys*.db")
    assert b"train/label/loss" in database.read_bytes()
