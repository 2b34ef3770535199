"""What `genreflow retrain` does: decide whether there is a reason, run the pipeline, and say what the gate decided.

It is not a stage itself: it runs `dvc repro`, which continues whatever was interrupted.
"""

import logging
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from genreflow.errors import GenreflowError, counted
from genreflow.files import write_json
from genreflow.params import load_params, write_values
from genreflow.registry.pointer import Pointer, read_pointer
from genreflow.stages import GATE, POINTER, TRIALS
from genreflow.stages.dvc_lock import set_damaged_lock_aside
from genreflow.stages.project_status import GateStatus, read_stale_stages
from genreflow.stages.stage_results import read_result

# Written while a retraining runs, with its reasons: what is left of a killed one is continued.
MARKER = Path("data/.retrain.json")

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


def find_reasons(*, drift: Sequence[str], corrections: int, min_corrections: int) -> list[Reason]:
    """Return the reasons to train again.

    Parameters
    ----------
    drift : sequence of str
        What the last check for drift of the champion has found; empty if nothing.
    corrections : int
        Accepted corrections that the champion was not trained on.
    min_corrections : int
        How many of them are a reason.

    Returns
    -------
    list of Reason
    """
    reasons = []
    if MARKER.exists():
        reasons.append(Reason("interrupted", "a retraining was interrupted"))
    if drift:
        reasons.append(Reason("drift", f"drift was found in {', '.join(drift)}"))
    if corrections >= min_corrections:
        reasons.append(
            Reason("corrections", f"{counted(corrections, 'correction')} were accepted since the last training")
        )
    if _data_changed():
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
    before, gate_before = read_pointer(POINTER), _read_gate()
    write_json(MARKER, [asdict(reason) for reason in reasons])
    set_damaged_lock_aside()
    if load_params().tune.start_from is None and TRIALS.exists():
        write_values("tune", {"start_from": "previous"})
        logger.info("params.yaml: tune.start_from is previous from now on")
    code = subprocess.run([sys.executable, "-m", "dvc", "repro"], check=False).returncode
    if code:
        raise GenreflowError(
            f"retrain: `dvc repro` must end without an error; got exit code {code}, its message is above. "
            f"{_champion_sentence(before)} `genreflow retrain` continues."
        )
    MARKER.unlink(missing_ok=True)
    after, gate = read_pointer(POINTER), _read_gate()
    return Retraining(
        reasons=reasons,
        champion=after.champion.version if after else None,
        former=before.champion.version if before else None,
        gate=gate if gate != gate_before else None,
    )


def _champion_sentence(pointer: Pointer | None) -> str:
    return f"Version {pointer.champion.version} is still the champion." if pointer else "There is no champion yet."


def _read_gate() -> GateStatus | None:
    return read_result(GATE, GateStatus, stage="register") if GATE.exists() else None


def _data_changed() -> bool:
    """Return whether what the stage `ingest` reads, apart from its code, has changed since it ran.

    Raises
    ------
    GenreflowError
        DVC cannot say.
    """
    stale, error = read_stale_stages()
    if stale is None:
        raise GenreflowError(f"retrain: the current folder must be a project whose state DVC can read; got: {error}.")
    return any(not change.startswith("src/") for change in stale.get("ingest", ()))
