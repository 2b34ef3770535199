"""A study as the report draws it, read from the JSON file that the stage ``tune`` writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter

from genreflow.constraints import DAMAGED, describe_damage
from genreflow.errors import DamagedFileError, GenreflowError
from genreflow.files import read_json

# Okabe & Ito 2008, "Color Universal Design", without black and yellow, which have too little contrast on a dark or a
# white background; the last two are as distinguishable from these six, for colour-blind readers too, as the six are.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a3ffc", "#994433")
GREY = "#888888"
# Marker symbol, as Plotly names it, of each state of a trial, so that states are distinguishable without colour.
STATES = {
    "finished": "circle",
    "pruned": "x-thin",
    "infeasible": "diamond-open",
    "failed": "triangle-down-open",
    "interrupted": "triangle-up-open",
    "running": "square-open",
    "waiting": "cross-open",
}
ACCURACY = "track_accuracy"
_TITLES = {
    ACCURACY: "Track accuracy on validation",
    "parameters": "Parameters",
    "latency_ms": "Latency of a clip on one core [ms]",
    "memory_mb": "Memory while serving [MiB]",
}
COSTS = ("parameters", "latency_ms", "memory_mb")


@dataclass(frozen=True)
class Objective:
    """An objective or a cost, with the title of its axis.

    Parameters
    ----------
    name : {"track_accuracy", "parameters", "latency_ms", "memory_mb"}
    title : str
        With its unit.
    """

    name: str
    title: str

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the objective with a name that ``tune.objectives`` accepts.

        Raises
        ------
        KeyError
            There is no such objective.
        """
        return cls(name, _TITLES[name])


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial.

    Parameters
    ----------
    number : int >= 0
    state : str
        A key of `STATES`.
    architecture : str
        Empty if none had been sampled yet.
    colour : str
        ``#rrggbb``, of the architecture.
    values : dict of str to float
        By objective and cost, those that are known. The track accuracy of a trial that did not finish is that of its
        best epoch.
    curve : list of float [shape=(epochs,)]
        Track accuracy on validation after each epoch.
    reason : str
        Which constraints it violates; empty for none.
    seconds : float >= 0 [s] or None
        Duration; None if it has not ended.
    params : dict of str to any
        Hyperparameters without the prefix of their architecture, so that architectures share them.
    chosen : bool
        Whether the model is trained with its hyperparameters.
    pareto_optimal : bool
        Whether it is on the Pareto front; of a single objective, whether it is the best trial.
    """

    number: int
    state: str
    architecture: str
    colour: str
    values: Mapping[str, float]
    curve: Sequence[float]
    reason: str = ""
    seconds: float | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    chosen: bool = False
    pareto_optimal: bool = False


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study and all its trials.

    Parameters
    ----------
    name : str
    objectives : list of Objective
        The first is the track accuracy.
    trials : list of Trial
        In the order of their numbers. An architecture keeps its colour as the study grows.
    importances : dict of str to float in [0, 1]
        Share of the variance of the track accuracy that each hyperparameter explains, the highest first; empty if it
        cannot be computed.
    log_scale : frozenset of str
        Hyperparameters searched on a logarithmic scale.
    leaking : bool
        Whether the study's split leaks.
    mlflow_run : str or None
        ID of the study's MLflow run.
    """

    name: str
    objectives: Sequence[Objective]
    trials: Sequence[Trial]
    importances: Mapping[str, float] = field(default_factory=dict)
    log_scale: frozenset[str] = frozenset()
    leaking: bool = False
    mlflow_run: str | None = None

    @property
    def mark(self) -> str:
        """What precedes every title: ``"leaking "`` if the split leaks, else nothing."""
        return "leaking " if self.leaking else ""

    @property
    def costs(self) -> list[Objective]:
        """What accuracy is weighed against: the other objectives; with a single one, the costs that were measured."""
        return costs_of(self.trials, self.objectives)


def costs_of(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Objective]:
    """Return the objectives besides accuracy; with a single objective, the costs that were measured of `trials`."""
    if len(objectives) > 1:
        return list(objectives[1:])
    return [Objective.named(cost) for cost in COSTS if any(cost in trial.values for trial in trials)]


def load_study(path: Path) -> Study:
    """Read a study.

    Parameters
    ----------
    path : Path
        JSON, as `genreflow.tuning.results.study_record` describes it.

    Raises
    ------
    GenreflowError
        The file is missing or is not such a study.
    """
    try:
        return _study(read_json(path))
    except FileNotFoundError:
        raise GenreflowError(f"{path} must exist; `dvc repro tune` writes it.") from None
    except DAMAGED as error:
        raise DamagedFileError(
            path, f"{path} must hold a study; got {describe_damage(error)}. `dvc repro tune` writes it again."
        ) from error


@dataclass(frozen=True)
class _TrialRecord:
    """What is shown of a trial in the file; `genreflow.tuning.results.study_record` describes it."""

    number: int
    state: str
    architecture: str | None
    values: dict[str, float]
    costs: dict[str, float]
    params: dict[str, Any]
    curve: list[float | None]
    infeasible: str | None
    seconds: float | None


@dataclass(frozen=True)
class _StudyRecord:
    """What is shown of a study in the file."""

    study: str
    objectives: Annotated[list[str], Field(min_length=1)]
    pareto_front: list[int]
    chosen: int | None
    importances: dict[str, float]
    log_scale: list[str]
    leaking: bool
    mlflow_run: str | None
    trials: list[_TrialRecord]


def _study(content: object) -> Study:
    record = TypeAdapter(_StudyRecord).validate_python(content)
    architectures = dict.fromkeys(filter(None, (trial.architecture for trial in record.trials)))
    colours = dict(zip(architectures, PALETTE, strict=False))
    return Study(
        name=record.study,
        objectives=[Objective.named(name) for name in record.objectives],
        trials=[_trial(trial, record, colours) for trial in record.trials],
        importances=record.importances,
        log_scale=frozenset(record.log_scale),
        leaking=record.leaking,
        mlflow_run=record.mlflow_run,
    )


def _trial(trial: _TrialRecord, record: _StudyRecord, colours: Mapping[str, str]) -> Trial:
    if trial.state not in STATES:
        raise ValueError(f"a trial with the state {trial.state}")
    architecture = trial.architecture or ""
    curve = [value for value in trial.curve if value is not None]
    best_epoch = {ACCURACY: max(curve)} if curve else {}
    return Trial(
        number=trial.number,
        state=trial.state,
        architecture=architecture,
        colour=colours.get(architecture, GREY),
        values=best_epoch | trial.costs | trial.values,
        curve=curve,
        reason=trial.infeasible or "",
        seconds=trial.seconds,
        params=trial.params,
        chosen=trial.number == record.chosen,
        pareto_optimal=trial.number in record.pareto_front,
    )
