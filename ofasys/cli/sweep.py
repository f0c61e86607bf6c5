"""`ofasys sweep`: runs of one run file with other values of its fields, chosen by Optuna (Akiba et al., 2019)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ofasys.cli.document import shown
from ofasys.cli.runfile import RunFile, read_run, resolved
from ofasys.cli.show import figure, note, say, table
from ofasys.cli.space import Field, read_space
from ofasys.cli.train import resolved_file
from ofasys.errors import ConfigError, OfasysError
from ofasys.hub.store import write_json
from ofasys.seeds import key_of
from ofasys.train import one_run
from ofasys.train.best import Choice, choose
from ofasys.train.callback import Callback, RunView

STORAGE = "sweep.db"
TABLE = "sweep.json"
_STUDY = "sweep"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is asked for."""

    file: Path
    """The run file."""
    overrides: tuple[str, ...]
    """Of every run."""
    space: tuple[Field, ...]
    """What is tried."""
    out: Path
    """Its folder: a folder a run, and the study."""
    trials: int = 20
    """Runs in all, those of earlier calls with them."""
    seed: int = 0
    """What the choices are a function of."""
    prune: bool = False
    """End a run early whose figure is worse than the median of the others at that step."""

    def run(self, values: dict[str, Any], folder: Path) -> RunFile:
        """The run file of a trial."""
        tried = [f"{key}={value}" for key, value in values.items()]
        return read_run(self.file, [*self.overrides, *tried, f"trainer.out={json.dumps(str(folder))}"])

    @property
    def told(self) -> dict[str, Any]:
        """What must be the same where a sweep goes on."""
        return {
            "file": str(self.file.resolve()),
            "content": self._content(),
            "overrides": list(self.overrides),
            "over": [str(field) for field in self.space],
            "seed": self.seed,
        }

    def _content(self) -> str:
        """What the run file says, with what it includes, in a few digits."""
        said = json.dumps(read_run(self.file).document.values, default=lambda one: type(one).__name__, sort_keys=True)
        code = self.file.read_text(encoding="utf8") if self.file.suffix == ".py" else ""
        return f"{key_of('run file', said, code):x}"


class Watch(Callback):
    """Tells a trial each figure of validation, and ends its run where the trial is to be pruned."""

    name = "sweep"

    def __init__(self, trial: Any, choice: Choice) -> None:
        self.trial, self.choice, self.pruned = trial, choice, False

    def after_evaluation(self, run: RunView) -> None:
        """Report, and end the run where others were better by now."""
        if not run.figures or run.step >= run.max_steps:
            return
        self.trial.report(self.choice.value(run.figures), run.step)
        if self.trial.should_prune():
            self.pruned = True
            run.stop(f"its {self.choice.name} is worse than the median of the other trials")


def sweep(
    file: Path, overrides: Sequence[str], over: Sequence[str], out: Path | None, trials: int, seed: int, prune: bool
) -> None:
    """Make the runs that are left of a sweep, and print all of them, the best first.

    Errors: ConfigError for a run file, field or value that cannot be, another sweep in `out`, or a library that is not
    there.
    """
    if trials < 1:
        raise ConfigError(f"--trials is {trials}; it is 1 or more")
    asked = Sweep(
        file=file,
        overrides=tuple(overrides),
        space=read_space(over),
        out=out or Path("runs") / f"{file.stem}-sweep",
        trials=trials,
        seed=seed,
        prune=prune,
    )
    choice = _checked(asked)
    with one_run(asked.out):
        study = _study(asked, choice)
        _take_up(study)
        while len(done := _done(study)) < asked.trials:
            _next(asked, study, len(done), choice)
        _print(asked, study, choice)


def _checked(asked: Sweep) -> Choice:
    """The figure that decides. Errors: ConfigError for a value that no run file takes, or a run without a figure."""
    first = {field.key: field.ends[0] for field in asked.space}
    for field in asked.space:
        for value in field.ends:
            run = asked.run(first | {field.key: value}, asked.out / "trial")
            trainer = run.trainer()
            run.tasks(splits=())
            if field.key.startswith("model"):
                run.model()
    run = asked.run(first, asked.out / "trial")
    run.model()
    tasks = run.tasks()
    if not any("valid" in task.sources for task in tasks):
        raise ConfigError(f"{shown(asked.file)}: no task has valid rows, so no run is better than another; give valid:")
    if asked.prune and not trainer.eval_every:
        raise ConfigError(
            "--prune compares runs at their evaluations, and there is only the last; give trainer.eval_every"
        )
    return choose(trainer.best, tasks)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(f'a sweep needs optuna ({error}): pip install "ofasys[sweep]"') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(asked: Sweep, choice: Choice) -> Any:
    """The sweep in `out`, or a new one. Errors: ConfigError where another was begun there."""
    optuna = _optuna()
    asked.out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{(asked.out / STORAGE).absolute()}",
        study_name=_STUDY,
        direction="maximize" if choice.larger else "minimize",
        pruner=optuna.pruners.MedianPruner() if asked.prune else optuna.pruners.NopPruner(),
        load_if_exists=True,
    )
    told = asked.told | {"best": choice.name}
    before = told | study.user_attrs.get("asked", {})  # older ones have no content
    differ = [
        f"{name} {before[name]!r:.80} and not {told[name]!r:.80}"
        for name in told
        if name != "content" and before[name] != told[name]
    ]
    if differ:
        raise ConfigError(f"{shown(asked.out)} holds another sweep: {'; '.join(differ)}; give another --out")
    if before["content"] != told["content"]:
        raise ConfigError(
            f"{shown(asked.file)} says something else than when the sweep in {shown(asked.out)} was begun, so that its "
            "runs would not compare with those that are there; give another --out, or take the change back"
        )
    study.set_user_attr("asked", told)
    return study


