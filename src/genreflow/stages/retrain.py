"""What `genreflow retrain` does: decide whether there is a reason, run the pipeline, and say what the gate decided.

It is not a stage itself: it runs `dvc repro`, which continues whatever was interrupted.
"""

import logging
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

from pydantic import TypeAdapter

from genreflow.bundle import Bundle
from genreflow.datasets.corrections import Corrections
from genreflow.errors import GenreflowError, counted
from genreflow.files import read_json, write_json
from genreflow.manifest.manifest import Manifest
from genreflow.monitoring.last_check import CHECK_FILE, read_last_check
from genreflow.params import load_params
from genreflow.params_edit import write_values
from genreflow.registry.pointer import read_pointer
from genreflow.stages import CHAMPION, CORRECTIONS, GATE, MANIFEST, POINTER, TRIALS
from genreflow.stages.dvc_files import repair_dvc_files
from genreflow.stages.project_status import GateStatus, read_stale_stages
from genreflow.stages.stage_results import read_result
from genreflow.stages.training_data_changes import TrainingDataChanges, find_training_data_changes

# Written while a retraining runs, with what was there before: a killed one is continued.
MARKER = Path("data/.retrain.json")

CORRECTIONS_TABLE = str(CORRECTIONS / "tracks.csv")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reason:
    """Why a model is trained again.

    Parameters
    ----------
    kind : {"drift", "corrections", "data", "interrupted"}
    text : str
        A clause.
    """

    kind: Literal["drift", "corrections", "data", "interrupted"]
    text: str

    @property
    def teaches(self) -> bool:
        """Whether there may be something new to learn from; drift alone brings no labels."""
        return self.kind != "drift"


@dataclass(frozen=True)
class Retraining:
    """What came of it.

    Parameters
    ----------
    reasons : list of Reason
        Empty: nothing was done.
    champion : str or None
        Version that is the champion now.
    former : str or None
        Version that was the champion before.
    gate : GateStatus or None
        The decision; None if nothing was trained, since the data are those of the last model.
    """

    reasons: list[Reason]
    champion: str | None
    former: str | None
    gate: GateStatus | None

    @property
    def promoted(self) -> bool:
        return self.champion != self.former

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def find_reasons(*, log: Path, min_corrections: int) -> list[Reason]:
    """Return the reasons to train again.

    Parameters
    ----------
    log : Path
        Folder of the log of predictions, with the last check for drift.
    min_corrections : int > 0
        How many corrections that no model was trained on are a reason.

    Returns
    -------
    list of Reason

    Raises
    ------
    GenreflowError
        DVC cannot tell what has changed, or a file of the project is damaged.
    """
    if MARKER.exists():  # DVC cannot tell what has changed while it takes a killed process for a running one
        return [Reason("interrupted", "a retraining was interrupted")]
    stale = _read_stale_stages()
    changed = _changed_data(stale, "ingest")
    corrections = _count_new_corrections() if CORRECTIONS_TABLE in changed else 0
    # Someone may have run the stages before the training, as with `dvc repro split`.
    changes = find_training_data_changes() if _changed_data(stale, "train") else TrainingDataChanges()
    corrections += changes.corrections
    reasons = []
    if _drift_was_found(log):
        reasons.append(Reason("drift", "drift was found"))
    if corrections >= min_corrections:
        reasons.append(Reason("corrections", f"{counted(corrections, 'correction is', 'corrections are')} new"))
    if changed - {CORRECTIONS_TABLE} or changes.tracks:
        reasons.append(Reason("data", "tracks were added, changed or removed"))
    return reasons


def retrain(reasons: list[Reason]) -> Retraining:
    """Run the pipeline, with a study that starts from the best trials of the one before it.

    Parameters
    ----------
    reasons : list of Reason
        Not empty.

    Returns
    -------
    Retraining

    Raises
    ------
    GenreflowError
        A stage failed. The champion is as before.
    """
    before = _read_beginning() or _Beginning(_read_champion(), _read_gate())
    write_json(MARKER, asdict(before))
    repair_dvc_files()
    if load_params().tune.start_from is None and TRIALS.exists():
        write_values({"tune": {"start_from": "previous"}})
        logger.info("params.yaml: tune.start_from is previous from now on")
    code = subprocess.run([sys.executable, "-m", "dvc", "repro"], check=False).returncode
    if code:
        raise GenreflowError(
            f"retrain: `dvc repro` must end without an error; got exit code {code}, its message is above. "
            f"{_champion_sentence()} `genreflow retrain` continues."
        )
    MARKER.unlink(missing_ok=True)
    gate = _read_gate()
    return Retraining(
        reasons=reasons,
        champion=_read_champion(),
        former=before.champion,
        gate=gate if gate != before.gate else None,
    )


@dataclass(frozen=True)
class _Beginning:
    """The version of the champion and the last decision of the gate, when a retraining began."""

    champion: str | None
    gate: GateStatus | None


def _read_beginning() -> _Beginning | None:
    """Return that of a retraining that was interrupted; None if there is none, or its file is damaged."""
    try:
        return TypeAdapter(_Beginning).validate_python(read_json(MARKER))
    except (OSError, ValueError):
        return None


def _read_champion() -> str | None:
    pointer = read_pointer(POINTER)
    return pointer.champion.version if pointer else None


def _champion_sentence() -> str:
    version = _read_champion()
    return f"Version {version} is the champion." if version else "There is no champion yet."


def _read_gate() -> GateStatus | None:
    return read_result(GATE, GateStatus, stage="register") if GATE.exists() else None


def _read_stale_stages() -> dict[str, list[str]]:
    stale, error = read_stale_stages()
    if stale is None:
        raise GenreflowError(f"retrain: the current folder must be a project whose state DVC can read; got: {error}.")
    return stale


def _changed_data(stale: dict[str, list[str]], stage: str) -> set[str]:
    """Return what a stage reads, apart from its code, and has changed since it ran."""
    names = {change.partition(" (")[0] for change in stale.get(stage, ())}
    return {name for name in names if not name.startswith("src/")}


def _count_new_corrections() -> int:
    """Return the number of corrections that were not there when the stage `ingest` ran."""
    rows = Corrections(CORRECTIONS).read()
    tracks = Manifest.load(MANIFEST).tracks if MANIFEST.exists() else ()
    known = {PurePath(track.path).stem for track in tracks if track.train_only}
    return sum(row.prediction_id not in known for row in rows)


def _drift_was_found(log: Path) -> bool:
    """Return whether the last check of the champion has found drift."""
    if not (CHAMPION / "bundle.json").exists():
        return False
    check = read_last_check(log / CHECK_FILE, Bundle.load(CHAMPION).hash)
    return check is not None and check[0]
