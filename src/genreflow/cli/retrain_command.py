"""`genreflow retrain`: a new champion, if there is a reason and the gate agrees."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genreflow.cli.parameter_options import json_option

if TYPE_CHECKING:
    from genreflow.stages.retrain import Reason, Retraining

# Exit code if there was a reason and the champion is the same all the same.
NO_NEW_CHAMPION = 3


@click.command()
@click.option(
    "--log",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="GENREFLOW_PREDICTION_LOG",
    default=Path("monitoring"),
    show_default=True,
    help="Log of the service, in which `genreflow drift` wrote its last result; also by GENREFLOW_PREDICTION_LOG.",
)
@click.option(
    "--min-corrections",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Accepted corrections that are a reason to train again.",
)
@json_option
def retrain(log: Path, min_corrections: int, as_json: bool) -> None:
    """Train again if tracks or corrections are new.

    Reasons are: drift, which `genreflow drift` found; accepted corrections (`genreflow feedback`); tracks that were
    added, changed or removed; a retraining that was interrupted. Then `dvc repro` runs with a study that starts from
    the best trials of the one before. The gate compares the new model with the champion on held-out tracks that
    neither was trained on. A running service takes a new champion within seconds.

    The exit code is 0 if there is a new champion or no reason, 3 if there was a reason and the champion is the same,
    2 for an error.
    """
    from genreflow.stages.retrain import find_reasons
    from genreflow.stages.retrain import retrain as run

    reasons = find_reasons(log=log, min_corrections=min_corrections)
    done = run(reasons) if any(reason.teaches for reason in reasons) else None
    if as_json:
        click.echo(json.dumps(_summary(reasons, done), ensure_ascii=False, indent=2))
    else:
        click.echo(_sentence(reasons, done))
    if reasons and not (done and done.promoted):
        sys.exit(NO_NEW_CHAMPION)


def _summary(reasons: "list[Reason]", done: "Retraining | None") -> dict:
    found = [{"kind": reason.kind, "text": reason.text} for reason in reasons]
    if done is None:
        return {"reasons": found, "trained": False, "promoted": False}
    return {"trained": done.gate is not None, "promoted": done.promoted, **done.to_dict()}


def _sentence(reasons: "list[Reason]", done: "Retraining | None") -> str:
    if not reasons:
        return "Nothing to do: no drift was found, the tracks are the same, and no or too few corrections are new."
    because = "; ".join(reason.text for reason in reasons)
    if done is None:
        return (
            f"Nothing was trained: {because}, but there are no new labels to learn from. Add tracks to data.path or "
            "accept corrections."
        )
    if done.gate is None:
        return f"Nothing was trained: {because}, but the tracks and parameters are those of version {done.champion}."
    return f"Trained again: {because}.\nVersion {done.gate.version}: {done.gate.reason}\n{_next(done)}"


def _next(done: "Retraining") -> str:
    if not done.promoted:
        return f"Version {done.champion} is still served." if done.champion else "There is no champion."
    return (
        f"Version {done.champion} is the champion{f', instead of {done.former}' if done.former else ''}; a running "
        "service takes it within seconds. To keep it: git commit -am 'new champion' && dvc push"
    )
