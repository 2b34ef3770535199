"""What `genreflow status` shows: data, study, champion and what is out of date; not a stage itself."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genreflow.bundle import Bundle
from genreflow.params import Params, load_params
from genreflow.registry.pointer import read_pointer
from genreflow.registry.track_accuracy import TrackAccuracy, read_track_accuracy
from genreflow.splits.split import Split
from genreflow.stages import (
    AUDIT_PAGE,
    CHAMPION,
    EVALUATION_PAGE,
    GATE,
    MANIFEST,
    MODEL_CARD,
    POINTER,
    SPLIT,
    STUDY,
    TRIALS,
)
from genreflow.stages.stage_results import read_result

REPORTS = {
    EVALUATION_PAGE: "the model beside baselines, its mistakes to listen to",
    MODEL_CARD: "what the model is for, and how good it is",
    STUDY / "study.html": "all trials of the study",
    AUDIT_PAGE: "faults, duplicates and doubtful labels of the tracks",
}


@dataclass(frozen=True)
class DataStatus:
    """The data of the last run: source, tracks by genre, artists (None if unknown), and tracks by part of the split."""

    source: str
    genres: dict[str, int]
    artists: int | None
    split: str | None
    leaking: bool
    parts: dict[str, int]


@dataclass(frozen=True)
class TrialResult:
    """A trial of the last study."""

    number: int
    state: str
    architecture: str | None
    values: dict[str, float]


@dataclass(frozen=True)
class StudyStatus:
    """The last study; `chosen` is the number of the trial that was trained."""

    study: str
    leaking: bool
    chosen: int | None
    trials: list[TrialResult]

    @property
    def best(self) -> TrialResult | None:
        return next((trial for trial in self.trials if trial.number == self.chosen), None)

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials by how they ended."""
        return dict(Counter(trial.state for trial in self.trials))


@dataclass(frozen=True)
class ChampionStatus:
    """The packaged champion."""

    version: str
    architecture: str
    genres: int
    accuracy: TrackAccuracy | None
    notice: str | None


@dataclass(frozen=True)
class GateStatus:
    """The last model that the gate decided on."""

    version: str
    promote: bool
    rule: str
    reason: str


@dataclass(frozen=True)
class ProjectStatus:
    """The state of the project in the current folder; None for what was not made yet.

    Parameters
    ----------
    source, path : str
        Of params.yaml.
    data : DataStatus or None
    study : StudyStatus or None
    champion : ChampionStatus or None
    gate : GateStatus or None
    reports : dict of str to str
        What each of the pages that exist shows.
    stale : dict of str to list of str, or None
        Why stages are out of date; None if DVC cannot say, for the reason in `stale_error`.
    stale_error : str
    """

    source: str
    path: str
    data: DataStatus | None
    study: StudyStatus | None
    champion: ChampionStatus | None
    gate: GateStatus | None
    reports: dict[str, str]
    stale: dict[str, list[str]] | None
    stale_error: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_status() -> ProjectStatus:
    """Read the state of the project in the current folder.

    Raises
    ------
    ParameterError
        params.yaml is missing or invalid, or a file that a stage wrote is damaged.
    """
    params: Params = load_params()
    stale, error = read_stale_stages()
    return ProjectStatus(
        source=params.data.source,
        path=str(params.data.path),
        data=_read_data() if MANIFEST.exists() else None,
        study=read_result(TRIALS, StudyStatus, stage="tune") if TRIALS.exists() else None,
        champion=_read_champion(),
        gate=read_result(GATE, GateStatus, stage="register") if GATE.exists() else None,
        reports={str(path): content for path, content in REPORTS.items() if path.exists()},
        stale=stale,
        stale_error=error,
    )


def read_stale_stages() -> tuple[dict[str, list[str]] | None, str]:
    """Ask DVC which stages are out of date.

    Returns
    -------
    stale : dict of str to list of str, or None
        By stage, what has changed; None if DVC cannot say.
    error : str
        Why it cannot.
    """
    if not Path("dvc.yaml").exists():
        return None, "dvc.yaml must exist; got no such file"
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["DVC must be installed"]
        return None, lines[0].removeprefix("ERROR: ")
    return {stage: _changes(reasons) for stage, reasons in found.items()}, ""


def _changes(reasons: list[Any]) -> list[str]:
    """Return the names of what has changed, from one entry of `dvc status --json`."""
    changed = []
    for reason in reasons:
        if isinstance(reason, str):
            changed.append(reason)
            continue
        for files in reason.values():
            for name, how in files.items():
                changed.append(f"{name} ({', '.join(how)})" if isinstance(how, dict) else name)
    return changed


def _read_data() -> DataStatus:
    from genreflow.manifest.manifest import Manifest

    manifest = Manifest.load(MANIFEST)
    split = Split.load(SPLIT) if SPLIT.exists() else None
    return DataStatus(
        source=manifest.source,
        genres=manifest.tracks_per_genre,
        artists=len({track.group for track in manifest.tracks}) if manifest.groups_known else None,
        split=split.method if split else None,
        leaking=split.leaking if split else False,
        parts={str(part): len(ids) for part, ids in split.parts.items()} if split else {},
    )


def _read_champion(directory: Path = CHAMPION) -> ChampionStatus | None:
    if read_pointer(POINTER) is None or not directory.exists():
        return None
    bundle = Bundle.load(directory)
    return ChampionStatus(
        version=bundle.version or "none",
        architecture=bundle.architecture,
        genres=len(bundle.labels),
        accuracy=read_track_accuracy(bundle.metrics),
        notice=bundle.notice,
    )