def _take_up(study: Any) -> None:
    """Trials that were cut off are tried once more, in their folders: their runs go on where they were."""
    states = _optuna().trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
        own = {name: value for name, value in trial.user_attrs.items() if name == "folder"}
        if "error" not in trial.user_attrs and trial.params:  # without, it was cut off before anything was drawn
            study.enqueue_trial(trial.params, user_attrs=own)
        study.tell(trial.number, state=states.FAIL)


def _done(study: Any) -> list[Any]:
    """The trials that have come to an end of their own."""
    states = _optuna().trial.TrialState
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state in (states.COMPLETE, states.PRUNED)
        or (trial.state == states.FAIL and "error" in trial.user_attrs)
    ]


def _next(asked: Sweep, study: Any, number: int, choice: Choice) -> None:
    """One trial. number: how many came before it; what is drawn is a function of the seed and that."""
    optuna = _optuna()
    study.sampler = optuna.samplers.TPESampler(seed=key_of("sweep", asked.seed, number) % 2**32)
    trial = study.ask()
    values = {field.key: field.suggested(trial) for field in asked.space}
    folder = trial.user_attrs.get("folder", f"trial-{number:03d}")
    trial.set_user_attr("folder", folder)
    note(f"{folder} of {asked.trials}: {_said(values)}")
    try:
        value, pruned = _trained(asked, values, asked.out / folder, trial, choice)
    except OfasysError as error:
        note(f"{folder} failed: {error}")
        trial.set_user_attr("error", str(error))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return
    trial.set_user_attr("value", value)
    if pruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, value)


def _trained(asked: Sweep, values: dict[str, Any], out: Path, trial: Any, choice: Choice) -> tuple[float, bool]:
    """(the best figure of a run, whether it was ended early). Errors: those of a run; ConfigError for no finite
    figure.
    """
    run = asked.run(values, out)
    tasks, model = run.tasks(), run.model()
    watch = Watch(trial, choice)
    trainer = run.trainer()
    trainer = replace(trainer, callbacks=[*trainer.callbacks, watch])
    with one_run(out), resolved_file(out, resolved(run, tasks, model, run.trainer(), out)):
        trainer.fit(model=model, tasks=tasks)
    try:
        best = json.loads((out / "checkpoints" / "best.json").read_text(encoding="utf8"))
    except OSError:
        raise ConfigError(f"no evaluation had a finite {choice.name}") from None
    return float(best["value"]), watch.pruned


def _print(asked: Sweep, study: Any, choice: Choice) -> None:
    """A table of all trials, the best first, and the same in sweep.json."""
    states = _optuna().trial.TrialState
    rows = []
    for trial in _done(study):
        value, error = trial.user_attrs.get("value"), trial.user_attrs.get("error")
        ended = "failed" if error else "pruned" if trial.state == states.PRUNED else "whole"
        rows.append({"run": trial.user_attrs["folder"], "value": value, "ended": ended, "error": error, **trial.params})
    sign = -1 if choice.larger else 1
    rows.sort(key=lambda row: (row["ended"] != "whole", row["value"] is None, sign * (row["value"] or 0.0), row["run"]))
    write_json(asked.out / TABLE, {**asked.told, "best": choice.name, "runs": rows})
    keys = [field.key for field in asked.space]
    cells = [
        [
            row["run"],
            "-" if row["value"] is None else figure(row["value"]),
            row["ended"],
            *(_value(row[k]) for k in keys),
        ]
        for row in rows
    ]
    table(("run", choice.name, "ended", *keys), cells, right=(1,))
    if rows[0]["ended"] == "whole":
        best = asked.out / str(rows[0]["run"])
        say(f"the best is in {shown(best)}; next: ofasys evaluate {shown(best)}")


def _said(values: dict[str, Any]) -> str:
    return "  ".join(f"{key}={_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
